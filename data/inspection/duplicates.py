"""Pictures that are there twice: the same file, or the same picture saved in another way."""

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np

from data.finding import HARMS, LOOK, STOPS, Finding, examples, plural
from data.inspection.near import near_pairs
from data.inspection.survey import Survey

NEAR_BITS = 6  # of 64; independent photographs differ in 32
NEAR_CORRELATION = 0.95  # of 16 x 16 grey levels, which keeps simple drawings apart
LEAST_CONTRAST = 2.0  # grey levels; the hash of a plain surface is noise
MOST_PAIRS = 1_000_000
_AT_ONCE = 10_000
_SHOWN_TOGETHER = 4


class NearPairs(NamedTuple):
    """Pairs of pictures that look alike, and whether there are more than were kept."""

    pairs: np.ndarray  # int64 [K, 2], numbers of pictures, the smaller first
    more: bool


def duplicates(survey: Survey) -> list[Finding]:
    """Find files with equal bytes, and pictures that look alike, in one group and across groups.

    Across: between training and test pictures of one side, and between the two sides. Pictures of
    a pair may look alike; label maps are compared by their bytes alone.
    """
    found = [*_exact(survey)]
    near = look_alikes(survey)
    found += _near(survey, near)
    if near.more:
        words = f"more than {MOST_PAIRS:,} pairs of pictures look alike; the rest is not listed"
        found.append(Finding("near_duplicates_more", LOOK, words))
    return found


def look_alikes(survey: Survey) -> NearPairs:
    """Return the pairs of different files whose pictures look alike, one for each set of copies.

    Two pictures do where their perceptual hashes (`imagehash.phash`) differ in at most 6 of 64 bits
    and their 16 x 16 grey levels correlate by 0.95 or more. Copies of another JPEG
    quality, size or brightness are alike; mirrored pictures are not.
    """
    rows = survey.rows
    usable = rows["readable"] & (rows["contrast"] >= LEAST_CONTRAST)
    for group, labels in enumerate(survey.labels):
        if labels is not None:
            usable &= survey.group != group
    numbers = np.flatnonzero(usable)
    # Of a file that is there many times one stands for all in each group.
    keys = np.stack([rows["digest"][numbers], survey.group[numbers].astype(np.uint64)])
    numbers = np.sort(numbers[np.unique(keys, axis=1, return_index=True)[1]])
    thumbnails = rows["thumbnail"].reshape(len(rows), -1)
    kept, count, more = [np.zeros((0, 2), np.int64)], 0, False
    digests = rows["digest"][numbers]
    for pairs in near_pairs(rows["hash"][numbers], NEAR_BITS):
        first, second = pairs.T
        pairs = numbers[pairs[digests[first] != digests[second]]]
        alike = [
            correlation(*(thumbnails[some[:, side]] for side in (0, 1))) >= NEAR_CORRELATION
            for some in np.split(pairs, range(_AT_ONCE, len(pairs), _AT_ONCE))
        ]
        kept.append(pairs[np.concatenate(alike)])
        count += len(kept[-1])
        if count > MOST_PAIRS:
            more = True
            break
    return NearPairs(np.concatenate(kept)[:MOST_PAIRS], more)


