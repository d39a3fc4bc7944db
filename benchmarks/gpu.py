"""What a GPU makes of the training steps: one command for all figures, at most eight minutes.

Translators at 256 px, batch 1, 4 and 16: a transcription of the official step in fp32 and with
PyTorch's default TF32, ours in fp32, bf16, bf16 in channels-last layout, and captured as a CUDA
graph: images a second, peak memory, multiply-adds over the rate of a large bf16 matrix product
measured in the same run. GANs in seconds a thousand images. Images a second of evaluate.py. Whether
PyTorch's instance norm has the right gradient at batch 1. Last a table in Markdown; --json writes
the same numbers.

  python benchmarks/gpu.py [--minutes 8] [--json gpu.json] [--only cut ...]
  python benchmarks/gpu.py --tiny --device cpu
"""

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import NamedTuple

sys.path.insert(0, str(Path(__file__).parents[1]))

import torch
import torch.nn.functional as F
from torch import Tensor, nn

import data
import train_cut
import train_cyclegan
import train_pix2pix
import training
from benchmarks import fid, gan_step
from benchmarks.counted import counted
from benchmarks.official_cut import OfficialCut
from benchmarks.official_cyclegan import OfficialCycleGan
from benchmarks.official_pix2pix import OfficialPix2Pix
from tests.inception_weights import write_inception_weights

BLOCKS = 3  # timed, of which the median counts


class Translator(NamedTuple):
    """How ours and the official program are built."""

    script: object
    method: Callable
    preset: str
    official: Callable[..., object]


TRANSLATORS = {
    "cut": Translator(train_cut, train_cut.Cut, "cut", partial(OfficialCut, mode="CUT")),
    "fastcut": Translator(
        train_cut, train_cut.Cut, "fastcut", partial(OfficialCut, mode="FastCUT")
    ),
    "cyclegan": Translator(train_cyclegan, train_cyclegan.CycleGan, "cyclegan", OfficialCycleGan),
    "pix2pix": Translator(train_pix2pix, train_pix2pix.Pix2Pix, "pix2pix", OfficialPix2Pix),
}


class Variant(NamedTuple):
    """One way to run a translator's step."""

    is_ours: bool
    precision: str
    channels_last: bool = False
    accelerate: str = "off"


VARIANTS = {
    "official fp32": Variant(False, "fp32"),
    "official TF32": Variant(False, "tf32"),
    "fp32": Variant(True, "fp32"),
    "bf16": Variant(True, "bf16"),
    "bf16 channels-last": Variant(True, "bf16", channels_last=True),
    "bf16 captured": Variant(True, "bf16", accelerate="graph"),
    "bf16 channels-last captured": Variant(True, "bf16", True, "graph"),
}
PROGRESSIVE_PX = (32, 64, 128, 256)


class Sizes(NamedTuple):
    """How large everything is, and how long it is measured."""

    px: int
    unet_downs: int  # halvings of pix2pix's U-Net
    channels: int
    batches: tuple[int, ...]
    matrix: int
    gans: dict[str, tuple[str, int, int]]  # row -> preset, pixels, batch
    pictures: int  # for evaluate.py
    layer: int  # of its network
    warm_ups: int  # a captured step is captured within them
    block_seconds: float


FULL = Sizes(
    px=256,
    unet_downs=8,
    channels=64,
    batches=(1, 4, 16),
    matrix=8192,
    gans={"r3gan_32": ("r3gan_32", 32, 64)}
    | {f"progressive at {px} px": ("progressive", px, 16) for px in PROGRESSIVE_PX},
    pictures=2000,
    layer=2048,
    warm_ups=6,
    block_seconds=0.6,
)
TINY = Sizes(
    px=128,
    unet_downs=7,
    channels=2,
    batches=(1,),
    matrix=256,
    gans={"vanilla": ("vanilla", 8, 4)},
    pictures=6,
    layer=64,
    warm_ups=1,
    block_seconds=0.0,
)


class Speed(NamedTuple):
    """What a step was measured at."""

    seconds: float
    peak_gb: float


def speed_of(step: Callable[[int], object], device: torch.device, sizes: Sizes) -> Speed:
    """Time blocks of steps, each block waited for at its end only; step: function of its number."""
    for number in range(sizes.warm_ups):
        started = time.perf_counter()
        step(number)
        gan_step.wait(device)
    a_block = max(1, round(sizes.block_seconds / (time.perf_counter() - started)))
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    found = []
    for block in range(BLOCKS):
        started = time.perf_counter()
        for number in range(a_block):
            step(sizes.warm_ups + block * a_block + number)
        gan_step.wait(device)
        found.append((time.perf_counter() - started) / a_block)
    return Speed(statistics.median(found), training.peak_memory_gb(device))


@contextmanager
def tf32(variant: Variant) -> Iterator[None]:
    """Allow TF32 where PyTorch does by default, in convolutions alone, or nowhere."""
    with training.tf32_products(False):
        torch.backends.cudnn.allow_tf32 = variant.precision == "tf32"
        yield


