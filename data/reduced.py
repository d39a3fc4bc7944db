"""Faster reading of JPEGs: decoded at a fraction of their size, then resized once by PyTorch."""

from functools import partial

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

_REDUCTIONS = (8, 4, 2)
_FAST_MODES = ("L", "RGB")


def largest_reduction(
    size: tuple[int, int], least: tuple[int, int], *, divides_width: bool = False
) -> int:
    """Return the largest of 8, 4, 2 and 1 by which this width and height can be divided.

    At least `least`, a width and a height, must be left. divides_width: the width has to be a
    multiple of the reduction.
    """
    for reduction in _REDUCTIONS:
        enough = all(side >= reduction * needed for side, needed in zip(size, least, strict=True))
        if enough and not (divides_width and size[0] % reduction):
            return reduction
    return 1


def resized_once(
    image: Image.Image, size: tuple[int, int], covered: tuple[float, float]
) -> Image.Image | Tensor:
    """Resize to this width and height by the bicubic filter: a Pillow image or planes [C, H, W].

    covered: width and height of the picture without the padding on the right and at the bottom by
    which its decoder filled the last pixel.
    """
    if covered == size:
        return image
    if image.mode not in _FAST_MODES:
        return image.resize(size, Image.Resampling.BICUBIC, box=(0, 0, *covered))
    levels = torch.from_numpy(np.array(image)).reshape(1, image.height, image.width, -1)
    levels = levels.permute(0, 3, 1, 2)  # channels last in memory, which interpolate is fast on
    bicubic = partial(F.interpolate, mode="bicubic", antialias=True)
    if covered == image.size:
        return bicubic(levels, size=size[::-1])[0].contiguous()
    # The result has floor(side * scale) rows or columns. The last pixel is only partly covered, so
    # that is the size wanted; the factor 1 + 1e-9 keeps it where a side is wholly covered.
    scales = [(1 + 1e-9) * size[at] / covered[at] for at in (1, 0)]
    return bicubic(levels, scale_factor=scales)[0].contiguous()
