"""Translation of large pictures, tile by tile and layer by layer."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from math import ceil
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from errors import UserError
from models.inference import in_mode
from models.tiled.graph import Map, Read, ancestry, computed, is_read
from models.tiled.networks import graph_of, picture_region
from models.tiled.operators import Norm
from models.tiled.plan import Step, plan_steps
from models.tiled.regions import Region, Span, cropped, spans_of, tiles_of, whole
from models.tiled.statistics import StatisticsKind, Sums
from models.tiled.storage import Storage

Progress = Callable[[int], None]  # called with the number of tiles computed since the last call


@dataclass(frozen=True)
class Tiling:
    """How a picture is cut into tiles.

    tile_px: side of a tile. memory_bytes: for maps that wait; those that do not fit wait in
    temporary files in `folder`.
    """

    tile_px: int
    folder: Path
    memory_bytes: int = 0
    statistics: StatisticsKind = "exact"


class TiledTranslation:
    """A translation computed in tiles, in an amount of memory that does not grow with the picture.

    Equal to `translate` up to rounding: each layer is computed over all tiles, with as much around
    them as it sees, and the sums of each instance norm over all tiles are gathered in float64.
    Other statistics:

    - `thumbnail`: those of the picture averaged down to `tile_px` or less (Chen et al. 2022).
    - `interpolated`: those of the tiles, interpolated to every pixel (Ho et al. 2024).

    size: of the picture; read: a region of it -> float [1, C, h, w] in [-1, 1] on the network's
    device. Raises UserError for tiles that are too small, and for networks in which a pixel
    depends on more than its surroundings, other than through an instance norm. `plan` is made
    without reading the picture.
    """

    def __init__(self, network: nn.Module, size: tuple[int, int], read: Read, tiling: Tiling):
        check_tile(network, tiling.tile_px)
        self.network, self.size, self.read, self.tiling = network, size, read, tiling
        self.device = next(network.parameters()).device
        with in_mode(network, training=False), torch.no_grad():
            self.translation = graph_of(network, size, read)
        self.plan = plan_steps(
            self.translation,
            tiling.tile_px,
            tiling.memory_bytes,
            gathers=tiling.statistics != "thumbnail",
        )

    def tile_count(self) -> int:
        """Return the number of tiles that are computed, for a display of progress."""
        sides = [(step.map.size, self._side(step.map)) for step in self.plan.steps[:-1]]
        sides.append((self.size, self.tiling.tile_px))
        return sum(ceil(size[0] / side) * ceil(size[1] / side) for size, side in sides)

    def bands(self, progress: Progress = lambda tiles: None) -> Iterator[Tensor]:
        """Yield the translation from top to bottom: float32 [C, h, W] in [-1, 1], on the CPU.

        Raises OSError if the disk has no room.
        """
        with in_mode(self.network, training=False):
            if self.tiling.statistics == "thumbnail":
                self._take_statistics_of(_thumbnail(self.size, self.read, self.tiling.tile_px))
            *steps, last = self.plan.steps
            for step in steps:
                self._sweep(step, progress)
            order = ancestry(self.translation, is_read)
            for rows in spans_of(self.size[0], self.tiling.tile_px):
                yield self._band(rows, order, progress)
            _free(last)

    @torch.no_grad()
    def _band(self, rows: Span, order: list[Map], progress: Progress) -> Tensor:
        band = torch.empty(self.translation.channels, rows.length, self.size[1])
        for columns in spans_of(self.size[1], self.tiling.tile_px):
            region = picture_region(self.translation, self.size, Region(rows, columns))
            window = computed(self.translation, region, order)[0]
            band[:, :, slice(*columns)] = window.float().clamp(-1, 1)
            progress(1)
        return band

    @torch.no_grad()
    def _sweep(self, step: Step, progress: Progress) -> None:
        """Compute a map tile by tile; store it, gather its sums, or both."""
        one, side = step.map, self._side(step.map)
        storage = self._storage(step) if step.keeps else None
        sums = Sums(one.channels, one.size, side, self.device) if step.norms else None
        order = ancestry(one, is_read)
        for tile in tiles_of(*one.size, side):
            window = computed(one, tile.region, order)
            if storage:
                storage.write(tile.region, window)
            if sums:
                sums.add(tile, window)
            progress(1)
        if storage:
            one.read = lambda region: storage.read(region).to(self.device)
        for norm in step.norms:
            kind = self.tiling.statistics
            norm.statistics = sums.interpolated() if kind == "interpolated" else sums.uniform()
        _free(step)

    def _storage(self, step: Step) -> Storage:
        folder = self.tiling.folder if step.in_file else None
        return Storage(step.map.channels, step.map.size, torch.float32, folder)

    def _side(self, one: Map) -> int:
        """Return the side of a map's tiles."""
        return max(1, int(self.tiling.tile_px / one.reduction))

    def _take_statistics_of(self, thumbnail: Tensor) -> None:
        """Give each norm the statistics that it has in the translation of a thumbnail."""
        size = tuple(thumbnail.shape[2:])
        at_once = replace(self.tiling, memory_bytes=2**62, statistics="exact")
        small = TiledTranslation(
            self.network, size, lambda part: cropped(thumbnail, whole(*size), part), at_once
        )
        for step in small.plan.steps[:-1]:
            small._sweep(step, lambda tiles: None)
        norms, measured = (_norms(graph) for graph in (self.translation, small.translation))
        for norm, small_norm in zip(norms, measured, strict=True):
            norm.statistics = small_norm.statistics


def check_tile(network: nn.Module, tile_px: int) -> None:
    """Raise UserError unless a tile is at least the smallest picture of the network.

    A tile of a U-Net then has at least one pixel of its bottleneck.
    """
    least = max(network.smallest_size_px, network.size_multiple)
    if tile_px < least:
        raise UserError(
            f"`tile` {tile_px}: {type(network).__name__} needs tiles of at least {least} px; give "
            f"{least} or more, or leave `tile` out"
        )


def _thumbnail(size: tuple[int, int], read: Read, tile_px: int) -> Tensor:
    """Return the picture [1, C, h, w] averaged over squares, so that no side is above `tile_px`."""
    factor = ceil(max(size) / tile_px)
    side = max(1, tile_px // factor) * factor
    rows = []
    for along in spans_of(size[0], side):
        parts = (read(Region(along, across)).double() for across in spans_of(size[1], side))
        rows.append(torch.cat([F.avg_pool2d(part, factor, ceil_mode=True) for part in parts], 3))
    return torch.cat(rows, 2).float()  # equal pixels have exactly their value as mean


def _norms(translation: Map) -> list[Norm]:
    return [one.operator for one in ancestry(translation) if isinstance(one.operator, Norm)]


def _free(step: Step) -> None:
    """Forget the maps that no later step reads."""
    for freed in step.frees:
        freed.read = None
