"""Kernel distance (KID) between two sets of features, unbiased also for few images."""

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from errors import UserError

FEWEST_IMAGES = 10
LARGEST_DEFAULT_SUBSET = 1000
RESAMPLES = 1000
_BLOCK = 1024


class KernelDistance(NamedTuple):
    """KID: mean and spread over subsets, and a bootstrap interval over images."""

    mean: float
    std: float
    low: float
    high: float
    subset_size: int


def kernel_distance(
    real: Tensor,
    fake: Tensor,
    *,
    subsets: int = 100,
    subset_size: int | None = None,
    seed: int = 2020,
    interval: float = 0.95,
) -> KernelDistance:
    """Return the kernel distance of two sets of features: the squared MMD of a cubic kernel.

    MMD^2 = sum_{i != j} k(x_i, x_j) / (m (m - 1)) + the same of y - 2 sum_{i, j} k(x_i, y_j) / m^2,
    k(x, y) = (x y / D + 1)^3. It is unbiased, and so can be negative if the sets are alike.

    real [N, D], fake [M, D]: floats, one row per image. Computed in float64 on fake's device.
    subset_size: None takes 1000 if both sets have as many, else half of the smaller set.
    seed: of the draws. interval: the fraction of the bootstrap between `low` and `high`, in (0, 1).

    mean, std: over `subsets` pairs of subsets of m images, std with division by their number. The
    draws are torch-fidelity's with `fake` as its input1 and `real` as its input2: its values are
    the same up to its rounding to float32.
    low, high: quantiles of the distance between the whole sets, each resampled with replacement
    1000 times (subsets overlap, so their spread says little about other images). An image drawn
    twice is not compared with itself. The interval is for the distance, not for `mean`, which also
    varies with the draw of the subsets. If the two sets hardly differ it is rather too wide than
    too narrow.
    The memory grows with 1000 (N + M), not with N M.

    Raises UserError for fewer than 10 images in a set, no subsets, or a subset_size below 2 or
    above the smaller set; ValueError for other shapes or an interval outside (0, 1).

    Source: Binkowski et al. 2018 (section 4); Gretton et al. 2012, equation 3.
    """
    if real.dim() != 2 or fake.dim() != 2 or real.shape[1] != fake.shape[1]:
        raise ValueError(f"features {list(real.shape)}, {list(fake.shape)} are not [N, D], [M, D]")
    subset_size = checked_subset_size(len(real), len(fake), subsets, subset_size)
    if not 0 < interval < 1:
        raise ValueError(f"interval {interval} is not between 0 and 1")
    of_subsets = _subsets(len(fake), len(real), subsets, subset_size, seed)
    of_resamples = _resamples(len(fake), len(real), seed)
    fake_weights, real_weights = (
        torch.cat(both) for both in zip(of_subsets, of_resamples, strict=True)
    )
    distances = _unbiased_mmd(fake, real, fake_weights, real_weights).cpu().numpy()
    on_subsets, on_resamples = distances[:subsets], distances[subsets:]
    low, high = np.quantile(on_resamples, [(1 - interval) / 2, (1 + interval) / 2])
    mean, std = np.mean(on_subsets), np.std(on_subsets)
    return KernelDistance(float(mean), float(std), float(low), float(high), subset_size)


def squared_mmd(real: Tensor, fake: Tensor) -> float:
    """Return the squared MMD of `kernel_distance` between whole sets [N, D], [M, D]; N, M >= 2."""
    return float(_unbiased_mmd(fake, real))


def checked_subset_size(real: int, fake: int, subsets: int, subset_size: int | None) -> int:
    """Return the subset size for these numbers of images; UserError as in `kernel_distance`."""
    for name, images in (("real", real), ("fake", fake)):
        if images < FEWEST_IMAGES:
            raise UserError(
                f"`metrics` kid: {images} {name} images, fewer than {FEWEST_IMAGES}; "
                "give more images or leave kid out"
            )
    if subsets < 1:
        raise UserError(
            f"`kid_subsets` {subsets}: below 1; give 100, the usual number, or at least 1"
        )
    smaller = min(real, fake)
    if subset_size is None:
        return LARGEST_DEFAULT_SUBSET if smaller >= LARGEST_DEFAULT_SUBSET else smaller // 2
    if not 2 <= subset_size <= smaller:
        raise UserError(
            f"`kid_subset_size` {subset_size}: not between 2 and the {smaller} images of the "
            "smaller set; give a size in between"
        )
    return subset_size


