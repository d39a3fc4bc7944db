"""Sliced Wasserstein distance between the patches of two sets of pictures, for each scale."""

import hashlib
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from errors import UserError

LOWEST_PX = 16
PATCH_PX = 7
CHANNELS = 3
BINOMIAL = tuple(weight / 16 for weight in (1, 4, 6, 4, 1))
ROWS_AT_ONCE = 2048  # fits a cache
DIRECTIONS_AT_ONCE = 64


class SlicedWasserstein(NamedTuple):
    """Distances times 1000: by the level's side in pixels, and their mean over the levels."""

    levels: dict[int, float]
    mean: float


class PatchDescriptors:
    """Random 7 x 7 patches of every level of the Laplacian pyramids of a set of pictures.

    Holds images * patches * 147 float32 per level (1.15 GiB at 16,384 images and 128 patches), as
    `levels[side_px]`, [images, patches, 3, 7, 7]. A patch's position is uniform over the level and
    depends only on seed, image index, level and patch number, not on batches, their order or the
    number of processes. `added`, int32 [images], is 1 for each picture that was added. Both are 0
    for all others, so the parts of several processes that share a set can be summed.

    images: pictures in the set; size_px: their side, 16 times a power of two, which gives the
    levels size, size / 2, ..., 16; patches: per picture and level, 128 in the paper.
    Give two sets that are to be compared different seeds: the paper draws two independent samples,
    and with equal seeds matching pictures would have their patches at the same positions.

    Raises UserError for a side that has no such pyramid.
    Source: Karras et al. 2018 (Progressive Growing of GANs), section 5, and their program.
    """

    def __init__(self, images: int, size_px: int, seed: int, patches: int = 128):
        shape = (images, patches, CHANNELS, PATCH_PX, PATCH_PX)
        self.seed = seed
        self.levels = {side: torch.zeros(shape) for side in pyramid_sides_px(size_px)}
        self.added = torch.zeros(images, dtype=torch.int32)

    def add(self, indices: Sequence[int], pictures: Tensor) -> None:
        """Take the patches of `pictures`, uint8 [B, 3, S, S], whose indices in the set are given.

        Grey pictures [B, 1, S, S] count as three equal channels. The pyramid is computed in float32
        on the pictures' device. A repeated index replaces the earlier patches.

        Raises UserError for pictures of another size, ValueError for another type or number, and
        IndexError for an index outside the set.
        """
        size_px = max(self.levels)
        self._check(indices, pictures, size_px)
        pyramid = laplacian_pyramid(pictures.expand(-1, CHANNELS, -1, -1).float(), size_px)
        for side, level in pyramid:
            self.levels[side][list(indices)] = self._patches(level, indices).cpu()
        self.added[list(indices)] = 1

    def _check(self, indices: Sequence[int], pictures: Tensor, size_px: int) -> None:
        shape = tuple(pictures.shape)
        if pictures.dtype != torch.uint8 or len(shape) != 4 or shape[1] not in (1, CHANNELS):
            raise ValueError(f"pictures {pictures.dtype} {list(shape)} are not uint8 [B, 3, S, S]")
        if len(indices) != shape[0]:
            raise ValueError(f"{len(indices)} indices for {shape[0]} pictures")
        outside = [index for index in indices if not 0 <= index < len(self.added)]
        if outside:
            raise IndexError(f"image index {outside[0]} in a set of {len(self.added)}")
        if shape[2:] != (size_px, size_px):
            raise UserError(
                f"`metrics` swd: a picture of {shape[3]}x{shape[2]} pixels in a set of "
                f"{size_px}x{size_px}; leave swd out or resize all pictures to one size"
            )

    def _patches(self, level: Tensor, indices: Sequence[int]) -> Tensor:
        """Cut the patches [B, patches, 3, 7, 7] out of one level [B, 3, S, S]."""
        side, patches = level.shape[-1], next(iter(self.levels.values())).shape[1]
        corners = [
            _generator(self.seed, "corners", index, side).integers(
                side - PATCH_PX + 1, size=(2, patches)
            )
            for index in indices
        ]
        y, x = torch.from_numpy(np.stack(corners, axis=1)).to(level.device)
        picture = torch.arange(len(indices), device=level.device)[:, None]
        windows = level.unfold(2, PATCH_PX, 1).unfold(3, PATCH_PX, 1)
        return windows[picture, :, y, x]


