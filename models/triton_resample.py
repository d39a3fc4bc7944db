"""The Triton kernel of `resampling`: padding, halving and doubling, and their transposes.

All are separable: y[i, j] = sum over s, t of w_s(i) w_t(j) x[at_s(i), at_t(j)], with few taps for
each row and column. One program makes a tile of channels and pixels of y, in the layout of x.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

from models import triton_norm

TAPS = (1, 3, 3, 6, 2, 4)  # of the kinds in the order of `resampling.KINDS`


def runs_on(x: Tensor) -> bool:
    """Return whether the kernel can be used for this tensor: on a GPU, or interpreted."""
    return triton_norm.runs_on(x)


def resample(x: Tensor, kind: int, size: tuple[int, int], pixels: int) -> Tensor:
    """Return the map of [B, C, H, W] as [B, C, *size]; pixels: width of the border."""
    batch, channels, height, width = x.shape
    last = x.stride(1) == 1 and channels > 1
    layout = torch.channels_last if last else torch.contiguous_format
    y = torch.empty((batch, channels, *size), dtype=x.dtype, device=x.device, memory_format=layout)
    wide = min(64, triton.next_power_of_2(channels)) if last else 1
    grid = (triton.cdiv(size[0] * size[1], 1024 // wide), batch * triton.cdiv(channels, wide))
    _resample[grid](
        x, y, channels, height, width, *size, *x.stride(), *y.stride(), pixels,
        KIND=kind, TAPS=TAPS[kind], CHANNELS=wide, PIXELS=1024 // wide,
    )  # fmt: skip
    return y


@triton.jit
def _mirrored(at, size):
    """A place outside [0, size) by reflection at the first and the last pixel."""
    at = tl.abs(at)
    return size - 1 - tl.abs(size - 1 - at)


@triton.jit
def _tap(place, size, pixels, KIND: tl.constexpr, TAP: tl.constexpr):
    """Where tap number TAP of row or column `place` of y lies in x, of `size` pixels; its weight.

    The transposed kinds ask which places of a larger or smaller y their pixel went to.
    """
    if KIND == 0:  # PAD
        at = _mirrored(place - pixels, size)
        weight = tl.where(at >= 0, 1.0, 0.0)
    elif KIND == 1:  # PAD_BACK: x has the border, y of `size` - 2 pixels has not
        last = size - 2 * pixels - 1
        if TAP == 0:
            at = place + pixels
            weight = tl.where(at >= 0, 1.0, 0.0)
        elif TAP == 1:
            at = pixels - place
            weight = tl.where((place >= 1) & (place <= pixels), 1.0, 0.0)
        else:
            at = 2 * last - place + pixels
            weight = tl.where((place >= last - pixels) & (place <= last - 1), 1.0, 0.0)
    elif KIND == 2:  # HALVE: [1, 2, 1] / 4 about every second pixel
        at = _mirrored(2 * place + TAP - 1, size)
        weight = tl.where(at >= 0, 0.5 if TAP == 1 else 0.25, 0.0)
    elif KIND == 3:  # HALVE_BACK: here `pixels` is the size of y
        last = pixels - 1
        if TAP < 2:  # the pixel itself, at place + 1 of the padded picture
            padded = place + 1
            there = padded >= 0
        elif TAP < 4:  # its image in the border before the first pixel
            padded = 1 - place
            there = place == 1
        else:  # its image in the border behind the last one
            padded = 2 * last - place + 1
            there = place == last - 1
        even = padded % 2 == 0
        at = padded // 2 - TAP % 2
        weight = tl.where(even, 0.25, 0.0 if TAP % 2 == 1 else 0.5)
        weight = tl.where(there & (at >= 0) & (at < size), weight, 0.0)
    elif KIND == 4:  # DOUBLE: [1, 3] / 4, borders repeated
        if TAP == 0:
            at = place // 2
            weight = tl.where(at >= 0, 0.75, 0.0)
        else:
            at = place // 2 + tl.where(place % 2 == 0, -1, 1)
            at = tl.minimum(tl.maximum(at, 0), size - 1)
            weight = tl.where(at >= 0, 0.25, 0.0)
    else:  # DOUBLE_BACK: x has twice the pixels of y
        last = size // 2 - 1
        if TAP == 0:
            at = 2 * place
            weight = tl.where(place == 0, 1.0, 0.75)
        elif TAP == 1:
            at = 2 * place + 1
            weight = tl.where(place == last, 1.0, 0.75)
        elif TAP == 2:
            at = 2 * place + 2
            weight = tl.where(place < last, 0.25, 0.0)
        else:
            at = 2 * place - 1
            weight = tl.where(place > 0, 0.25, 0.0)
    return at, weight


@triton.jit
def _resample(
    x, y, channels, height, width, height_out, width_out,
    x_sample, x_channel, x_row, x_column, y_sample, y_channel, y_row, y_column, pixels,
    KIND: tl.constexpr, TAPS: tl.constexpr, CHANNELS: tl.constexpr, PIXELS: tl.constexpr,
):  # fmt: skip
    groups = tl.cdiv(channels, CHANNELS)
    sample = (tl.program_id(1) // groups).to(tl.int64)
    channel = (tl.program_id(1) % groups * CHANNELS + tl.arange(0, CHANNELS)).to(tl.int64)
    pixel = tl.program_id(0) * PIXELS + tl.arange(0, PIXELS)
    row, column = pixel // width_out, pixel % width_out
    known, exists = channel < channels, pixel < height_out * width_out
    of_row = height_out if KIND == 3 else pixels
    of_column = width_out if KIND == 3 else pixels
    total = tl.zeros([CHANNELS, PIXELS], tl.float32)
    plane = sample * x_sample + channel * x_channel
    for s in tl.static_range(TAPS):
        row_at, row_weight = _tap(row, height, of_row, KIND, s)
        for t in tl.static_range(TAPS):
            column_at, column_weight = _tap(column, width, of_column, KIND, t)
            weight = row_weight * column_weight
            where = row_at.to(tl.int64) * x_row + column_at.to(tl.int64) * x_column
            read = known[:, None] & (exists & (weight != 0))[None, :]
            value = tl.load(x + plane[:, None] + where[None, :], mask=read, other=0.0)
            total += value.to(tl.float32) * weight[None, :]
    where = row.to(tl.int64) * y_row + column.to(tl.int64) * y_column
    place = sample * y_sample + channel[:, None] * y_channel + where[None, :]
    tl.store(y + place, total.to(y.dtype.element_ty), mask=known[:, None] & exists[None, :])
