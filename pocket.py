"""Drawn data sets: "pocket horse2zebra" with the score of a translation of it, and shapes.

python pocket.py draw --output DIR            trainA trainB testA testB testMask
python pocket.py draw --output DIR --pairs    trainA trainB testA testB: label maps and zebras
python pocket.py shapes --output DIR          circle ring square triangle: for train_gan.py
python pocket.py score --data DIR --translated DIR --sheet FILE
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor

import data
import training
from commands import cli
from commands.options import check_least
from errors import UserError


@dataclass(frozen=True)
class Draw:
    """Draw the folders: horses to learn from, zebras to learn from, test scenes as both.

    With --pairs: label maps and the zebras that belong to them, to learn from and to test.
    """

    output: Path
    """New or empty folder."""
    size: int = 64
    """Pixels of a picture's side."""
    train: int = 256
    """Training pictures of each kind; no scene is drawn as both."""
    test: int = 48
    """Test scenes, each drawn as horse, as zebra, and with the animal's mask."""
    seed: int = 0
    """Another seed draws other scenes."""
    pairs: bool = False
    """Label maps (A) and their zebras (B) as pairs, in place of unpaired horses and zebras."""


@dataclass(frozen=True)
class Shapes:
    """Draw shapes of any colour, place and size, with a folder for each kind."""

    output: Path
    """New or empty folder."""
    size: int = 32
    """Pixels of a picture's side."""
    count: int = 2048
    """Pictures of all kinds together."""
    seed: int = 0
    """Another seed draws other shapes."""


@dataclass(frozen=True)
class Score:
    """Compare a translation with the true zebras, inside and outside the animal."""

    data: Path
    """Folder that `draw` made."""
    translated: Path
    """Folder with the translated testA, same file names."""
    sheet: Path
    """PNG to write: horse, translation, true zebra."""


def draw(options: Draw) -> None:
    """Write the folders."""
    check_least(options, size=16, train=1, test=1, seed=0)
    write = data.write_pocket_pairs if options.pairs else data.write_pocket
    with disk_errors_told(options.output):
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
    with disk_errors_told(options.output):
        data.write_shapes(options.output, options.count, options.size, options.seed)


@contextmanager
def disk_errors_told(output: Path) -> Iterator[None]:
    """Raise UserError where the system does not let a folder be written."""
    try:
        yield
    except OSError as error:
        raise UserError(
            f"--output {output}: cannot be written ({error.strerror}); name another folder"
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
        raise UserError(f"--translated {options.translated}: other sizes than --data; translate it")
    inside = masks[:, :1] > 0
    table = Table("mean absolute difference, of 255", "translation", "untranslated input")
    for title, measure, where in (
        ("to the true zebra's colours, inside the body", colour_distance, inside),
        ("to the true zebra, pixel by pixel, inside the body", pixel_distance, inside),
        ("to the unchanged background, outside the body", pixel_distance, ~inside),
    ):
        row = [f"{measure(shown, zebras, where):.1f}" for shown in (translated, horses)]
        table.add_row(title, *row)
    Console().print(table)
    shown = slice(0, 8)
    sheet = training.sheet([horses[shown], translated[shown], zebras[shown]])
    scale = max(1, 128 // horses.shape[3])
    sheet = sheet.repeat_interleave(scale, 1).repeat_interleave(scale, 2)
    try:
        training.save_sheet(options.sheet, sheet)
    except OSError as error:
        raise UserError(
            f"--sheet {options.sheet}: cannot be written ({error.strerror}); name another file"
        ) from error
    print(f"{options.sheet}: horse, translation, true zebra, of {len(names)} test scenes")


def read_all(folder: Path, names: Sequence[str], option: str) -> Tensor:
    """Read pictures of equal size: [N, 3, H, W] in [-1, 1]."""
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
            raise UserError(f"{option}: {path} has another size than {folder / names[0]}")
    return torch.stack(pictures)


def pixel_distance(pictures: Tensor, truth: Tensor, where: Tensor) -> float:
    """Return the mean absolute difference over `where` [N, 1, H, W], in levels of 255."""
    difference = (pictures - truth).abs().mean(1, keepdim=True) * 127.5
    return difference[where].mean().item()


def colour_distance(pictures: Tensor, truth: Tensor, where: Tensor) -> float:
    """Return how far the levels of each channel must move, wherever they stand, in levels of 255.

    The mean over pictures and channels of the Wasserstein-1 distance between the pixels in `where`
    [N, 1, H, W]: the mean difference of the sorted levels. Stripes in other places cost nothing
    here, as nothing in unpaired training says where each stripe must be.
    """
    moves = []
    for picture, true_picture, place in zip(pictures, truth, where[:, 0], strict=True):
        levels, true_levels = (image[:, place].sort(1).values for image in (picture, true_picture))
        moves.append((levels - true_levels).abs().mean() * 127.5)
    return torch.stack(moves).mean().item()


def main(arguments: Sequence[str] | None = None) -> None:
    """Run `draw`, `shapes` or `score`."""
    options = cli.parse_one_of([Draw, Shapes, Score], arguments, __doc__)
    {Draw: draw, Shapes: draw_shapes, Score: score}[type(options)](options)


if __name__ == "__main__":
    cli.run(main)
