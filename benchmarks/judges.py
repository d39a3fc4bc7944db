"""Whether distances between sets of pictures grow while one set gets worse: a table of judges.

A judge is a way to describe pictures, with a distance: SWD (patches of pixels), FID's network with
random weights, a small ResNet with random weights, EfficientNet-Lite0 with ImageNet's, or an
encoder of train_features.py. Half of the pictures are compared with the other half, which gets
worse step by step (metrics/orderings.py). A cell holds Spearman's correlation of strength and
distance, the strength from which every distance is above those of untouched halves, and how many
steps did not grow. Finished judges are not repeated.

  python benchmarks/judges.py --output DIR [--pictures NAME=FOLDER ...] [--drawn shapes scenes]
      [--count 2000] [--few 240]
      [--judges swd inception_random resnet_random efficientnet_lite0 RUN ...]
"""

import argparse
import json
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple

sys.path.insert(0, str(Path(__file__).parents[1]))

import numpy as np
import torch
from torch import Tensor

import data
import metrics
import models
import training
from commands import extractors
from commands.features import trust
from tests.inception_weights import write_inception_weights

CPU = torch.device("cpu")
KINDS = (*metrics.DEGRADATIONS, "mixing", "dropping")
NEED_FEW = ("swd", "inception_random", "efficientnet_lite0")  # slow ones


class Judged(NamedTuple):
    """A set of pictures uint8 [N, 3, S, S] and the group of each, int64 [N]."""

    pictures: Tensor
    groups: Tensor


def main() -> None:
    """Measure what is not finished, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, required=True, help="folder for the results")
    parser.add_argument("--pictures", nargs="*", default=[], help="NAME=FOLDER with class folders")
    parser.add_argument("--drawn", nargs="*", default=["shapes"], choices=["shapes", "scenes"])
    parser.add_argument("--judges", nargs="+", default=list(NEED_FEW))
    parser.add_argument("--count", type=int, default=2000, help="pictures of a set")
    parser.add_argument("--few", type=int, default=240, help="pictures for the slow judges")
    parser.add_argument("--size", type=int, default=32, help="side of all pictures in pixels")
    arguments = parser.parse_args()
    arguments.output.mkdir(parents=True, exist_ok=True)
    sets = {name: partial(drawn, name) for name in arguments.drawn}
    for given in arguments.pictures:
        name, _, folder = given.partition("=")
        sets[name] = partial(from_folder, Path(folder))
    results = {}
    for name, open_set in sets.items():
        for judge in arguments.judges:
            count = arguments.few if judge in NEED_FEW else arguments.count
            path = arguments.output / f"{name}-{Path(judge).name}-{count}.json"
            if not path.is_file():
                found = measured(judge, open_set(count, arguments.size), arguments.output)
                text = json.dumps(found)
                training.write_atomically(path, lambda part, text=text: part.write_text(text))
            results |= rows(name, judge, count, json.loads(path.read_text()))
    print(table(results))


def drawn(name: str, count: int, size_px: int) -> Judged:
    """Draw shapes of four classes, or scenes with horses and with zebras."""
    if name == "shapes":
        pictures = [data.render_shape(0, index, size_px) for index in range(count)]
        groups = torch.arange(count) % len(data.SHAPES)
    else:
        scenes = [data.render_scene(0, index, size_px) for index in range(count)]
        pictures = [scene[index % 2] for index, scene in enumerate(scenes)]
        groups = torch.arange(count) % 2
    return Judged(torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2), groups)


def from_folder(folder: Path, count: int, size_px: int) -> Judged:
    """Read as many pictures of each class folder."""
    files = data.list_images(folder, "--pictures")
    labels = data.read_labels("folders", folder, files)
    order = np.random.RandomState(0).permutation(len(files))
    of_files = torch.tensor(labels.of_files)[torch.from_numpy(order)]
    classes = range(len(labels.names))
    places = [order[(of_files == label).numpy()][: count // len(classes)] for label in classes]
    chosen = np.concatenate(places)
    pictures = trust.read_squares([files[index] for index in chosen], size_px)
    return Judged(pictures, torch.tensor([labels.of_files[index] for index in chosen]))


def measured(judge: str, judged: Judged, output: Path) -> dict:
    """Return the series of every distance of a judge, and the seconds of processor time."""
    start = time.process_time()
    if judge == "swd":
        describe, distances = (lambda pictures: pictures), {"swd": swd}
    else:
        describe, distances = features(judge, output), trust.DISTANCES
    found = metrics.orderings(*judged, describe, distances, trust.SEEDS)
    told = {
        name: {kind: trust.told(series) for kind, series in kinds.items()}
        for name, kinds in found.items()
    }
    return {"seconds": time.process_time() - start, "distances": told}


def swd(real: Tensor, fake: Tensor) -> float:
    """Return the sliced Wasserstein distance of two sets of pictures, times 1000."""
    sides = []
    for seed, pictures in enumerate((real, fake)):
        sides.append(metrics.PatchDescriptors(len(pictures), pictures.shape[-1], seed))
        sides[-1].add(range(len(pictures)), pictures)
    return metrics.sliced_wasserstein(*sides, seed=0).mean


def features(judge: str, output: Path) -> Callable[[Tensor], Tensor]:
    """Return how a network describes pictures."""
    measures = metrics.Measures(features=judge)
    if judge == "inception_random":
        weights = output / "inception_random.pth"
        if not weights.is_file():
            training.write_atomically(weights, write_inception_weights)
        measures = metrics.Measures(weights=weights)
    if judge == "resnet_random":
        network = models.build_encoder("resnet18", 32, base_channels=8, norm="group")
        models.draw_layers(network, torch.Generator().manual_seed(0))
        models.save_encoder(output / "resnet_random.safetensors", network, {})
        measures = metrics.Measures(features=str(output / "resnet_random.safetensors"))
    extractor, _ = extractors.build_extractor(measures, CPU, 16)
    return partial(trust.features_of, extractor)


def rows(name: str, judge: str, count: int, found: dict) -> dict[str, list[str]]:
    """Return a row of cells for each distance of a judge."""
    cells = {}
    for distance, kinds in found["distances"].items():
        steps = sum(len(part) - 1 for one in kinds.values() for part in one["distances"])
        down = sum(len(one["reversals"]) for one in kinds.values())
        title = f"{name}, {count}: {Path(judge).name}, {distance}"
        shown = [cell(kinds[kind]) if kind in kinds else "" for kind in KINDS]
        cells[title] = [*shown, f"{steps - down} of {steps}", f"{found['seconds']:.0f}"]
    return cells


def cell(series: dict) -> str:
    """Format one series: correlation, the strength that is seen, steps that did not grow."""
    seen = series["seen_from"]
    down = len(series["reversals"])
    shown = f"{series['spearman']:.2f}, " + ("not seen" if seen is None else f"from {seen:.3g}")
    return shown + (f", {down} down" if down else "")


def table(results: dict[str, list[str]]) -> str:
    """Return a Markdown table."""
    titles = ["pictures: judge", *KINDS, "steps that grew", "seconds"]
    lines = [f"| {' | '.join(titles)} |", "|---" * len(titles) + "|"]
    lines += [f"| {title} | {' | '.join(cells)} |" for title, cells in results.items()]
    return "\n".join(lines)


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
