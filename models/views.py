"""Random views of pictures: crop, flip, colour jitter, grey and blur, a batch at a time.

Plain tensor operations, because every random number must be a pure function of the picture's place
in the stream: kornia's and torchvision's augmentations draw from the global generator.
Source: Chen et al. 2020 (SimCLR), appendix A.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

# The uniform random numbers of a view, by column.
DRAWN = ("area", "ratio", "x", "y", "flip", "jittered", "brightness", "contrast", "saturation")
DRAWN += ("hue", "grey", "blurred", "sigma")
RATIO = math.log(4 / 3)  # of width to height, between -RATIO and RATIO
BRIGHTNESS, HUE = 0.8, 0.2  # at jitter 1; contrast and saturation as brightness
SIGMA_PX = (0.1, 2.0)
LUMA = (0.299, 0.587, 0.114)
COLOURS = ("brightness", "contrast", "saturation", "hue")


class Policy(NamedTuple):
    """How strongly views differ from a picture."""

    least_area: float = 0.08  # of a crop, relative to the picture's
    flip: float = 0.5  # probability
    jitter: float = 1.0  # strength; 0 is off
    jitter_probability: float = 0.8
    grey: float = 0.2  # probability
    blur: float = 0.0  # probability


def draw_views(count: int, random: torch.Generator) -> Tensor:
    """Draw the numbers for `count` views: uniform in [0, 1), [count, len(DRAWN)]."""
    return torch.rand(count, len(DRAWN), generator=random, device=random.device)


@torch.no_grad()
def make_views(
    pictures: Tensor, draws: Tensor, order: Sequence[int], policy: Policy, size_px: int
) -> Tensor:
    """Return one random view of each picture, [B, C, size_px, size_px] in [-1, 1].

    In this order:

    - a crop of an area between least_area and 1 of the picture and a ratio of width to height
      between 3/4 and 4/3 (logarithmically uniform; a side is at most the picture's), resized by
      bilinear interpolation; mirrored with probability `flip`;
    - with jitter_probability, in the given order: brightness and contrast and saturation times
      1 + 0.8 jitter u, hue turned by 0.2 jitter u of the circle, u uniform in [-1, 1], each
      clamped as torchvision's; nothing for pictures of one channel but brightness and contrast;
    - grey: the luma in all channels; blur: Gaussian, sigma from 0.1 to 2 px, a tenth of the side.

    pictures: float [B, C, H, W] in [-1, 1], C = 1 or 3; draws: from `draw_views`, for B views, on
    the same device; order: a permutation of the four COLOURS, by index, for the whole batch.
    """
    drawn = dict(zip(DRAWN, draws.to(pictures.dtype).unbind(1), strict=True))
    x = _cropped(pictures, drawn, policy, size_px) / 2 + 0.5
    if policy.jitter:
        jittered = x
        for number in order:
            jittered = _coloured(jittered, COLOURS[number], drawn, policy.jitter)
        x = _chosen(drawn["jittered"], policy.jitter_probability, jittered, x)
    if policy.grey and x.shape[1] == 3:
        x = _chosen(drawn["grey"], policy.grey, _luma(x).expand_as(x), x)
    if policy.blur:
        x = _chosen(drawn["blurred"], policy.blur, _blurred(x, drawn["sigma"]), x)
    return x * 2 - 1


def _chosen(draws: Tensor, probability: float, changed: Tensor, unchanged: Tensor) -> Tensor:
    return torch.where((draws < probability)[:, None, None, None], changed, unchanged)


def _cropped(pictures: Tensor, drawn: dict[str, Tensor], policy: Policy, size_px: int) -> Tensor:
    area = policy.least_area + (1 - policy.least_area) * drawn["area"]
    stretch = (RATIO * (drawn["ratio"] - 0.5)).exp()  # square root of the ratio
    width, height = (area.sqrt() * stretch).clamp(max=1), (area.sqrt() / stretch).clamp(max=1)
    # From pixels of the view in [-1, 1] to places of the picture in [-1, 1].
    mirrored = torch.where(drawn["flip"] < policy.flip, -width, width)
    zero = torch.zeros_like(width)
    x, y = (1 - width) * (2 * drawn["x"] - 1), (1 - height) * (2 * drawn["y"] - 1)
    rows = torch.stack([mirrored, zero, x, zero, height, y], 1).view(-1, 2, 3)
    places = F.affine_grid(rows, [*pictures.shape[:2], size_px, size_px], align_corners=False)
    return F.grid_sample(
        pictures, places, mode="bilinear", padding_mode="border", align_corners=False
    )


def _coloured(x: Tensor, what: str, drawn: dict[str, Tensor], strength: float) -> Tensor:
    """Change brightness, contrast, saturation or hue of pictures in [0, 1]."""
    u = (2 * drawn[what] - 1)[:, None, None, None]
    if what in ("saturation", "hue") and x.shape[1] != 3:
        return x
    if what == "hue":
        return _turned(x, HUE * strength * u)
    factor = (1 + BRIGHTNESS * strength * u).clamp(min=0)
    if what == "brightness":
        return (x * factor).clamp(0, 1)
    middle = _luma(x)
    if what == "contrast":
        middle = middle.mean((2, 3), keepdim=True)
    return (middle + (x - middle) * factor).clamp(0, 1)


def _luma(x: Tensor) -> Tensor:
    if x.shape[1] == 1:
        return x
    red, green, blue = x.unbind(1)
    return (LUMA[0] * red + LUMA[1] * green + LUMA[2] * blue).unsqueeze(1)


def _turned(x: Tensor, turns: Tensor) -> Tensor:
    """Turn the hue by `turns` of the circle, [B, 1, 1, 1], at the same saturation and value."""
    value, most = x.max(1, keepdim=True)
    chroma = value - x.amin(1, keepdim=True)
    red, green, blue = (x[:, at : at + 1] for at in range(3))
    difference = torch.where(
        most == 0, green - blue, torch.where(most == 1, blue - red, red - green)
    )
    hue = difference / chroma.clamp(min=1e-8) + 2 * most  # in sixths of the circle
    offsets = torch.tensor([5.0, 3.0, 1.0], device=x.device, dtype=x.dtype).view(1, 3, 1, 1)
    k = (offsets + hue + 6 * turns).remainder(6)
    return value - chroma * torch.minimum(k, 4 - k).clamp(0, 1)


def _blurred(x: Tensor, draws: Tensor) -> Tensor:
    batch, channels, height, width = x.shape
    reach = max(1, round(min(height, width) / 20))
    sigma = SIGMA_PX[0] + (SIGMA_PX[1] - SIGMA_PX[0]) * draws
    offsets = torch.arange(-reach, reach + 1, device=x.device, dtype=x.dtype)
    kernel = (-0.5 * (offsets / sigma[:, None]).square()).exp()
    kernel = (kernel / kernel.sum(1, keepdim=True)).repeat_interleave(channels, 0)  # [B C, 2 r + 1]
    planes = F.pad(x, (reach, reach, reach, reach), mode="reflect").view(1, -1, *_padded(x, reach))
    planes = F.conv2d(planes, kernel[:, None, :, None], groups=batch * channels)
    return F.conv2d(planes, kernel[:, None, None, :], groups=batch * channels).view_as(x)


def _padded(x: Tensor, reach: int) -> tuple[int, int]:
    return x.shape[2] + 2 * reach, x.shape[3] + 2 * reach
