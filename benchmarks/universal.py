"""How many pictures universal perturbations fool: ours and the Adversarial Robustness Toolbox's.

  pip install adversarial-robustness-toolbox
  python benchmarks/universal.py [--pictures 60] [--held_out 1000] [--epsilon 6] [--passes 3]
      [--seeds 4]

A classifier of the silhouettes of drawn shapes is attacked by both with DeepFool of 50 steps, the
same bound (--epsilon, Euclidean, of pictures in [0, 1]) and number of passes. Neither stops before
99 % are fooled. Prints, for each seed, the share of pictures that each library's change fools,
among those it was found on and among held-out ones, and the seconds. A JSON object comes last.
"""

import argparse
import json
import random
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import torch
from art.attacks.evasion import UniversalPerturbation
from art.estimators.classification import PyTorchClassifier
from torch import Tensor, nn

import attacks
import data
from commands import shapes

SIZE_PX, SEED = 32, 7
FOOLED_AT_MOST = 0.99


class OfSymmetricRange(nn.Module):
    """A classifier of pictures in [0, 1] for pictures in [-1, 1], which our attacks take."""

    def __init__(self, model: nn.Module):
        super().__init__()
        self.model = model

    def forward(self, pictures: Tensor) -> Tensor:
        """Return the model's logits."""
        return self.model((pictures + 1) / 2)


def ours(network: nn.Module, pictures: Tensor, arguments: argparse.Namespace, seed: int) -> Tensor:
    """Return our change [1, 1, S, S], of pictures in [0, 1]."""
    found = attacks.universal_perturbation(
        OfSymmetricRange(network),
        2 * pictures - 1,
        epsilon=2 * arguments.epsilon,
        fooling_rate=FOOLED_AT_MOST,
        passes=arguments.passes,
        norm="l2",
        generator=torch.Generator().manual_seed(seed),
    )
    return found.change / 2


def peer(network: nn.Module, pictures: Tensor, arguments: argparse.Namespace, seed: int) -> Tensor:
    """Return the toolbox's change."""
    random.seed(seed)
    classifier = PyTorchClassifier(
        network,
        loss=nn.CrossEntropyLoss(),
        input_shape=tuple(pictures.shape[1:]),
        nb_classes=len(data.SHAPES),
        clip_values=(0.0, 1.0),
        device_type="cpu",
    )
    attack = UniversalPerturbation(
        classifier,
        attacker="deepfool",
        attacker_params={"max_iter": 50, "verbose": False},
        delta=1 - FOOLED_AT_MOST,
        max_iter=arguments.passes,
        eps=arguments.epsilon,
        norm=2,
        verbose=False,
    )
    attack.generate(pictures.numpy())
    return torch.from_numpy(attack.noise)


@torch.no_grad()
def fooled(network: nn.Module, pictures: Tensor, change: Tensor) -> float:
    """Return the share of pictures whose class changes."""
    moved = network((pictures + change).clamp(0, 1)).argmax(1)
    return (moved != network(pictures).argmax(1)).double().mean().item()


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name, value in (("pictures", 60), ("held_out", 1000), ("passes", 3), ("seeds", 4)):
        parser.add_argument(f"--{name}", type=int, default=value)
    parser.add_argument("--epsilon", type=float, default=6.0)
    arguments = parser.parse_args()
    network = shapes.train_classifier(SIZE_PX).network
    counts = [arguments.pictures, arguments.held_out]
    given, held_out = shapes.drawings(sum(counts), SIZE_PX, SEED)[0].split(counts)
    results = []
    for seed in range(arguments.seeds):
        for name, find in (("ours", ours), ("toolbox", peer)):
            start = time.perf_counter()
            change = find(network, given, arguments, seed)
            row = {
                "seed": seed,
                "of": name,
                "fooled": round(fooled(network, given, change), 3),
                "held_out": round(fooled(network, held_out, change), 3),
                "seconds": round(time.perf_counter() - start, 1),
                "norm": round(change.norm().item(), 3),
            }
            print(*(f"{key} {value}" for key, value in row.items()))
            results.append(row)
    print(json.dumps({**vars(arguments), "results": results}))


if __name__ == "__main__":
    main()