def step_of(
    name: str, variant: Variant, sizes: Sizes, batch_size: int, device: torch.device
) -> Callable[[int], object]:
    """Build a translator; return its step on one batch of noise, a function of its number."""
    translator = TRANSLATORS[name]
    random = torch.Generator().manual_seed(0)
    shape = (2, batch_size, 3, sizes.px, sizes.px)
    pictures = (torch.rand(shape, generator=random) * 2 - 1).to(device)
    batch = data.TranslationBatch(*pictures)
    of_unet = name == "pix2pix"
    if not variant.is_ours:
        width = {"ngf": sizes.channels, "ndf": sizes.channels}
        width |= {"num_downs": sizes.unet_downs} if of_unet else {}
        program = translator.official(**width, seed=0, device=device)
        return lambda number: program.step(*batch)
    torch.backends.cudnn.benchmark = True  # for the official programs turn it on
    values = {
        **translator.script.PRESETS[translator.preset],
        "preset": translator.preset,
        "crop_size": sizes.px,
        "batch_size": batch_size,
        "base_channels": sizes.channels,
        "discriminator_channels": sizes.channels,
        "precision": variant.precision,
        "accelerate": variant.accelerate,
        "epoch_images": 1000,
    }
    if of_unet:
        values["generator"] = f"unet_{2**sizes.unet_downs}"
    options = translator.script.Options(**values)
    method = translator.method(options, device, training.Processes())
    layout = torch.channels_last if variant.channels_last else torch.contiguous_format
    method.trained.layout = layout
    for network in method.trained.networks.values():
        network.to(memory_format=layout)
    return lambda number: method.step(batch, number * batch_size)


def translator_row(
    name: str, way: str, sizes: Sizes, batch_size: int, device: torch.device
) -> dict[str, object]:
    """Measure one way to run a translator; a way that cannot be run says why."""
    variant = VARIANTS[way]
    row = {"method": name, "batch_size": batch_size, "way": way}
    if variant.accelerate == "graph" and not training.can_capture(device):
        return row | {"left_out": f"no CUDA graphs on {device.type}"}
    try:
        with tf32(variant):
            step = step_of(name, variant, sizes, batch_size, device)
            speed = speed_of(step, device, sizes)
            row |= {
                "ms_a_step": 1000 * speed.seconds,
                "images_per_second": batch_size / speed.seconds,
                "peak_memory_gb": speed.peak_gb,
            }
            if variant.is_ours and variant.accelerate == "off":
                row["gmac_a_step"] = counted(lambda: step(0)).multiply_adds / 1e9
    except torch.OutOfMemoryError:
        row["left_out"] = "out of memory"
    if device.type == "cuda":
        torch.cuda.empty_cache()
    return row


def gan_row(name: str, sizes: Sizes, way: str, device: torch.device) -> dict[str, object]:
    """Measure a GAN's step in bf16, kernel by kernel or captured."""
    preset, px, batch_size = sizes.gans[name]
    row = {"method": name, "batch_size": batch_size, "way": way}
    accelerate = "graph" if way == "bf16 captured" else "off"
    if accelerate == "graph" and not training.can_capture(device):
        return row | {"left_out": f"no CUDA graphs on {device.type}"}
    gan = gan_step.build(preset, px, batch_size, device, "bf16", accelerate)
    batch = gan_step.batch_for(gan)
    images = len(batch.images)
    after = gan.options.schedule_images  # where all that changes in every step has come to rest
    speed = speed_of(lambda number: gan.step(batch, after + number * images), device, sizes)
    return row | {
        "ms_a_step": 1000 * speed.seconds,
        "images_per_second": images / speed.seconds,
        "seconds_per_kimg": 1000 * speed.seconds / images,
        "peak_memory_gb": speed.peak_gb,
    }


def evaluation_rate(sizes: Sizes, device: torch.device) -> float:
    """Return the images a second of a whole evaluate.py, on two folders of JPEGs."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        weights = folder / "weights.pth"
        write_inception_weights(weights)
        sides = [fid.draw(folder / str(seed), sizes.pictures, sizes.px, seed) for seed in (0, 1)]
        command = [sys.executable, "evaluate.py", "--real", sides[0], "--fake", sides[1]]
        command += ["--metrics", "fid", "--layer", sizes.layer, "--weights", weights]
        started = time.perf_counter()
        fid.run([*command, "--device", device.type], None)
        return 2 * sizes.pictures / (time.perf_counter() - started)


def instance_norm_errors(device: torch.device) -> dict[str, float]:
    """Return how far instance norm's gradient at batch 1 is from float64, of its largest value."""
    random = torch.Generator().manual_seed(0)
    x, gradient = (torch.randn(1, 8, 16, 16, generator=random).double() for _ in range(2))

    def gradient_of(norm: Callable[[Tensor], Tensor], x: Tensor, gradient: Tensor) -> Tensor:
        x = x.detach().requires_grad_()
        return torch.autograd.grad(norm(x), x, gradient)[0].double().cpu()

    expected = gradient_of(nn.GroupNorm(8, 8, affine=False).double(), x, gradient)
    layouts = {"contiguous": torch.contiguous_format, "channels_last": torch.channels_last}
    errors = {}
    for name, layout in layouts.items():
        given = gradient.float().to(device).contiguous(memory_format=layout)
        found = gradient_of(F.instance_norm, x.float().to(device), given)
        errors[name] = ((found - expected).abs().max() / expected.abs().max()).item()
    return errors