def _subsets(
    first: int, second: int, subsets: int, subset_size: int, seed: int
) -> tuple[Tensor, Tensor]:
    """Return weights [subsets, first] and [subsets, second]: 1 for the images in the subset.

    The order of the draws is torch-fidelity's: alternating between the sets, from one stream.
    """
    stream = np.random.RandomState(seed)
    weights = [torch.zeros(subsets, images, dtype=torch.int16) for images in (first, second)]
    for subset in range(subsets):
        for of_set in weights:
            drawn = stream.choice(of_set.shape[1], subset_size, replace=False)
            of_set[subset, torch.from_numpy(drawn)] = 1
    return weights[0], weights[1]


def _resamples(first: int, second: int, seed: int) -> tuple[Tensor, Tensor]:
    """Return how often each image is drawn: [RESAMPLES, first] and [RESAMPLES, second], int16."""
    stream = np.random.default_rng(seed)
    weights = [torch.zeros(RESAMPLES, images, dtype=torch.int16) for images in (first, second)]
    for of_set in weights:
        images = of_set.shape[1]
        for row in of_set:
            drawn = stream.integers(images, size=images)
            row.copy_(torch.from_numpy(np.bincount(drawn, minlength=images)))
    return weights[0], weights[1]


def _unbiased_mmd(
    x: Tensor,
    y: Tensor,
    x_weights: Tensor | None = None,
    y_weights: Tensor | None = None,
    block: int = _BLOCK,
) -> Tensor:
    """Return the unbiased squared MMD of weighted sets, one for each row of the weights, float64.

    sum_{i != j} w_i w_j k(x_i, x_j) / (n^2 - sum_i w_i^2) + the same of y with v
    - 2 sum_{i, j} w_i v_j k(x_i, y_j) / (n m), n = sum_i w_i, m = sum_j v_j.

    x [N, D], y [M, D]; x_weights [R, N], y_weights [R, M]: how often a row occurs; None for once
    each (R = 1). Weights of 0 and 1 select subsets; with the counts of a bootstrap, an image is not
    compared with its own copies.
    """
    if x_weights is None:
        x_weights = torch.ones(1, len(x))
    if y_weights is None:
        y_weights = torch.ones(1, len(y))
    y, x_weights, y_weights = (tensor.to(x.device) for tensor in (y, x_weights, y_weights))
    n, m = (weights.double().sum(1) for weights in (x_weights, y_weights))
    return (
        _sum_within(x, x_weights, block) / _pairs(x_weights)
        + _sum_within(y, y_weights, block) / _pairs(y_weights)
        - 2 * _sum_between(x, y, x_weights, y_weights, block) / (n * m)
    )


def _pairs(weights: Tensor) -> Tensor:
    """Return the number of ordered pairs of different images for each row of the weights."""
    weights = weights.double()
    return weights.sum(1).square() - weights.square().sum(1)


def _cubic_kernel(x: Tensor, y: Tensor) -> Tensor:
    return (x.double() @ y.double().T / x.shape[1] + 1) ** 3


def _sum_within(x: Tensor, weights: Tensor, block: int) -> Tensor:
    """Return sum_{i != j} w_i w_j k(x_i, x_j): twice the part above the diagonal."""
    total = torch.zeros(len(weights), dtype=torch.float64, device=x.device)
    for row in range(0, len(x), block):
        left = weights[:, row : row + block].double()
        for column in range(row, len(x), block):
            kernel = _cubic_kernel(x[row : row + block], x[column : column + block])
            if row == column:
                kernel.triu_(diagonal=1)
            total += (left @ kernel * weights[:, column : column + block]).sum(1)
    return 2 * total


def _sum_between(x: Tensor, y: Tensor, w: Tensor, v: Tensor, block: int) -> Tensor:
    """Return sum_{i, j} w_i v_j k(x_i, y_j)."""
    total = torch.zeros(len(w), dtype=torch.float64, device=x.device)
    for row in range(0, len(x), block):
        left = w[:, row : row + block].double()
        for column in range(0, len(y), block):
            kernel = _cubic_kernel(x[row : row + block], y[column : column + block])
            total += (left @ kernel * v[:, column : column + block]).sum(1)
    return total
