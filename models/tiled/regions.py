"""Rectangles of feature maps."""

from collections.abc import Iterator
from typing import NamedTuple

from torch import Tensor


class Span(NamedTuple):
    """Rows or columns from `start` up to, but not including, `stop`."""

    start: int
    stop: int

    @property
    def length(self) -> int:
        """The number of rows or columns."""
        return self.stop - self.start


class Region(NamedTuple):
    """A rectangle of a map [B, C, H, W]; as a tuple, its spans along H and W."""

    rows: Span
    columns: Span

    @property
    def size(self) -> tuple[int, int]:
        """Height and width."""
        return self.rows.length, self.columns.length


class Tile(NamedTuple):
    """A region of a grid of tiles, and its row and column in that grid."""

    region: Region
    row: int
    column: int


def whole(height: int, width: int) -> Region:
    """Return the region of a whole map."""
    return Region(Span(0, height), Span(0, width))


def hull(first: Region | None, second: Region) -> Region:
    """Return the smallest region that contains both; None contains nothing."""
    if first is None:
        return second
    spans = zip(first, second, strict=True)
    return Region(*(Span(min(a.start, b.start), max(a.stop, b.stop)) for a, b in spans))


def clipped(span: Span, length: int) -> Span:
    """Return the part of a span that lies in 0 to `length`."""
    return Span(max(span.start, 0), min(span.stop, length))


def cropped(window: Tensor, at: Region, wanted: Region) -> Tensor:
    """Return the values of `wanted` from a window [B, C, h, w] that holds those of `at`."""
    rows, columns = (
        slice(inner.start - outer.start, inner.stop - outer.start)
        for inner, outer in zip(wanted, at, strict=True)
    )
    return window[:, :, rows, columns]


def spans_of(length: int, step: int) -> list[Span]:
    """Return the spans of `step` that cover `length`; the last one may be shorter."""
    return [Span(start, min(start + step, length)) for start in range(0, length, step)]


def tiles_of(height: int, width: int, step: int) -> Iterator[Tile]:
    """Yield tiles of `step` x `step` that cover a map, row by row."""
    for row, rows in enumerate(spans_of(height, step)):
        for column, columns in enumerate(spans_of(width, step)):
            yield Tile(Region(rows, columns), row, column)
