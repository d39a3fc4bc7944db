"""Whether a distance grows with the degradations: judges whose verdict is known."""

import numpy as np
import pytest
import torch
from scipy import stats

from metrics.degradations import DEGRADATIONS
from metrics.orderings import (
    BANDS,
    DROPPED,
    MIXED,
    Series,
    bands,
    dropping,
    mixing,
    orderings,
    rank_correlation,
)


def pictures(count=48, px=16, seed=0):
    random = torch.Generator().manual_seed(seed)
    small = torch.rand(count, 3, 4, 4, generator=random) * 255
    return torch.nn.functional.interpolate(small, (px, px), mode="bilinear").to(torch.uint8)


def labelled(rows, groups):
    """Rows whose first column is their group and the second one their number."""
    return torch.stack([groups, torch.arange(rows)], 1)


@pytest.mark.parametrize(
    "values", [[1, 2, 3, 4], [4, 3, 2, 1], [1, 3, 2, 5, 4], [1, 1, 2, 2, 0], [2, 2, 2, 1]]
)
def test_the_rank_correlation_is_scipys(values):
    expected = stats.spearmanr(range(len(values)), values).statistic
    assert rank_correlation(values) == pytest.approx(expected)
    assert rank_correlation([3, 3, 3]) == 0


def test_what_a_series_tells():
    series = Series((0, 1, 2, 4), [[1.0, 3, 2, 5], [1.5, 1.2, 4, 6]])
    assert series.steps == 6
    assert series.reversals == [(1, 2), (0, 1)]
    assert series.spearman == pytest.approx((0.8 + 0.8) / 2)
    assert series.seen_from == 2  # at 1 a distance is below the other seed's 1.5 at 0
    assert Series((0, 1, 2), [[1, 3, 2]]).seen_from == 1
    assert Series((0, 1, 2), [[1, 3, 1]]).seen_from is None
    assert Series((0, 1), [[1, 1]]).reversals == [(0, 1)]


def test_mixing_replaces_pictures_of_some_groups_by_those_of_the_others():
    groups = torch.arange(80) % 4
    pairs = mixing(labelled(80, groups), groups, seed=3)
    home = set(pairs[0][0][:, 0].tolist())
    assert len(home) == 2 and len(pairs) == 1 + len(MIXED)
    for (real, other), fraction in zip(pairs, (0, *MIXED), strict=True):
        assert len(real) == len(other) == 20
        assert torch.equal(real, pairs[0][0])
        assert not set(real[:, 1].tolist()) & set(other[:, 1].tolist())
        foreign = [group not in home for group in other[:, 0].tolist()]
        assert sum(foreign) == round(20 * fraction)
        assert len(other.unique(dim=0)) == 20


def test_dropping_leaves_out_groups_and_keeps_the_number_of_pictures():
    groups = torch.arange(200) % 8
    pairs = dropping(labelled(200, groups), groups, seed=1)
    left = [set(other[:, 0].tolist()) for _, other in pairs]
    assert [8 - len(part) for part in left] == [0, *(round(8 * part) for part in DROPPED)]
    assert all(later < earlier for earlier, later in zip(left, left[1:], strict=False))
    assert {len(other) for _, other in pairs} == {len(pairs[-1][1])}
    for real, other in pairs:
        assert len(real) == 100 and not set(real[:, 1].tolist()) & set(other[:, 1].tolist())


def test_two_groups_can_lose_one():
    groups = torch.arange(40) % 2
    pairs = dropping(labelled(40, groups), groups, seed=0)
    assert [len(other[:, 0].unique()) for _, other in pairs] == [2, 1]


def test_bands_are_equal_groups_by_colour_and_layout():
    levels = torch.linspace(0, 255, 64)[torch.randperm(64, generator=torch.Generator())]
    grey = levels.to(torch.uint8).view(64, 1, 1, 1).expand(64, 3, 16, 16)
    found = bands(grey)
    assert torch.equal(found.bincount(), torch.full((BANDS,), 64 // BANDS))
    order = levels.argsort()
    sorted_bands = found[order]
    assert torch.equal(sorted_bands, sorted_bands.sort().values) or torch.equal(
        sorted_bands, sorted_bands.sort(descending=True).values
    )


def test_a_judge_that_sees_and_one_that_is_blind():
    """High-pass energy sees blur, noise and boxes; a constant sees nothing."""
    given = pictures()

    def describe(images):
        images = images.double()
        return torch.stack([(images[..., 1:] - images[..., :-1]).abs().mean((1, 2, 3))], 1)

    found = orderings(
        given,
        torch.arange(len(given)) % 4,
        describe,
        {
            "means": lambda real, fake: (real.mean() - fake.mean()).abs().item(),
            "blind": lambda real, fake: 0.0,
        },
        seeds=(0, 1),
    )
    kinds = {*DEGRADATIONS, "mixing", "dropping"}
    assert found["means"].keys() == found["blind"].keys() == kinds
    for kind, series in found["blind"].items():
        assert series.seen_from is None and len(series.reversals) == series.steps, kind
        assert series.spearman == 0 and series.strengths[0] == 0
    for kind in ("blur", "noise"):
        series = found["means"][kind]
        assert series.spearman > 0.8 and series.strengths == (0.0, *DEGRADATIONS[kind].strengths)
        assert np.shape(series.distances) == (2, 5)


def test_without_groups_there_is_no_mixing():
    found = orderings(
        pictures(8), torch.zeros(8), lambda images: images, {"none": lambda *_: 0.0}, (0,)
    )
    assert found["none"].keys() == DEGRADATIONS.keys()
