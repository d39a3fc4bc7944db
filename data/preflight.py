"""What can be known about the images before the first one is decoded."""

import warnings
from collections.abc import Sequence
from pathlib import Path

from PIL import Image

from data.decode import IMAGE_FORMATS
from data.transforms import Preprocessing
from errors import UserError


def check_sizes(files: Sequence[Path], preprocessing: Preprocessing) -> None:
    """Raise `UserError` if an image is smaller than the crop, naming the first and their number.

    Only mode `crop` can meet such an image; the other modes return at once. Reads headers, not
    pixels. Compares the short side, which no EXIF rotation changes. Files whose header cannot be
    read are passed over: the training tells about them when it meets them.
    """
    if preprocessing.mode != "crop":
        return
    small = []
    for path in files:
        short_side_px = _short_side(path)
        if short_side_px is not None and short_side_px < preprocessing.crop_size:
            small.append((path, short_side_px))
    if small:
        path, short_side_px = small[0]
        raise UserError(
            f"--crop_size {preprocessing.crop_size}: larger than the short side of {len(small)} "
            f"of {len(files)} images, first {path} ({short_side_px} px); use --preprocess "
            "resize_and_crop or a smaller --crop_size"
        )


def _short_side(path: Path) -> int | None:
    try:
        with warnings.catch_warnings():
            # Pillow warns of very large pictures; decoding them is where that matters.
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            with Image.open(path, formats=IMAGE_FORMATS) as image:
                return min(image.size)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError):
        return None
