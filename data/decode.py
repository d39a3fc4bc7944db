"""One image file -> pixels: 8-bit RGB, whatever mode it was saved in, and steps to other modes."""

import struct
import warnings
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image, UnidentifiedImageError

# Decoders that only read bytes. Pillow would also hand a file to an outside program such as
# Ghostscript when its content asks for it, whatever its name says.
IMAGE_FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "DIB", "PPM", "TIFF", "GIF")

# What Pillow's readers raise on damaged bytes. The first six were met by feeding them some 70,000
# damaged files; the others stand in their source. Only Pillow's own calls are guarded by it.
DECODING_ERRORS = (
    OSError,
    Image.DecompressionBombError,
    ValueError,
    SyntaxError,
    TypeError,
    OverflowError,
    LookupError,
    EOFError,
    struct.error,
    zlib.error,
)

_PLAIN_MODES = {"1", "L", "P", "RGB", "RGBX", "CMYK", "YCbCr"}
_TRANSPARENT_MODES = {"LA", "La", "PA", "RGBA", "RGBa"}
WIDE_MODES = {"I", "I;16", "I;16L", "I;16B", "I;16N"}
_ORIENTATION_TAG = 0x0112
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_TURNS_ON_SIDE = (5, 6, 7, 8)
_REDUCIBLE_FORMATS = ("JPEG", "MPO")
_WHITE_IS_ZERO = 0  # value of the TIFF tag PhotometricInterpretation
_PHOTOMETRIC_TAG = 262


class UnreadableImageError(Exception):
    """An image file that cannot be turned into a picture; `reason` is a few words."""

    def __init__(self, path: Path, reason: str):
        super().__init__(path, reason)
        self.path = path
        self.reason = reason

    def __str__(self) -> str:
        return f"{self.path}: {self.reason}"


def decode_image(path: Path) -> Image.Image:
    """Read one image file as 8-bit RGB, rotated as its EXIF orientation says.

    - Greyscale, 1-bit, palette, CMYK and YCbCr: Pillow's own conversion.
    - Anything transparent is composited over white: c*a/255 + 255 - a, rounded.
    - 16-bit grey (modes I;16 and I): v*255/65535, rounded, never clipped.
    - 16-bit RGB(A) and 16-bit grey with alpha: Pillow 13 already reads these as 8-bit by dropping
      the low byte, floor(v/256), which is at most one level off the rounded value.
    - Animations and multi-page files: the first picture.

    Raises `UnreadableImageError` for a missing, empty, truncated or damaged file, a file that is
    no image, a decompression bomb (Pillow's limit), floating point pixels, and integers outside
    0..65535.
    """
    return to_rgb(path, open_upright(path))


def open_upright(path: Path) -> Image.Image:
    """Read one image file in its own mode, rotated as its EXIF orientation says.

    The picture keeps the file's `info` and `format`. Raises `UnreadableImageError` for a file that
    cannot be decoded.
    """
    return open_reduced(path, lambda full_size: 1).image


class Opened(NamedTuple):
    """An upright picture, and by how much it was reduced in decoding."""

    image: Image.Image
    full_size: tuple[int, int]  # upright width and height in the file
    reduction: int  # the picture's sides are the full ones over this, rounded up


