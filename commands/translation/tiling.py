"""Large pictures for translate.py: read in parts, translated in tiles, written band by band."""

import math
import shutil
import sys
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Protocol

import numpy as np
from torch import Tensor

import data
import training
from commands import outputs
from commands.memory import memory_bytes
from commands.options import check_least, check_ranges, check_read
from commands.translation.folders import Translator
from data.bands import write_bands
from data.large import LargePicture, open_large
from errors import UserError
from models.tiled import (
    Region,
    Span,
    StatisticsKind,
    Storage,
    TiledTranslation,
    Tiling,
    check_tile,
)

ROWS_AT_ONCE = 64  # converted to levels


class TileOptions(Protocol):
    """The options of translate.py for pictures that do not fit into memory at once."""

    tile: int  # side in pixels; 0: no tiles
    statistics: StatisticsKind
    memory_gb: float


def check_tile_options(options: TileOptions, **without: bool) -> None:
    """Raise UserError for values that do not fit; without: other options that --tile excludes."""
    check_least(options, tile=0)
    check_ranges(options, above_zero=(), at_least_zero=("memory_gb",))
    if not options.tile:
        check_read(options, dict.fromkeys(("statistics", "memory_gb"), (False, "--tile")))
        return
    for name, given in without.items():
        if given:
            raise UserError(f"--tile {options.tile}: not together with --{name}; leave one out")
    if options.memory_gb * 1e9 > memory_bytes():
        raise UserError(
            f"--memory_gb {options.memory_gb:g}: more than this machine's "
            f"{memory_bytes() / 1e9:.1f} GB; give less, what does not fit waits in files"
        )


def translate_in_tiles(
    translator: Translator,
    targets: Mapping[Path, Path],
    options: TileOptions,
    unreadable: dict[Path, str],
) -> None:
    """Translate each picture of `targets` into its file; record the unreadable ones with reasons.

    Raises UserError for tiles, statistics or a network that do not fit, and where the disk has no
    room.
    """
    check_tile(translator.network, options.tile)
    if options.statistics != "exact":
        translator.check_instance_norms(f"--statistics {options.statistics}", "tiles")
    for path, target in targets.items():
        write = partial(_translate, translator, path, target, options)
        try:
            training.write_output(target, "--output", write)
        except data.UnreadableImageError as error:
            unreadable[path] = error.reason


def _translate(
    translator: Translator, path: Path, target: Path, options: TileOptions, temporary: Path
) -> None:
    """Write the translation of a picture, as `target` is to be, to a temporary file beside it."""
    memory, folder = int(options.memory_gb * 1e9), target.parent
    with open_large(path, translator.source) as picture:
        pixels = math.prod(picture.size)
        levels_bytes = pixels * picture.channels * picture.dtype.itemsize
        levels_in_memory = levels_bytes if levels_bytes <= memory else 0
        translation = TiledTranslation(  # planned before the picture is read
            translator.network,
            picture.size,
            lambda region: _read_picture(translator, levels, region),
            Tiling(options.tile, folder, memory - levels_in_memory, options.statistics),
        )
        file_bytes = translation.plan.file_bytes + levels_bytes - levels_in_memory
        output_bytes = pixels * translator.target.channels * translator.target.bits // 8
        _check_room(path, target, output_bytes + file_bytes)
        _print_plan(path, translation, translation.plan.memory_bytes + levels_in_memory, file_bytes)
        levels = _read_levels(picture, None if levels_in_memory else folder)
    with training.LiveLine(translation.tile_count(), label=path.name, unit="tiles") as line:
        bands = _levels_of(translator, translation.bands(line.advance))
        write_bands(temporary, target.suffix, picture.size, bands)


def _print_plan(
    path: Path, translation: TiledTranslation, memory_bytes: int, file_bytes: int
) -> None:
    """Say on stderr what is to be done, and what it takes."""
    height, width = translation.size
    print(
        f"{path}: {width} x {height} px; {translation.tile_count()} tiles in "
        f"{len(translation.plan.steps)} passes; the picture and maps that wait take up to "
        f"{memory_bytes / 1e9:.2f} GB of memory and {file_bytes / 1e9:.2f} GB of temporary files "
        f"in {translation.tiling.folder}",
        file=sys.stderr,
    )


def _read_levels(picture: LargePicture, folder: Path | None) -> Storage:
    """Read all parts of a picture into memory, or into a file in `folder`."""
    levels = Storage(picture.channels, picture.size, picture.dtype, folder)
    for top, left, values in picture.parts:
        rows, columns = values.shape[1:]
        levels.write(Region(Span(top, top + rows), Span(left, left + columns)), values[None])
    return levels


def _read_picture(translator: Translator, levels: Storage, region: Region) -> Tensor:
    """Return a region of the picture, float [1, C, h, w] in [-1, 1] on the network's device."""
    return translator.source.from_planes(levels.read(region)[0])[None].to(translator.device)


def _levels_of(translator: Translator, bands: Iterator[Tensor]) -> Iterator[np.ndarray]:
    """Return bands as they are saved: uint8 or uint16 [h, W, C]."""
    for band in bands:
        for part in band.split(ROWS_AT_ONCE, 1):
            image = outputs.as_image(part, translator.target, translator.checkpoint)
            yield np.asarray(image).reshape(*part.shape[1:], -1)


def _check_room(path: Path, target: Path, needed_bytes: int) -> None:
    """Raise UserError if the output's folder cannot hold the files."""
    free = shutil.disk_usage(target.parent).free
    if needed_bytes > free:
        raise UserError(
            f"--output {target}: translating {path} needs {needed_bytes / 1e9:.2f} GB for the "
            f"output and temporary files, its disk has {free / 1e9:.2f} GB left; make room, give "
            "more --memory_gb, or another path"
        )
