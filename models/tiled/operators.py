"""The layers of a generator as operators on regions of feature maps.

An operator says how long its result is (`length`), which rows or columns of its input a span of its
result depends on (`needs`), and computes a region of the result from windows that hold what that
region needs (`apply`). Padding appears only where a window touches the border of the whole map.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from models.inference import mirrored
from models.resampling import double
from models.tiled.regions import Region, Span, clipped
from models.tiled.statistics import Statistics


class Place(NamedTuple):
    """Where the windows that an operator gets lie, and which region of the result is asked for."""

    wanted: Region
    given: Region
    size: tuple[int, int]  # of the whole input


class Operator(Protocol):
    """A layer whose value at a pixel depends on a neighbourhood of that pixel."""

    reduces: float  # input pixels per pixel of the result, along each axis

    def length(self, length: int, axis: int) -> int:
        """Return the rows (axis 0) or columns (1) of the result for those of the input."""
        ...

    def needs(self, span: Span, length: int, axis: int) -> Span:
        """Return what a span of the result depends on, of `length` rows or columns."""
        ...

    def apply(self, windows: Sequence[Tensor], place: Place) -> Tensor:
        """Compute a region [B, C, h, w] of the result from windows of the inputs."""
        ...


@dataclass(frozen=True, eq=False)
class Pointwise:
    """A function of one or more maps of the same size, pixel by pixel."""

    function: Callable[..., Tensor]
    reduces: float = 1.0

    def length(self, length: int, axis: int) -> int:
        """Return the same length."""
        return length

    def needs(self, span: Span, length: int, axis: int) -> Span:
        """Return the same span."""
        return span

    def apply(self, windows: Sequence[Tensor], place: Place) -> Tensor:
        """Call the function on windows [B, C, h, w]."""
        return self.function(*windows)


@dataclass(eq=False)
class Norm:
    """(x - mean) / deviation, then ReLU if asked for, with statistics that are set beforehand."""

    relu: bool
    statistics: Statistics | None = None
    reduces: float = 1.0

    length, needs = Pointwise.length, Pointwise.needs

    def apply(self, windows: Sequence[Tensor], place: Place) -> Tensor:
        """Normalise a window [B, C, h, w]."""
        mean, scale = self.statistics.at(place.wanted)
        y = (windows[0] - mean) * scale
        return y.relu_() if self.relu else y


@dataclass(frozen=True, eq=False)
class AddedNoise:
    """The fixed noise that `NoiseInjection` adds in eval mode."""

    weight: Tensor  # [1]
    sequence: Tensor  # repeated along the pixels of the map, row by row
    reduces: float = 1.0

    length, needs = Pointwise.length, Pointwise.needs

    def apply(self, windows: Sequence[Tensor], place: Place) -> Tensor:
        """Add noise to a window [B, C, h, w]."""
        (x,) = windows
        rows, columns = (torch.arange(*span, device=x.device) for span in place.wanted)
        places = rows[:, None] * place.size[1] + columns
        return x + self.weight * self.sequence[places.remainder(len(self.sequence))]


@dataclass(frozen=True, eq=False)
class Convolution:
    """A convolution with zero padding, the same along both axes.

    convolve: a faster function of the same weight and bias, without padding.
    """

    weight: Tensor  # [out, in / groups, k, k]
    bias: Tensor | None = None
    stride: int = 1
    before: int = 0  # zeros above and on the left
    after: int = 0
    groups: int = 1
    convolve: Callable[[Tensor], Tensor] | None = None

    @property
    def reduces(self) -> float:
        """The stride."""
        return float(self.stride)

    def length(self, length: int, axis: int) -> int:
        """Return the rows or columns of the result."""
        return (length + self.before + self.after - self.weight.shape[2]) // self.stride + 1

    def needs(self, span: Span, length: int, axis: int) -> Span:
        """Return the rows or columns under the kernel."""
        return clipped(self._under(span), length)

    def apply(self, windows: Sequence[Tensor], place: Place) -> Tensor:
        """Convolve a window, padded by zeros where it touches the border."""
        (x,) = windows
        padding = []
        for wanted, given in zip(reversed(place.wanted), reversed(place.given), strict=True):
            under = self._under(wanted)
            padding += [given.start - under.start, under.stop - given.stop]
        x = F.pad(x, padding) if any(padding) else x
        if self.convolve:
            return self.convolve(x)
        return F.conv2d(x, self.weight, self.bias, self.stride, groups=self.groups)

    def _under(self, span: Span) -> Span:
        first = span.start * self.stride - self.before
        last = (span.stop - 1) * self.stride - self.before
        return Span(first, last + self.weight.shape[2])


@dataclass(frozen=True, eq=False)
class TransposedConvolution:
    """A transposed convolution, the same along both axes."""

    weight: Tensor  # [in, out, k, k], k not below the stride
    bias: Tensor | None = None
    stride: int = 2
    padding: int = 0
    output_padding: int = 0  # not above the padding

    @property
    def reduces(self) -> float:
        """1 / stride."""
        return 1 / self.stride

    def length(self, length: int, axis: int) -> int:
        """Return the rows or columns of the result."""
        uncropped = (length - 1) * self.stride + self.weight.shape[2]
        return uncropped - 2 * self.padding + self.output_padding

    def needs(self, span: Span, length: int, axis: int) -> Span:
        """Return the rows or columns whose kernels reach the span."""
        first = -(-(span.start + self.padding - self.weight.shape[2] + 1) // self.stride)
        last = (span.stop - 1 + self.padding) // self.stride
        return clipped(Span(first, last + 1), length)

    def apply(self, windows: Sequence[Tensor], place: Place) -> Tensor:
        """Spread a window, and crop what other windows would add to."""
        y = F.conv_transpose2d(windows[0], self.weight, self.bias, self.stride)
        rows, columns = (
            slice(wanted.start - first, wanted.stop - first)
            for wanted, first in (
                (wanted, given.start * self.stride - self.padding)
                for wanted, given in zip(place.wanted, place.given, strict=True)
            )
        )
        return y[:, :, rows, columns]


@dataclass(frozen=True, eq=False)
class Mirror:
    """Reflection padding, repeated where it is wider than the map; rows, then columns."""

    before: tuple[int, int]
    after: tuple[int, int]
    reduces: float = 1.0

    def length(self, length: int, axis: int) -> int:
        """Return the rows or columns of the result."""
        return self.before[axis] + length + self.after[axis]

    def needs(self, span: Span, length: int, axis: int) -> Span:
        """Return the rows or columns that the span shows."""
        places = self._places(span, length, axis)
        return Span(int(places.min()), int(places.max()) + 1)

    def apply(self, windows: Sequence[Tensor], place: Place) -> Tensor:
        """Copy the window's pixels to where they are shown."""
        (x,) = windows
        padding = []
        for axis, (wanted, given) in enumerate(zip(place.wanted, place.given, strict=True)):
            shown = Span(*(end - self.before[axis] for end in wanted))
            sides = given.start - shown.start, shown.stop - given.stop
            if clipped(shown, place.size[axis]) == given and max(sides) < given.length:
                padding = [*sides, *padding]
            else:  # wholly in the padding, or padded by more than the window has
                places = self._places(wanted, place.size[axis], axis) - given.start
                x = x.index_select(axis + 2, places.to(x.device))
                padding = [0, 0, *padding]
        return F.pad(x, padding, mode="reflect") if any(padding) else x

    def _places(self, span: Span, length: int, axis: int) -> Tensor:
        before = self.before[axis]
        return mirrored(torch.arange(span.start - before, span.stop - before), length)


@dataclass(frozen=True, eq=False)
class Doubling:
    """Bilinear interpolation to twice the size."""

    reduces: float = 0.5

    def length(self, length: int, axis: int) -> int:
        """Return the rows or columns of the result."""
        return 2 * length

    def needs(self, span: Span, length: int, axis: int) -> Span:
        """Return the rows or columns that are interpolated between."""
        return clipped(Span((span.start - 1) // 2, span.stop // 2 + 1), length)

    def apply(self, windows: Sequence[Tensor], place: Place) -> Tensor:
        """Double a window, and crop."""
        rows, columns = (
            slice(wanted.start - 2 * given.start, wanted.stop - 2 * given.start)
            for wanted, given in zip(place.wanted, place.given, strict=True)
        )
        return double(windows[0])[:, :, rows, columns]
