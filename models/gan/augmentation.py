"""Differentiable augmentation of all reals and fakes that the discriminator sees.

Written in plain tensor operations because kornia's differ: its saturation and contrast clamp to
[0, 1] or synchronise with the device to check their factors, its grey is luma instead of the
channel mean, and its shift uses `grid_sample`, which blurs and has no second derivative.
Source: Zhao et al. 2020, section 3 and appendix A (DiffAugment: colour, translation, cutout).
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

SHIFT = 1 / 8  # maximum, relative to the side
HOLE = 1 / 2  # relative to the side


class Draws(NamedTuple):
    """Uniform random numbers in [0, 1), float32, for each picture."""

    applied: Tensor  # [B, 3] each of POLICIES, in their order, applies if below the probability
    colour: Tensor  # [B, 3] brightness, saturation, contrast
    shift: Tensor  # [B, 2] rows, columns
    hole: Tensor  # [B, 2] rows, columns

    def rows(self, places: slice | Tensor) -> "Draws":
        """Return the numbers for a subset of the pictures."""
        return Draws(*(part[places] for part in self))


def draw(count: int, random: torch.Generator) -> Draws:
    """Draw the numbers for `count` pictures from `random`, on its device."""
    numbers = torch.rand(count, 10, generator=random, device=random.device)
    return Draws(*numbers.split([3, 3, 2, 2], 1))


def augment(
    pictures: Tensor, draws: Draws, policies: Sequence[str], probability: Tensor | float
) -> Tensor:
    """Augment pictures at random, differentiably.

    Each policy, in the given order, is applied independently to each picture with `probability`.
    Each u below is a uniform number of its own:

    - colour: brightness x + (u - 1/2); saturation g + 2u (x - g), g the mean over channels;
      contrast m + (u + 1/2) (x - m), m the mean over the picture;
    - translation: a shift by whole pixels, up to 1/8 of the side in each direction, zero padding;
    - cutout: zeros in a square of half the side, centred at any pixel.

    pictures: float [B, C, H, W] in [-1, 1]; not clamped afterwards. draws: for B pictures, on the
    same device. probability: 0 returns the input bit for bit; 1 is the method as published; given
    as a tensor it causes no device synchronisation. Returns the shape and dtype of `pictures`.
    Raises ValueError for an unknown policy or draws for a different number of pictures.
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
        # A cyclic shift, then a mask: each pixel is read only once, so its gradient is not a sum
        # whose order could vary.
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
    """Round halves up, as the authors' program does; Python's round(0.5) is 0."""
    return int(value + 0.5)


def _places(pictures: Tensor, axis: int) -> Tensor:
    return torch.arange(pictures.shape[axis], device=pictures.device)[None]


def _whole(numbers: Tensor, count: int) -> Tensor:
    """Turn uniform numbers in [0, 1) into uniform integers from 0 to count - 1."""
    return (numbers * count).long()


_CHANGES: dict[str, Callable[[Tensor, Draws], Tensor]] = {
    "colour": _colour,
    "translation": _translation,
    "cutout": _cutout,
}
POLICIES = tuple(_CHANGES)
