"""Sliced Wasserstein distance against scipy and numpy written out, and its symmetries."""

import importlib

import numpy as np
import pytest
import torch
from scipy import ndimage

from errors import UserError
from metrics.sliced_wasserstein import PatchDescriptors, sliced_wasserstein

swd = importlib.import_module("metrics.sliced_wasserstein")  # the package's name is the function's


def noise(images, size=32, seed=0, high=256):
    shape = (images, 3, size, size)
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, high, shape, generator=generator, dtype=torch.uint8)


def smooth(images, size=32, seed=0):
    coarse = noise(images, 4, seed).float()
    return torch.nn.functional.interpolate(coarse, size, mode="bilinear").round().byte()


def described(pictures, seed=0, patches=16):
    descriptors = PatchDescriptors(len(pictures), pictures.shape[-1], seed, patches)
    descriptors.add(range(len(pictures)), pictures)
    return descriptors


def literal_pyramid(picture):
    """The levels of one channel [S, S], with the mirror of scipy."""
    row = np.array([1, 4, 6, 4, 1]) / 16
    kernel = np.outer(row, row)
    levels = [picture.astype(np.float64)]
    while len(levels[-1]) > 16:
        smaller = ndimage.convolve(levels[-1], kernel, mode="mirror")[::2, ::2]
        spread = np.zeros_like(levels[-1])
        spread[::2, ::2] = smaller
        levels[-1] = levels[-1] - ndimage.convolve(spread, 4 * kernel, mode="mirror")
        levels.append(smaller)
    return levels


def literal_distance(real, fake, directions):
    """The distance x 1000 of two sets [patches, 3, 7, 7] along unit vectors [D, 147]."""
    normalized = []
    for patches in (real.astype(np.float64), fake.astype(np.float64)):
        patches = patches.copy()
        for channel in range(3):
            values = patches[:, channel]
            patches[:, channel] = (values - values.mean()) / values.std()
        normalized.append(patches.reshape(len(patches), 147))
    distances = []
    for direction in directions:
        projections = [sorted(float(p @ direction) for p in patches) for patches in normalized]
        distances.append(np.mean([abs(r - f) for r, f in zip(*projections, strict=True)]))
    return 1e3 * np.mean(distances)


def corners_of(patches, level):
    """The place of every patch [P, 3, 7, 7] in the level [3, S, S]; none may be missing."""
    windows = np.lib.stride_tricks.sliding_window_view(level, (7, 7), axis=(1, 2))
    places = []
    for patch in patches:
        errors = np.abs(windows - patch[:, None, None]).max(axis=(0, 3, 4))
        y, x = np.unravel_index(errors.argmin(), errors.shape)
        assert errors[y, x] < 1e-4
        places.append((int(y), int(x)))
    return places


def test_descriptors_are_patches_of_scipys_pyramid():
    pictures = noise(2, 64)
    levels = described(pictures).levels
    assert list(levels) == [64, 32, 16]
    for index, picture in enumerate(pictures.numpy()):
        pyramid = zip(*(literal_pyramid(channel) for channel in picture), strict=True)
        for side, channels in zip(levels, pyramid, strict=True):
            assert levels[side].dtype == torch.float32
            corners_of(levels[side][index].numpy(), np.stack(channels))


def test_patches_lie_everywhere_and_differ_between_pictures():
    picture = noise(1, 16)
    levels = described(picture.expand(2, -1, -1, -1), patches=1000).levels[16].numpy()
    first, second = (corners_of(patches, picture[0].numpy().astype(float)) for patches in levels)
    assert set(first) == {(y, x) for y in range(10) for x in range(10)}
    assert first != second


def test_distances_are_the_formula_written_out(monkeypatch):
    monkeypatch.setattr(swd, "ROWS_AT_ONCE", 30)
    monkeypatch.setattr(swd, "DIRECTIONS_AT_ONCE", 3)
    real, fake = described(noise(5), seed=1), described(smooth(5), seed=2)
    ours = sliced_wasserstein(real, fake, seed=3, repeats=2, directions=4)
    for side in (32, 16):
        directions = np.concatenate(list(swd._directions(3, side, 8)))
        assert np.allclose(np.linalg.norm(directions, axis=1), 1)
        patches = (s.levels[side].flatten(0, 1).numpy() for s in (real, fake))
        assert ours.levels[side] == pytest.approx(literal_distance(*patches, directions), rel=1e-5)
    assert ours.mean == pytest.approx((ours.levels[32] + ours.levels[16]) / 2)


def test_directions_are_uniform_on_the_sphere():
    directions = np.concatenate(list(swd._directions(0, 16, 4096)))
    assert directions.shape == (4096, 147)
    assert np.abs(directions.mean(0)).max() < 0.01
    covariance = 147 * directions.T @ directions / 4096
    assert np.abs(covariance - np.eye(147)).max() < 0.12
    assert not np.array_equal(directions, np.concatenate(list(swd._directions(0, 32, 4096))))


def test_equal_sets_have_no_distance():
    pictures = noise(4)
    distance = sliced_wasserstein(described(pictures), described(pictures), seed=0, directions=8)
    assert distance == ({32: 0.0, 16: 0.0}, 0.0)


