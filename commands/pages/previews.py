"""The preview sheets of a run: which rows they have, and which of them a page holds."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

import data
import training
from commands.pages import pictures

MOST_PREVIEWS = 32
MOST_BYTES = 7_000_000  # of all sheets of a page; a third more as text
SIDE_PX = 1280
_MOST_COLUMNS = 8


class Pair(NamedTuple):
    """Two rows whose pictures a page lays over one another, with a slider between them."""

    before: int
    after: int
    title: str


class Rows(NamedTuple):
    """The rows of a method's sheets."""

    names: tuple[str, ...]  # of all rows; empty: as many as there are
    pairs: tuple[Pair, ...]


ROWS = {
    "train_cut.py": Rows(
        ("source", "translation", "target", "target, translated"),
        (Pair(0, 1, "source to translation"),),
    ),
    "train_cyclegan.py": Rows(
        ("A", "A to B", "and back to A", "A as if it were B")
        + ("B", "B to A", "and back to B", "B as if it were A"),
        (Pair(0, 1, "A to B"), Pair(4, 5, "B to A")),
    ),
    "train_pix2pix.py": Rows(
        ("source", "translation", "target"), (Pair(0, 1, "source to translation"),)
    ),
    "train_features.py": Rows(("picture", "first view", "second view"), ()),
}
FROM_NOISE = Rows((), ())


def rows_of(command: str) -> Rows:
    """Return the rows of the sheets that a training script writes."""
    return ROWS.get(command, FROM_NOISE)


class Grid(NamedTuple):
    """Where the pictures of a sheet are, in pixels of the encoded sheet."""

    rows: int
    columns: int
    gap: float
    cell_width: float
    cell_height: float

    def scaled(self, by: float) -> "Grid":
        """Return the grid of the sheet enlarged by a factor."""
        return Grid(self.rows, self.columns, *(by * size for size in self[2:]))


class Sheet(NamedTuple):
    """An encoded preview."""

    images: int
    file: bytes
    grid: Grid


class Sheets:
    """The sheets of a run, each encoded once; `kept` chooses those that a page holds."""

    def __init__(self, rows: Rows, side_px: int = SIDE_PX):
        """side_px: of the longer side of an encoded sheet, at most."""
        self.rows, self.side_px = rows, side_px
        self._encoded: dict[Path, Sheet] = {}
        self._grids: dict[tuple[int, int], Grid] = {}  # by the size of a sheet
        self.unreadable: set[Path] = set()

    def of(
        self,
        previews: Mapping[int, Path],
        *,
        newly: int | None = None,
        most: int = MOST_PREVIEWS,
        most_bytes: int = MOST_BYTES,
    ) -> list[Sheet]:
        """Return the sheets for a page, the oldest first.

        newly: how many may be encoded now; of the others the newest come first, so that after some
        calls all are there.
        """
        chosen = kept(list(previews), most)
        shown = self._encode({images: previews[images] for images in chosen}, newly)
        while len(shown) > 1 and sum(len(sheet.file) for sheet in shown) > most_bytes:
            most = len(shown) // 2
            chosen = set(kept([sheet.images for sheet in shown], most))
            shown = [sheet for sheet in shown if sheet.images in chosen]
        held = {previews[sheet.images] for sheet in shown}
        self._encoded = {path: sheet for path, sheet in self._encoded.items() if path in held}
        return shown

    def _encode(self, previews: Mapping[int, Path], newly: int | None) -> list[Sheet]:
        for images, path in sorted(previews.items(), reverse=True):
            if path in self._encoded or path in self.unreadable or newly == 0:
                continue
            newly = None if newly is None else newly - 1
            try:
                self._encoded[path] = self._read(images, path)
            except data.UnreadableImageError:
                self.unreadable.add(path)
        return [self._encoded[path] for path in previews.values() if path in self._encoded]

    def _read(self, images: int, path: Path) -> Sheet:
        """Read a preview and make it small; raises UnreadableImageError for a damaged file."""
        image = data.decode_image(path)
        if image.size not in self._grids:  # sheets of one size have their cells at the same places
            self._grids[image.size] = find_grid(image, len(self.rows.names))
        small = pictures.fitted(image, self.side_px) if max(image.size) > self.side_px else image
        grid = self._grids[image.size].scaled(small.width / image.width)
        return Sheet(images, pictures.encoded(small), grid)


def kept(numbers: Sequence[int], most: int) -> list[int]:
    """Return at most about `most` numbers: every 2^k-th, and the last.

    As a list grows, a number that was left out before stays left out.
    """
    step = 1
    while len(numbers) > most * step:
        step *= 2
    chosen = list(numbers[::step])
    return chosen if not numbers or chosen[-1] == numbers[-1] else [*chosen, numbers[-1]]


def find_grid(image: Image.Image, rows: int) -> Grid:
    """Find the cells of a sheet by the white lines between them; rows 0: square cells.

    A sheet whose lines cannot be found is one cell.
    """
    gap = training.pictures.GAP_PX
    levels = np.asarray(image)
    white = (levels == 255).all(2)
    columns_white, rows_white = white.all(0), white.all(1)
    width, height = image.width - gap, image.height - gap
    for columns in range(_MOST_COLUMNS, 0, -1):
        side = width // columns
        count = rows or max(1, height // side)
        if (
            width % columns == 0
            and height % count == 0
            and (rows or height // count == side)
            and _is_ruled(columns_white, side, gap)
            and _is_ruled(rows_white, height // count, gap)
        ):
            return Grid(count, columns, gap, side - gap, height // count - gap)
    return Grid(1, 1, 0, image.width, image.height)


def _is_ruled(white: np.ndarray, pitch: int, gap: int) -> bool:
    """Return whether there is a white line of `gap` pixels at each multiple of the pitch."""
    starts = np.arange(0, len(white), pitch)
    return pitch > gap and all(white[start : start + gap].all() for start in starts)
