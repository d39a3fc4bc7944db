"""The noise floor, against a literal computation in NumPy."""

import numpy as np
import pytest
import torch
from scipy import linalg

from metrics import floor
from metrics.floor import noise_floor

SEED = 7


def features(count, seed, shift=0.0, channels=4):
    random = torch.Generator().manual_seed(seed)
    return torch.randn(count, channels, generator=random) + shift


def frechet_by_matrix_root(a, b):
    first, second = (np.cov(side, rowvar=False) for side in (a, b))
    shift = ((a.mean(0) - b.mean(0)) ** 2).sum()
    return shift + np.trace(first + second - 2 * linalg.sqrtm(first @ second).real)


def mmd_by_sums(a, b):
    def kernel(x, y):
        return (x @ y / len(x) + 1) ** 3

    within = [
        np.mean([kernel(x, y) for i, x in enumerate(side) for j, y in enumerate(side) if i != j])
        for side in (a, b)
    ]
    return sum(within) - 2 * np.mean([kernel(x, y) for x in a for y in b])


@pytest.mark.parametrize(("reals", "fakes", "count"), [(41, 60, 20), (60, 13, 13)])
def test_all_parts_have_the_same_number_of_pictures(reals, fakes, count):
    real, fake = features(reals, 0), features(fakes, 1, shift=0.5)
    found = noise_floor(real, fake, ("fid", "kid"), splits=3, seed=SEED)
    literal = {"noise_floor": [], "at_noise_floor": []}
    for split in range(3):
        random = np.random.RandomState(SEED + split)
        drawn = real.double().numpy()[random.permutation(reals)]
        first, second = drawn[:count], drawn[count : 2 * count]
        literal["noise_floor"].append((first, second))
        literal["at_noise_floor"].append(
            (first, fake.double().numpy()[random.permutation(fakes)[:count]])
        )
    for name, pairs in literal.items():
        assert (found[name]["n"], found[name]["splits"]) == (count, 3)
        for metric, function in (("fid", frechet_by_matrix_root), ("kid_mean", mmd_by_sums)):
            values = [function(*pair) for pair in pairs]
            assert found[name][metric] == pytest.approx(np.mean(values), rel=1e-6, abs=1e-9)
            assert found[name]["range"][metric] == pytest.approx(
                [min(values), max(values)], rel=1e-6, abs=1e-9
            )
    assert found["at_noise_floor"]["fid"] > found["noise_floor"]["range"]["fid"][1]


def test_a_perfect_generator_is_at_the_noise_floor():
    real, fake = features(400, 0), features(200, 1)
    found = noise_floor(real, fake, ("fid", "kid", "prdc"), splits=8, seed=SEED)
    floor, reached = found["noise_floor"], found["at_noise_floor"]
    for name, (low, high) in floor["range"].items():
        assert low - (high - low) < reached[name] < high + (high - low), name


def test_the_parts_of_large_sets_are_limited(monkeypatch):
    monkeypatch.setattr(floor, "MOST_IMAGES", 7)
    found = noise_floor(features(40, 0), features(30, 1), ("kid",), splits=1, seed=SEED)
    assert found["noise_floor"]["n"] == found["at_noise_floor"]["n"] == 7


def test_the_reals_alone_have_a_noise_floor():
    found = noise_floor(features(20, 0), None, ("prdc",), splits=2, seed=SEED)
    assert found.keys() == {"noise_floor"} and found["noise_floor"]["n"] == 10
