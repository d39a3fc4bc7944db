"""Means and deviations of feature maps, gathered tile by tile."""

from typing import Literal, NamedTuple, Protocol

import torch
from torch import Tensor

from models.fused_norm import EPS
from models.tiled.regions import Region, Span, Tile, spans_of

StatisticsKind = Literal["exact", "thumbnail", "interpolated"]
ROWS_AT_ONCE = 64  # of a tile, converted to float64


class Statistics(Protocol):
    """What a norm subtracts and multiplies by."""

    def at(self, region: Region) -> tuple[Tensor, Tensor]:
        """Return the mean and 1 / sqrt(variance + 1e-5), which broadcast to [B, C, h, w]."""
        ...


class Uniform(NamedTuple):
    """The same mean and scale everywhere, each [1, C, 1, 1]."""

    mean: Tensor
    scale: Tensor

    def at(self, region: Region) -> tuple[Tensor, Tensor]:
        """Return both."""
        return self.mean, self.scale


class Interpolated:
    """A mean and a scale for each tile, interpolated bilinearly between the tiles' centres.

    Both are constant outside the outermost centres, and exactly so between equal ones: in a flat
    picture a norm multiplies the least error of a mean by 1 / sqrt(1e-5) = 316. Source: dense
    normalization (Ho et al. 2024), with the biased variance and 1e-5 instead of the unbiased one
    without an epsilon.
    mean, scale: [C, rows, columns] of the grid; spans: those of its rows and of its columns.
    """

    def __init__(self, mean: Tensor, scale: Tensor, spans: tuple[list[Span], list[Span]]):
        self.mean, self.scale = mean, scale
        self.centres = [
            torch.tensor([(span.start + span.stop) / 2 for span in along], device=mean.device)
            for along in spans
        ]

    def at(self, region: Region) -> tuple[Tensor, Tensor]:
        """Return both as [1, C, h, w]."""
        return tuple(self._interpolated(table, region)[None] for table in (self.mean, self.scale))

    def _interpolated(self, table: Tensor, region: Region) -> Tensor:
        for axis, (span, centres) in enumerate(zip(region, self.centres, strict=True), start=1):
            first, second, weight = _between(span, centres)
            weight = weight if axis == 2 else weight[:, None]
            start = table.index_select(axis, first)
            table = start.lerp(table.index_select(axis, second), weight)
        return table


def _between(span: Span, centres: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return, for each pixel of the span, the centres before and after it and the latter's weight.

    Beyond the outermost centres both are the same one.
    """
    pixels = torch.arange(span.start, span.stop, device=centres.device) + 0.5
    after = torch.searchsorted(centres, pixels)
    first = (after - 1).clamp_min(0)
    second = after.clamp_max(len(centres) - 1)
    distance = (centres[second] - centres[first]).clamp_min(1)
    return first, second, ((pixels - centres[first]) / distance).clamp(0, 1)


class Sums:
    """Gathers the sums of one map over its tiles, in float64.

    size: the map's height and width; step: the side of its tiles.
    """

    def __init__(self, channels: int, size: tuple[int, int], step: int, device: torch.device):
        self.size = size
        self.spans = tuple(spans_of(side, step) for side in size)
        grid = [len(along) for along in self.spans]
        self.sums = torch.zeros(2, channels, *grid, dtype=torch.float64, device=device)

    def add(self, tile: Tile, x: Tensor) -> None:
        """Add the values [1, C, h, w] of a tile, and their squares."""
        for part in x[0].split(ROWS_AT_ONCE, dim=1):
            values = part.double()
            self.sums[0, :, tile.row, tile.column] += values.sum((1, 2))
            self.sums[1, :, tile.row, tile.column] += values.square_().sum((1, 2))

    def uniform(self) -> Uniform:
        """Return the statistics of the whole map."""
        mean, scale = _moments(self.sums.sum((2, 3)), self.size[0] * self.size[1])
        return Uniform(mean[None, :, None, None], scale[None, :, None, None])

    def interpolated(self) -> Interpolated:
        """Return the statistics of each tile, to be interpolated."""
        rows, columns = (
            self.sums.new_tensor([span.length for span in along]) for along in self.spans
        )
        return Interpolated(*_moments(self.sums, rows[:, None] * columns), self.spans)


def _moments(sums: Tensor, count: Tensor | int) -> tuple[Tensor, Tensor]:
    """Return the mean and 1 / sqrt(variance + 1e-5) in float32, from sums [2, ...] in float64."""
    mean, square = sums / count
    variance = (square - mean.square()).clamp_min(0)
    return mean.float(), (variance + EPS).rsqrt().float()
