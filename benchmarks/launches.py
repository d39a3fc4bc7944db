"""Kernel launches of one training step: ours against a transcription of the official step.

On a GPU a step of a small batch waits for its launches, of 4 to 6 microseconds each. They are
counted on the CPU (benchmarks/counted.py); the count depends on the architecture and not on sizes.

  python benchmarks/launches.py [--only cut cyclegan ...] [--most 10]
"""

import argparse
import json
import sys
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple

sys.path.insert(0, str(Path(__file__).parents[1]))

import torch

import data
import models
import train_cut
import train_cyclegan
import train_gan
import train_pix2pix
import training
from benchmarks.counted import counted
from benchmarks.official_cut import OfficialCut
from benchmarks.official_cyclegan import OfficialCycleGan
from benchmarks.official_pix2pix import OfficialPix2Pix

CPU = torch.device("cpu")
WIDTH, SIZE_PX = 8, 64


class Subject(NamedTuple):
    """A method, and the batches of its steps by their number."""

    method: training.Method
    batch: Callable[[int], NamedTuple]
    images: int  # of a step

    def step(self, number: int) -> dict[str, torch.Tensor]:
        """Make step `number`."""
        return self.method.step(self.batch(number), number * self.images)


def noise_pictures(count: int, size_px: int, number: int) -> torch.Tensor:
    """Return pictures of noise in [-1, 1], others for each number."""
    random = torch.Generator().manual_seed(number)
    return torch.rand(count, 3, size_px, size_px, generator=random) * 2 - 1


def translation_batch(
    number: int, size_px: int = SIZE_PX, images: int = 1
) -> data.TranslationBatch:
    """Return pairs of pictures."""
    return data.TranslationBatch(*noise_pictures(2 * images, size_px, number).split(images))


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


def cut(preset: str, precision: str, **options: object) -> Subject:
    """Return CUT or a relative."""
    values = {**train_cut.PRESETS[preset], "preset": preset, **shared_options(precision), **options}
    method = train_cut.Cut(train_cut.Options(**values), CPU, training.Processes())
    images = method.options.batch_size
    size_px = method.options.crop_size
    return Subject(method, partial(translation_batch, size_px=size_px, images=images), images)


def cyclegan(preset: str, precision: str, **options: object) -> Subject:
    """Return CycleGAN or DCLGAN."""
    row = {**train_cyclegan.PRESETS[preset], "preset": preset}
    values = {**row, **shared_options(precision), **options}
    method = train_cyclegan.CycleGan(train_cyclegan.Options(**values), CPU, training.Processes())
    return Subject(method, partial(translation_batch, size_px=method.options.crop_size), 1)


def pix2pix(preset: str, precision: str, **options: object) -> Subject:
    """Return pix2pix with its U-Net 128, at 128 px unless told otherwise."""
    row = {"generator": "unet_128", "preset": preset}
    values = {**row, **shared_options(precision, 128), **options}
    method = train_pix2pix.Pix2Pix(train_pix2pix.Options(**values), CPU, training.Processes())
    return Subject(method, partial(translation_batch, size_px=method.options.crop_size), 1)


def gan(preset: str, precision: str, **options: object) -> Subject:
    """Return a GAN, at 16 px unless told otherwise."""
    sizes = {"base_channels": 32, "discriminator_channels": 32, "latent_channels": 8}
    values = {**train_gan.PRESETS[preset], "preset": preset, **sizes, "most_channels": 32}
    values |= {"crop_size": 16, "batch_size": 4, "batch_size_at": (), "learning_rate_at": ()}
    values |= {"precision": precision, "widest_px": 4, "deviation_group": 4, **options}
    method = train_gan.Gan(train_gan.Options(**values), CPU, training.Processes())
    size_px, images = method.options.crop_size, 4 * method.options.discriminator_steps
    labels = torch.zeros(images, dtype=torch.long)
    return Subject(
        method,
        lambda number: data.ImageBatch(noise_pictures(images, size_px, number), labels),
        images,
    )


def dcgan_ada(_name: str, precision: str, **options: object) -> Subject:
    """Return DCGAN with adaptive augmentation."""
    augmented = {"augment": "colour,translation,cutout", "ada_target": 0.6}
    return gan("dcgan", precision, **augmented, **options)


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
    "dcgan_ada": dcgan_ada,
    "sngan": gan,
    "wgan_gp": gan,
    "progressive": gan,
    "r3gan_tiny": gan,
}


def count(step: Callable[[int], object]) -> Counter[str]:
    """Return the launches of step 2 after step 0, which also sets up Adam's state."""
    step(0)
    return counted(lambda: step(2)).launches


def ours(name: str, precision: str) -> Counter[str]:
    """Return the launches of our step of that preset."""
    with models.forced_few_launches(True):
        return count(OURS[name](name, precision).step)


def official(name: str) -> Counter[str]:
    """Return the launches of the official step of that method."""
    program, size_px = OFFICIAL[name](), 128 if name == "pix2pix" else SIZE_PX
    return count(lambda number: program.step(*translation_batch(number, size_px)))


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
