"""Time of the Fréchet distance: ours against the matrix square root of other tools.

  python benchmarks/frechet.py [--dimensions 2048] [--images 5000 500] [--rounds 3]

Features are rectified mixtures of normal numbers, the same for both. The square root is scipy's,
called as in pytorch-fid; the time is that from features to the distance. Prints one figure per line
and a JSON object last.
"""

import argparse
import json
import sys
import warnings
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import numpy as np
import torch
from pytorch_fid.fid_score import calculate_frechet_distance

import metrics
from benchmarks.alternating import alternate, compared


def features(images: int, dimensions: int, seed: int) -> torch.Tensor:
    """Return float32 [images, dimensions], correlated and with a long tail of small variances."""
    random = torch.Generator().manual_seed(0)
    mixture = torch.randn(dimensions, dimensions, generator=random) / dimensions**0.5
    mixture *= torch.linspace(0.05, 1, dimensions)
    random.manual_seed(seed)
    return (torch.randn(images, dimensions, generator=random) @ mixture + 0.1 * seed).relu()


def by_square_root(first: torch.Tensor, second: torch.Tensor) -> float:
    """Return the distance as pytorch-fid computes it."""
    moments = []
    for found in (first, second):
        values = found.double().numpy()
        moments += [values.mean(axis=0), np.cov(values, rowvar=False)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # scipy deprecates an argument that pytorch-fid passes
        return float(calculate_frechet_distance(*moments))


def ours(first: torch.Tensor, second: torch.Tensor) -> float:
    """Return the distance as evaluate.py computes it."""
    return metrics.frechet_distance(*map(metrics.gaussian_of_features, (first, second)))


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--dimensions", type=int, default=2048)
    parser.add_argument("--images", type=int, nargs="+", default=[5000, 500])
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    results = {}
    for images in arguments.images:
        pair = [features(images, arguments.dimensions, seed) for seed in (1, 2)]
        values = {"ours": ours(*pair), "square_root": by_square_root(*pair)}
        sides = {
            "ours": lambda _, pair=pair: ours(*pair),
            "square_root": lambda _, pair=pair: by_square_root(*pair),
        }
        results[str(images)] = {
            **values,
            **compared(alternate(sides, arguments.rounds, warm_ups=1, rest_seconds=1), "ours"),
        }
        for name, value in results[str(images)].items():
            print(f"{images} images: {name:25} {value}")
    print(json.dumps({**vars(arguments), "threads": torch.get_num_threads(), "results": results}))


if __name__ == "__main__":
    main()
