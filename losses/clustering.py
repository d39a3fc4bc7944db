"""Clusters of features for PCL: a seeded k-means, and the concentration of each cluster."""

from typing import NamedTuple

import torch
from torch import Tensor

from losses.common import check_labels, check_positive, check_rows, single_precision


class Clusters(NamedTuple):
    """Centroids [K, D] and each row's cluster, int64 [N]; a centroid is the mean of its rows."""

    centroids: Tensor
    assignments: Tensor


@torch.no_grad()
def kmeans(features: Tensor, clusters: int, *, seed: int = 0, iterations: int = 100) -> Clusters:
    """Return clusters that locally minimise sum_n |x_n - c_(a_n)|^2.

    Lloyd's algorithm from k-means++ centres drawn from `seed`, until convergence or for at most
    `iterations`. A cluster that becomes empty gets the row farthest from its centroid, so none is
    empty at the end.

    features: [N, D], not normalised here (PCL: of length 1). Takes memory for N x K similarities.
    Computed in float32 or better.
    Source: Lloyd 1982; Arthur and Vassilvitskii 2007 (k-means++).

    Raises ValueError for less than 1 cluster or iteration, more clusters than distinct rows, empty
    features, integers, NaN (on the CPU).
    """
    check_rows(features=features)
    if not 1 <= clusters <= len(features):
        raise ValueError(f"clusters {clusters}: give 1 to {len(features)}, the number of features")
    if iterations < 1:
        raise ValueError(f"iterations {iterations}: must be at least 1")
    with torch.autocast(features.device.type, enabled=False):
        features = single_precision(features)
        middle = features.mean(0)  # centred, since the products lose precision far from 0
        features = features - middle
        assignments = _nearest(features, _spread_rows(features, clusters, seed))
        for _ in range(iterations):
            before = assignments
            assignments = _nearest(features, _means(features, before, clusters))
            if torch.equal(assignments, before):
                break
        return Clusters(_means(features, assignments, clusters) + middle, assignments)


def _spread_rows(features: Tensor, clusters: int, seed: int) -> Tensor:
    """Draw rows one by one, each with probability proportional to D^2 from those drawn before."""
    draws = torch.rand(clusters, generator=torch.Generator().manual_seed(seed), dtype=torch.double)
    first = int(draws[0] * len(features))
    chosen = [first]
    squares = (features - features[first]).square().sum(1)
    for number in range(1, clusters):
        cumulated = squares.double().cumsum(0)
        if cumulated[-1] == 0:
            raise ValueError(f"clusters {clusters}: features have only {number} distinct rows")
        # The first index beyond the draw, which is never a row of probability 0 (those drawn).
        threshold = draws[number].to(cumulated.device) * cumulated[-1]
        chosen.append(int(torch.searchsorted(cumulated, threshold, right=True)))
        squares = squares.minimum((features - features[chosen[-1]]).square().sum(1))
    return features[chosen]


def _nearest(features: Tensor, centroids: Tensor) -> Tensor:
    """Return each row's nearest centroid; empty clusters get the rows farthest from theirs."""
    assignments = (features @ centroids.T - centroids.square().sum(1) / 2).argmax(1)
    sizes = torch.bincount(assignments, minlength=len(centroids))
    for empty in (sizes == 0).nonzero().flatten():
        squares = (features - centroids[assignments]).square().sum(1)
        alone = sizes[assignments] == 1
        row = squares.masked_fill(alone, -1).argmax()
        sizes[assignments[row]] -= 1
        sizes[empty] += 1
        assignments[row] = empty
    return assignments


def _means(features: Tensor, assignments: Tensor, clusters: int) -> Tensor:
    sums = features.new_zeros(clusters, features.shape[1]).index_add(0, assignments, features)
    return sums / torch.bincount(assignments, minlength=clusters).unsqueeze(1)


@torch.no_grad()
def concentrations(
    features: Tensor,
    centroids: Tensor,
    assignments: Tensor,
    *,
    temperature: float = 0.1,
    smoothing: float = 10.0,
) -> Tensor:
    """Return the temperature of every cluster, lower for denser ones, with mean `temperature`.

    phi_c = sum_z |v_z - c| / (Z log(Z + alpha)), z over the Z rows of the cluster, then divided by
    the mean of all phi and multiplied by the temperature.

    features: [N, D]; centroids: [K, D]; assignments: integers [N] below K; alpha = smoothing.
    A cluster of zero extent (a single row) gets the largest phi of the others, as in the official
    program; if all have zero extent, all get `temperature`. That program also clips phi to its 10th
    and 90th percentile, unlike the paper. Returns [K]. Smoothing 10 and temperature 0.1 are the
    paper's; the program uses 0.2.
    Source: Li et al. 2021 (PCL), equation 12.

    Raises ValueError for an empty cluster, mismatched shapes, integers, NaN (on the CPU), and a
    temperature or smoothing that is not finite and above 0.
    """
    check_rows(features=features, centroids=centroids)
    check_labels(assignments, len(features), classes=len(centroids), name="assignments")
    check_positive(temperature=temperature, smoothing=smoothing)
    assignments = assignments.long()  # uint8 would be interpreted as a mask
    sizes = torch.bincount(assignments, minlength=len(centroids))
    if (sizes == 0).any():
        empty = (sizes == 0).nonzero().flatten().tolist()
        raise ValueError(f"centroids {empty} of {len(centroids)}: no row is assigned to them")
    distances = (single_precision(features) - single_precision(centroids)[assignments]).norm(dim=1)
    sums = distances.new_zeros(len(centroids)).index_add(0, assignments, distances)
    phi = sums / (sizes * (sizes + smoothing).log())
    phi = phi.where(phi > 0, phi.max())
    return temperature * phi / phi.mean() if phi.max() > 0 else torch.full_like(phi, temperature)
