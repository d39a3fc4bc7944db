"""Draw synthetic data sets and films, and score translations of them.

$ python pocket.py draw --output DIR            horses and zebras, unpaired, with test masks
$ python pocket.py draw --output DIR --pairs    label maps and zebras, paired
$ python pocket.py shapes --output DIR          circles, rings, squares, triangles (train_gan.py)
$ python pocket.py film --output clip.mp4        a camera moves over horses, with sound (needs PyAV)
$ python pocket.py score --data DIR --translated DIR --sheet FILE
$ python pocket.py recognize --samples DIR --sheet FILE    of shapes from generate.py
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn

import data
import metrics
import models
import training
from commands import cli, shapes
from commands.options import check_least
from commands.translation import film_kinds
from errors import UserError

COLUMNS = ("translation", "untranslated input")
RANDOM_NETWORKS = 3
SHOWN = 8  # pictures in each row of a sheet


@dataclass(frozen=True)
class Draw:
    """Draw horses and zebras for unpaired translation, and test scenes drawn as both.

    Folders: trainA, trainB, testA, testB, testMask. With --pairs: label maps and their zebras for
    paired translation, in trainA, trainB, testA, testB.
    """

    output: Path
    """New or empty folder."""
    size: int = 64
    """Side of each picture in pixels."""
    train: int = 256
    """Number of training pictures in each domain, all of different scenes."""
    test: int = 48
    """Number of test scenes, each drawn as horse and as zebra, with a mask of the animal."""
    seed: int = 0
    """Seed of the scenes."""
    pairs: bool = False
    """Draw pairs of label maps (A) and zebras (B), instead of unpaired horses and zebras."""


@dataclass(frozen=True)
class Shapes:
    """Draw circles, rings, squares and triangles, with a folder for each."""

    output: Path
    """New or empty folder."""
    size: int = 32
    """Side of each picture in pixels."""
    count: int = 2048
    """Total number of pictures."""
    seed: int = 0
    """Seed of the shapes."""


@dataclass(frozen=True)
class Film:
    """Draw a film: a camera moves over scenes with horses, and a tone sounds. Needs PyAV."""

    output: Path
    """Film to write, such as clip.mp4."""
    size: int = 64
    """Side of the frames in pixels, even."""
    frames: int = 96
    """Number of frames."""
    rate: int = 24
    """Frames in a second."""
    step: int = 1
    """Pixels by which the picture moves from frame to frame."""
    wobble: float = 0.0
    """By how much the daylight wobbles, as a part of the brightness; 0: not at all."""
    seed: int = 0
    """Seed of the scenes."""


@dataclass(frozen=True)
class Score:
    """Compare a translation with the true zebras, inside and outside the animal."""

    data: Path
    """Folder drawn by `draw`."""
    translated: Path
    """Folder with the translations of testA, with the same file names."""
    sheet: Path
    """Sheet (.png) to write, with rows of horses, translations and true zebras."""
    returned: Path | None = None
    """Folder with the translations translated back to horses; the sheet shows them instead of the
    true zebras."""


@dataclass(frozen=True)
class Recognize:
    """Train a small classifier on drawn shapes, and count how many samples it recognizes."""

    samples: Path
    """Folder with a subfolder of generated pictures for each shape, as written by generate.py."""
    sheet: Path
    """Sheet (.png) to write, with a row of samples for each shape."""


def draw(options: Draw) -> None:
    """Write the folders."""
    check_least(options, size=16, train=1, test=1, seed=0)
    write = data.write_pocket_pairs if options.pairs else data.write_pocket
    with disk_errors_reported(options.output):
        write(
            options.output,
            seed=options.seed,
            size_px=options.size,
            train=options.train,
            test=options.test,
        )


def draw_shapes(options: Shapes) -> None:
    """Write the folders of shapes."""
    check_least(options, size=8, count=len(data.SHAPES), seed=0)
    with disk_errors_reported(options.output):
        data.write_shapes(options.output, options.count, options.size, options.seed)


def draw_film(options: Film) -> None:
    """Write the film."""
    check_least(options, size=16, frames=1, rate=1, step=0, seed=0)
    if options.size % 2 or not 0 <= options.wobble < 1:
        raise UserError(
            f"--size {options.size} --wobble {options.wobble}: give an even size, and a wobble "
            "from 0 to below 1"
        )
    film_kinds.check_installed("--output", options.output)
    from commands.translation.film_drawing import write_film  # needs PyAV

    drawn = data.draw_film(options.seed, options.size, options.frames, options.step, options.wobble)
    sound = data.tone(options.frames / options.rate)
    write_film(options.output, drawn.frames(), rate=options.rate, sound=sound)


@contextmanager
def disk_errors_reported(output: Path) -> Iterator[None]:
    """Raise UserError if the folder cannot be written."""
    try:
        yield
    except OSError as error:
        raise UserError(
            f"--output {output}: cannot be written ({error.strerror}); give another folder"
        ) from error


def score(options: Score) -> None:
    """Print the table and write the sheet."""
    names = [path.name for path in data.list_images(options.data / "testA", "--data")]
    horses, zebras, translated, masks = (
        read_all(folder, names, option)
        for folder, option in (
            (options.data / "testA", "--data"),
            (options.data / "testB", "--data"),
            (options.translated, "--translated"),
            (options.data / "testMask", "--data"),
        )
    )
    if translated.shape != zebras.shape:
        raise UserError(
            f"--translated {options.translated}: sizes differ from --data; translate its testA"
        )
    inside = masks[:, :1] > 0
    table = Table("mean absolute difference, of 255", *COLUMNS)
    for title, measure, where in (
        ("to the true zebra's colours, inside the body", colour_distance, inside),
        ("to the true zebra, pixel by pixel, inside the body", pixel_distance, inside),
        ("to the unchanged background, outside the body", pixel_distance, ~inside),
    ):
        row = [f"{measure(shown, zebras, where):.1f}" for shown in (translated, horses)]
        table.add_row(title, *row)
    Console().print(table)
    print_distances(options, translated, horses, zebras)
    rows = {"horses": horses, "translations": translated, "true zebras": zebras}
    if options.returned:
        returned = read_all(options.returned, names, "--returned")
        if returned.shape != horses.shape:
            raise UserError(
                f"--returned {options.returned}: sizes differ from --data; translate --translated"
            )
        rows = {"horses": horses, "translations": translated, "translated back": returned}
        distance = pixel_distance(returned, horses, torch.ones_like(inside))
        print(f"translated back: {distance:.1f} of 255 from the horses, pixel by pixel")
    write_sheet(options.sheet, [row[:SHOWN] for row in rows.values()])
    print(f"{options.sheet}: {', '.join(rows)}; scores of {len(names)} test scenes")


def recognize(options: Recognize) -> None:
    """Print the table and write the sheet."""
    samples = []
    for shape in data.SHAPES:
        folder = options.samples / shape
        names = [path.name for path in data.list_images(folder, "--samples")]
        samples.append(read_all(folder, names, "--samples"))
    sides = {row.shape[2:] for row in samples}
    size_px = min(min(side) for side in sides)
    if sides != {(size_px, size_px)} or size_px < shapes.SMALLEST_PX:
        raise UserError(
            f"--samples {options.samples}: pictures must be square, of one size and of at least "
            f"{shapes.SMALLEST_PX} pixels; generate them with one network"
        )
    classifier = shapes.train_classifier(size_px)
    table = Table("class asked for, recognized as (%)", *data.SHAPES)
    right = 0
    for label, row in enumerate(samples):
        found = classifier.recognize(row).bincount(minlength=len(data.SHAPES))
        table.add_row(data.SHAPES[label], *[f"{100 * count / len(row):.1f}" for count in found])
        right += int(found[label])
    Console().print(table)
    write_sheet(options.sheet, [row[:SHOWN] for row in samples])
    total = sum(map(len, samples))
    print(
        f"{options.sheet}: {right / total:.1%} of {total} samples recognized as the class asked "
        f"for; of drawn shapes {classifier.accuracy:.1%}"
    )


def write_sheet(path: Path, rows: Sequence[Tensor]) -> None:
    """Write rows of pictures [B, 3, H, W], small ones enlarged to about 128 pixels."""
    sheet = training.sheet(rows)
    scale = max(1, 128 // rows[0].shape[3])
    sheet = sheet.repeat_interleave(scale, 1).repeat_interleave(scale, 2)
    training.write_output(path, "--sheet", lambda temporary: training.save_sheet(temporary, sheet))


def print_distances(options: Score, translated: Tensor, horses: Tensor, zebras: Tensor) -> None:
    """Print how far the pictures of the test scenes are from the training zebras."""
    folder = options.data / "trainB"
    names = [path.name for path in data.list_images(folder, "--data")]
    others = read_all(folder, names, "--data")
    if min(len(zebras), len(others)) < 2:  # no covariance
        return
    table = Table("distance to other zebras, times that of the true zebras", *COLUMNS)
    row = relative_distances([translated, horses], zebras, others)
    title = f"Fréchet distance in features of {RANDOM_NETWORKS} random networks"
    table.add_row(title, *(f"{distance:.2f}" for distance in row))
    Console().print(table)


def read_all(folder: Path, names: Sequence[str], option: str) -> Tensor:
    """Read pictures of the same size: [N, 3, H, W] in [-1, 1]."""
    pictures = []
    for name in names:
        path = folder / name
        if not path.is_file():
            raise UserError(f"{option}: {path} is missing; translate the whole testA folder first")
        try:
            pictures.append(data.to_tensor(data.decode_image(path)))
        except data.UnreadableImageError as error:
            raise UserError(f"{option}: {error}; draw or translate it again") from error
        if pictures[-1].shape != pictures[0].shape:
            raise UserError(f"{option}: {path} differs in size from {folder / names[0]}")
    return torch.stack(pictures)


def relative_distances(shown: Sequence[Tensor], truth: Tensor, others: Tensor) -> list[float]:
    """Return how much further pictures are from `others` than `truth` is; 1: no further.

    d(pictures, others) / d(truth, others), d the Fréchet distance in the features of a ResNet-18
    with random weights (8 base channels, group norm, 64 features); the mean over the networks.
    shown: sets [N, 3, H, W] of as many pictures as `truth`; others [M, 3, H, W]; N, M at least 2.
    """
    ratios = []
    for seed in range(RANDOM_NETWORKS):
        network = models.build_encoder("resnet18", truth.shape[3], base_channels=8, norm="group")
        models.draw_layers(network, torch.Generator().manual_seed(seed))
        other, *sides = (
            metrics.gaussian_of_features(random_features(network, side))
            for side in (others, truth, *shown)
        )
        least, *distances = (metrics.frechet_distance(side, other) for side in sides)
        ratios.append([distance / least for distance in distances])
    return torch.tensor(ratios, dtype=torch.float64).mean(0).tolist()


@torch.no_grad()
def random_features(network: nn.Module, pictures: Tensor) -> Tensor:
    """Return the features [N, D] of pictures [N, 3, H, W]."""
    return torch.cat([network.eval()(part) for part in pictures.split(32)])


def pixel_distance(pictures: Tensor, truth: Tensor, where: Tensor) -> float:
    """Return the mean absolute difference over `where` [N, 1, H, W], in 8-bit levels."""
    difference = (pictures - truth).abs().mean(1, keepdim=True) * 127.5
    return difference[where].mean().item()


def colour_distance(pictures: Tensor, truth: Tensor, where: Tensor) -> float:
    """Return the distance between the pictures' colour distributions, in 8-bit levels.

    The mean over pictures and channels of the Wasserstein-1 distance between the pixels in `where`
    [N, 1, H, W]: the mean difference of the sorted levels. The position of stripes does not matter,
    since unpaired training cannot determine it.
    """
    moves = []
    for picture, true_picture, place in zip(pictures, truth, where[:, 0], strict=True):
        levels, true_levels = (image[:, place].sort(1).values for image in (picture, true_picture))
        moves.append((levels - true_levels).abs().mean() * 127.5)
    return torch.stack(moves).mean().item()


def main(arguments: Sequence[str] | None = None) -> None:
    """Run `draw`, `shapes`, `film`, `score` or `recognize`."""
    commands = {Draw: draw, Shapes: draw_shapes, Film: draw_film}
    commands |= {Score: score, Recognize: recognize}
    options = cli.parse_one_of(list(commands), arguments, __doc__)
    commands[type(options)](options)


if __name__ == "__main__":
    cli.run(main)
