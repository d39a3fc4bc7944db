"""Padding, and anti-aliased downsampling and upsampling by constant filters.

All of these are linear, so the backward pass needs only the size of the input. PyTorch's padding
and convolution save the whole input nevertheless; these functions save nothing. On a GPU each map
and each transpose is one Triton kernel that keeps the memory layout and adds in a fixed order,
where PyTorch's backward passes add atomically.
"""

from collections.abc import Callable, Sequence
from importlib.util import find_spec
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd import Function

from models.execution import few_launches

if find_spec("triton"):
    from models import triton_resample
else:  # PyTorch's builds without CUDA
    triton_resample = None

KINDS = ("pad", "pad_back", "halve", "halve_back", "double", "double_back")
TRANSPOSED = {kind: KINDS[number ^ 1] for number, kind in enumerate(KINDS)}


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
        """Double [B, C, H, W]."""
        return double(x)


def reflection_pad(x: Tensor, pixels: int) -> Tensor:
    """Pad [B, C, H, W] by `pixels` on each side, without repeating the border pixel.

    Equal to `F.pad(mode="reflect")`; H and W must be larger than `pixels`.
    """
    if few_launches(x.device):
        size = [side + 2 * pixels for side in x.shape[2:]]
        return _Resampling.apply(x, "pad", size, pixels)
    return LinearMap.apply(x, lambda y: _pad(y, pixels), lambda y: _fold(y, pixels))


def blur_and_halve(x: Tensor, kernel: Tensor) -> Tensor:
    """Filter each channel of [B, C, H, W] with `kernel` [3, 3], borders mirrored; every second.

    kernel: that of `BlurDownsample`.
    """
    height, width = x.shape[2:]
    if few_launches(x.device):
        return _Resampling.apply(x, "halve", [-(-height // 2), -(-width // 2)], 1)

    def spread(y: Tensor) -> Tensor:
        return _fold(_spread(y, kernel, (height, width)), 1)

    return LinearMap.apply(x, lambda y: _blur(y, kernel), spread)


def double(x: Tensor) -> Tensor:
    """Filter and double [B, C, H, W], borders repeated: bilinear interpolation at pixel centres."""
    if few_launches(x.device):
        return _Resampling.apply(x, "double", [2 * side for side in x.shape[2:]], 0)
    return F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)


class LinearMap(Function):
    """y = A x; its gradient is A^T applied by the same function, and so on for any order."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, linear_map: Callable, transposed: Callable) -> Tensor:
        """Apply A; transposed: the function that applies A^T."""
        ctx.linear_map, ctx.transposed = linear_map, transposed
        return linear_map(x)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        """Apply A^T."""
        return LinearMap.apply(gradient, ctx.transposed, ctx.linear_map), None, None


class _Resampling(Function):
    """The same in one kernel for each map and each transpose."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, kind: str, size: list[int], pixels: int) -> Tensor:
        ctx.kind, ctx.size, ctx.pixels = kind, list(x.shape[2:]), pixels
        return resample(x, kind, size, pixels)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None, None]:
        of_x = _Resampling.apply(gradient, TRANSPOSED[ctx.kind], ctx.size, ctx.pixels)
        return of_x, None, None, None


@torch.library.custom_op("pairless::resample", mutates_args=())
def resample(x: Tensor, kind: str, size: list[int], pixels: int) -> Tensor:
    """Return one of `KINDS` of [B, C, H, W] as [B, C, *size], in the layout of x.

    pixels: width of the border. The kinds that end in `back` are the transposes of the others.
    """
    x = x if x.is_contiguous(memory_format=_layout(x)) else x.contiguous()
    if triton_resample and triton_resample.runs_on(x):
        return triton_resample.resample(x, KINDS.index(kind), tuple(size), pixels)
    return _by_torch(x, kind, size, pixels).contiguous(memory_format=_layout(x))


@resample.register_fake
def _(x: Tensor, kind: str, size: list[int], pixels: int) -> Tensor:
    shape = (*x.shape[:2], *size)
    return torch.empty(shape, dtype=x.dtype, device=x.device, memory_format=_layout(x))


def _layout(x: Tensor) -> torch.memory_format:
    """The layout of x, of which contiguous goes before channels-last where both are the same."""
    if not x.is_contiguous() and x.is_contiguous(memory_format=torch.channels_last):
        return torch.channels_last
    return torch.contiguous_format


def _by_torch(x: Tensor, kind: str, size: list[int], pixels: int) -> Tensor:
    """One of `KINDS` in PyTorch's own operators."""
    if kind == "pad":
        return _pad(x, pixels)
    if kind == "pad_back":
        return _fold(x, pixels)
    if kind == "double":
        return F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)
    if kind == "double_back":
        like = [*x.shape[:2], *size]
        return torch.ops.aten.upsample_bilinear2d_backward(
            x, [2 * side for side in size], like, False, 2.0, 2.0
        )
    kernel = torch.tensor([1.0, 2.0, 1.0], device=x.device)
    kernel = torch.outer(kernel, kernel) / 16
    if kind == "halve":
        return _blur(x, kernel)
    return _fold(_spread(x, kernel, size), 1)


def _pad(x: Tensor, pixels: int) -> Tensor:
    return F.pad(x, (pixels,) * 4, mode="reflect")


def _blur(x: Tensor, kernel: Tensor) -> Tensor:
    channels = x.shape[1]
    kernel = kernel.to(x.dtype).expand(channels, 1, 3, 3)
    return F.conv2d(_pad(x, 1), kernel, stride=2, groups=channels)


def _spread(y: Tensor, kernel: Tensor, size: Sequence[int]) -> Tensor:
    """The transpose of the filter and of leaving out every second, without that of the border."""
    channels, (height, width) = y.shape[1], size
    odd = (1 - height % 2, 1 - width % 2)  # the last padded row that no even step reached
    kernel = kernel.to(y.dtype).expand(channels, 1, 3, 3)
    return F.conv_transpose2d(y, kernel, stride=2, output_padding=odd, groups=channels)


def _fold(padded: Tensor, pixels: int) -> Tensor:
    """Crop the border of [B, C, H + 2p, W + 2p] and add it to the pixels that it reflects."""
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
