"""The level of a progressive GAN, one number for how far it has grown, and what it means.

The level is the base-2 logarithm of the resolution: 2.0 is 4x4, 3.0 is 8x8. Between two whole
numbers the next resolution fades in: at 2.3 everything runs at 8x8 and the new layers have weight
alpha = 0.3. It equals log2(size) - lod in terms of the paper's level of detail.
Source: Karras et al. 2018, section 2 and figure 2.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

FIRST_LEVEL = 2


def check_level(level: float | None, size_px: int) -> tuple[int, float]:
    """Return the stage, log2 of the current resolution, and the weight alpha of its layers.

    level: from 2 to log2(size_px), None for the last. alpha is in (0, 1], 1 when nothing fades in.
    Raises ValueError for a level outside this range.
    """
    last = whole_level(size_px)
    if level is None:
        return last, 1.0
    if not FIRST_LEVEL <= level <= last:
        raise ValueError(f"level {level}: give {FIRST_LEVEL} (4 px) to {last} ({size_px} px)")
    stage = math.ceil(level)
    return stage, 1.0 - (stage - level)


def whole_level(size_px: int) -> int:
    """Return the level at which a resolution, a power of two, is fully faded in: its log2."""
    return round(math.log2(size_px))


def resolution_px(level: float) -> int:
    """Return the side in pixels of a generator's output at `level`: 2 ** ceil(level)."""
    return 2 ** math.ceil(level)


def upsample(x: Tensor) -> Tensor:
    """Upsample [B, C, H, W] by 2, nearest neighbour."""
    return F.interpolate(x, scale_factor=2, mode="nearest")


def downsample(x: Tensor) -> Tensor:
    """Downsample [B, C, H, W] by 2x2 average pooling."""
    return F.avg_pool2d(x, 2)


def shrink_reals(pictures: Tensor, level: float) -> Tensor:
    """Return real pictures as the discriminator sees them at `level`.

    Average pooling to the current resolution r. During a fade the result is
    alpha x + (1 - alpha) up(down(x)), to lack the detail that the generator cannot produce yet.

    pictures: float [B, C, S, S] in [-1, 1], S a power of two -> [B, C, r, r] in [-1, 1].
    Raises ValueError for a level outside 2 .. log2(S).
    """
    stage, alpha = check_level(level, pictures.shape[-1])
    pictures = F.avg_pool2d(pictures, pictures.shape[-1] // 2**stage)
    if alpha < 1:
        pictures = torch.lerp(upsample(downsample(pictures)), pictures, alpha)
    return pictures