def open_reduced(path: Path, reduction_for: Callable[[tuple[int, int]], int]) -> Opened:
    """Read one image file as `open_upright` does; a JPEG at a fraction of its size.

    reduction_for: maps the full upright width and height to 1, 2, 4 or 8; it is called for JPEGs
    only, and other formats have reduction 1. The JPEG decoder leaves out the high frequencies of
    each block's cosine transform, which costs less than computing and then averaging them.
    """
    with damage_named(path), Image.open(path, formats=IMAGE_FORMATS) as image:
        reduction, full_size = 1, None
        if image.format in _REDUCIBLE_FORMATS:
            full_size = _upright_jpeg_size(image)
            reduction = reduction_for(full_size)
        if reduction > 1:
            image.draft(None, tuple(side // reduction for side in image.size))
        image.load()
        turn = _TURNS.get(image.getexif().get(_ORIENTATION_TAG))
        # Copies the pixels in both cases, so that the file can be closed.
        upright = image.copy() if turn is None else image.transpose(turn)
        upright.info, upright.format = image.info, image.format
        inverted = _is_inverted_wide_tiff(image)
    if inverted:
        raise UnreadableImageError(path, "16-bit TIFF whose zero is white, which Pillow misreads")
    return Opened(upright, full_size or upright.size, reduction)


def to_rgb(path: Path, upright: Image.Image) -> Image.Image:
    """Convert a picture from `open_upright` to 8-bit RGB; rules and errors: `decode_image`."""
    if upright.mode in WIDE_MODES:
        # v*255/65535 = v/257; 257 is odd, so there are no halves and +128 rounds exactly.
        grey = ((wide_levels(path, upright) + 128) // 257).astype(np.uint8)
        return Image.fromarray(grey).convert("RGB")
    if is_transparent(upright):
        return _over_white(upright)
    if upright.mode == "RGB":
        return upright
    if upright.mode in _PLAIN_MODES:
        return upright.convert("RGB")
    raise UnreadableImageError(path, f"pixels of mode {upright.mode} have no fixed 8-bit range")


def is_transparent(image: Image.Image) -> bool:
    """Return whether an 8-bit picture has an alpha channel or a transparent colour."""
    return image.mode in _TRANSPARENT_MODES or (
        image.mode in _PLAIN_MODES and image.has_transparency_data
    )


def wide_levels(path: Path, image: Image.Image) -> np.ndarray:
    """Return the values of a picture in one of `WIDE_MODES`: int64 [H, W] in 0..65535.

    The one grey value that a PNG marks as transparent becomes white. Raises
    `UnreadableImageError` for values outside 0..65535.
    """
    values = np.asarray(image).astype(np.int64)
    low, high = int(values.min()), int(values.max())
    if low < 0 or high > 65535:
        raise UnreadableImageError(path, f"integer pixels from {low} to {high}, not in 0..65535")
    if "transparency" in image.info:
        values[values == image.info["transparency"]] = 65535
    return values


def header_size(path: Path) -> tuple[int, int] | None:
    """Return width and height of the upright picture from the file's header; None if unreadable."""
    try:
        with warnings.catch_warnings():
            # Pillow warns of very large pictures; decoding them is where that matters.
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            with Image.open(path, formats=IMAGE_FORMATS) as image:
                # Asked for more, a PNG would decode its pixels. TIFF sizes are upright already.
                turn = image.getexif().get(_ORIENTATION_TAG) if "exif" in image.info else None
                return image.size[::-1] if turn in _TURNS_ON_SIDE else image.size
    except DECODING_ERRORS:
        return None


class PlainImage(NamedTuple):
    """A picture as FID tools read it, and what they drop ("" for nothing)."""

    picture: Image.Image  # 8-bit RGB
    loss: str


def decode_plainly(path: Path) -> PlainImage:
    """Read one image file with Pillow's `convert("RGB")`, as was done for published numbers.

    Unlike `decode_image` it drops transparency, clips 16-bit grey and ignores the orientation;
    `loss` says so. Raises `UnreadableImageError` for a file that cannot be decoded.
    """
    with damage_named(path), Image.open(path, formats=IMAGE_FORMATS) as image:
        image.load()
        losses = []
        if image.mode in _TRANSPARENT_MODES or image.has_transparency_data:
            losses.append("transparency dropped")
        if image.mode in WIDE_MODES or image.mode == "F":
            losses.append(f"mode {image.mode} clipped to 8 bits")
        if image.getexif().get(_ORIENTATION_TAG) in _TURNS:
            losses.append("orientation ignored")
        return PlainImage(image.convert("RGB"), ", ".join(losses))


@contextmanager
def damage_named(path: Path) -> Iterator[None]:
    """Raise UnreadableImageError, which names the file, for what decoders raise in the block."""
    try:
        yield
    except DECODING_ERRORS as error:
        raise UnreadableImageError(path, _reason(path, error)) from error


def _upright_jpeg_size(image: Image.Image) -> tuple[int, int]:
    turn = image.getexif().get(_ORIENTATION_TAG)
    return image.size[::-1] if turn in _TURNS_ON_SIDE else image.size


def _over_white(image: Image.Image) -> Image.Image:
    image = image.convert("RGBA")
    white = Image.new("RGBA", image.size, "white")
    return Image.alpha_composite(white, image).convert("RGB")


def _is_inverted_wide_tiff(image: Image.Image) -> bool:
    """Pillow inverts 8-bit TIFFs whose zero is white, but hands out 16-bit ones as negatives."""
    if image.format != "TIFF" or image.mode not in WIDE_MODES:
        return False
    return image.tag_v2.get(_PHOTOMETRIC_TAG) == _WHITE_IS_ZERO


def _reason(path: Path, error: Exception) -> str:
    """A few words on one line."""
    if isinstance(error, UnidentifiedImageError):
        try:
            return "empty file" if path.stat().st_size == 0 else "not an image of a known kind"
        except OSError as gone:
            return gone.strerror or "cannot be opened"
    if isinstance(error, Image.DecompressionBombError):
        return "more pixels than Pillow opens, could be a decompression bomb"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    words = " ".join(str(error).split())[:120]
    return words or type(error).__name__
