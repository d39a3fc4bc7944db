"""Pictures made worse on purpose, in growing strengths: a good metric must see each step."""

from collections.abc import Callable, Sequence
from io import BytesIO
from math import ceil
from typing import NamedTuple

import numpy as np
import torch
from kornia.filters import gaussian_blur2d
from PIL import Image
from torch import Tensor

BOX = 1 / 4  # side of a black box, as a fraction of the picture's


class Degradation(NamedTuple):
    """A way to make pictures worse.

    apply(pictures uint8 [N, 3, H, W], strength, seed) -> uint8 of the same shape. What is random
    depends on the seed and the picture's position, and not on the strength.
    """

    apply: Callable[[Tensor, float, int], Tensor]
    strengths: Sequence[float]  # each worse than the one before
    unit: str


def blur(pictures: Tensor, strength: float, seed: int = 0) -> Tensor:
    """Convolve with a Gaussian whose standard deviation is `strength` times the shorter side."""
    sigma = strength * min(pictures.shape[2:])
    side = 2 * ceil(3 * sigma) + 1
    blurred = [
        gaussian_blur2d(part.float(), (side, side), (sigma, sigma), "reflect")
        for part in pictures.split(256)
    ]
    return _levels(torch.cat(blurred))


def noise(pictures: Tensor, strength: float, seed: int = 0) -> Tensor:
    """Add Gaussian noise with a standard deviation of `strength` levels (of 255), and clip."""
    generator = torch.Generator().manual_seed(seed)
    return _levels(pictures + strength * torch.randn(pictures.shape, generator=generator))


def jpeg(pictures: Tensor, strength: float, seed: int = 0) -> Tensor:
    """Compress as JPEG with quality 100 - `strength`, by Pillow with halved chroma."""
    return torch.stack([_compressed(picture, 100 - round(strength)) for picture in pictures])


def boxes(pictures: Tensor, strength: float, seed: int = 0) -> Tensor:
    """Cover each picture with `strength` black squares, a quarter of its side wide, at random.

    The squares of a smaller strength are among those of a larger one.
    """
    height, width = pictures.shape[2:]
    side = max(1, round(BOX * min(height, width)))
    covered = pictures.clone()
    for index, picture in enumerate(covered):
        random = np.random.default_rng((seed, index))
        for _ in range(round(strength)):
            top, left = random.integers(height - side + 1), random.integers(width - side + 1)
            picture[:, top : top + side, left : left + side] = 0
    return covered


DEGRADATIONS = {
    "blur": Degradation(blur, (1 / 64, 1 / 32, 1 / 16, 1 / 8), "sigma / side"),
    "noise": Degradation(noise, (8, 16, 32, 64), "levels"),
    "jpeg": Degradation(jpeg, (40, 70, 85, 95), "100 - quality"),
    "boxes": Degradation(boxes, (1, 2, 4, 8), "boxes"),
}


def _compressed(picture: Tensor, quality: int) -> Tensor:
    file = BytesIO()
    levels = picture.permute(1, 2, 0).contiguous().numpy()
    Image.fromarray(levels).save(file, "JPEG", quality=quality, subsampling=2)
    return torch.from_numpy(np.array(Image.open(file))).permute(2, 0, 1)


def _levels(pictures: Tensor) -> Tensor:
    return pictures.round().clamp(0, 255).to(torch.uint8)
