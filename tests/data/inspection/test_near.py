"""The search for near pairs finds exactly those that comparing each with each finds."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from data.inspection import near_pairs


def found(hashes, distance):
    pairs = [tuple(pair) for some in near_pairs(hashes, distance) for pair in some.tolist()]
    assert len(pairs) == len(set(pairs))
    return set(pairs)


def by_brute_force(hashes, distance):
    values = [int(value) for value in hashes]
    return {
        (first, second)
        for second in range(len(values))
        for first in range(second)
        if (values[first] ^ values[second]).bit_count() <= distance
    }


@st.composite
def crowded_hashes(draw):
    """Hashes of which many are near: a few centres, each with some bits flipped."""
    centres = draw(st.lists(st.integers(0, 2**64 - 1), min_size=1, max_size=3))
    flips = st.lists(st.integers(0, 63), max_size=9)
    around = draw(st.lists(st.tuples(st.sampled_from(centres), flips), max_size=25))
    hashes = []
    for centre, bits in around:
        for bit in bits:
            centre ^= 1 << bit
        hashes.append(centre)
    return np.array(hashes, dtype=np.uint64)


@given(crowded_hashes(), st.sampled_from([0, 1, 4, 6, 7, 12, 63]))
def test_equals_brute_force(hashes, distance):
    assert found(hashes, distance) == by_brute_force(hashes, distance)


def test_equals_brute_force_on_many_random_hashes():
    hashes = np.random.default_rng(0).integers(0, 2**64, 600, dtype=np.uint64)
    hashes[300:] = hashes[:300] ^ np.uint64(0b1011) << np.arange(300, dtype=np.uint64) % 60
    expected = by_brute_force(hashes, 6)
    assert len(expected) >= 300
    assert found(hashes, 6) == expected


@pytest.mark.parametrize("distance", [-1, 64])
def test_distances_out_of_range(distance):
    with pytest.raises(ValueError, match="expected 0 to 63"):
        list(near_pairs(np.zeros(2, np.uint64), distance))
