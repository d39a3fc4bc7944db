"""Fixed linear maps of pictures, differentiated without keeping their inputs.

The derivative of a linear map is its transpose, for which PyTorch's own padding and convolution
keep the whole input although nothing but its size matters.
"""

from collections.abc import Callable
from typing import Any

import torch.nn.functional as F
from torch import Tensor
from torch.autograd import Function


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
    return _LinearMap.apply(
        x, lambda y: F.pad(y, (pixels,) * 4, mode="reflect"), lambda y: _fold(y, pixels)
    )


def blur_and_halve(x: Tensor, kernel: Tensor) -> Tensor:
    """Filter each channel of [B, C, H, W] with `kernel` [3, 3], borders mirrored; every second."""
    channels, height, width = x.shape[1:]
    kernel = kernel.to(x.dtype).expand(channels, 1, 3, 3)

    def blur(y: Tensor) -> Tensor:
        padded = F.pad(y, (1, 1, 1, 1), mode="reflect")
        return F.conv2d(padded, kernel, stride=2, groups=channels)

    def spread(y: Tensor) -> Tensor:
        odd = (1 - height % 2, 1 - width % 2)  # the last padded row that no even step reached
        padded = F.conv_transpose2d(y, kernel, stride=2, output_padding=odd, groups=channels)
        return _fold(padded, 1)

    return _LinearMap.apply(x, blur, spread)


def _fold(padded: Tensor, pixels: int) -> Tensor:
    """Take the border off [B, C, H + 2p, W + 2p] and add it to the pixels that it mirrors."""
    p = pixels
    folded = _fold_columns(padded[..., p:-p, :], p)
    for border, first in ((padded[..., :p, :], 1), (padded[..., -p:, :], folded.shape[-2] - p - 1)):
        folded[..., first : first + p, :] += _fold_columns(border.flip(-2), p)
    return folded


def _fold_columns(padded: Tensor, p: int) -> Tensor:
    folded = padded[..., p:-p].clone()
    folded[..., 1 : p + 1] += padded[..., :p].flip(-1)
    folded[..., -p - 1 : -1] += padded[..., -p:].flip(-1)
    return folded
