"""Whether a distance between sets of pictures grows while one of the sets gets worse.

Two halves of a set of real pictures are compared, and then again while the second half gets worse
step by step: its pictures are degraded (`degradations.py`), replaced by pictures of other groups
(`mixing`), or lose groups (`dropping`). Both sets keep their numbers of pictures at all steps, so
the bias of a distance for few pictures is the same, and the first step of each series, the
distance between two untouched halves, is the noise floor.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from metrics.degradations import DEGRADATIONS

MIXED = (1 / 8, 1 / 4, 1 / 2, 1.0)  # fraction of the pictures that are of other groups
DROPPED = (1 / 4, 1 / 2, 3 / 4)  # fraction of the groups that are missing
BANDS = 8
THUMBNAIL_PX = 8

Describe = Callable[[Tensor], Tensor]  # uint8 [N, 3, H, W] -> one row a picture, [N, ...]
Distance = Callable[[Tensor, Tensor], float]  # (rows of the reals, rows of the others)
Pairs = list[tuple[Tensor, Tensor]]  # the two sets at each step


class Series(NamedTuple):
    """The distances of one degradation: distances[seed][step], step 0 untouched."""

    strengths: Sequence[float]  # of the steps, 0 first
    distances: Sequence[Sequence[float]]

    @property
    def reversals(self) -> list[tuple[float, float]]:
        """The pairs of neighbouring strengths whose distances do not grow, once a seed."""
        pairs = list(zip(self.strengths, self.strengths[1:], strict=False))
        return [
            pair
            for found in self.distances
            for pair, lower, upper in zip(pairs, found, found[1:], strict=False)
            if not upper > lower
        ]

    @property
    def steps(self) -> int:
        """The number of pairs of neighbouring strengths, over all seeds."""
        return sum(len(found) - 1 for found in self.distances)

    @property
    def spearman(self) -> float:
        """Rank correlation of strength and distance, the mean over the seeds; 1: always grows."""
        return float(np.mean([rank_correlation(found) for found in self.distances]))

    @property
    def seen_from(self) -> float | None:
        """The least strength from which every distance is above all those of untouched halves."""
        floor = max(found[0] for found in self.distances)
        seen = [min(step) > floor for step in zip(*self.distances, strict=True)]
        hidden = max(step for step, above in enumerate(seen) if not above)
        return self.strengths[hidden + 1] if hidden + 1 < len(seen) else None


def rank_correlation(values: Sequence[float]) -> float:
    """Return Spearman's correlation of values with their positions; ties get their mean rank.

    0 if all values are equal.
    """
    values = np.asarray(values, np.float64)
    below, equal = values[:, None] > values, values[:, None] == values
    ranks = below.sum(1) + (equal.sum(1) - 1) / 2
    places = np.arange(len(values))
    spread = ranks.std() * places.std()
    return float(np.mean((ranks - ranks.mean()) * places) / spread) if spread else 0.0


def orderings(
    pictures: Tensor,
    groups: Tensor,
    describe: Describe,
    distances: Mapping[str, Distance],
    seeds: Sequence[int],
) -> dict[str, dict[str, Series]]:
    """Return a series for each distance and degradation: result[distance][degradation].

    pictures: uint8 [N, 3, H, W]; groups: int64 [N], such as classes or `bands`; with a single group
    there is no mixing and no dropping. Each picture is described once for each strength; the seeds
    choose halves, groups and pictures.
    """
    rows = describe(pictures)
    found: dict[str, dict[str, Series]] = {name: {} for name in distances}
    for kind, strengths, of_seeds in _comparisons(pictures, rows, groups, describe, seeds):
        for name, distance in distances.items():
            values = [[distance(*pair) for pair in pairs] for pairs in of_seeds]
            found[name][kind] = Series((0.0, *strengths), values)
    return found


def _comparisons(
    pictures: Tensor, rows: Tensor, groups: Tensor, describe: Describe, seeds: Sequence[int]
) -> Iterator[tuple[str, Sequence[float], list[Pairs]]]:
    """Yield each degradation: its name, its strengths, and for each seed the sets to compare."""
    halves = [_halves(torch.arange(len(rows)), seed) for seed in seeds]
    for name, kind in DEGRADATIONS.items():
        worse = [describe(kind.apply(pictures, strength, 0)) for strength in kind.strengths]
        of_seeds = [[(rows[a], step[b]) for step in (rows, *worse)] for a, b in halves]
        yield name, kind.strengths, of_seeds
    if len(groups.unique()) > 1:
        yield "mixing", MIXED, [mixing(rows, groups, seed) for seed in seeds]
        yield "dropping", _dropped(groups), [dropping(rows, groups, seed) for seed in seeds]


def mixing(rows: Tensor, groups: Tensor, seed: int) -> Pairs:
    """Return the sets in which pictures of one half of the groups give way to the other half's.

    The reals are half of the pictures of some groups. The others are the rest of these, of which a
    growing fraction (`MIXED`) is replaced by pictures of the remaining groups.
    """
    names = _shuffled(groups.unique(), seed)
    at_home = torch.isin(groups, names[: len(names) // 2])
    first, second = _halves(at_home.nonzero()[:, 0], seed)
    foreign = _shuffled((~at_home).nonzero()[:, 0], seed)
    count = min(len(second), len(foreign))
    steps = [round(fraction * count) for fraction in (0, *MIXED)]
    mixed = [torch.cat([foreign[:step], second[step:count]]) for step in steps]
    return [(rows[first], rows[step]) for step in mixed]


def dropping(rows: Tensor, groups: Tensor, seed: int) -> Pairs:
    """Return the sets in which a growing part of the groups (`DROPPED`) is missing.

    The reals are half of all pictures. The others are as many of the other half at each step as
    are left at the last one.
    """
    names = _shuffled(groups.unique(), seed)
    first, second = _halves(torch.arange(len(rows)), seed)
    left = [
        second[~torch.isin(groups[second], names[: round(fraction * len(names))])]
        for fraction in (0, *_dropped(groups))
    ]
    return [(rows[first], rows[step[: len(left[-1])]]) for step in left]


def _dropped(groups: Tensor) -> Sequence[float]:
    """Return the fractions of `DROPPED` as whole groups, without repetitions."""
    count = len(groups.unique())
    dropped = sorted({min(max(round(part * count), 1), count - 1) for part in DROPPED})
    return [number / count for number in dropped]


def _halves(indices: Tensor, seed: int) -> tuple[Tensor, Tensor]:
    """Return two random halves of equal size; an odd one is left out."""
    shuffled, half = _shuffled(indices, seed), len(indices) // 2
    return shuffled[:half], shuffled[half : 2 * half]


def _shuffled(values: Tensor, seed: int) -> Tensor:
    return values[torch.randperm(len(values), generator=torch.Generator().manual_seed(seed))]


def bands(pictures: Tensor) -> Tensor:
    """Sort pictures without classes into `BANDS` groups of equal size, int64 [N].

    By the direction in which 8 px thumbnails vary most (their first principal component): a
    grouping by colours and layout which no learned feature has a part in.
    """
    small = functional.interpolate(
        pictures.float(), (THUMBNAIL_PX, THUMBNAIL_PX), mode="bilinear", antialias=True
    )
    flat = small.flatten(1).double()
    centred = flat - flat.mean(0)
    direction = torch.linalg.eigh(centred.T @ centred).eigenvectors[:, -1]
    places = (centred @ direction).argsort(stable=True).argsort()
    return places * BANDS // len(places)