def correlation(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Return the correlation of the rows of two arrays [K, P], float32 [K]; 0 for constant ones."""
    sides = []
    for values in (first, second):
        values = values.astype(np.float32)
        values -= values.mean(1, keepdims=True)
        sides.append(values / np.maximum(np.linalg.norm(values, axis=1, keepdims=True), 1e-6))
    return (sides[0] * sides[1]).sum(1)


def _exact(survey: Survey) -> Iterator[Finding]:
    groups = survey.layout.groups
    digests = survey.rows["digest"]
    for number, group in enumerate(groups):
        members = survey.members(number)
        order = members[np.argsort(digests[members], kind="stable")]
        cuts = np.flatnonzero(np.diff(digests[order]) != 0) + 1
        sets = [same for same in np.split(order, cuts) if len(same) > 1]
        extra = sum(len(same) - 1 for same in sets)
        if extra:
            words = (
                f"{group.name}: copies of another file, byte for byte: {extra:,} of "
                f"{len(group.files):,} ({plural(len(sets), 'set')}); they are seen more often"
            )
            shown = examples(_paths(survey, same[:_SHOWN_TOGETHER]) for same in sets)
            severity = HARMS if 50 * extra > len(group.files) else LOOK
            yield Finding("duplicates", severity, words, extra, shown)
    for one, other, across in _crossings(survey):
        members = survey.members(one), survey.members(other)
        same, mine, theirs = np.intersect1d(
            digests[members[0]], digests[members[1]], return_indices=True
        )
        if len(same):
            pairs = np.stack([members[0][mine], members[1][theirs]], axis=1)
            count = int(np.isin(digests[members[1]], same).sum())
            yield _across(survey, across, one, other, pairs, count, "byte for byte")


def _near(survey: Survey, near: NearPairs) -> Iterator[Finding]:
    pairs = near.pairs
    sides = survey.group[pairs]
    for number, group in enumerate(survey.layout.groups):
        within = pairs[(sides == number).all(1)]
        if len(within):
            sets = clusters(within)
            extra = sum(len(alike) - 1 for alike in sets)
            words = (
                f"{group.name}: almost like another picture: {extra:,} of {len(group.files):,} "
                f"({plural(len(sets), 'set')}); saved twice, or frames of a film"
            )
            shown = examples(_paths(survey, alike[:_SHOWN_TOGETHER]) for alike in sets)
            severity = HARMS if 10 * extra > len(group.files) else LOOK
            yield Finding("near_duplicates", severity, words, extra, shown)
    for one, other, across in _crossings(survey):
        between = pairs[(sides == (one, other)).all(1)]
        if across == "domains" and survey.layout.pairs:
            partners = set(survey.layout.pairs)
            between = np.array([pair for pair in between if tuple(pair.tolist()) not in partners])
        if len(between):
            count = len(np.unique(between[:, 1]))
            yield _across(survey, across, one, other, between, count, "or almost so")


def _crossings(survey: Survey) -> Iterator[tuple[int, int, str]]:
    """Groups that should have nothing in common, the lower number first."""
    groups = survey.layout.groups
    for one, first in enumerate(groups):
        for other, second in enumerate(groups[one + 1 :], one + 1):
            if first.side == second.side and first.phase != second.phase:
                yield one, other, "phases"
            elif first.side != second.side and first.phase == second.phase:
                yield one, other, "domains"


def _across(
    survey: Survey, across: str, one: int, other: int, pairs: np.ndarray, count: int, how: str
) -> Finding:
    first, second = survey.layout.groups[one], survey.layout.groups[other]
    near = "near_" if how == "or almost so" else ""
    words = f"{second.name}: in {first.name} too, {how}: {count:,} of {len(second.files):,}; "
    if across == "phases":
        words += "measurements on the test pictures then reward remembering, so remove them"
    else:
        words += "a translator learns nothing from what is in both domains, so remove them"
    severity = STOPS if across == "phases" and not near else HARMS
    if near and 100 * count <= len(second.files):
        severity = LOOK
    kind = f"{near}duplicates_between_{'train_and_test' if across == 'phases' else 'domains'}"
    shown = examples(_paths(survey, pair) for pair in pairs)
    return Finding(kind, severity, words, count, shown)


def clusters(pairs: np.ndarray) -> list[list[int]]:
    """Return the sets that pairs [K, 2] of numbers connect, each of them sorted."""
    parent: dict[int, int] = {}

    def root(number: int) -> int:
        while parent.setdefault(number, number) != number:
            parent[number] = parent[parent[number]]
            number = parent[number]
        return number

    for first, second in pairs.tolist():
        one, other = sorted((root(first), root(second)))
        parent[other] = one
    sets: dict[int, list[int]] = {}
    for number in sorted(parent):
        sets.setdefault(root(number), []).append(number)
    return list(sets.values())


def _paths(survey: Survey, numbers: Iterable[int] | Sequence[int]) -> list:
    return [survey.path(number) for number in numbers]
