"""Padding, and anti-aliased downsampling and upsampling by constant filters.

All of these are linear, so the backward pass needs only the size of the input. PyTorch's padding
and convolution save the whole input nevertheless; these functions save nothing.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd import Function

from models.execution import few_launches


class ReflectionPad(nn.Module):
    """Reflection padding: [B, C, H, W] -> [B, C, H + 2 pixels, W + 2 pixels]."""

    def __init__(self, pixels: int):
        super().__init__()
        self.pixels = pixels

    def forward(self, x: Tensor) -> Tensor:
        """Pad [B, C, H, W]; H and W must be larger than `pixels`."""
        return reflection_pad(x, self.pixels)

    def extra_repr(self) -> str:
        """Return the width of the border."""
        return str(self.pixels)


class FixedFilter(nn.Module):
    """A layer whose only tensor is a constant filter: outer(taps, taps) / sum * gain.

    The filter is not part of the state dict, but the official files contain it.
    """

    official_name = "filt"

    def __init__(self, taps: Sequence[float], gain: float = 1.0):
        super().__init__()
        kernel = torch.tensor(taps)[:, None] * torch.tensor(taps)
        self.register_buffer("kernel", kernel / kernel.sum() * gain, persistent=False)

    def official_filter(self) -> Tensor:
        """Return the filter in the shape that it has in the official files."""
        return self.kernel


class ResamplingFilter(FixedFilter):
    """A filter for `channels` channels; official files hold a copy for each, [C, 1, k, k]."""

    def __init__(self, channels: int, taps: Sequence[float], gain: float = 1.0):
        super().__init__(taps, gain)
        self.channels = channels

    def official_filter(self) -> Tensor:
        """Return [C, 1, k, k]."""
        return self.kernel.repeat(self.channels, 1, 1, 1)

    def extra_repr(self) -> str:
        """Return the number of channels."""
        return str(self.channels)


class BlurDownsample(ResamplingFilter):
    """Blur with [1, 2, 1] x [1, 2, 1] / 16 and reflection padding, then downsample by 2.

    Shape: [B, C, H, W] -> [B, C, ceil(H / 2), ceil(W / 2)]. Source: Zhang 2019 (BlurPool).
    """

    def __init__(self, channels: int):
        super().__init__(channels, (1.0, 2.0, 1.0))

    def forward(self, x: Tensor) -> Tensor:
        """Blur and downsample [B, C, H, W]."""
        return blur_and_halve(x, self.kernel)


class BlurUpsample(ResamplingFilter):
    """Upsample by 2 with the [1, 3, 3, 1] x [1, 3, 3, 1] / 16 filter and replication padding.

    Equal to bilinear interpolation with align_corners=False (checked by a test).
    Shape: [B, C, H, W] -> [B, C, 2H, 2W].
    """

    def __init__(self, channels: int):
        super().__init__(channels, (1.0, 3.0, 3.0, 1.0), gain=4.0)

    def forward(self, x: Tensor) -> Tensor:
        """Upsample [B, C, H, W]."""
        return F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)


class _LinearMap(Function):
    """y = A x for a linear map A; the backward pass applies A^T in the same way, to any order."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, linear_map: Callable, transposed: Callable) -> Tensor:
        ctx.linear_map, ctx.transposed = linear_map, transposed
        return linear_map(x)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        return _LinearMap.apply(gradient, ctx.transposed, ctx.linear_map), None, None


def reflection_pad(x: Tensor, pixels: int) -> Tensor:
    """Pad [B, C, H, W] by `pixels` on each side, without repeating the border pixel.

    Equal to `F.pad(mode="reflect")`; H and W must be larger than `pixels`.
    """
    fold = _fold_in_one_launch if few_launches(x.device) else _fold
    return _LinearMap.apply(
        x, lambda y: F.pad(y, (pixels,) * 4, mode="reflect"), lambda y: fold(y, pixels)
    )


def blur_and_halve(x: Tensor, kernel: Tensor) -> Tensor:
    """Filter each channel of [B, C, H, W] with `kernel` [3, 3], reflection padding, stride 2."""
    channels, height, width = x.shape[1:]
    kernel = kernel.to(x.dtype).expand(channels, 1, 3, 3)
    fold = _fold_in_one_launch if few_launches(x.device) else _fold

    def blur(y: Tensor) -> Tensor:
        padded = F.pad(y, (1, 1, 1, 1), mode="reflect")
        return F.conv2d(padded, kernel, stride=2, groups=channels)

    def spread(y: Tensor) -> Tensor:
        odd = (1 - height % 2, 1 - width % 2)  # the last padded row, which stride 2 did not reach
        padded = F.conv_transpose2d(y, kernel, stride=2, output_padding=odd, groups=channels)
        return fold(padded, 1)

    return _LinearMap.apply(x, blur, spread)


def _fold(padded: Tensor, pixels: int) -> Tensor:
    """Crop the border of [B, C, H + 2p, W + 2p] and add it to the pixels that it reflects."""
    p = pixels
    folded = _fold_columns(padded[..., p:-p, :], p)
    for border, first in ((padded[..., :p, :], 1), (padded[..., -p:, :], folded.shape[-2] - p - 1)):
        folded[..., first : first + p, :] += _fold_columns(border.flip(-2), p)
    return folded


def _fold_in_one_launch(padded: Tensor, pixels: int) -> Tensor:
    """`_fold` by PyTorch's backward operator, which uses only the size of its second argument.

    On a CPU it takes up to twice as long as `_fold`.
    """
    batch, channels, height, width = padded.shape
    size = (batch, channels, height - 2 * pixels, width - 2 * pixels)
    like = padded.new_empty(()).expand(size)  # takes no memory
    return torch.ops.aten.reflection_pad2d_backward(padded, like, [pixels] * 4)


def _fold_columns(padded: Tensor, p: int) -> Tensor:
    folded = padded[..., p:-p].clone()
    folded[..., 1 : p + 1] += padded[..., :p].flip(-1)
    folded[..., -p - 1 : -1] += padded[..., -p:].flip(-1)
    return folded
