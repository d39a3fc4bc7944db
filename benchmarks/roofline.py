"""How fast a training step could be: the bound that arithmetic and memory of a GPU set.

Each operator of a step takes at least its multiply-adds at the matrix rate and its bytes at the
memory's bandwidth, and a step launches so many kernels. Counted at full width without computing
anything (PyTorch's fake tensors), in the form of a step that a GPU runs.

  python benchmarks/roofline.py [--only cut ...] [--batch 1 4 16] [--precision bf16]
      [--matrix_rate 989e12] [--bandwidth 3.35e12] [--launch 5e-6]
"""

import argparse
import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import torch
from torch._subclasses import FakeTensorMode

import data
import models
import train_cut
import train_cyclegan
import train_gan
import train_pix2pix
import training
from benchmarks.counted import Counted, counted

CPU = torch.device("cpu")
TRANSLATORS = {
    "cut": (train_cut, train_cut.Cut),
    "fastcut": (train_cut, train_cut.Cut),
    "cut_monce": (train_cut, train_cut.Cut),
    "cyclegan": (train_cyclegan, train_cyclegan.CycleGan),
    "pix2pix": (train_pix2pix, train_pix2pix.Pix2Pix),
}
GANS = {"r3gan_32": 32, "r3gan": 64, "progressive": 256}  # preset -> px where no other is given
# The H100 SXM: dense bf16, FLOP/s, and bytes a second.
MATRIX_RATE, BANDWIDTH = 989e12, 3.35e12
LAUNCH_SECONDS = 5e-6


def translator(
    name: str, px: int, batch_size: int, precision: str, **changes: object
) -> Callable[[], object]:
    """Return a translator's step at full width; changes: of its other options."""
    script, build = TRANSLATORS[name]
    values = {**script.PRESETS[name], "preset": name, "crop_size": px, "batch_size": batch_size}
    values |= {"precision": precision, "epoch_images": 1000, **changes}
    method = build(script.Options(**values), CPU, training.Processes())
    batch = data.TranslationBatch(*(torch.rand(batch_size, 3, px, px) for _ in range(2)))
    return lambda: method.step(batch, 0)


def gan(
    name: str, px: int, batch_size: int, precision: str, **others: object
) -> Callable[[], object]:
    """Return a GAN's step at full width; a progressive one is fully grown; others: its options."""
    row = train_gan.PRESETS[name]
    changes = {"crop_size": px, "batch_size": batch_size, "batch_size_at": ()}
    changes |= {"first_px": px if row["generator"] == "progressive" else 4}
    options = train_gan.Options(**{**row, **changes, "precision": precision, **others})
    method = train_gan.Gan(options, CPU, training.Processes())
    images = batch_size * options.discriminator_steps
    batch = data.ImageBatch(torch.rand(images, 3, px, px), torch.zeros(images, dtype=torch.int64))
    return lambda: method.step(batch, 0)


@contextmanager
def without_computing() -> Iterator[None]:
    """Let tensors have sizes and no memory, and steps the form of a GPU."""
    with FakeTensorMode(allow_non_fake_inputs=True), models.forced_few_launches(True):
        yield


def operators_of(name: str, px: int, batch_size: int, precision: str, **changes: object) -> Counted:
    """Return the operators of the second step, when Adam has its moments."""
    build = gan if name in GANS else translator
    with models.forced_few_launches(True):
        step = build(name, px, batch_size, precision, **changes)
    with without_computing():
        step()
        return counted(step)


def bounds(
    operators: Counted, matrix_rate: float, bandwidth: float, launch_seconds: float
) -> dict[str, float]:
    """Return what a step takes at least, in milliseconds, by its different limits.

    bound: each operator's slower one of arithmetic and memory, all after one another.
    """
    arithmetic, memory, bound = 0.0, 0.0, 0.0
    for operator in operators.operators:
        of_arithmetic = 2 * operator.multiply_adds / matrix_rate
        of_memory = operator.read_and_written / bandwidth
        arithmetic, memory = arithmetic + of_arithmetic, memory + of_memory
        bound += max(of_arithmetic, of_memory)
    launches = operators.launches.total()
    return {
        "gmac": operators.multiply_adds / 1e9,
        "gb": operators.read_and_written / 1e9,
        "launches": launches,
        "arithmetic_ms": 1000 * arithmetic,
        "memory_ms": 1000 * memory,
        "bound_ms": 1000 * bound,
        "launches_ms": 1000 * launches * launch_seconds,
    }


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    names = [*TRANSLATORS, *GANS]
    parser.add_argument("--only", nargs="+", choices=names, default=names)
    parser.add_argument("--size", type=int, help="pixels; 256, of r3gan_32 32 and of r3gan 64")
    parser.add_argument("--batch", nargs="+", type=int, default=[1, 4, 16])
    parser.add_argument("--precision", choices=["fp32", "bf16"], default="bf16")
    parser.add_argument("--matrix_rate", type=float, default=MATRIX_RATE, help="FLOP/s")
    parser.add_argument("--bandwidth", type=float, default=BANDWIDTH, help="bytes/s")
    parser.add_argument("--launch", type=float, default=LAUNCH_SECONDS, help="seconds a kernel")
    arguments = parser.parse_args()
    for name in ("matrix_rate", "bandwidth"):
        if vars(arguments)[name] <= 0:
            parser.error(f"--{name} {vars(arguments)[name]}: give a number above 0")
    if min(arguments.batch) < 1:
        parser.error(f"--batch {min(arguments.batch)}: give 1 or more")
    return arguments


def main() -> None:
    """Print a row a step as a Markdown table, and a JSON object last."""
    arguments = parse()
    limits = arguments.matrix_rate, arguments.bandwidth, arguments.launch
    rows = []
    titles = ("10^9 multiply-adds", "GB moved", "launches", "arithmetic, ms", "memory, ms")
    print("| step | px | batch | " + " | ".join((*titles, "bound, ms", "launches, ms")) + " |")
    print("|" + "---|" * 10)
    for name in arguments.only:
        for batch_size in arguments.batch:
            px = arguments.size or GANS.get(name, 256)
            found = bounds(operators_of(name, px, batch_size, arguments.precision), *limits)
            rows.append({"step": name, "px": px, "batch": batch_size, **found})
            cells = " | ".join(f"{value:,.4g}" for value in found.values())
            print(f"| {name} | {px} | {batch_size} | {cells} |", flush=True)
    print(json.dumps({**vars(arguments), "rows": rows}))


if __name__ == "__main__":
    main()
