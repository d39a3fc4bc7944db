"""Writes pictures from bands of rows, so that they are never in memory as a whole."""

import struct
import zlib
from collections.abc import Iterable, Iterator
from itertools import chain
from pathlib import Path
from typing import BinaryIO

import numpy as np
import tifffile

from data.large import TIFF_ENDINGS

BAND_ENDINGS = (".png", *TIFF_ENDINGS)  # of the files that `write_bands` writes
TIFF_TILE_PX = 256

_PNG_COLOURS = {1: 0, 3: 2, 4: 6}  # by channels: grey, RGB, RGBA
_UP = 2  # the PNG filter that subtracts the row above
_LEVEL = 6  # of zlib


def write_bands(
    path: Path, ending: str, size: tuple[int, int], bands: Iterable[np.ndarray]
) -> None:
    """Write a picture as PNG, or as tiled BigTIFF compressed by Deflate, by its `ending`.

    size: height and width. bands: uint8 or uint16 [h, width, channels] from top to bottom, each of
    any height; 1 channel is grey, 3 are RGB, 4 RGBA. ending: one of `BAND_ENDINGS`, in any case.
    """
    bands = iter(bands)
    first = next(bands)
    shape, dtype, bands = (*size, first.shape[2]), first.dtype, chain([first], bands)
    if ending.lower() in TIFF_ENDINGS:
        _write_tiff(path, shape, dtype, bands)
        return
    with open(path, "wb") as file:
        _write_png(file, shape, dtype, bands)


def _write_tiff(
    path: Path, shape: tuple[int, int, int], dtype: np.dtype, bands: Iterable[np.ndarray]
) -> None:
    tiles = (
        band[:, left : left + TIFF_TILE_PX]
        for band in of_height(bands, TIFF_TILE_PX)
        for left in range(0, shape[1], TIFF_TILE_PX)
    )
    with tifffile.TiffWriter(path, bigtiff=True) as file:
        file.write(
            (tile if shape[2] > 1 else tile[:, :, 0] for tile in tiles),
            shape=shape if shape[2] > 1 else shape[:2],
            dtype=dtype,
            tile=(TIFF_TILE_PX, TIFF_TILE_PX),
            photometric="minisblack" if shape[2] == 1 else "rgb",
            extrasamples=("unassalpha",) if shape[2] == 4 else (),
            compression="zlib",
            maxworkers=1,
            metadata=None,
        )


def of_height(bands: Iterable[np.ndarray], height: int) -> Iterator[np.ndarray]:
    """Cut and join bands so that each has `height` rows, except the last."""
    held = None
    for band in bands:
        held = band if held is None else np.concatenate([held, band])
        whole = len(held) - len(held) % height
        for top in range(0, whole, height):
            yield held[top : top + height]
        held = held[whole:]
    if held is not None and len(held):
        yield held


def _write_png(
    file: BinaryIO, shape: tuple[int, int, int], dtype: np.dtype, bands: Iterable[np.ndarray]
) -> None:
    height, width, channels = shape
    header = struct.pack(
        ">IIBBBBB", width, height, 8 * dtype.itemsize, _PNG_COLOURS[channels], 0, 0, 0
    )
    file.write(b"\x89PNG\r\n\x1a\n")
    _write_chunk(file, b"IHDR", header)
    packer = zlib.compressobj(_LEVEL)
    above = np.zeros((1, width * channels * dtype.itemsize), np.uint8)
    for band in bands:
        levels = np.ascontiguousarray(band, dtype.newbyteorder(">")).view(np.uint8)
        rows = np.concatenate([above, levels.reshape(len(band), -1)])
        filtered = np.full((len(band), 1 + rows.shape[1]), _UP, np.uint8)
        np.subtract(rows[1:], rows[:-1], out=filtered[:, 1:])  # modulo 256
        _write_chunk(file, b"IDAT", packer.compress(filtered))
        above = rows[-1:]
    _write_chunk(file, b"IDAT", packer.flush())
    _write_chunk(file, b"IEND", b"")


def _write_chunk(file: BinaryIO, kind: bytes, content: bytes) -> None:
    file.write(struct.pack(">I", len(content)) + kind + content)
    file.write(struct.pack(">I", zlib.crc32(kind + content)))
