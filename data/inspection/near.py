"""All near pairs among many 64-bit hashes, without comparing each with each."""

from collections.abc import Iterator

import numpy as np

BITS = 64


def near_pairs(hashes: np.ndarray, distance: int) -> Iterator[np.ndarray]:
    """Yield all pairs of hashes that differ in at most `distance` bits, each once.

    hashes: uint64 [N]. Yields int64 [K, 2] arrays of places, the smaller first, in no order.

    The bits are cut into distance + 1 bands. Where at most `distance` bits differ, one band is
    free of differences, so only hashes that agree in a band are compared (multi-index hashing,
    Norouzi et al. 2012). It is exact, and for hashes that spread out far from quadratic: with N =
    100,000 and distance 6 each band has 512 values or more. Raises ValueError for a distance
    outside 0 to 63.
    """
    if not 0 <= distance < BITS:
        raise ValueError(f"distance {distance}: expected 0 to {BITS - 1}")
    cuts = np.linspace(0, BITS, distance + 2).astype(int)
    bands = [
        np.uint64(((1 << int(high)) - 1) ^ ((1 << int(low)) - 1))
        for low, high in zip(cuts, cuts[1:], strict=False)
    ]
    hashes = np.asarray(hashes, dtype=np.uint64)
    for number, band in enumerate(bands):
        yield from _agreeing(hashes, band, bands[:number], distance)


def _agreeing(
    hashes: np.ndarray, band: np.uint64, earlier: list[np.uint64], distance: int
) -> Iterator[np.ndarray]:
    """The near pairs that agree in a band and in none of the earlier ones."""
    order = np.argsort(hashes & band, kind="stable")
    ordered = hashes[order]
    keys = ordered & band
    ends = np.searchsorted(keys, keys, side="right")  # where each one's equals end
    first = np.arange(len(keys))
    step = 1
    while True:  # compare each with the one `step` places further among its equals
        first = first[first + step < ends[first]]
        if not len(first):
            return
        differing = ordered[first] ^ ordered[first + step]
        near = np.bitwise_count(differing) <= distance
        for other in earlier:
            near &= (differing & other) != 0
        if near.any():
            found = first[near]
            pairs = np.stack([order[found], order[found + step]], axis=1)
            yield np.sort(pairs, axis=1)
        step += 1