def pyramid_sides_px(size_px: int) -> list[int]:
    """Return size, size / 2, ..., 16; UserError for a size that is not 16 times a power of two."""
    doublings = (size_px // LOWEST_PX).bit_length() - 1
    if size_px < LOWEST_PX or size_px != LOWEST_PX << doublings:
        raise UserError(
            f"`metrics` swd: pictures of {size_px} pixels a side, and swd needs 16, 32, 64, 128, "
            "...; leave swd out or resize the pictures"
        )
    return [size_px >> halvings for halvings in range(doublings + 1)]


def laplacian_pyramid(pictures: Tensor, size_px: int) -> Iterator[tuple[int, Tensor]]:
    """Yield each level's side and pictures: g_i - up(g_(i+1)), and at 16 pixels g itself.

    g_0 = pictures, float32 [B, C, S, S]; g_(i+1) = every second pixel of filter(g_i); up(g) = 4
    filter(g with zeros between its pixels); the filter is the outer square of [1, 4, 6, 4, 1] / 16
    with reflection padding. Source: Burt and Adelson 1983.
    """
    for side in pyramid_sides_px(size_px)[:-1]:
        smaller = _binomial_filter(pictures)[:, :, ::2, ::2]
        yield side, pictures - _upsample(smaller)
        pictures = smaller
    yield LOWEST_PX, pictures


def _upsample(pictures: Tensor) -> Tensor:
    batch, channels, height, width = pictures.shape
    spread = pictures.new_zeros(batch, channels, 2 * height, 2 * width)
    spread[:, :, ::2, ::2] = pictures
    return 4 * _binomial_filter(spread)


def _binomial_filter(pictures: Tensor) -> Tensor:
    # Sums of shifted pictures: a convolution may use TF32 on a GPU.
    height, width = pictures.shape[-2:]
    padded = F.pad(pictures, (2, 2, 2, 2), mode="reflect")
    rows = sum(w * padded[:, :, i : i + height] for i, w in enumerate(BINOMIAL))
    return sum(w * rows[..., i : i + width] for i, w in enumerate(BINOMIAL))


def sliced_wasserstein(
    real: PatchDescriptors,
    fake: PatchDescriptors,
    *,
    seed: int,
    repeats: int = 4,
    directions: int = 128,
) -> SlicedWasserstein:
    """Return 1000 times the sliced Wasserstein distance of every level, and the levels' mean.

    SWD = mean over directions d and ranks r of |sort(R d)_r - sort(F d)_r|, R and F the sets'
    descriptors [patches, 147]. Each set is normalised by its own statistics: per colour channel the
    mean over all patches and pixels is 0 and the standard deviation 1. There are
    repeats * directions directions per level, uniform on the sphere and drawn from `seed` and the
    level.

    Sets of different sizes: the n images of lowest index of both, n the smaller number of images
    added. Projections are float32, statistics and means float64. Lower is better; compare with
    the value of real pictures against other real pictures, which is not 0.

    Raises UserError for sets of different picture sizes and for a constant colour channel,
    ValueError for an empty set, an image that two processes added, or unequal numbers of patches.
    Source: Karras et al. 2018, section 5; Rabin et al. 2011 for the distance.
    """
    _check_sets(real, fake)
    images = int(min(real.added.sum(), fake.added.sum()))
    distances = {}
    for side in real.levels:
        sets = [_Normalized(_first_images(patches, side, images)) for patches in (real, fake)]
        total = 0.0
        for some in _directions(seed, side, repeats * directions):
            gaps, others = (descriptors.sorted_projections(some) for descriptors in sets)
            np.abs(np.subtract(gaps, others, out=gaps), out=gaps)
            total += gaps.mean(1, dtype=np.float64).sum()
        distances[side] = 1e3 * float(total) / (repeats * directions)
    return SlicedWasserstein(distances, sum(distances.values()) / len(distances))


def _check_sets(real: PatchDescriptors, fake: PatchDescriptors) -> None:
    sizes = max(real.levels), max(fake.levels)
    if sizes[0] != sizes[1]:
        raise UserError(
            f"`metrics` swd: real pictures of {sizes[0]} pixels a side and fake ones of {sizes[1]};"
            " leave swd out or resize them to one size"
        )
    patches = real.levels[LOWEST_PX].shape[1], fake.levels[LOWEST_PX].shape[1]
    if patches[0] != patches[1]:
        raise ValueError(f"{patches[0]} patches of a real picture and {patches[1]} of a fake one")
    for name, descriptors in (("real", real), ("fake", fake)):
        if not descriptors.added.any():
            raise ValueError(f"a {name} set without images")
        if descriptors.added.max() > 1:
            twice = int(descriptors.added.argmax())
            raise ValueError(f"{name} image {twice} was added by more than one process")


def _first_images(descriptors: PatchDescriptors, side: int, images: int) -> Tensor:
    """Return one level of the first `images` that were added, as a view if none is missing."""
    if descriptors.added[:images].all():
        return descriptors.levels[side][:images]
    return descriptors.levels[side][descriptors.added.nonzero().flatten()[:images]]


def _directions(seed: int, side: int, number: int) -> Iterator[np.ndarray]:
    """Yield `number` unit vectors in chunks, float32 [some, 147]."""
    components = CHANNELS * PATCH_PX**2
    vectors = _generator(seed, "directions", 0, side).standard_normal((number, components))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    for start in range(0, number, DIRECTIONS_AT_ONCE):
        yield vectors[start : start + DIRECTIONS_AT_ONCE].astype(np.float32)


class _Normalized:
    """One level's descriptors of one set, normalised in chunks as they are read, without a copy."""

    def __init__(self, level: Tensor):
        """Compute mean and deviation of the descriptors, float32 [images, patches, 3, 7, 7]."""
        self.rows = level.flatten(0, 1).flatten(2).numpy()  # [patches, 3, 49]
        values = self.rows.shape[0] * self.rows.shape[2]
        sums = (part.sum((0, 2), dtype=np.float64) for part in self._parts())
        self.mean = (sum(sums) / values)[:, None]
        squares = (((part - self.mean) ** 2).sum((0, 2)) for part in self._parts())
        self.deviation = np.sqrt(sum(squares) / values)[:, None]
        if not self.deviation.all():
            raise UserError(
                "`metrics` swd: a colour channel is constant over all pictures of a set; "
                "leave swd out or give other pictures"
            )

    def _parts(self) -> Iterator[np.ndarray]:
        for start in range(0, len(self.rows), ROWS_AT_ONCE):
            yield self.rows[start : start + ROWS_AT_ONCE]

    def sorted_projections(self, directions: np.ndarray) -> np.ndarray:
        """Return float32 [directions, patches], each row in ascending order."""
        mean, scale = self.mean.astype(np.float32), (1 / self.deviation).astype(np.float32)
        projections = np.empty((len(directions), len(self.rows)), np.float32)
        for number, part in enumerate(self._parts()):
            normalized = ((part - mean) * scale).reshape(len(part), -1)
            start = number * ROWS_AT_ONCE
            projections[:, start : start + len(part)] = directions @ normalized.T
        projections.sort(axis=1)  # numpy's is about 20 times as fast as torch's with AVX-512
        return projections


def _generator(seed: int, purpose: str, index: int, side: int) -> np.random.Generator:
    name = f"swd:{purpose}:{seed}:{index}:{side}".encode()
    key = int.from_bytes(hashlib.blake2b(name, digest_size=16).digest(), "little")
    return np.random.Generator(np.random.Philox(key=key))
