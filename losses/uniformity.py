"""Alignment and uniformity, which tell whether embeddings are useful or have collapsed."""

import math

import torch
from torch import Tensor

from losses.common import check_pairs, check_rows
from losses.similarity import log_partition, unit


def alignment(view_a: Tensor, view_b: Tensor) -> Tensor:
    """Return the mean squared distance between the two views of a picture.

    mean_i |a_i - b_i|^2, a and b of length 1: from 0 (equal) to 4; 2 for independent directions.

    view_a, view_b: [N, D], row i of both from the same picture; normalised here. In float32 or
    better. Source: Wang and Isola 2020, equation 6 with alpha = 2.
    Raises ValueError for unequal or empty shapes, integers, NaN (on the CPU).
    """
    check_pairs(view_a=view_a, view_b=view_b)
    with torch.autocast(view_a.device.type, enabled=False):
        return (unit(view_a) - unit(view_b)).square().sum(1).mean()


def uniformity(embeddings: Tensor) -> Tensor:
    """Return how evenly embeddings cover the sphere: 0 if all are equal, lower is more even.

    log( mean over pairs i < j of exp(-2 |z_i - z_j|^2) ), z of length 1; at least -8, and close to
    -4 for many embeddings in uniform directions of a high dimension.

    embeddings: [N, D], normalised here. In float32 or better (without autocast).
    Source: Wang and Isola 2020, equation 7 with t = 2.
    Raises ValueError for fewer than two rows, integers, NaN (on the CPU).
    """
    check_rows(embeddings=embeddings)
    count = len(embeddings)
    if count < 2:
        raise ValueError(f"embeddings {list(embeddings.shape)}: give two rows or more")
    with torch.autocast(embeddings.device.type, enabled=False):
        units = unit(embeddings)
        rows = torch.arange(count, device=units.device)
        # -2 |a - b|^2 = 4 ab - 4, summed over all ordered pairs.
        sums = log_partition(4 * units, units, [rows])
        return sums.logsumexp(0) - 4 - math.log(count * (count - 1))


def spread(embeddings: Tensor) -> Tensor:
    """Return the standard deviation of normalised embeddings relative to 1 / sqrt(D).

    sqrt(D) times the mean over dimensions of the deviation over the batch: about 1 for uniform
    directions, 0 if all embeddings are equal. Source: Chen and He 2021 (SimSiam), section 4.1.

    embeddings: [N, D], normalised here. Raises ValueError as `uniformity` does.
    """
    check_rows(embeddings=embeddings)
    units = unit(embeddings)
    return units.std(0, correction=0).mean() * embeddings.shape[1] ** 0.5
