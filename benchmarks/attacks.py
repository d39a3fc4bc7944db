"""Time of attacks against torchattacks: PGD, and one pixel, where it loops over the pictures.

  python benchmarks/attacks.py [--size 32] [--batch_size 64] [--steps 20] [--channels 64]
      [--generations 5] [--population 100] [--rounds 7] [--device cpu|cuda]

PGD: the same untrained ResNet-18, batch, bound, step and number of steps in both, from a random
start. One pixel: all pictures of the batch at once against torchattacks and against one call of
ours for each picture, with as many candidates (a multiple of 5); a finished picture is left out in
all three. How many were fooled in the last round is printed too: they are what saves work. In turns
within one process. Prints one figure per line and a JSON object last.
"""

import argparse
import json
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import numpy as np
import torch
import torchattacks
from torch import Tensor, nn

import attacks
import models
from benchmarks.alternating import alternate, compared

EPSILON = 8 * attacks.LEVEL
Actions = Mapping[str, Callable[[int], object]]


class FromUnitRange(nn.Module):
    """A model of pictures in [-1, 1] for pictures in [0, 1], which torchattacks has."""

    def __init__(self, model: nn.Module):
        super().__init__()
        self.model = model

    def forward(self, pictures: Tensor) -> Tensor:
        """Return the model's logits."""
        return self.model(2 * pictures - 1)


def build(arguments: argparse.Namespace) -> tuple[nn.Module, Tensor, Tensor]:
    """Return a ResNet-18 for ten classes in eval mode, pictures, and the classes it gives them."""
    encoder = models.build_encoder("resnet18", arguments.size, base_channels=arguments.channels)
    network = models.classifier_of(encoder, nn.Linear(encoder.channels, 10))
    models.draw_layers(network, torch.Generator().manual_seed(0))
    network.to(arguments.device).eval()
    random = torch.Generator().manual_seed(1)
    shape = (arguments.batch_size, 3, arguments.size, arguments.size)
    pictures = (torch.rand(shape, generator=random) * 2 - 1).to(arguments.device)
    with torch.no_grad():
        return network, pictures, network(pictures).argmax(1)


def pgd_actions(arguments: argparse.Namespace) -> Actions:
    """Return PGD of both libraries as functions of the round."""
    network, pictures, labels = build(arguments)
    step = 2.5 * EPSILON / arguments.steps
    peer = torchattacks.PGD(
        FromUnitRange(network),
        eps=EPSILON / 2,
        alpha=step / 2,
        steps=arguments.steps,
        random_start=True,
    )
    halved = (pictures + 1) / 2

    def ours(number: int) -> float:
        random = torch.Generator(arguments.device).manual_seed(number)
        found = attacks.pgd(
            network,
            pictures,
            labels,
            epsilon=EPSILON,
            step=step,
            steps=arguments.steps,
            generator=random,
        )
        return found.sum().item()  # waits for a GPU

    return {"ours": ours, "torchattacks": lambda number: peer(halved, labels).sum().item()}


def one_pixel_actions(arguments: argparse.Namespace, fooled: dict[str, int]) -> Actions:
    """Return one-pixel attacks: on the whole batch, picture by picture, and of torchattacks.

    fooled: filled with the number of pictures whose class each has changed.
    """
    network, pictures, labels = build(arguments)
    settings = {"generations": arguments.generations, "population": arguments.population}
    peer = torchattacks.OnePixel(
        FromUnitRange(network), steps=arguments.generations, popsize=arguments.population
    )
    halved = (pictures + 1) / 2

    def count(name: str, found: Tensor) -> None:
        with torch.no_grad():
            is_fooled = network(found).argmax(1) != labels
        fooled[name] = is_fooled.sum().item()  # waits for a GPU

    def attacked(rows: slice, random: torch.Generator) -> Tensor:
        own = pictures[rows], labels[rows]
        return attacks.one_pixel(network, *own, **settings, generator=random)

    def batch(number: int) -> None:
        random = torch.Generator(arguments.device).manual_seed(number)
        count("ours", attacked(slice(None), random))

    def loop(number: int) -> None:
        random = torch.Generator(arguments.device).manual_seed(number)
        parts = [attacked(slice(row, row + 1), random) for row in range(len(pictures))]
        count("loop", torch.cat(parts))

    def of_torchattacks(number: int) -> None:
        np.random.seed(number)  # noqa: NPY002 - its differential evolution draws from there
        count("torchattacks", peer(halved, labels) * 2 - 1)

    return {"ours": batch, "loop": loop, "torchattacks": of_torchattacks}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name, value in (("size", 32), ("batch_size", 64), ("steps", 20), ("channels", 64)):
        parser.add_argument(f"--{name}", type=int, default=value)
    for name, value in (("generations", 5), ("population", 100), ("rounds", 7)):
        parser.add_argument(f"--{name}", type=int, default=value)
    parser.add_argument("--device", default="cpu")
    arguments = parser.parse_args()
    results, fooled = {}, {}
    actions = {
        "pgd": pgd_actions(arguments),
        "one_pixel": one_pixel_actions(arguments, fooled),
    }
    for name, ways in actions.items():
        seconds = alternate(ways, arguments.rounds, warm_ups=1)
        results[name] = compared(seconds, "ours")
        for key, value in results[name].items():
            print(f"{name}: {key:24} {value}", flush=True)
    for name, count in fooled.items():
        print(f"one_pixel: {f'{name}_fooled':24} {count}")
    results["one_pixel"]["fooled"] = fooled
    print(json.dumps({**vars(arguments), "threads": torch.get_num_threads(), "results": results}))


if __name__ == "__main__":
    main()
