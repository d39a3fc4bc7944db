"""One file -> what is kept of its pictures: a row of numbers, small enough for a million files."""

import hashlib
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import imagehash
import numpy as np
from PIL import Image

from data.decode import WIDE_MODES, Opened, UnreadableImageError, is_transparent, open_reduced
from data.decode import to_rgb as decoded_to_rgb

THUMBNAIL_PX = 16
ROW = np.dtype(
    [
        ("readable", bool),
        ("width", np.int32),
        ("height", np.int32),
        ("odd", bool),  # a side-by-side picture of odd width
        ("format", "U5"),
        ("mode", "U8"),  # as Pillow names it; 16-bit colour as RGB;16
        ("bits", np.uint8),
        ("transparent", bool),
        ("digest", np.uint64),  # 64 bits of BLAKE2b of the file
        ("hash", np.uint64),  # perceptual
        ("thumbnail", np.uint8, (THUMBNAIL_PX, THUMBNAIL_PX)),  # grey levels
        ("colour", np.float32, (3,)),  # mean red, green, blue, 0 to 255
        ("contrast", np.float32),  # standard deviation of the grey levels
        ("saturation", np.float32),  # mean of the largest minus the smallest channel
        ("detail", np.float32),  # mean difference of neighbouring grey levels
    ]
)
LUMA = np.array([0.299, 0.587, 0.114], dtype=np.float32)

_SMALL_PX = 64  # statistics are taken at about this size, but at least at it
_BLOCK_BYTES = 1 << 20
_PNG_DEPTH_AT = 24  # byte of the header chunk that follows the signature
_MOST_LABELS = 64
_LEAST_FLAT = 0.6  # share of equal neighbours in a label map
_RIGHT = np.uint64(0x9E3779B97F4A7C15)  # tells the digests of two halves of one file apart
_LABEL_MODES = {"1", "L", "P"} | WIDE_MODES


class Measured(NamedTuple):
    """What is kept of a file: a row for each of its pictures, or the reason why there is none."""

    rows: np.ndarray  # of ROW, one for each half that was asked for
    reason: str  # "" where the file was read
    labels: list[dict[int, int] | None]  # value -> pixels where a picture could be a label map


def measure(path: Path, halves: Sequence[str | None]) -> Measured:
    """Read a file and measure it, or halves of it: None for all of it, left, right.

    A JPEG is decoded at 1/2, 1/4 or 1/8 of its size where 64 px are left: all of its data is read,
    so that damage shows, but less is computed.
    """
    rows = np.zeros(len(halves), dtype=ROW)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of Pillow about odd files, on each of thousands
            digest, head = _digest(path)
            opened = open_reduced(path, _reduction)
            rgb = decoded_to_rgb(path, opened.image)
    except OSError as error:
        return Measured(rows, error.strerror or "cannot be opened", [None] * len(halves))
    except UnreadableImageError as error:
        return Measured(rows, error.reason, [None] * len(halves))
    mode, bits = _depth(opened.image, head)
    rows["readable"], rows["format"], rows["mode"], rows["bits"] = True, *_file(opened, mode, bits)
    rows["transparent"] = is_transparent(opened.image)
    labels = []
    for row, half in zip(rows, halves, strict=True):
        row["width"], row["height"] = opened.full_size
        row["digest"] = digest
        if half is not None:
            row["odd"], row["width"] = row["width"] % 2, row["width"] // 2
            row["digest"] = digest ^ _RIGHT if half == "right" else digest
        _measure_pixels(row, cut(rgb, half))
        labels.append(_labels(cut(opened.image, half), opened.image.format))
    return Measured(rows, "", labels)


def small_rgb(path: Path, half: str | None, least_px: int = _SMALL_PX) -> Image.Image:
    """Read a picture in RGB, its short side `least_px` to almost twice that, or less as it is.

    Raises `UnreadableImageError` for a file that cannot be read.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        opened = open_reduced(path, lambda full_size: _reduction(full_size, least_px))
        return _shrunk(cut(decoded_to_rgb(path, opened.image), half), least_px)


def cut(image: Image.Image, half: str | None) -> Image.Image:
    """Return all of a picture, or its left or right half."""
    if half is None or image.width < 2:
        return image
    middle = image.width // 2
    left = middle if half == "right" else 0
    return image.crop((left, 0, left + middle, image.height))


def _reduction(full_size: tuple[int, int], least_px: int = _SMALL_PX) -> int:
    # 2: where the file holds two pictures side by side, each keeps the size.
    return next((by for by in (8, 4, 2) if min(full_size) >= 2 * by * least_px), 1)


def _shrunk(image: Image.Image, least_px: int = _SMALL_PX) -> Image.Image:
    factor = min(image.size) // least_px
    return image.reduce(factor) if factor > 1 else image


def _digest(path: Path) -> tuple[np.uint64, bytes]:
    """A hash of the file's bytes, and its first ones."""
    digest, head = hashlib.blake2b(digest_size=8), b""
    with open(path, "rb") as file:
        while block := file.read(_BLOCK_BYTES):
            head = head or block[: _PNG_DEPTH_AT + 1]
            digest.update(block)
    return np.uint64(int.from_bytes(digest.digest(), "big")), head


def _file(opened: Opened, mode: str, bits: int) -> tuple[str, str, int]:
    return "JPEG" if opened.image.format == "MPO" else opened.image.format, mode, bits


def _depth(image: Image.Image, head: bytes) -> tuple[str, int]:
    """Mode and bits a channel; of a 16-bit colour PNG Pillow hands out 8 and keeps silent."""
    if image.mode in WIDE_MODES:
        return image.mode, 32 if image.mode == "I" and image.format != "PNG" else 16
    if image.format == "PNG" and len(head) > _PNG_DEPTH_AT and head[_PNG_DEPTH_AT] == 16:
        return f"{image.mode};16", 16
    return image.mode, 1 if image.mode == "1" else 8


def _measure_pixels(row: np.void, rgb: Image.Image) -> None:
    small = _shrunk(rgb)
    # Planes [3, H, W], which NumPy reduces many times faster than pixels [H, W, 3].
    red, green, blue = planes = np.moveaxis(np.asarray(small), 2, 0).astype(np.float32, order="C")
    grey = np.tensordot(LUMA, planes, 1)
    row["colour"] = planes.mean((1, 2))
    row["contrast"] = grey.std()
    largest = np.maximum(np.maximum(red, green), blue)
    row["saturation"] = (largest - np.minimum(np.minimum(red, green), blue)).mean()
    steps = [np.abs(np.diff(grey, axis=axis)).mean() for axis in (0, 1) if grey.shape[axis] > 1]
    row["detail"] = sum(steps) / max(1, len(steps))
    square = small.convert("L").resize((THUMBNAIL_PX, THUMBNAIL_PX), Image.Resampling.BOX)
    row["thumbnail"] = np.asarray(square)
    row["hash"] = np.packbits(imagehash.phash(small).hash).view(">u8")[0]


def _labels(image: Image.Image, file_format: str | None) -> dict[int, int] | None:
    """Values and their pixels where few values lie in large areas, as they do in a label map."""
    if image.mode not in _LABEL_MODES or file_format == "JPEG":
        return None
    levels = np.asarray(image)
    values, counts = np.unique(levels, return_counts=True)
    if len(values) > min(_MOST_LABELS, levels.size**0.5):
        return None
    if levels.shape[1] > 1 and (levels[:, 1:] == levels[:, :-1]).mean() < _LEAST_FLAT:
        return None
    return {int(value): int(count) for value, count in zip(values, counts, strict=True)}
