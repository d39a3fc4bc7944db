"""Precision, recall, density, coverage: the quoted tools, a transcription, sets that share images.

Ties are tried on small integers, where every tool's arithmetic is exact, and on random floats with
repeated rows, where the tools' rounding is not, against a transcription in whole numbers.
"""

from fractions import Fraction

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from prdc import compute_prdc
from torch_fidelity.metric_prc import prc_features_to_metric

from errors import UserError
from metrics.manifold import (
    _exact_distances,
    _origin,
    _quick_distances,
    _sum_in_order,
    density_coverage,
    precision_recall,
)


def normal(images, channels, *, seed, scale=1.0, shift=0.0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(images, channels, generator=generator) * scale + shift


def integers(images, channels, *, seed, largest=2):
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, largest + 1, (images, channels), generator=generator).float()


def literal(real, fake, k):
    """All four measures, one point at a time, with fractions: no rounding anywhere."""

    def rows(features):
        return [[Fraction(value) for value in row] for row in features.tolist()]

    def distance(a, b):
        return sum((p - q) ** 2 for p, q in zip(a, b, strict=True))

    def radii(points):
        return [
            sorted(distance(a, b) for j, b in enumerate(points) if j != i)[k - 1]
            for i, a in enumerate(points)
        ]

    real, fake = rows(real), rows(fake)
    d = [[distance(x, y) for y in fake] for x in real]
    r, s = radii(real), radii(fake)
    n, m = range(len(real)), range(len(fake))
    return {
        "precision": sum(any(d[i][j] <= r[i] for i in n) for j in m) / len(m),
        "recall": sum(any(d[i][j] <= s[j] for j in m) for i in n) / len(n),
        "density": sum(d[i][j] < r[i] for i in n for j in m) / (k * len(m)),
        "coverage": sum(min(d[i]) < r[i] for i in n) / len(n),
    }


def ours(real, fake, k, block=1024):
    precision, recall = precision_recall(real, fake, k=k, block=block)
    density, coverage = density_coverage(real, fake, k=k, block=block)
    return {"precision": precision, "recall": recall, "density": density, "coverage": coverage}


def fidelity(real, fake, k):
    found = prc_features_to_metric(fake, real, prc_neighborhood=k, verbose=False)
    return found["precision"], found["recall"]


def prdc(real, fake, k, capsys):
    found = compute_prdc(real.numpy(), fake.numpy(), nearest_k=k)
    capsys.readouterr()  # it prints
    return found["density"], found["coverage"]


SETS = {
    "alike": (normal(70, 8, seed=0), normal(60, 8, seed=1)),
    "narrow": (normal(50, 5, seed=2), normal(80, 5, seed=3, scale=0.4)),
    "apart": (normal(40, 3, seed=4), normal(40, 3, seed=5, shift=1.5)),
    "integers": (integers(60, 4, seed=6), integers(50, 4, seed=7)),
    "few integers": (integers(40, 2, seed=8), integers(45, 2, seed=9)),
}


@pytest.mark.parametrize("name", SETS)
@pytest.mark.parametrize("k", [1, 3, 5])
def test_precision_and_recall_equal_torch_fidelitys(name, k):
    real, fake = SETS[name]
    assert precision_recall(real, fake, k=k) == pytest.approx(fidelity(real, fake, k), abs=1e-6)


@pytest.mark.parametrize("name", SETS)
@pytest.mark.parametrize("k", [1, 3, 5])
def test_density_and_coverage_equal_prdcs(name, k, capsys):
    real, fake = SETS[name]
    expected = prdc(real, fake, k, capsys)
    assert density_coverage(real, fake, k=k) == pytest.approx(expected, abs=1e-12)


def test_default_neighbours_are_the_papers(capsys):
    real, fake = SETS["alike"]
    assert precision_recall(real, fake) == pytest.approx(fidelity(real, fake, 3), abs=1e-6)
    assert density_coverage(real, fake) == pytest.approx(prdc(real, fake, 5, capsys), abs=1e-12)


@given(
    sizes=st.tuples(st.integers(4, 10), st.integers(4, 10)),
    channels=st.integers(1, 4),
    k=st.integers(1, 3),
    block=st.integers(1, 12),
    seed=st.integers(0, 1000),
)
@settings(deadline=None, max_examples=60)
def test_equals_the_papers_written_out_with_any_ties(sizes, channels, k, block, seed):
    """Integers tie everywhere; thirds too, but round in the quick form of the distance."""
    real, fake = (
        integers(sizes[0], channels, seed=seed),
        integers(sizes[1], channels, seed=seed + 1),
    )
    assert ours(real, fake, k, block) == pytest.approx(literal(real, fake, k))
    real, fake = torch.cat([real, fake[:2]]) / 3, torch.cat([fake, real[:3]]) / 3
    assert ours(real, fake, k, block) == pytest.approx(literal(real, fake, k))


@given(
    sizes=st.tuples(st.integers(4, 9), st.integers(4, 9)),
    channels=st.integers(1, 3),
    k=st.integers(1, 3),
    seed=st.integers(0, 1000),
)
@settings(deadline=None, max_examples=30)
def test_equals_the_papers_written_out_where_sets_share_images(sizes, channels, k, seed):
    real, fake = normal(sizes[0], channels, seed=seed), normal(sizes[1], channels, seed=seed + 1)
    real = torch.cat([real, real[:2], fake[1:3]])
    fake = torch.cat([real[:4], fake, fake[:1], fake[:1]])
    assert ours(real, fake, k, block=5) == pytest.approx(literal(real, fake, k))


