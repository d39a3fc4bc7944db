"""The Triton kernels of `fused_norm`.

The pixels of a channel are split among programs. A first kernel computes the mean and the sum of
squared deviations of each part (backward: two sums); a second one combines them and writes its part
of the result. No atomics are used, so the result is deterministic.
"""

import os

import torch
import triton
import triton.language as tl
from torch import Tensor

PROGRAMS = 264  # two per multiprocessor of a large GPU
MOST_PARTS = 64
PIXELS_A_TILE, CHANNELS_A_TILE = 128, 16  # channels-last
PIXELS_A_ROW = 1024  # contiguous


def runs_on(x: Tensor) -> bool:
    """Return whether the kernels can run on this tensor: on a GPU, or in Triton's interpreter."""
    interpreted = os.environ.get("TRITON_INTERPRET") == "1"
    return x.dtype != torch.float64 and (x.is_cuda or interpreted)


def forward(
    x: Tensor, residual: Tensor | None, relu: bool, eps: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Return y like x, and mean and 1 / sqrt(var + eps), float32 [B, C]."""
    y = torch.empty_like(x)
    if residual is not None and residual.stride() != x.stride():
        residual = torch.empty_like(x).copy_(residual)
    grid, tile, parts = _plan(x)
    batch, channels = x.shape[:2]
    mean, rstd = (x.new_empty(batch, channels, dtype=torch.float32) for _ in range(2))
    means, squares = (x.new_empty(batch * channels, parts, dtype=torch.float32) for _ in range(2))
    sizes = _sizes(x)
    _moments[grid](x, means, squares, *sizes, parts, **tile)
    _normalize[grid](
        x, residual if residual is not None else x, y, means, squares, mean, rstd, *sizes, parts,
        eps, RELU=relu, ADDS=residual is not None, PARTS=triton.next_power_of_2(parts), **tile,
    )  # fmt: skip
    return y, mean, rstd


def backward(gradient: Tensor, x: Tensor, mean: Tensor, rstd: Tensor, relu: bool) -> Tensor:
    """Return the gradient of x; `gradient` must have the strides of x."""
    of_x = torch.empty_like(x)
    grid, tile, parts = _plan(x)
    sums, products = (x.new_empty(mean.numel(), parts, dtype=torch.float32) for _ in range(2))
    sizes = _sizes(x)
    _sums[grid](gradient, x, mean, rstd, sums, products, *sizes, parts, RELU=relu, **tile)
    _gradient[grid](
        gradient, x, mean, rstd, sums, products, of_x, *sizes, parts,
        RELU=relu, PARTS=triton.next_power_of_2(parts), **tile,
    )  # fmt: skip
    return of_x


def _plan(x: Tensor) -> tuple[tuple[int, int], dict[str, int], int]:
    """Return the grid, the tile sizes and the number of parts per channel."""
    batch, channels, height, width = x.shape
    if x.stride(1) == 1 and channels > 1:  # channels-last
        wide = min(CHANNELS_A_TILE, triton.next_power_of_2(channels))
        tile = {"CHANNELS": wide, "PIXELS": PIXELS_A_TILE}
    else:
        tile = {"CHANNELS": 1, "PIXELS": PIXELS_A_ROW}
    rows = batch * triton.cdiv(channels, tile["CHANNELS"])
    tiles = triton.cdiv(height * width, tile["PIXELS"])
    parts = min(max(1, PROGRAMS // rows), tiles, MOST_PARTS)
    return (rows, parts), tile, parts


def _sizes(x: Tensor) -> tuple[int, ...]:
    batch, channels, height, width = x.shape
    channel_stride, pixel_stride = x.stride(1), x.stride(3)
    if width == 1:
        pixel_stride = x.stride(2)
    return channels, height * width, x.stride(0), channel_stride, pixel_stride


@triton.jit
def _place(channels, pixels, parts, CHANNELS: tl.constexpr, PIXELS: tl.constexpr):
    """Return the sample, the channels and the pixels [first, last) of this program."""
    groups = tl.cdiv(channels, CHANNELS)
    sample = tl.program_id(0) // groups
    channel = tl.program_id(0) % groups * CHANNELS + tl.arange(0, CHANNELS)
    part = tl.program_id(1)
    size = tl.cdiv(tl.cdiv(pixels, parts), PIXELS) * PIXELS
    first = tl.minimum(part * size, pixels)
    last = tl.minimum(first + size, pixels)
    return sample, channel, part, first, last


@triton.jit
def _offsets(
    sample, channel, start, last, channels, sample_stride, channel_stride, pixel_stride,
    PIXELS: tl.constexpr,
):  # fmt: skip
    """Return the offsets of a tile [channels, pixels] and its mask of valid elements."""
    pixel = start + tl.arange(0, PIXELS)
    rows = sample.to(tl.int64) * sample_stride + channel.to(tl.int64) * channel_stride
    where = rows[:, None] + pixel.to(tl.int64)[None, :] * pixel_stride
    return where, (channel[:, None] < channels) & (pixel[None, :] < last)


@triton.jit
def _moments(
    x, means, squares, channels, pixels, sample_stride, channel_stride, pixel_stride, parts,
    CHANNELS: tl.constexpr, PIXELS: tl.constexpr,
):  # fmt: skip
    """Mean and sum of squared deviations of each part of a channel (Chan et al. 1979)."""
    sample, channel, part, first, last = _place(channels, pixels, parts, CHANNELS, PIXELS)
    mean = tl.zeros([CHANNELS], tl.float32)
    square = tl.zeros([CHANNELS], tl.float32)
    count = 0.0
    for start in range(first, last, PIXELS):
        where, exists = _offsets(
            sample, channel, start, last, channels, sample_stride, channel_stride, pixel_stride,
            PIXELS,
        )  # fmt: skip
        value = tl.load(x + where, mask=exists, other=0.0).to(tl.float32)
        new = tl.minimum(last - start, PIXELS).to(tl.float32)
        new_mean = tl.sum(value, 1) / new
        deviation = tl.where(exists, value - new_mean[:, None], 0.0)
        delta = new_mean - mean
        total = count + new
        square += tl.sum(deviation * deviation, 1) + delta * delta * (count * new / total)
        mean += delta * (new / total)
        count = total
    row = (sample * channels + channel) * parts + part
    tl.store(means + row, mean, mask=channel < channels)
    tl.store(squares + row, square, mask=channel < channels)


@triton.jit
def _normalize(
    x, residual, y, means, squares, mean_out, rstd_out,
    channels, pixels, sample_stride, channel_stride, pixel_stride, parts, eps,
    RELU: tl.constexpr, ADDS: tl.constexpr, PARTS: tl.constexpr,
    CHANNELS: tl.constexpr, PIXELS: tl.constexpr,
):  # fmt: skip
    """Combine the parts' moments, then write this part of y."""
    sample, channel, part, first, last = _place(channels, pixels, parts, CHANNELS, PIXELS)
    each = tl.arange(0, PARTS)
    row = (sample * channels + channel)[:, None] * parts + each[None, :]
    there = (channel[:, None] < channels) & (each[None, :] < parts)
    size = tl.cdiv(tl.cdiv(pixels, parts), PIXELS) * PIXELS
    begins = tl.minimum(each * size, pixels)
    count = (tl.minimum(begins + size, pixels) - begins).to(tl.float32)[None, :]
    part_means = tl.load(means + row, mask=there, other=0.0)
    part_squares = tl.load(squares + row, mask=there, other=0.0)
    mean = tl.sum(tl.where(there, part_means * count, 0.0), 1) / pixels
    off = part_means - mean[:, None]
    variance = tl.sum(tl.where(there, part_squares + count * off * off, 0.0), 1) / pixels
    rstd = 1.0 / tl.sqrt(variance + eps)
    if part == 0:
        tl.store(mean_out + sample * channels + channel, mean, mask=channel < channels)
        tl.store(rstd_out + sample * channels + channel, rstd, mask=channel < channels)
    for start in range(first, last, PIXELS):
        where, exists = _offsets(
            sample, channel, start, last, channels, sample_stride, channel_stride, pixel_stride,
            PIXELS,
        )  # fmt: skip
        value = tl.load(x + where, mask=exists, other=0.0).to(tl.float32)
        value = (value - mean[:, None]) * rstd[:, None]
        if RELU:
            value = tl.maximum(value, 0.0, propagate_nan=tl.PropagateNan.ALL)
        if ADDS:
            value += tl.load(residual + where, mask=exists, other=0.0).to(tl.float32)
        tl.store(y + where, value.to(y.dtype.element_ty), mask=exists)


@triton.jit
def _sums(
    gradient, x, means, rstds, sums, products,
    channels, pixels, sample_stride, channel_stride, pixel_stride, parts,
    RELU: tl.constexpr, CHANNELS: tl.constexpr, PIXELS: tl.constexpr,
):  # fmt: skip
    """Sums of g and of g x^ over each part of a channel."""
    sample, channel, part, first, last = _place(channels, pixels, parts, CHANNELS, PIXELS)
    known = channel < channels
    mean = tl.load(means + sample * channels + channel, mask=known, other=0.0)
    rstd = tl.load(rstds + sample * channels + channel, mask=known, other=0.0)
    total = tl.zeros([CHANNELS], tl.float32)
    product = tl.zeros([CHANNELS], tl.float32)
    for start in range(first, last, PIXELS):
        where, exists = _offsets(
            sample, channel, start, last, channels, sample_stride, channel_stride, pixel_stride,
            PIXELS,
        )  # fmt: skip
        value = tl.load(x + where, mask=exists, other=0.0).to(tl.float32)
        normal = (value - mean[:, None]) * rstd[:, None]
        g = tl.load(gradient + where, mask=exists, other=0.0).to(tl.float32)
        if RELU:
            g = tl.where(normal > 0, g, 0.0)
        total += tl.sum(g, 1)
        product += tl.sum(tl.where(exists, g * normal, 0.0), 1)
    row = (sample * channels + channel) * parts + part
    tl.store(sums + row, total, mask=known)
    tl.store(products + row, product, mask=known)


@triton.jit
def _gradient(
    gradient, x, means, rstds, sums, products, of_x,
    channels, pixels, sample_stride, channel_stride, pixel_stride, parts,
    RELU: tl.constexpr, PARTS: tl.constexpr, CHANNELS: tl.constexpr, PIXELS: tl.constexpr,
):  # fmt: skip
    """Combine the parts' sums, then write this part of the gradient of x."""
    sample, channel, part, first, last = _place(channels, pixels, parts, CHANNELS, PIXELS)
    known = channel < channels
    mean = tl.load(means + sample * channels + channel, mask=known, other=0.0)
    rstd = tl.load(rstds + sample * channels + channel, mask=known, other=0.0)
    each = tl.arange(0, PARTS)
    row = (sample * channels + channel)[:, None] * parts + each[None, :]
    there = known[:, None] & (each[None, :] < parts)
    total = tl.sum(tl.load(sums + row, mask=there, other=0.0), 1) / pixels
    product = tl.sum(tl.load(products + row, mask=there, other=0.0), 1) / pixels
    for start in range(first, last, PIXELS):
        where, exists = _offsets(
            sample, channel, start, last, channels, sample_stride, channel_stride, pixel_stride,
            PIXELS,
        )  # fmt: skip
        value = tl.load(x + where, mask=exists, other=0.0).to(tl.float32)
        normal = (value - mean[:, None]) * rstd[:, None]
        g = tl.load(gradient + where, mask=exists, other=0.0).to(tl.float32)
        if RELU:
            g = tl.where(normal > 0, g, 0.0)
        value = (g - total[:, None] - normal * product[:, None]) * rstd[:, None]
        tl.store(of_x + where, value.to(of_x.dtype.element_ty), mask=exists)
