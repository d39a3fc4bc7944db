"""Differentiable augmentation: what the discriminator sees, of reals and fakes alike.

Plain tensor operations, since kornia's do not fit: its saturation and contrast clamp to [0, 1] or
wait for the device to look at their factors, its grey is weighted as the eye sees where the method
takes the mean, and its shift goes through `grid_sample`, which blurs and has no second derivative.
Source: Zhao et al. 2020, section 3 and appendix A (DiffAugment: colour, translation, cutout).
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

SHIFT = 1 / 8  # of the side, at most
HOLE = 1 / 2  # of the side


class Draws(NamedTuple):
    """Uniform random numbers in [0, 1), float32, for each picture."""

    applied: Tensor  # [B, 3] whether each of POLICIES is, in their order
    colour: Tensor  # [B, 3] brightness, saturation, contrast
    shift: Tensor  # [B, 2] rows, columns
    hole: Tensor  # [B, 2] rows, columns

    def rows(self, places: slice | Tensor) -> "Draws":
        """Return the numbers of some of the pictures."""
        return Draws(*(part[places] for part in self))


def draw(count: int, random: torch.Generator) -> Draws:
    """Draw the numbers of `count` pictures, on the device of `random` and from it alone."""
    numbers = torch.rand(count, 10, generator=random, device=random.device)
    return Draws(*numbers.split([3, 3, 2, 2], 1))


def augment(
    pictures: Tensor, draws: Draws, policies: Sequence[str], probability: Tensor | float
) -> Tensor:
    """Change pictures at random; gradients flow to them.

    Each policy, in the order given, is applied to each picture by itself with this probability. For
    a uniform number u:

    - colour: x + (u - 1/2), then contrast to the picture's grey (mean over channels) times 2u, then
      to its mean times u + 1/2, each with a u of its own;
    - translation: a shift by whole pixels, up to 1/8 of the side either way, zeros in the gap;
    - cutout: zeros in a square of half the side, about any place of the picture.

    pictures: float [B, C, H, W] in [-1, 1]; not clamped afterwards. draws: of B pictures, on the
    same device. probability: 0 gives the input, bit for bit; 1 is the method as published; a tensor
    of one number is never read by the host. Returns the shape and dtype of `pictures`.
    Raises ValueError for a policy that there is not and for draws of another number of pictures.
    """
    unknown = [name for name in policies if name not in POLICIES]
    if unknown:
        raise ValueError(f"policy {unknown[0]!r}: unknown; give some of {', '.join(POLICIES)}")
    if len(draws.applied) != len(pictures):
        raise ValueError(f"draws of {len(draws.applied)} pictures for {len(pictures)}")
    for name in policies:
        applied = draws.applied[:, POLICIES.index(name), None, None, None] < probability
        pictures = torch.where(applied, _CHANGES[name](pictures, draws), pictures)
    return pictures


def _colour(pictures: Tensor, draws: Draws) -> Tensor:
    numbers = draws.colour.to(pictures.dtype)[:, :, None, None, None]
    brightness, saturation, contrast = numbers.unbind(1)  # each [B, 1, 1, 1]
    x = pictures + (brightness - 0.5)
    grey = x.mean(1, keepdim=True)
    x = grey + (x - grey) * (2 * saturation)
    mean = x.mean((1, 2, 3), keepdim=True)
    return mean + (x - mean) * (contrast + 0.5)


def _translation(pictures: Tensor, draws: Draws) -> Tensor:
    for axis, numbers in ((2, draws.shift[:, 0]), (3, draws.shift[:, 1])):
        side = pictures.shape[axis]
        most = _half_up(side * SHIFT)
        places = _places(pictures, axis) - _whole(numbers, 2 * most + 1)[:, None] + most
        inside = (places >= 0) & (places < side)
        # What is pushed out is taken round to the gap, and covered there: so each pixel is read
        # once, and its gradient is no sum whose order could change.
        shape = [len(pictures), 1, 1, 1]
        shape[axis] = side
        places, inside = places.remainder(side).view(shape), inside.view(shape)
        pictures = pictures.gather(axis, places.expand_as(pictures)) * inside
    return pictures


def _cutout(pictures: Tensor, draws: Draws) -> Tensor:
    inside = []
    for axis, numbers in ((2, draws.hole[:, 0]), (3, draws.hole[:, 1])):
        side = pictures.shape[axis]
        hole = _half_up(side * HOLE)
        start = _whole(numbers, side + 1 - hole % 2)[:, None] - hole // 2
        places = _places(pictures, axis)
        inside.append((places >= start) & (places < start + hole))
    square = inside[0][:, None, :, None] & inside[1][:, None, None, :]
    return pictures * ~square


def _half_up(value: float) -> int:
    """Round as the method's authors do; Python's round(0.5) is 0."""
    return int(value + 0.5)


def _places(pictures: Tensor, axis: int) -> Tensor:
    return torch.arange(pictures.shape[axis], device=pictures.device)[None]


def _whole(numbers: Tensor, count: int) -> Tensor:
    """Return whole numbers from 0 to count - 1, equally likely."""
    return (numbers * count).long()


_CHANGES: dict[str, Callable[[Tensor, Draws], Tensor]] = {
    "colour": _colour,
    "translation": _translation,
    "cutout": _cutout,
}
POLICIES = tuple(_CHANGES)
