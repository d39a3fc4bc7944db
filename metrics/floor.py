"""The metrics of features between parts of the reals: the noise floor."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from metrics.frechet import frechet_distance, gaussian_of_features
from metrics.kernel_distance import squared_mmd
from metrics.manifold import density_coverage, precision_recall

MOST_IMAGES = 5000  # of a part: precision and recall compare all pairs, in every split


def noise_floor(
    real: Tensor, fake: Tensor | None, kinds: Sequence[str], *, splits: int, seed: int
) -> dict[str, dict]:
    """Compare disjoint parts of the reals with one another, and with as many fakes.

    In each of `splits` random splits, two parts of n reals and one of n fakes are drawn without
    replacement, n = min(half of the reals, all fakes, 5000). `noise_floor`: the metrics between the
    two parts of the reals, what a perfect generator would get. `at_noise_floor`: those between the
    first of them and the fakes. Since all parts have n pictures, the bias for few pictures is the
    same in both, and they can be compared. Each metric is the mean over the splits, with its
    `range`; the kernel distance is that of whole parts, without subsets.

    real [N, D], fake [M, D] or None (then there is no `at_noise_floor`); kinds: of fid, kid, prdc.
    """
    count = min(len(real) // 2, len(real) if fake is None else len(fake), MOST_IMAGES)
    floors, others = [], []
    for split in range(splits):
        random = np.random.RandomState(seed + split)
        first, second = _drawn(real, 2 * count, random).split(count)
        floors.append(_numbers(first, second, kinds))
        if fake is not None:
            others.append(_numbers(first, _drawn(fake, count, random), kinds))
    found = {"noise_floor": floors, "at_noise_floor": others}
    sizes = {"n": count, "splits": splits}
    return {name: {**sizes, **_summary(values)} for name, values in found.items() if values}


def prdc(real: Tensor, fake: Tensor) -> dict[str, float]:
    """Return precision and recall, density and coverage of features [N, D] and [M, D]."""
    precision, recall = precision_recall(real, fake)
    density, coverage = density_coverage(real, fake)
    return {"precision": precision, "recall": recall, "density": density, "coverage": coverage}


def _numbers(real: Tensor, fake: Tensor, kinds: Sequence[str]) -> dict[str, float]:
    numbers = {}
    if "fid" in kinds:
        numbers["fid"] = frechet_distance(*map(gaussian_of_features, (real, fake)))
    if "kid" in kinds:
        numbers["kid_mean"] = squared_mmd(real, fake)
    if "prdc" in kinds:
        numbers |= prdc(real, fake)
    return numbers


def _summary(splits: Sequence[dict[str, float]]) -> dict[str, object]:
    columns = {name: [numbers[name] for numbers in splits] for name in splits[0]}
    means = {name: sum(values) / len(values) for name, values in columns.items()}
    return {
        **means,
        "range": {name: [min(values), max(values)] for name, values in columns.items()},
    }


def _drawn(features: Tensor, count: int, random: np.random.RandomState) -> Tensor:
    return features[torch.from_numpy(random.permutation(len(features))[:count])]