def add_ratios(rows: list[dict], rate: float) -> None:
    """Add what follows from several rows: speed over the official's, fraction of the rate."""
    by_key = {(row["method"], row["batch_size"], row["way"]): row for row in rows}
    for (method, batch_size, _), row in by_key.items():
        if "ms_a_step" not in row:
            continue
        counted = by_key.get((method, batch_size, "bf16"), {})
        if "gmac_a_step" in counted:
            row["fraction_of_rate"] = counted["gmac_a_step"] * 1e12 / row["ms_a_step"] / rate
        for official in ("official fp32", "official TF32"):
            other = by_key.get((method, batch_size, official), {})
            if "ms_a_step" in other:
                row[f"times_{official}"] = other["ms_a_step"] / row["ms_a_step"]


COLUMNS = {  # of the table -> key and format
    "ms a step": ("ms_a_step", ".3g"),
    "images/s": ("images_per_second", ".3g"),
    "s/kimg": ("seconds_per_kimg", ".3g"),
    "peak GB": ("peak_memory_gb", ".2f"),
    "of the bf16 rate": ("fraction_of_rate", ".0%"),
    "times official fp32": ("times_official fp32", ".2f"),
    "times official TF32": ("times_official TF32", ".2f"),
}


def markdown(found: dict) -> str:
    """Return the table, and a line each for what is no row."""
    lines = ["| step | batch | how | " + " | ".join(COLUMNS) + " |"]
    lines.append("|" + "---|" * (3 + len(COLUMNS)))
    for row in found["rows"]:
        cells = [format(row[key], form) if key in row else "" for key, form in COLUMNS.values()]
        if "left_out" in row:
            cells[0] = row["left_out"]
        lines.append(
            f"| {row['method']} | {row['batch_size']} | {row['way']} | " + " | ".join(cells) + " |"
        )
    errors = ", ".join(f"{k} {v:.1e}" for k, v in found["instance_norm_errors"].items())
    return "\n".join(
        [
            f"{found['device']}, PyTorch {found['torch']}, "
            f"{found['bf16_macs_per_second'] / 1e12:.3g} T multiply-adds/s in a bf16 product",
            "",
            *lines,
            "",
            f"evaluate.py: {found['evaluated_per_second']:.3g} images a second",
            f"instance norm's gradient at batch 1, relative error: {errors}",
        ]
    )


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", choices=["cuda", "cpu"], default="cuda")
    parser.add_argument("--tiny", action="store_true", help="small sizes, in a minute on a CPU")
    parser.add_argument("--only", nargs="+", choices=[*TRANSLATORS, "gans"], help="these alone")
    parser.add_argument("--minutes", type=float, default=8.0, help="then rows are left out")
    parser.add_argument("--json", type=Path, help="file for the numbers")
    arguments = parser.parse_args()
    if arguments.device == "cuda" and not torch.cuda.is_available():
        parser.error("--device cuda: no GPU was found; use --device cpu --tiny")
    return arguments


def main() -> None:
    """Measure, most telling rows first; print the table and write the file."""
    arguments = parse()
    deadline = time.monotonic() + 60 * arguments.minutes
    device, sizes = torch.device(arguments.device), TINY if arguments.tiny else FULL
    rate = gan_step.matrix_rate(device, "bf16", sizes.matrix)
    found = {
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU",
        "torch": torch.__version__,
        "bf16_macs_per_second": rate,
        "instance_norm_errors": instance_norm_errors(device),
        "evaluated_per_second": evaluation_rate(sizes, device),
    }
    wanted = arguments.only or [*TRANSLATORS, "gans"]
    todo = [
        partial(translator_row, name, way, sizes, batch_size)
        for batch_size in sizes.batches
        for name in TRANSLATORS
        for way in VARIANTS
        if name in wanted
    ]
    if "gans" in wanted:
        ways = ("bf16", "bf16 captured")
        todo += [partial(gan_row, name, sizes, way) for name in sizes.gans for way in ways]
    found["rows"] = rows = []
    for measure in todo:
        if time.monotonic() > deadline:
            break
        rows.append(measure(device))
        print(json.dumps(rows[-1]), flush=True)
    found["rows_left_out_for_time"] = len(todo) - len(rows)
    add_ratios(rows, rate)
    print(markdown(found))
    if arguments.json:
        arguments.json.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
