"""Kernel launches of one training step: ours against a transcription of the official step.

On a GPU, the time of a step with a small batch is dominated by its launches, 4 to 6 microseconds
each. They are counted on the CPU, where every operator that is neither a view nor an empty
allocation counts as one; the count depends on the architecture, not on sizes. A multi-tensor
operator (fused Adam, a `_foreach` operator) counts as one, which is nearly true on a GPU.

  python benchmarks/launches.py [--only cut cyclegan ...] [--most 10]
"""

import argparse
import json
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import torch
from torch.utils._python_dispatch import TorchDispatchMode

import data
import models
import train_cut
import train_cyclegan
import train_gan
import train_pix2pix
import training
from benchmarks.official_cut import OfficialCut
from benchmarks.official_cyclegan import OfficialCycleGan
from benchmarks.official_pix2pix import OfficialPix2Pix

CPU = torch.device("cpu")
WIDTH, SIZE_PX = 8, 64
# Operators that launch nothing.
SILENT = {"empty", "empty_like", "empty_strided", "new_empty", "new_empty_strided"}
SILENT |= {"promote_types", "result_type", "_unsafe_view"}
SILENT |= {"_record_function_enter_new", "_record_function_exit"}

KERNELS = {"instance_norm": 2, "instance_norm_backward": 2}  # of our own operators on a GPU


class LaunchCounter(TorchDispatchMode):
    """Counts the operators that run inside it, by name, except views and empty allocations."""

    def __init__(self) -> None:
        super().__init__()
        self.counts: Counter[str] = Counter()

    def __torch_dispatch__(self, operator, types, args=(), kwargs=None):
        """Count one operator and run it."""
        name = operator.overloadpacket.__name__
        if not operator.is_view and name not in SILENT:
            self.counts[name] += KERNELS.get(name, 1)
        return operator(*args, **(kwargs or {}))


def translation_batch(size_px: int = SIZE_PX) -> data.TranslationBatch:
    """Return one pair of noise pictures in [-1, 1]."""
    random = torch.Generator().manual_seed(0)
    return data.TranslationBatch(*(torch.rand(2, 1, 3, size_px, size_px, generator=random) * 2 - 1))


def shared_options(precision: str, size_px: int = SIZE_PX) -> dict[str, object]:
    """Return options with small sizes, on which the counts do not depend."""
    return {
        "base_channels": WIDTH,
        "discriminator_channels": WIDTH,
        "crop_size": size_px,
        "precision": precision,
        "epoch_images": 1000,
        "batch_size": 1,
    }


def cut(preset: str, precision: str) -> Callable[[int], object]:
    """Return the step of CUT or a variant, a function of its number."""
    values = {**train_cut.PRESETS[preset], "preset": preset, **shared_options(precision)}
    method = train_cut.Cut(train_cut.Options(**values), CPU, training.Processes())
    return lambda number: method.step(translation_batch(), number)


def cyclegan(preset: str, precision: str) -> Callable[[int], object]:
    """Return the step of CycleGAN or DCLGAN."""
    values = {**train_cyclegan.PRESETS[preset], "preset": preset, **shared_options(precision)}
    method = train_cyclegan.CycleGan(train_cyclegan.Options(**values), CPU, training.Processes())
    return lambda number: method.step(translation_batch(), number)


def pix2pix(preset: str, precision: str) -> Callable[[int], object]:
    """Return the step of pix2pix with its U-Net 128."""
    values = {**shared_options(precision, 128), "generator": "unet_128", "preset": preset}
    method = train_pix2pix.Pix2Pix(train_pix2pix.Options(**values), CPU, training.Processes())
    return lambda number: method.step(translation_batch(128), number)


def gan(preset: str, precision: str) -> Callable[[int], object]:
    """Return the step of a GAN at 16 px."""
    sizes = {"base_channels": 32, "discriminator_channels": 32, "latent_channels": 8}
    values = {**train_gan.PRESETS[preset], "preset": preset, **sizes, "most_channels": 32}
    values |= {"crop_size": 16, "batch_size": 4, "batch_size_at": (), "learning_rate_at": ()}
    values |= {"precision": precision, "widest_px": 4, "deviation_group": 4}
    method = train_gan.Gan(train_gan.Options(**values), CPU, training.Processes())
    batch_size = 4 * method.options.discriminator_steps
    images = torch.rand(batch_size, 3, 16, 16, generator=torch.Generator().manual_seed(0)) * 2 - 1
    batch = data.ImageBatch(images, torch.zeros(batch_size, dtype=torch.long))
    return lambda number: method.step(batch, number * batch_size)


OFFICIAL = {
    "cut": lambda: OfficialCut(ngf=WIDTH, ndf=WIDTH, mode="CUT", seed=0, device=CPU),
    "fastcut": lambda: OfficialCut(ngf=WIDTH, ndf=WIDTH, mode="FastCUT", seed=0, device=CPU),
    "cyclegan": lambda: OfficialCycleGan(ngf=WIDTH, ndf=WIDTH, seed=0, device=CPU),
    "pix2pix": lambda: OfficialPix2Pix(ngf=WIDTH, ndf=WIDTH, num_downs=7, seed=0, device=CPU),
}
OURS = {
    "cut": cut,
    "fastcut": cut,
    "cut_monce": cut,
    "cut_hneg": cut,
    "cut_qs": cut,
    "cyclegan": cyclegan,
    "dclgan": cyclegan,
    "pix2pix": pix2pix,
    "dcgan": gan,
    "sngan": gan,
    "wgan_gp": gan,
    "progressive": gan,
    "r3gan_tiny": gan,
}


def count(step: Callable[[int], object]) -> Counter[str]:
    """Return the launches of the third step; the first ones also set up Adam's state."""
    for number in range(2):
        step(number)
    with LaunchCounter() as counter:
        step(2)
    return counter.counts


def ours(name: str, precision: str) -> Counter[str]:
    """Return the launches of our step of that preset."""
    with models.forced_few_launches(True):
        return count(OURS[name](name, precision))


def official(name: str) -> Counter[str]:
    """Return the launches of the official step of that method."""
    program, size_px = OFFICIAL[name](), 128 if name == "pix2pix" else SIZE_PX
    return count(lambda number: program.step(*translation_batch(size_px)))


def main() -> None:
    """Count and print a table, the most frequent operators, and a JSON object last."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="+", choices=list(OURS), default=list(OURS))
    parser.add_argument("--most", type=int, default=10, help="operators to list")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    found = {}
    print(f"{'step':12} {'fp32':>6} {'bf16':>6} {'official':>9}")
    for name in arguments.only:
        counts = {precision: ours(name, precision) for precision in ("fp32", "bf16")}
        if name in OFFICIAL:
            counts["official"] = official(name)
        totals = {side: counter.total() for side, counter in counts.items()}
        found[name] = totals
        shown = f"{totals['official']:9}" if "official" in totals else f"{'':9}"
        print(f"{name:12} {totals['fp32']:6} {totals['bf16']:6} {shown}")
        for side, counter in counts.items():
            most = ", ".join(f"{key} {times}" for key, times in counter.most_common(arguments.most))
            print(f"  {side}: {most}")
    print(json.dumps(found))


if __name__ == "__main__":
    main()
