"""One image file -> 8-bit RGB, whatever mode it was saved in."""

import struct
import zlib
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

# Decoders that only read bytes. Pillow would also hand a file to an outside program such as
# Ghostscript when its content asks for it, whatever its name says.
IMAGE_FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "DIB", "PPM", "TIFF", "GIF")

# What Pillow's readers raise on damaged bytes. The first six were met by feeding them some 70,000
# damaged files; the others stand in their source. Only Pillow's own calls are guarded by it.
_DECODING_ERRORS = (
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
_WIDE_MODES = {"I", "I;16", "I;16L", "I;16B", "I;16N"}
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
    """Read one image file as 8-bit RGB, turned as its EXIF orientation says.

    - Greyscale, 1-bit, palette, CMYK and YCbCr: Pillow's own conversion.
    - Anything transparent is laid over white: c*a/255 + 255 - a, rounded.
    - 16-bit grey (modes I;16 and I): v*255/65535, rounded, never clipped.
    - 16-bit RGB(A) and 16-bit grey with alpha: Pillow 13 already reads these as 8-bit by dropping
      the low byte, floor(v/256). That is at most one level off the rounded value, and the low
      byte is out of our reach.
    - Of an animation or a multi-page file the first picture.

    Raises `UnreadableImageError` for a missing, empty, truncated or damaged file, a file that is
    no image, a decompression bomb (Pillow's limit), floating point pixels, and integers outside
    0..65535.
    """
    try:
        with Image.open(path, formats=IMAGE_FORMATS) as image:
            image.load()
            turn = _TURNS.get(image.getexif().get(_ORIENTATION_TAG))
            # Copies the pixels in both cases, so that the file can be closed.
            upright = image.copy() if turn is None else image.transpose(turn)
            upright.info = image.info
            inverted = _is_inverted_wide_tiff(image)
    except _DECODING_ERRORS as error:
        raise UnreadableImageError(path, _reason(path, error)) from error
    if inverted:
        raise UnreadableImageError(path, "16-bit TIFF whose zero is white, which Pillow misreads")
    if upright.mode in _WIDE_MODES:
        return _from_wide_grey(path, upright)
    if upright.mode in _TRANSPARENT_MODES or (
        upright.mode in _PLAIN_MODES and upright.has_transparency_data
    ):
        return _over_white(upright)
    if upright.mode in _PLAIN_MODES:
        return upright.convert("RGB")
    raise UnreadableImageError(path, f"pixels of mode {upright.mode} have no fixed 8-bit range")


def _over_white(image: Image.Image) -> Image.Image:
    image = image.convert("RGBA")
    white = Image.new("RGBA", image.size, "white")
    return Image.alpha_composite(white, image).convert("RGB")


def _from_wide_grey(path: Path, image: Image.Image) -> Image.Image:
    values = np.asarray(image).astype(np.int64)
    low, high = int(values.min()), int(values.max())
    if low < 0 or high > 65535:
        raise UnreadableImageError(path, f"integer pixels from {low} to {high}, not in 0..65535")
    # v*255/65535 = v/257; 257 is odd, so there are no halves and +128 rounds exactly.
    grey = ((values + 128) // 257).astype(np.uint8)
    if "transparency" in image.info:  # a PNG names the one grey value that is transparent
        grey[values == image.info["transparency"]] = 255
    return Image.fromarray(grey).convert("RGB")


def _is_inverted_wide_tiff(image: Image.Image) -> bool:
    """Pillow inverts 8-bit TIFFs whose zero is white, but hands out 16-bit ones as negatives."""
    if image.format != "TIFF" or image.mode not in _WIDE_MODES:
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
