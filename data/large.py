"""Reads large pictures, in parts where the file allows it."""

import math
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NamedTuple

import numpy as np
import tifffile
import torch
from PIL import Image
from torch import Tensor

from data.content import Content
from data.decode import (
    DECODING_ERRORS,
    UnreadableImageError,
    damage_named,
    header_size,
)
from data.pixels import planes

MOST_PIXELS_AT_ONCE = 2**30  # of a picture, or of one part of a TIFF, that is decoded whole
BYTES_AT_ONCE = 2**24  # read from a file
TIFF_ENDINGS = (".tif", ".tiff")

_READ_IN_PARTS = (
    tifffile.COMPRESSION.NONE,
    tifffile.COMPRESSION.ADOBE_DEFLATE,
    tifffile.COMPRESSION.DEFLATE,
)
_ALPHA = tifffile.EXTRASAMPLE.UNASSALPHA
_KINDS_IN_PARTS = {  # dtype, photometric interpretation, samples, extra samples
    ("uint8", tifffile.PHOTOMETRIC.MINISBLACK, 1, ()),
    ("uint8", tifffile.PHOTOMETRIC.RGB, 3, ()),
    ("uint8", tifffile.PHOTOMETRIC.RGB, 4, (_ALPHA,)),
    ("uint16", tifffile.PHOTOMETRIC.MINISBLACK, 1, ()),
}


class Part(NamedTuple):
    """A rectangle of a picture: values [C, h, w] for `Content.from_planes`, and where it lies."""

    top: int
    left: int
    values: Tensor


class LargePicture(NamedTuple):
    """The size of a picture, the channels and type of its values, and its parts, each once."""

    size: tuple[int, int]  # height and width
    channels: int
    dtype: torch.dtype
    parts: Iterator[Part]


@contextmanager
def open_large(path: Path, content: Content) -> Iterator[LargePicture]:
    """Open a picture of more pixels than `Content.decode` accepts, which it equals.

    An upright TIFF of 8-bit grey, RGB or RGBA or 16-bit grey is read by its strips or tiles if
    these are deflated, and in blocks of rows if they are uncompressed. Any other file is decoded
    whole by Pillow, without Pillow's limit on the number of pixels. Raises UnreadableImageError for
    a file that cannot be decoded, and for more than 2^30 pixels that would have to be decoded at
    once.
    """
    channels, dtype = content.plane_type
    if path.suffix.lower() in TIFF_ENDINGS:
        with _tiff_page(path) as page:
            if page is not None:
                if not _is_in_rows(page):
                    tile = page.tilewidth, page.tilelength
                    strip = page.imagewidth, page.rowsperstrip
                    _check_pixels(path, *(tile if page.is_tiled else strip))
                parts = _tiff_parts(path, content, page)
                yield LargePicture((page.imagelength, page.imagewidth), channels, dtype, parts)
                return
    # The size comes from the pixels: an orientation after them or in XMP is not in the header.
    values = planes(_decoded(path, content))
    yield LargePicture(tuple(values.shape[1:]), channels, dtype, iter([Part(0, 0, values)]))


def large_header_size(path: Path) -> tuple[int, int] | None:
    """Return what `header_size` returns, for pictures of any number of pixels."""
    with _without_limit():
        return header_size(path)


def _decoded(path: Path, content: Content) -> Image.Image:
    size = large_header_size(path)
    if size is None:
        return content.decode(path)  # raises, with the reason
    _check_pixels(path, *size)
    with _without_limit():
        return content.decode(path)


def _check_pixels(path: Path, width: int, height: int) -> None:
    if width * height > MOST_PIXELS_AT_ONCE:
        raise UnreadableImageError(
            path,
            f"{width} x {height} px to be decoded at once, more than {MOST_PIXELS_AT_ONCE:,}; save "
            "it as a tiled TIFF, uncompressed or deflated",
        )


@contextmanager
def _without_limit() -> Iterator[None]:
    limit = Image.MAX_IMAGE_PIXELS
    Image.MAX_IMAGE_PIXELS = None
    try:
        yield
    finally:
        Image.MAX_IMAGE_PIXELS = limit


@contextmanager
def _tiff_page(path: Path) -> Iterator[tifffile.TiffPage | None]:
    """Yield the first page of a TIFF that can be read in parts, otherwise None."""
    with ExitStack() as stack:
        try:
            file = stack.enter_context(tifffile.TiffFile(path))
            page = file.pages.first
            in_parts = _is_read_in_parts(page)
        except DECODING_ERRORS:
            in_parts = False  # Pillow will say what is wrong
        yield page if in_parts else None


def _is_read_in_parts(page: tifffile.TiffPage) -> bool:
    kind = (str(page.dtype), page.photometric, page.samplesperpixel, tuple(page.extrasamples))
    return (
        kind in _KINDS_IN_PARTS
        and page.bitspersample == 8 * page.dtype.itemsize
        and page.compression in _READ_IN_PARTS
        and page.planarconfig == tifffile.PLANARCONFIG.CONTIG
        and page.imagedepth == 1
        and _is_upright(page)
    )


def _is_upright(page: tifffile.TiffPage) -> bool:
    """Return whether a page has no orientation that Pillow would follow."""
    orientation = page.tags.valueof("Orientation")
    if orientation is None:
        return b"tiff:Orientation" not in (page.tags.valueof("XMP") or b"")
    return orientation == 1


def _is_in_rows(page: tifffile.TiffPage) -> bool:
    """Return whether the rows of a page follow one another in the file, uncompressed."""
    return page.is_final and not page.is_tiled


def _tiff_parts(path: Path, content: Content, page: tifffile.TiffPage) -> Iterator[Part]:
    blocks = _rows(page) if _is_in_rows(page) else _segments(page)
    while True:
        with damage_named(path):
            top, left, levels = next(blocks, (0, 0, None))
            if levels is None:
                return
            levels = np.ascontiguousarray(levels, page.dtype)  # in the machine's byte order
            image = Image.fromarray(levels[:, :, 0] if levels.shape[2] == 1 else levels)
        yield Part(top, left, planes(content.interpret(path, image)))


def _rows(page: tifffile.TiffPage) -> Iterator[tuple[int, int, np.ndarray]]:
    """Yield top, left and levels [h, W, C] of blocks of rows."""
    row = (page.imagewidth, page.samplesperpixel)
    row_bytes = math.prod(row) * page.dtype.itemsize
    dtype = page.dtype.newbyteorder(page.parent.byteorder)
    step = max(1, BYTES_AT_ONCE // row_bytes)
    for top in range(0, page.imagelength, step):
        count = min(step, page.imagelength - top)
        levels = page.parent.filehandle.read_array(
            dtype, count * math.prod(row), page.dataoffsets[0] + top * row_bytes
        )
        yield top, 0, levels.reshape(count, *row)


def _segments(page: tifffile.TiffPage) -> Iterator[tuple[int, int, np.ndarray]]:
    """Yield top, left and levels [h, w, C] of strips or tiles."""
    segments = page.segments(maxworkers=1, buffersize=BYTES_AT_ONCE)
    for segment, (_, _, top, left, _), _ in segments:
        if segment is None:
            raise ValueError("a part of the picture is missing")
        yield top, left, segment[0, : page.imagelength - top, : page.imagewidth - left]
