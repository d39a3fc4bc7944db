"""Latents and labels: the same for a seed and a number; distributions against closed forms."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from models.gan import draw_labels, draw_latents, interpolate_spherically

CHANNELS = 5
SHARES = (0.2, 0.0, 0.5, 0.3)
MANY = 200


@pytest.fixture(scope="module")
def many():
    return draw_latents(7, MANY, CHANNELS), draw_labels(7, MANY, SHARES)


@settings(deadline=None)
@given(first=st.integers(0, MANY), count=st.integers(0, MANY))
def test_a_picture_s_numbers_follow_from_seed_and_number_alone(many, first, count):
    count = min(count, MANY - first)
    latents = draw_latents(7, count, CHANNELS, first=first)
    labels = draw_labels(7, count, SHARES, first=first)
    assert torch.equal(latents, many[0][first : first + count])
    assert torch.equal(labels, many[1][first : first + count])
    assert (latents.dtype, labels.dtype) == (torch.float32, torch.int64)


def test_no_two_pictures_or_seeds_are_alike(many):
    seeds = (0, 1, 2**32, 2**32 + 1, 2**70)  # a 32-bit generator must tell these apart too
    rows = torch.cat([draw_latents(seed, MANY, CHANNELS) for seed in seeds])
    assert len(rows.unique(dim=0)) == len(seeds) * MANY
    labels = {tuple(draw_labels(seed, MANY, SHARES).tolist()) for seed in seeds}
    assert len(labels) == len(seeds)


def test_no_global_generator_is_touched():
    before = torch.get_rng_state()
    draw_latents(0, 3, CHANNELS)
    draw_labels(0, 3, SHARES)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("truncation", [0.05, 0.5, 0.9, 1.0])
def test_latents_are_normal_or_truncated_normal(truncation):
    latents = draw_latents(3, 4000, CHANNELS, truncation=truncation).flatten().double().numpy()
    bound = stats.norm.ppf((1 + truncation) / 2)
    assert stats.kstest(latents, stats.truncnorm(-bound, bound).cdf).pvalue > 0.01


@pytest.mark.parametrize("truncation", [0.3, 0.7, 0.999])
def test_truncation_keeps_a_number_s_place_in_the_distribution(truncation, many):
    bound = stats.norm.ppf((1 + truncation) / 2)
    expected = stats.truncnorm.ppf(stats.norm.cdf(many[0].double().numpy()), -bound, bound)
    truncated = draw_latents(7, MANY, CHANNELS, truncation=truncation)
    assert torch.allclose(truncated.double(), torch.from_numpy(expected), rtol=1e-5, atol=1e-7)


def test_truncation_ends_at_zero_and_at_the_latents_themselves(many):
    assert torch.equal(draw_latents(7, MANY, CHANNELS, truncation=1), many[0])
    assert not draw_latents(7, MANY, CHANNELS, truncation=0).any()


def test_labels_come_by_their_shares():
    counts = draw_labels(0, 6000, SHARES).bincount(minlength=4).tolist()
    assert counts[1] == 0
    others = [0, 2, 3]
    expected = [6000 * SHARES[label] for label in others]
    assert stats.chisquare([counts[label] for label in others], expected).pvalue > 0.01


def test_only_the_ratios_of_shares_matter(many):
    assert torch.equal(draw_labels(7, MANY, [4, 0, 10, 6]), many[1])


@pytest.mark.parametrize(
    "draw",
    [
        lambda: draw_latents(0, 3, 4, truncation=1.01),
        lambda: draw_latents(0, 3, 4, truncation=-0.01),
        lambda: draw_latents(0, 3, 4, truncation=math.nan),
        lambda: draw_latents(0, -1, 4),
        lambda: draw_latents(0, 1, 4, first=-1),
        lambda: draw_latents(0, 3, 0),
        lambda: draw_labels(0, -1, SHARES),
        lambda: draw_labels(0, 3, []),
        lambda: draw_labels(0, 3, [0.0, 0.0]),
        lambda: draw_labels(0, 3, [1.0, -0.5]),
        lambda: draw_labels(0, 3, [1.0, math.nan]),
        lambda: draw_labels(0, 3, [1e308, 1e308]),
        lambda: interpolate_spherically(torch.zeros(0, 4), 3),
        lambda: interpolate_spherically(torch.zeros(4), 3),
        lambda: interpolate_spherically(torch.zeros(2, 4), 0),
    ],
)
def test_what_cannot_be_is_refused(draw):
    with pytest.raises(ValueError, match="give|below"):
        draw()


def test_a_quarter_of_a_circle_is_walked_in_equal_angles():
    keys = torch.eye(2, dtype=torch.float64)
    angles = torch.arange(5, dtype=torch.float64) / 4 * math.pi / 2
    expected = torch.stack([angles.cos(), angles.sin()], 1)
    assert torch.allclose(interpolate_spherically(keys, 4), expected, atol=1e-15)


def test_lengths_do_not_change_the_angle_at_which_a_step_lies():
    keys = torch.tensor([[2.0, 0.0], [0.0, 5.0]], dtype=torch.float64)
    middle = interpolate_spherically(keys, 2)[1]
    assert torch.allclose(middle, torch.tensor([2.0, 5.0], dtype=torch.float64) / math.sqrt(2))


@pytest.mark.parametrize("closed", [False, True])
def test_every_key_is_passed_exactly(closed, many):
    keys = many[0][:6]
    walk = interpolate_spherically(keys, 7, closed=closed)
    assert walk.shape == (42 if closed else 36, CHANNELS) and walk.dtype == torch.float32
    assert torch.equal(walk[::7], keys)
    opened = interpolate_spherically(torch.cat([keys, keys[:1]]), 7)
    if closed:
        assert torch.equal(walk, opened[:-1])


@pytest.mark.parametrize("end", [[1.0, 2.0], [3.0, 6.0], [-1.0, -2.0], [0.0, 0.0]])
def test_parallel_opposite_and_zero_latents_are_joined_by_a_line(end):
    keys = torch.tensor([[1.0, 2.0], end])
    walk = interpolate_spherically(keys, 4)
    expected = torch.lerp(keys[:1], keys[1:], torch.arange(5)[:, None] / 4)
    assert torch.allclose(walk, expected, atol=1e-6)


def test_one_key_is_a_walk_on_the_spot(many):
    key = many[0][:1]
    assert torch.equal(interpolate_spherically(key, 3), key)
    assert torch.allclose(interpolate_spherically(key, 3, closed=True), key.expand(3, -1))
