"""The demo's pictures (docs/runs.md) with each patch loss: three numbers, over several seeds.

Draws the demo's pictures, trains CUT with each patch loss on the same number of images (SMALL:
settings for two CPU cores), translates the test scenes and measures as `pocket.py score` does. One
run at a time; finished runs are not repeated, interrupted ones are resumed. Prints a Markdown table
of means over the seeds.

  python benchmarks/patch_loss_demo.py --output DIR [--epochs 12 | --total_images N]
      [--seeds 0 1 2] [--only patch_nce cut_qs]
"""

import argparse
import json
import statistics
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import data
import pocket
import training

ROOT = Path(__file__).parents[1]
# Name -> options of train_cut.py. The decoupled loss has the weight that the authors use for hDCE.
ROWS = {
    "patch_nce": [],
    "mo_nce": ["--preset", "cut_monce"],
    "hdce + SRC": ["--preset", "cut_hneg"],
    "decoupled": ["--patch_loss", "decoupled", "--nce_weight", "0.1"],
    "cut_qs": ["--preset", "cut_qs"],
}
MEASURES = ("colours inside the body", "pixel by pixel inside", "background")
TRAINING_PICTURES = 256  # that `pocket.py draw` draws of each kind
CONSTANT = 13 / 20  # of the epochs at the full learning rate
SMALL = (
    *("--generator", "resnet_6blocks", "--base_channels", 16, "--nce_channels", 64),
    *("--discriminator_channels", 16, "--discriminator_layers", 2),
    *("--load_size", 70, "--crop_size", 64, "--batch_size", 4, "--learning_rate", 4e-4),
    *("--ema_halflife_images", 300, "--workers", 1),
    *("--log_every", 256, "--preview_every", 512, "--save_every", 1024),
)


def main() -> None:
    """Train, translate and measure what is not finished; print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, required=True, help="folder for all runs")
    length = parser.add_mutually_exclusive_group()
    length.add_argument("--epochs", type=float, default=12, help="of 256 images")
    length.add_argument("--total_images", type=int, help="images of each run")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--only", nargs="+", choices=ROWS, default=list(ROWS), help="these rows")
    arguments = parser.parse_args()
    images = arguments.total_images or round(arguments.epochs * TRAINING_PICTURES)
    output = arguments.output.resolve()  # the scripts run in another folder
    pictures = output / "data"
    if not (pictures / "testMask").is_dir():
        run("pocket.py", "draw", "--output", pictures)
    found = {name: [] for name in arguments.only}
    for seed in arguments.seeds:
        for name, numbers in found.items():
            folder = output / f"{images}-images" / f"{name.replace(' ', '')}-{seed}"
            numbers.append(measured(folder, pictures, images, [*ROWS[name], "--seed", seed]))
    print(table(found, score(pictures, pictures / "testA"), images, arguments.seeds))


def measured(folder: Path, pictures: Path, images: int, options: Sequence[object]) -> list[float]:
    """Return the three numbers of one run, from its file if the run is finished."""
    finished = folder / "score.json"
    if not finished.is_file():
        places = ["--dataroot", pictures, "--run_dir", folder / "run"]
        run("train_cut.py", *places, *SMALL, *schedule(images), *options)
        places = ["--input", pictures / "testA", "--output", folder / "translated"]
        run("translate.py", "--checkpoint", folder / "run", *places, "--batch_size", 8)
        numbers = score(pictures, folder / "translated")
        training.write_atomically(finished, lambda path: path.write_text(json.dumps(numbers)))
    return json.loads(finished.read_text())


def schedule(images: int) -> list[object]:
    """Return the options of a schedule of `images`."""
    epochs = images / TRAINING_PICTURES
    return [
        *("--constant_epochs", CONSTANT * epochs, "--decay_epochs", (1 - CONSTANT) * epochs),
        *("--total_images", images),
    ]


def score(pictures: Path, translated: Path) -> list[float]:
    """Return the three numbers of `pocket.py score`, mean absolute differences of 255."""
    names = [path.name for path in data.list_images(pictures / "testA", "--data")]
    zebras, shown, masks = (
        pocket.read_all(folder, names, "--output")
        for folder in (pictures / "testB", translated, pictures / "testMask")
    )
    inside = masks[:, :1] > 0
    return [
        pocket.colour_distance(shown, zebras, inside),
        pocket.pixel_distance(shown, zebras, inside),
        pocket.pixel_distance(shown, zebras, ~inside),
    ]


def table(
    found: dict[str, list[list[float]]],
    untranslated: list[float],
    images: int,
    seeds: Sequence[int],
) -> str:
    """Return a Markdown table: means over the seeds, with the range if there are several."""
    lines = [
        f"| {images:,} images, seeds {' '.join(map(str, seeds))} | {' | '.join(MEASURES)} |",
        "|---" * (1 + len(MEASURES)) + "|",
    ]
    for name, numbers in {**found, "untranslated input": [untranslated]}.items():
        cells = [shown(column) for column in zip(*numbers, strict=True)]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def shown(values: Sequence[float]) -> str:
    """Return the mean, with the range if there are several values."""
    mean = f"{statistics.mean(values):.1f}"
    return mean if len(values) == 1 else f"{mean} ({min(values):.1f} to {max(values):.1f})"


def run(*command: object) -> None:
    """Run a root script until it ends."""
    subprocess.run([sys.executable, *map(str, command)], cwd=ROOT, check=True)


if __name__ == "__main__":
    main()
