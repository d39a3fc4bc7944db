"""Time of a GAN's step per preset and resolution, against the lower bound set by its arithmetic.

For each row: milliseconds of the discriminator's and the generator's update, images per second,
seconds per thousand images, and the step's time relative to its multiply-adds at the rate of a
large matrix product in the same run, and pictures generated per second. Then the same times for
progressive networks that end at each of --sizes (batch 16), with the peak memory of a process of
its own for each. A JSON object last.

  python benchmarks/gan_step.py [--rounds 5] [--device cpu|cuda] [--precision fp32|bf16]
      [--only r3gan_tiny ...] [--sizes 4 8 16 32]
"""

import argparse
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import torch

import data
import models
import train_gan
import training
from benchmarks.counted import counted

# Name -> preset, pixels, batch; without classes.
ROWS = {
    "vanilla": ("vanilla", 32, 64),
    "vanilla_conv": ("vanilla_conv", 32, 64),
    "dcgan": ("dcgan", 64, 64),
    "dcgan at 32 px": ("dcgan", 32, 64),
    "sngan": ("sngan", 32, 16),
    "wgan_gp": ("wgan_gp", 32, 16),
    "progressive_cifar10": ("progressive_cifar10", 32, 16),
    "r3gan_tiny": ("r3gan_tiny", 32, 16),
    "r3gan_32": ("r3gan_32", 32, 16),
    "r3gan": ("r3gan", 64, 16),
}
FOR_A_GPU = ("r3gan_32", "r3gan")  # left out unless asked for by --only
SAMPLED = 64


def build(
    preset: str, px: int, batch: int, device: torch.device, precision: str, accelerate: str = "off"
) -> train_gan.Gan:
    """Build a preset's method; a progressive one is fully grown."""
    row = train_gan.PRESETS[preset]
    changes = {"crop_size": px, "batch_size": batch, "batch_size_at": ()}
    changes |= {"first_px": px if row["generator"] == "progressive" else 4}
    changes |= {"precision": precision, "accelerate": accelerate}
    return train_gan.Gan(train_gan.Options(**{**row, **changes}), device, training.Processes())


def batch_for(gan: train_gan.Gan) -> data.ImageBatch:
    """Return a batch of noise for one step."""
    options = gan.options
    images = options.batch_size * options.discriminator_steps
    random = torch.Generator().manual_seed(0)
    shape = (images, options.channels, options.crop_size, options.crop_size)
    pictures = torch.rand(shape, generator=random) * 2 - 1
    return data.ImageBatch(
        pictures.to(gan.device), torch.zeros(images, dtype=torch.int64, device=gan.device)
    )


def seconds(action: Callable[[], object], device: torch.device, rounds: int) -> float:
    """Return the median time of an action, after one warm-up."""
    found = []
    for _ in range(rounds + 1):
        wait(device)
        started = time.perf_counter()
        action()
        wait(device)
        found.append(time.perf_counter() - started)
    return statistics.median(found[1:])


def wait(device: torch.device) -> None:
    """Wait for the GPU, if it is one."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def matrix_rate(device: torch.device, precision: str, size: int = 2048) -> float:
    """Return the multiply-adds per second of a product of two matrices of so many rows."""
    kind = torch.bfloat16 if precision == "bf16" else torch.float32
    a, b = (torch.randn(size, size, device=device).to(kind) for _ in range(2))
    return size**3 / seconds(lambda: a @ b, device, 9)


def measure(gan: train_gan.Gan, rounds: int, rate: float) -> dict[str, float]:
    """Time both updates and the whole step."""
    batch, now = batch_for(gan), gan.plan.settings(0)
    own = data.ImageBatch(*(side[:: gan.options.discriminator_steps] for side in batch))
    noise = gan._noise("benchmark", len(own.images))
    multiply_adds = counted(lambda: gan.step(batch, 0)).multiply_adds
    whole = seconds(lambda: gan.step(batch, 0), gan.device, rounds)
    parts = {
        "discriminator_ms": lambda: gan.update_discriminator(own, now, noise),
        "generator_ms": lambda: gan.update_generator(own, now, noise),
    }
    found = {name: 1000 * seconds(part, gan.device, rounds) for name, part in parts.items()}
    images = len(batch.images)
    return found | {
        "step_ms": 1000 * whole,
        "images_per_second": images / whole,
        "seconds_per_kimg": 1000 * whole / images,
        "gmac_per_step": multiply_adds / 1e9,
        "times_the_floor": whole * rate / multiply_adds,
    }


def sampling(gan: train_gan.Gan, rounds: int) -> float:
    """Return the pictures generated per second, 64 at a time."""
    sampler = models.Sampler(gan.generator, level=gan.level)
    latents = models.gan.draw_latents(0, SAMPLED, gan.options.latent_channels)
    return SAMPLED / seconds(lambda: sampler.pictures(latents), gan.device, rounds)


def peak_memory(px: int) -> float:
    """Run the same command for one size only; return its peak memory in GB."""
    command = [sys.executable, *sys.argv, "--memory_of", str(px)]
    finished = subprocess.run(command, capture_output=True, text=True, check=True)
    return float(finished.stdout.split()[-1])


def main() -> None:
    """Measure all rows and print them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--precision", choices=["fp32", "bf16"], default="fp32")
    usual = [name for name in ROWS if name not in FOR_A_GPU]
    parser.add_argument("--only", nargs="*", choices=ROWS, default=usual, help="rows")
    parser.add_argument("--sizes", nargs="*", type=int, default=[4, 8, 16, 32], help="progressive")
    parser.add_argument("--memory_of", type=int, help="only the peak memory of this size")
    arguments = parser.parse_args()
    device = torch.device(arguments.device)
    if arguments.memory_of:
        gan = build("progressive", arguments.memory_of, 16, device, arguments.precision)
        for _ in range(3):
            gan.step(batch_for(gan), 0)
        print(training.peak_memory_gb(device))
        return
    rate = matrix_rate(device, arguments.precision)
    print(f"matrix product: {rate / 1e9:.0f} billion multiply-adds per second")
    found = {}
    for name in arguments.only:
        preset, px, batch = ROWS[name]
        gan = build(preset, px, batch, device, arguments.precision)
        found[name] = measure(gan, arguments.rounds, rate)
        found[name]["sampled_per_second"] = sampling(gan, arguments.rounds)
        shown = "  ".join(f"{key} {value:.3g}" for key, value in found[name].items())
        print(f"{name:20} {px} px, batch {batch:3}  {shown}", flush=True)
    for px in arguments.sizes:
        gan = build("progressive", px, 16, device, arguments.precision)
        row = measure(gan, arguments.rounds, rate)
        row["peak_memory_gb"] = peak_memory(px)
        found[f"progressive at {px} px"] = row
        shown = "  ".join(f"{name} {value:.3g}" for name, value in row.items())
        print(f"progressive          {px} px, batch  16  {shown}", flush=True)
    about = {"threads": torch.get_num_threads(), "macs_per_second": rate, **vars(arguments)}
    print(json.dumps({**about, "rows": found}))


if __name__ == "__main__":
    main()
