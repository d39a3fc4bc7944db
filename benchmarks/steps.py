"""What the benchmarks of training steps share: alternating times, memory in separate processes."""

import argparse
import json
import subprocess
import sys
from collections.abc import Callable, Mapping

import torch
from torch import Tensor

import data
import training
from benchmarks.alternating import alternate, compared

# A step on a batch, given the images seen before it; it waits for its losses.
Step = Callable[[data.TranslationBatch, int], object]
Builder = Callable[[argparse.Namespace, torch.device], Step]


def parser(description: str) -> argparse.ArgumentParser:
    """Return a parser with the options that all of them have."""
    options = argparse.ArgumentParser(description=description)
    options.add_argument("--size", type=int, default=128, help="pixels of a side")
    options.add_argument("--batch_size", type=int, default=1)
    options.add_argument("--channels", type=int, default=64, help="width of all networks")
    options.add_argument("--rounds", type=int, default=9, help="timed steps of each")
    options.add_argument("--precision", choices=["fp32", "bf16"], default="fp32", help="of ours")
    options.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    options.add_argument("--memory_of", choices=["ours", "official"], help="only its peak memory")
    return options


def option_values(arguments: argparse.Namespace) -> dict:
    """Return the values of our options that follow from the benchmark's."""
    return {
        "crop_size": arguments.size,
        "batch_size": arguments.batch_size,
        "base_channels": arguments.channels,
        "discriminator_channels": arguments.channels,
        "precision": arguments.precision,
        "epoch_images": 1000,
    }


def step_of(method: training.Method) -> Step:
    """Return a method's step, which waits for the losses."""

    def step(batch: data.TranslationBatch, images_seen: int) -> dict[str, float]:
        losses = method.step(batch, images_seen)
        return {name: value.item() for name, value in losses.items()}

    return step


def run(arguments: argparse.Namespace, builders: Mapping[str, Builder]) -> None:
    """Measure, and print one figure per line and a JSON object last."""
    device = torch.device(arguments.device)
    batch = _batch(arguments, device)
    if arguments.memory_of:
        if arguments.memory_of == "official":
            import torchvision.transforms  # noqa: F401  as the official programs do
        step = builders[arguments.memory_of](arguments, device)
        for number in range(3):
            step(batch, number)
        print(training.peak_memory_gb(device))
        return
    results = {f"{side}_peak_gb": _peak_memory(side) for side in builders}
    results["memory_ratio"] = results["ours_peak_gb"] / results["official_peak_gb"]
    steps, tuned = {}, {}
    for side, build in builders.items():
        torch.backends.cudnn.benchmark = False
        steps[side] = build(arguments, device)
        tuned[side] = torch.backends.cudnn.benchmark  # the official programs turn it on

    def action(side: str) -> Callable[[int], object]:
        def call(number: int) -> None:
            torch.backends.cudnn.benchmark = tuned[side]
            steps[side](batch, number * arguments.batch_size)

        return call

    actions = {side: action(side) for side in steps}
    results |= compared(alternate(actions, arguments.rounds, warm_ups=2), "ours")
    for name, value in results.items():
        print(f"{name:22} {value}")
    print(json.dumps({**vars(arguments), **results, "threads": torch.get_num_threads()}))


def _batch(arguments: argparse.Namespace, device: torch.device) -> data.TranslationBatch:
    """Return two batches of noise in [-1, 1]."""
    random = torch.Generator().manual_seed(0)
    shape = (arguments.batch_size, 3, arguments.size, arguments.size)
    sides: list[Tensor] = [torch.rand(shape, generator=random) * 2 - 1 for _ in range(2)]
    return data.TranslationBatch(*(side.to(device) for side in sides))


def _peak_memory(side: str) -> float:
    """Run the same command again for one side only; return its peak memory in GB."""
    command = [sys.executable, *sys.argv, "--memory_of", side]
    finished = subprocess.run(command, capture_output=True, text=True, check=True)
    return float(finished.stdout.split()[-1])
