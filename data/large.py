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
    open_upright,
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

    An upright TIFF of 8-bit grey, RGB or RGBA or 16-bit grey, uncompressed or deflated, is read by
    its strips or tiles. Any other file is decoded whole by Pillow, without Pillow's limit on the
    number of pixels. Raises UnreadableImageError for a file that cannot be decoded, and for more
    than 2^30 pixels that would have to be decoded at once.
    """
    channels, dtype = content.plane_type
    if path.suffix.lower() in TIFF_ENDINGS:
        with _tiff_page(path) as page:
            if page is not None:
                part_size = page.tilewidth or page.imagewidth, page.tilelength or page.rowsperstrip
                _check_pixels(path, *part_size)
                parts = _tiff_parts(path, content, page)
                yield LargePicture((page.imagelength, page.imagewidth), channels, dtype, parts)
                return
    width, height = _checked_size(path)
    yield LargePicture((height, width), channels, dtype, _whole(path, content))


def _checked_size(path: Path) -> tuple[int, int]:
    with _without_limit():
        size = header_size(path)
        if size is None:
            open_upright(path)  # raises, with the reason
            raise UnreadableImageError(path, "no size in its header")
    _check_pixels(path, *size)
    return size


def _check_pixels(path: Path, width: int, height: int) -> None:
    if width * height > MOST_PIXELS_AT_ONCE:
        raise UnreadableImageError(
            path,
            f"{width} x {height} px to be decoded at once, more than {MOST_PIXELS_AT_ONCE:,}; save "
            "it as a tiled TIFF, uncompressed or deflated",
        )


def _whole(path: Path, content: Content) -> Iterator[Part]:
    with _without_limit():
        image = content.decode(path)
    yield Part(0, 0, planes(image))


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
        and page.compression in _READ_IN_PARTS
        and page.planarconfig == tifffile.PLANARCONFIG.CONTIG
        and page.imagedepth == 1
        and page.tags.valueof("Orientation", default=1) == 1
    )


def _tiff_parts(path: Path, content: Content, page: tifffile.TiffPage) -> Iterator[Part]:
    segments = page.segments(maxworkers=1, buffersize=BYTES_AT_ONCE)
    for _ in range(math.prod(page.chunked)):
        with damage_named(path):
            segment, (_, _, top, left, _), _ = next(segments)
            if segment is None:
                raise ValueError("a part of the picture is missing")
            levels = segment[0, : page.imagelength - top, : page.imagewidth - left]
            levels = np.ascontiguousarray(levels, page.dtype)  # in the machine's byte order
            image = Image.fromarray(levels[:, :, 0] if levels.shape[2] == 1 else levels)
        yield Part(top, left, planes(content.interpret(path, image)))
