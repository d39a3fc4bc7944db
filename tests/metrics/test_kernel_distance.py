"""Kernel distance against torch-fidelity, a literal transcription, closed forms, resamples."""

import inspect

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch_fidelity.metric_kid import kid_features_to_metric

from errors import UserError
from metrics.kernel_distance import (
    KernelDistance,
    _resamples,
    _unbiased_mmd,
    checked_subset_size,
    kernel_distance,
)


def features(images, channels, *, seed, shift=0.0, dtype=torch.float32):
    """Like a network's: not negative, mean near 0.5."""
    generator = torch.Generator().manual_seed(seed)
    return (torch.randn(images, channels, generator=generator, dtype=dtype) + shift).abs()


def literal_mmd(x, y):
    """The unbiased estimate, term by term; entries of one set compared where they differ."""
    x, y = x.double().tolist(), y.double().tolist()

    def k(a, b):
        return (sum(p * q for p, q in zip(a, b, strict=True)) / len(a) + 1) ** 3

    def within(rows):
        values = [k(rows[i], rows[j]) for i in range(len(rows)) for j in range(len(rows)) if i != j]
        return sum(values) / (len(rows) * (len(rows) - 1))

    between = sum(k(a, b) for a in x for b in y) / (len(x) * len(y))
    return within(x) + within(y) - 2 * between


def resampled_mmd(x, y, drawn_x, drawn_y):
    """The bootstrap's estimate from lists of drawn indices: pairs of the same image left out."""

    def k(a, b):
        return (float(a.double() @ b.double()) / len(a) + 1) ** 3

    def within(rows, drawn):
        pairs = [(a, b) for a in drawn for b in drawn if a != b]
        return sum(k(rows[a], rows[b]) for a, b in pairs) / len(pairs)

    between = np.mean([k(x[a], y[b]) for a in drawn_x for b in drawn_y])
    return within(x, drawn_x) + within(y, drawn_y) - 2 * between


@pytest.mark.parametrize(
    ("real_images", "fake_images", "channels", "shift"),
    [(60, 60, 16, 0.0), (90, 41, 33, 0.2), (50, 130, 128, 1.0)],
)
def test_equals_torch_fidelity(real_images, fake_images, channels, shift):
    real = features(real_images, channels, seed=0)
    fake = features(fake_images, channels, seed=1, shift=shift)
    ours = kernel_distance(real, fake, subsets=30, subset_size=25)
    theirs = kid_features_to_metric(
        fake, real, kid_subsets=30, kid_subset_size=25, rng_seed=2020, verbose=False
    )
    assert ours.mean == pytest.approx(theirs["kernel_inception_distance_mean"], abs=3e-6)
    assert ours.std == pytest.approx(theirs["kernel_inception_distance_std"], abs=3e-6)
    in_double = kid_features_to_metric(
        fake.double(), real.double(), kid_subsets=30, kid_subset_size=25, verbose=False
    )
    assert ours.mean == pytest.approx(in_double["kernel_inception_distance_mean"], abs=1e-12)
    assert ours.std == pytest.approx(in_double["kernel_inception_distance_std"], abs=1e-12)


@given(
    x_images=st.integers(2, 9),
    y_images=st.integers(2, 9),
    channels=st.integers(1, 5),
    block=st.integers(1, 10),
    seed=st.integers(0, 100),
)
@settings(deadline=None, max_examples=50)
def test_the_estimate_is_the_papers_and_symmetric_in_any_blocks(
    x_images, y_images, channels, block, seed
):
    x, y = features(x_images, channels, seed=seed), features(y_images, channels, seed=seed + 1)
    ours = _unbiased_mmd(x, y, block=block)
    assert ours.item() == pytest.approx(literal_mmd(x, y), rel=1e-10, abs=1e-10)
    assert _unbiased_mmd(y, x, block=block).item() == pytest.approx(ours.item(), abs=1e-10)
    shuffled = x[torch.randperm(x_images, generator=torch.Generator().manual_seed(seed))]
    assert _unbiased_mmd(shuffled, y).item() == pytest.approx(ours.item(), abs=1e-10)


def test_a_set_with_itself_by_hand():
    """Rows 0, 1, 2: kernels of pairs 1, 1, 27 within; the same and 1, 8, 125 between.

    29 * 2 / 6 twice, less 2 * (2 * 29 + 134) / 9: -4, below 0 as an unbiased estimate may be.
    """
    rows = torch.tensor([[0.0], [1.0], [2.0]])
    assert _unbiased_mmd(rows, rows).item() == pytest.approx(2 * 58 / 6 - 2 * 192 / 9)


def test_two_constant_sets_by_hand():
    """All rows 1 against all rows 0: 8 + 1 - 2 = 7 for every subset and resample."""
    found = kernel_distance(torch.zeros(10, 4), torch.ones(12, 4), subsets=3, subset_size=4)
    assert found[:4] == pytest.approx((7, 0, 7, 7))


def test_alike_sets_have_a_mean_of_zero_over_many_draws():
    values = torch.cat(
        [
            _unbiased_mmd(features(15, 3, seed=seed), features(12, 3, seed=1000 + seed))
            for seed in range(400)
        ]
    )
    assert (values < 0).double().mean() > 0.3
    assert abs(values.mean()) < 4 * values.std() / 20