@given(
    images=st.integers(6, 20),
    channels=st.integers(1, 20),
    k=st.integers(1, 5),
    seed=st.integers(0, 1000),
)
@settings(deadline=None, max_examples=40)
def test_swapped_sets_swap_and_shuffled_or_mirrored_ones_change_nothing(images, channels, k, seed):
    real, fake = normal(images, channels, seed=seed), normal(images + 3, channels, seed=seed + 1)
    precision, recall = precision_recall(real, fake, k=k)
    assert precision_recall(fake, real, k=k) == (recall, precision)
    shuffled = torch.randperm(images, generator=torch.Generator().manual_seed(seed))
    found = ours(real, fake, k)
    assert ours(real[shuffled], fake.flip(0), k, block=4) == found
    assert ours(-2 * real, -2 * fake, k) == found


@pytest.mark.parametrize(("images", "channels"), [(300, 2048), (150, 7)])
@pytest.mark.parametrize("block", [64, 1024])
def test_identical_sets(images, channels, block):
    """The k-th neighbour lies on the rim exactly: inside for the one pair, outside for the other.

    So a fake lies in its own ball and in those of the k - 1 reals it is a nearer neighbour of, on
    average: density (1 + k - 1) / k = 1.
    """
    real = normal(images, channels, seed=0, shift=0.7).abs()
    assert precision_recall(real, real.clone(), block=block) == (1, 1)
    assert precision_recall(real, real.flip(0), block=block) == (1, 1)
    assert density_coverage(real, real.flip(0), block=block) == (1, 1)


@pytest.mark.parametrize("copies", [2, 4, 9])
def test_identical_sets_of_repeated_images(copies, capsys):
    """With k copies besides itself a ball has no width: with its rim it holds its copies."""
    real = normal(20, 64, seed=0).repeat(copies, 1)
    assert precision_recall(real, real, block=32) == (1, 1)
    density, coverage = density_coverage(real, real, k=3, block=32)
    assert (density, coverage) == ((2 / 3, 1) if copies == 2 else (0, 0))
    whole = integers(20, 6, seed=0, largest=9).repeat(copies, 1)
    expected = prdc(whole, whole, 3, capsys)
    assert density_coverage(whole, whole, k=3, block=32) == pytest.approx(expected, abs=1e-12)


def test_constant_sets():
    constant, others = torch.full((30, 5), 0.3), normal(30, 5, seed=0)
    assert precision_recall(constant, constant) == (1, 1)
    assert density_coverage(constant, constant) == (0, 0)
    assert ours(others, constant, 3) == pytest.approx(literal(others, constant, 3))
    assert ours(constant, others, 3) == pytest.approx(literal(constant, others, 3))


def test_nearly_repeated_images_are_told_apart():
    """Steps of 1e-6 beside values of 1000: their squares vanish in the quick form's rounding."""
    steps = torch.arange(6, dtype=torch.float64)[:, None].square() * 1e-6
    far = torch.tensor([[-1000.0]], dtype=torch.float64)  # keeps the origin away
    real = torch.cat([1000 + steps, far, far - 1e-6, far - 3e-6])
    fake = torch.cat([1000 + steps + 0.6e-6, far + 0.1e-6, far - 2e-6])
    quick, error = _quick_distances(real[:6], real[:6], torch.zeros(1))
    assert (error > quick.abs()).all()
    for k in (1, 2):
        assert ours(real, fake, k) == pytest.approx(literal(real, fake, k))


def test_the_bound_holds_what_the_quick_form_loses():
    x, y = normal(40, 300, seed=0, shift=3), normal(30, 300, seed=1, shift=3)
    i, j = torch.ones(40, 30).nonzero(as_tuple=True)
    exact = _exact_distances(x, y, i, j).view(40, 30)
    for origin in (torch.zeros(300), _origin(x, y), torch.full((300,), -1e6)):
        quick, error = _quick_distances(x, y, origin)
        assert ((quick - exact).abs() <= error).all()


@pytest.mark.parametrize("channels", [1, 2, 3, 64, 100])
def test_the_sum_in_order(channels):
    values = normal(7, channels, seed=0).double()
    found = _sum_in_order(values)
    assert torch.allclose(found, values.sum(1), rtol=1e-12, atol=1e-12)
    assert torch.equal(found[3:4], _sum_in_order(values[3:4]))


def test_sets_far_apart_and_one_inside_the_other():
    real = normal(30, 4, seed=0)
    assert precision_recall(real, real + 100) == (0, 0)
    assert density_coverage(real, real + 100) == (0, 0)
    inside = 1e-3 * normal(30, 4, seed=1) + real.mean(0)
    precision, recall = precision_recall(real, inside)
    assert precision == 1 and recall == 0
    assert density_coverage(real, inside)[0] > 1


@pytest.mark.parametrize("measure", [precision_recall, density_coverage])
def test_the_fewest_images_that_have_their_neighbours(measure):
    enough, few = normal(4, 2, seed=0), normal(3, 2, seed=1)
    assert all(value >= 0 for value in measure(enough, enough, k=3))
    with pytest.raises(UserError, match="`metrics` prdc: 3 real images, fewer than the 4"):
        measure(few, enough, k=3)
    with pytest.raises(UserError, match="`metrics` prdc: 3 fake images, fewer than the 4"):
        measure(enough, few, k=3)


@pytest.mark.parametrize("measure", [precision_recall, density_coverage])
def test_what_is_no_features_is_refused(measure):
    features = normal(10, 2, seed=0)
    for wrong in (features[:, :1], features[0], features[None]):
        with pytest.raises(ValueError, match="are not"):
            measure(features, wrong)
    with pytest.raises(ValueError, match="k 0"):
        measure(features, features, k=0)
    for value in (torch.nan, torch.inf):
        with pytest.raises(ValueError, match="fake features .* not finite"):
            measure(features, features.masked_fill(features > 1, value))
