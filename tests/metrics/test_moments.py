"""One-pass moments against numpy's."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from metrics.frechet import frechet_distance, gaussian_of_features
from metrics.moments import Moments

CPU = torch.device("cpu")


def features(images, channels, seed=0):
    """Like a network's: float32, not negative, channels that depend on one another."""
    generator = torch.Generator().manual_seed(seed)
    values = torch.randn(images, channels, generator=generator)
    return (values @ torch.randn(channels, channels, generator=generator) + 0.3).relu()


def moments_of(batches, channels):
    moments = Moments(channels, CPU)
    for batch in batches:
        moments.add(batch)
    return moments


@pytest.mark.parametrize(("images", "channels"), [(2, 3), (50, 1), (500, 24), (20, 40)])
def test_mean_and_covariance_are_numpys(images, channels):
    rows = features(images, channels)
    moments = moments_of([rows], channels)
    assert moments.mean().dtype == moments.covariance().dtype == torch.float64
    in_double = rows.double().numpy()
    scale = float(rows.double().square().mean(0).max())
    assert np.abs(moments.mean().numpy() - in_double.mean(0)).max() < 1e-12 * scale**0.5
    theirs = np.cov(in_double, rowvar=False)
    assert np.abs(moments.covariance().numpy() - theirs).max() < 1e-12 * scale


@given(
    cuts=st.lists(st.integers(0, 60), max_size=5),
    channels=st.integers(1, 6),
    seed=st.integers(0, 50),
)
@settings(deadline=None, max_examples=40)
def test_any_split_into_batches_gives_the_same(cuts, channels, seed):
    rows = features(60, channels, seed)
    ends = [0, *sorted(cuts), 60]
    batches = [rows[start:end] for start, end in zip(ends, ends[1:], strict=False)]
    found, whole = moments_of(batches, channels), moments_of([rows], channels)
    assert found.count == 60
    assert torch.allclose(found.mean(), whole.mean(), rtol=1e-12, atol=1e-12)
    assert torch.allclose(found.covariance(), whole.covariance(), rtol=1e-10, atol=1e-11)


def test_the_sums_of_shards_are_those_of_the_whole():
    rows = features(90, 12)
    shards = [moments_of([part], 12) for part in (rows[::3], rows[1::3], rows[2::3])]
    merged = shards[0]
    for shard in shards[1:]:
        for mine, theirs in zip(merged.sums(), shard.sums(), strict=True):
            mine += theirs  # in place, as an all-reduce does
    whole = moments_of([rows], 12)
    assert merged.count == 90
    assert torch.allclose(merged.mean(), whole.mean(), rtol=1e-13)
    assert torch.allclose(merged.covariance(), whole.covariance(), rtol=1e-11, atol=1e-12)


def test_half_precision_features_are_summed_in_double():
    """Sums of 4096 ones would stop at 2048 in float16."""
    moments = moments_of([torch.ones(4096, 2, dtype=torch.float16)], 2)
    assert moments.mean().tolist() == [1, 1]
    assert moments.covariance().abs().max() == 0


@pytest.mark.parametrize("images", [10, 200])
def test_its_distance_is_that_of_the_features(images):
    one, other = features(images, 32), features(images, 32, seed=1)
    by_moments = [moments_of(rows.split(7), 32).gaussian() for rows in (one, other)]
    by_features = [gaussian_of_features(rows) for rows in (one, other)]
    assert frechet_distance(*by_moments) == pytest.approx(frechet_distance(*by_features), rel=1e-10)