def test_the_bootstrap_equals_a_loop_over_resampled_lists():
    real, fake = features(11, 3, seed=0), features(13, 3, seed=1, shift=0.5)
    stream = np.random.default_rng(7)
    draws = [[stream.integers(n, size=n).tolist() for _ in range(1000)] for n in (13, 11)]
    weights = _resamples(13, 11, seed=7)
    for of_set, lists in zip(weights, draws, strict=True):
        assert of_set.sum(1).eq(of_set.shape[1]).all()
        assert of_set[5].tolist() == [lists[5].count(i) for i in range(of_set.shape[1])]
    ours = _unbiased_mmd(fake, real, *weights, block=4)
    for number in range(12):
        lists = draws[0][number], draws[1][number]
        assert ours[number].item() == pytest.approx(resampled_mmd(fake, real, *lists), rel=1e-9)
    found = kernel_distance(real, fake, seed=7, interval=0.8)
    assert (found.low, found.high) == pytest.approx(tuple(np.quantile(ours, [0.1, 0.9])))


def test_the_interval_holds_the_true_distance_about_as_often_as_it_says():
    """Fakes -1 or 1, reals 0 or 1: moments 0, 1, 0 and 1/2 thrice; MMD^2 = (3 + 3 + 1) / 4."""
    generator = torch.Generator().manual_seed(0)
    held = 0
    for _ in range(50):
        fake = torch.randint(0, 2, (40, 1), generator=generator) * 2.0 - 1
        real = torch.randint(0, 2, (30, 1), generator=generator) * 1.0
        found = kernel_distance(real, fake, subsets=1)
        held += found.low <= 1.75 <= found.high
    assert 42 <= held <= 50


def test_a_narrower_interval_lies_inside_a_wider_one():
    sets = features(20, 4, seed=0), features(30, 4, seed=1)
    wide, narrow = (kernel_distance(*sets, subsets=1, interval=width) for width in (0.99, 0.5))
    assert wide.low < narrow.low < narrow.high < wide.high


def test_the_same_seed_gives_the_same_numbers_and_another_one_others():
    sets = features(20, 4, seed=0), features(30, 4, seed=1)
    first = kernel_distance(*sets, subsets=5)
    assert kernel_distance(*sets, subsets=5) == first
    other = kernel_distance(*sets, subsets=5, seed=1)
    assert all(a != b for a, b in zip(first[:4], other[:4], strict=True))


@pytest.mark.parametrize(
    ("real_images", "fake_images", "expected"),
    [(10, 30, 5), (31, 25, 12), (999, 1100, 499), (1000, 1100, 1000)],
)
def test_the_default_subset_size(real_images, fake_images, expected):
    real, fake = features(real_images, 1, seed=0), features(fake_images, 1, seed=1)
    assert checked_subset_size(len(real), len(fake), 100, None) == expected


def test_defaults_are_torch_fidelitys():
    parameters = inspect.signature(kernel_distance).parameters
    assert (parameters["subsets"].default, parameters["seed"].default) == (100, 2020)
    found = kernel_distance(features(12, 2, seed=0), features(14, 2, seed=1))
    assert isinstance(found, KernelDistance) and found.subset_size == 6


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_dtypes_are_computed_in_float64(dtype):
    real, fake = features(12, 3, seed=0).to(dtype), features(12, 3, seed=1).to(dtype)
    assert kernel_distance(real, fake) == kernel_distance(real.double(), fake.double())


@pytest.mark.parametrize("images", [0, 1, 9])
def test_too_few_images_are_refused(images):
    few, enough = features(images, 2, seed=0), features(10, 2, seed=1)
    with pytest.raises(UserError, match=f"`metrics` kid: {images} real images"):
        kernel_distance(few, enough)
    with pytest.raises(UserError, match=f"`metrics` kid: {images} fake images"):
        kernel_distance(enough, few)


@pytest.mark.parametrize("subset_size", [-1, 0, 1, 13])
def test_a_subset_size_that_does_not_fit_is_refused(subset_size):
    with pytest.raises(UserError, match=f"`kid_subset_size` {subset_size}: .* 12 images"):
        kernel_distance(features(12, 2, seed=0), features(20, 2, seed=1), subset_size=subset_size)


@pytest.mark.parametrize("subsets", [0, -3])
def test_no_subsets_are_refused(subsets):
    with pytest.raises(UserError, match=f"`kid_subsets` {subsets}:"):
        kernel_distance(features(12, 2, seed=0), features(20, 2, seed=1), subsets=subsets)


@pytest.mark.parametrize("interval", [0.0, 1.0, -0.5, 95.0])
def test_an_interval_that_is_no_share_is_refused(interval):
    with pytest.raises(ValueError, match="interval"):
        kernel_distance(features(12, 2, seed=0), features(20, 2, seed=1), interval=interval)


@pytest.mark.parametrize("shape", [(12,), (12, 3), (12, 2, 1)])
def test_unequal_shapes_are_refused(shape):
    with pytest.raises(ValueError, match="features"):
        kernel_distance(torch.zeros(12, 2), torch.zeros(shape))
