"""Padding, and anti-aliased halving and doubling of pictures by constant filters.

These are linear maps. The derivative of a linear map is its transpose, for which PyTorch's own
padding and convolution keep the whole input although nothing but its size matters: here they keep
nothing.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd import Function

from models.execution import few_launches


class ReflectionPad(nn.Module):
    """Mirror a picture at its borders: [B, C, H, W] -> [B, C, H + 2 pixels, W + 2 pixels]."""

    def __init__(self, pixels: int):
        super().__init__()
        self.pixels = pixels

    def forward(self, x: Tensor) -> Tensor:
        """Pad [B, C, H, W]; H and W above `pixels`."""
        return reflection_pad(x, self.pixels)

    def extra_repr(self) -> str:
        """Show the width of the border."""
        return str(self.pixels)


class FixedFilter(nn.Module):
    """A layer whose only tensor is a constant filter, taps x taps / sum * gain.

    The filter is no part of the state, but the official files hold it.
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
    """A filter for `channels` channels; the official files repeat it for each, [C, 1, k, k]."""

    def __init__(self, channels: int, taps: Sequence[float], gain: float = 1.0):
        super().__init__(taps, gain)
        self.channels = channels

    def official_filter(self) -> Tensor:
        """Return [C, 1, k, k]."""
        return self.kernel.repeat(self.channels, 1, 1, 1)

    def extra_repr(self) -> str:
        """Show the number of channels."""
        return str(self.channels)


class BlurDownsample(ResamplingFilter):
    """Halve a picture after a [1, 2, 1] x [1, 2, 1] / 16 blur with reflected borders.

    Shape: [B, C, H, W] -> [B, C, ceil(H / 2), ceil(W / 2)]. Source: Zhang 2019 (BlurPool).
    """

    def __init__(self, channels: int):
        super().__init__(channels, (1.0, 2.0, 1.0))

    def forward(self, x: Tensor) -> Tensor:
        """Blur and halve [B, C, H, W]."""
        return blur_and_halve(x, self.kernel)


class BlurUpsample(ResamplingFilter):
    """Double a picture with the [1, 3, 3, 1] x [1, 3, 3, 1] / 16 filter and repeated borders.

    The same function as bilinear interpolation at pixel centres (checked by a test).
    Shape: [B, C, H, W] -> [B, C, 2H, 2W].
    """

    def __init__(self, channels: int):
        super().__init__(channels, (1.0, 3.0, 3.0, 1.0), gain=4.0)

    def forward(self, x: Tensor) -> Tensor:
        """Double [B, C, H, W]."""
        return F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)


class _LinearMap(Function):
    """y = A x; its gradient is A^T applied by the same function, and so on for any order."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, linear_map: Callable, transposed: Callable) -> Tensor:
        ctx.linear_map, ctx.transposed = linear_map, transposed
        return linear_map(x)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        return _LinearMap.apply(gradient, ctx.transposed, ctx.linear_map), None, None


def reflection_pad(x: Tensor, pixels: int) -> Tensor:
    """Mirror [B, C, H, W] by `pixels` on each side, without repeating the border pixel.

    The same function as `F.pad(mode="reflect")`; H and W must be above `pixels`.
    """
    fold = _fold_in_one_launch if few_launches(x.device) else _fold
    return _LinearMap.apply(
        x, lambda y: F.pad(y, (pixels,) * 4, mode="reflect"), lambda y: fold(y, pixels)
    )


def blur_and_halve(x: Tensor, kernel: Tensor) -> Tensor:
    """Filter each channel of [B, C, H, W] with `kernel` [3, 3], borders mirrored; every second."""
    channels, height, width = x.shape[1:]
    kernel = kernel.to(x.dtype).expand(channels, 1, 3, 3)
    fold = _fold_in_one_launch if few_launches(x.device) else _fold

    def blur(y: Tensor) -> Tensor:
        padded = F.pad(y, (1, 1, 1, 1), mode="reflect")
        return F.conv2d(padded, kernel, stride=2, groups=channels)

    def spread(y: Tensor) -> Tensor:
        odd = (1 - height % 2, 1 - width % 2)  # the last padded row that no even step reached
        padded = F.conv_transpose2d(y, kernel, stride=2, output_padding=odd, groups=channels)
        return fold(padded, 1)

    return _LinearMap.apply(x, blur, spread)


def _fold(padded: Tensor, pixels: int) -> Tensor:
    """Take the border off [B, C, H + 2p, W + 2p] and add it to the pixels that it mirrors."""
    p = pixels
    folded = _fold_columns(padded[..., p:-p, :], p)
    for border, first in ((padded[..., :p, :], 1), (padded[..., -p:, :], folded.shape[-2] - p - 1)):
        folded[..., first : first + p, :] += _fold_columns(border.flip(-2), p)
    return folded


def _fold_in_one_launch(padded: Tensor, pixels: int) -> Tensor:
    """The same by PyTorch's own function, which reads nothing of its second argument but the size.

    On a CPU it takes up to twice the time of `_fold`.
    """
    batch, channels, height, width = padded.shape
    size = (batch, channels, height - 2 * pixels, width - 2 * pixels)
    like = padded.new_empty(()).expand(size)  # no memory
    return torch.ops.aten.reflection_pad2d_backward(padded, like, [pixels] * 4)


def _fold_columns(padded: Tensor, p: int) -> Tensor:
    folded = padded[..., p:-p].clone()
    folded[..., 1 : p + 1] += padded[..., :p].flip(-1)
    folded[..., -p - 1 : -1] += padded[..., -p:].flip(-1)
    return folded