def test_each_set_is_normalised_by_itself_channel_by_channel():
    pictures = noise(4, high=60)
    factor, shift = (torch.tensor(c).byte().view(3, 1, 1) for c in ([1, 2, 4], [9, 0, 5]))
    changed = pictures * factor + shift
    distance = sliced_wasserstein(described(pictures), described(changed), seed=0)
    assert distance.mean < 1e-2


def test_the_distance_is_symmetric():
    real, fake = described(noise(4)), described(smooth(4))
    there = sliced_wasserstein(real, fake, seed=0, repeats=1)
    assert there == sliced_wasserstein(fake, real, seed=0, repeats=1)


def test_real_is_nearer_to_real_than_to_noise():
    real, more = described(smooth(256), seed=1), described(smooth(256, seed=9), seed=2)
    near = sliced_wasserstein(real, more, seed=0)
    far = sliced_wasserstein(real, described(noise(256), seed=2), seed=0)
    assert 0 < near.mean < far.mean / 3
    assert all(near.levels[side] < far.levels[side] for side in (32, 16))


def test_batches_and_their_order_change_nothing():
    pictures = noise(7)
    whole = described(pictures)
    pieces = PatchDescriptors(7, 32, 0, patches=16)
    for batch in ([6, 2], [0], [5, 4, 3, 1], [2]):
        pieces.add(batch, pictures[batch])
    for side, level in whole.levels.items():
        assert torch.equal(level, pieces.levels[side])


def test_seeds_move_the_patches_and_the_directions():
    pictures = noise(3)
    assert not torch.equal(described(pictures, 0).levels[32], described(pictures, 1).levels[32])
    real, fake = described(pictures), described(smooth(3))
    distances = {sliced_wasserstein(real, fake, seed=seed, repeats=1).mean for seed in (0, 1)}
    assert len(distances) == 2


def test_the_larger_set_gives_its_first_images():
    real, fake = noise(6), smooth(4)
    ours = sliced_wasserstein(described(real), described(fake), seed=0, repeats=1)
    assert ours == sliced_wasserstein(described(real[:4]), described(fake), seed=0, repeats=1)


def test_images_that_never_came_are_left_out():
    real, fake = noise(5), described(smooth(4))
    holes, dense = (PatchDescriptors(5, 32, 0, patches=16) for _ in range(2))
    holes.add([0, 2, 4], real[[0, 2, 4]])
    for side, level in dense.levels.items():
        level[:3] = holes.levels[side][[0, 2, 4]]
    dense.added[:3] = 1
    ours = sliced_wasserstein(holes, fake, seed=0, repeats=1)
    assert ours == sliced_wasserstein(dense, fake, seed=0, repeats=1)


def test_parts_of_two_processes_add_up():
    pictures = noise(5)
    parts = [PatchDescriptors(5, 32, 0, patches=16) for _ in range(2)]
    for part, indices in zip(parts, ([0, 2, 4], [1, 3]), strict=True):
        part.add(indices, pictures[indices])
    whole = described(pictures)
    assert torch.equal(parts[0].added + parts[1].added, whole.added)
    for side, level in whole.levels.items():
        assert torch.equal(parts[0].levels[side] + parts[1].levels[side], level)


def test_grey_pictures_count_as_three_equal_channels():
    grey = noise(3)[:, :1]
    assert torch.equal(described(grey).levels[16], described(grey.expand(-1, 3, -1, -1)).levels[16])


@pytest.mark.parametrize("size", [0, 8, 15, 24, 48, 100])
def test_a_side_without_a_pyramid_is_refused(size):
    with pytest.raises(UserError, match="`metrics` swd"):
        PatchDescriptors(1, size, 0)


def test_pictures_of_another_size_are_refused():
    descriptors = PatchDescriptors(2, 32, 0)
    for pictures in (noise(2, 16), noise(2)[:, :, :16]):
        with pytest.raises(UserError, match="`metrics` swd"):
            descriptors.add([0, 1], pictures)
    with pytest.raises(UserError, match="`metrics` swd"):
        sliced_wasserstein(described(noise(1, 16)), described(noise(1)), seed=0)


def test_a_flat_colour_is_refused():
    flat = torch.full((2, 3, 16, 16), 7, dtype=torch.uint8)
    with pytest.raises(UserError, match="`metrics` swd"):
        sliced_wasserstein(described(flat), described(noise(2, 16)), seed=0)


def test_wrong_values_are_refused():
    descriptors = PatchDescriptors(2, 32, 0, patches=16)
    with pytest.raises(ValueError, match="uint8"):
        descriptors.add([0], noise(1).float())
    with pytest.raises(ValueError, match="uint8"):
        descriptors.add([0], noise(1)[:, :2])
    with pytest.raises(ValueError, match="2 indices for 1"):
        descriptors.add([0, 1], noise(1))
    for index in (2, -1):
        with pytest.raises(IndexError, match=str(index)):
            descriptors.add([index], noise(1))
    descriptors.add([1], noise(1))
    with pytest.raises(ValueError, match="patches"):
        sliced_wasserstein(described(noise(2), patches=3), descriptors, seed=0)
    with pytest.raises(ValueError, match="real set without images"):
        sliced_wasserstein(PatchDescriptors(2, 32, 0, patches=16), descriptors, seed=0)
    descriptors.added += descriptors.added.clone()
    with pytest.raises(ValueError, match="fake image 1 was added by more"):
        sliced_wasserstein(described(noise(2)), descriptors, seed=0)
