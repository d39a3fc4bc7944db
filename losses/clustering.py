"""Clusters of features for PCL: a seeded k-means, and how dense each cluster lies."""

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
    """Return clusters that (locally) minimise sum_n |x_n - c_(a_n)|^2.

    Lloyd's iterations from k-means++ centres drawn from `seed`, until nothing moves or for
    `iterations`. A cluster that runs empty takes the row farthest from its centroid, so that none
    is empty at the end.

    features: [N, D], used as they are (PCL: of length 1); N x K similarities are held. Computed in
    float32 or better.
    Source: Lloyd 1982; Arthur and Vassilvitskii 2007 (k-means++).

    Raises ValueError for less than 1 cluster or iteration, more clusters than distinct rows, empty
    features, integers, NaN (on the CPU).
    """
    check_rows(features=features)
    if not 1 <= clusters <= len(features):
        raise ValueError(f"clusters {clusters} is not 1 to {len(features)}, the number of features")
    if iterations < 1:
        raise ValueError(f"iterations {iterations} is not 1 or more")
    with torch.autocast(features.device.type, enabled=False):
        features = single_precision(features)
        middle = features.mean(0)  # far from the origin the products would lose digits
        features = features - middle
        assignments = _nearest(features, _spread_rows(features, clusters, seed))
        for _ in range(iterations):
            before = assignments
            assignments = _nearest(features, _means(features, before, clusters))
            if torch.equal(assignments, before):
                break
        return Clusters(_means(features, assignments, clusters) + middle, assignments)


def _spread_rows(features: Tensor, clusters: int, seed: int) -> Tensor:
    """Draw rows one by one, each with a chance in proportion to its squared distance so far."""
    draws = torch.rand(clusters, generator=torch.Generator().manual_seed(seed), dtype=torch.double)
    first = int(draws[0] * len(features))
    chosen = [first]
    squares = (features - features[first]).square().sum(1)
    for number in range(1, clusters):
        cumulated = squares.double().cumsum(0)
        if cumulated[-1] == 0:
            raise ValueError(f"clusters {clusters}: features have only {number} distinct rows")
        # The first place beyond the draw: rows of chance 0 (those chosen) can not be found.
        threshold = draws[number].to(cumulated.device) * cumulated[-1]
        chosen.append(int(torch.searchsorted(cumulated, threshold, right=True)))
        squares = squares.minimum((features - features[chosen[-1]]).square().sum(1))
    return features[chosen]


def _nearest(features: Tensor, centroids: Tensor) -> Tensor:
    """Return each row's nearest centroid; empty ones take the rows that lie farthest out."""
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
    """Return the temperature of every cluster, low where its rows lie close, `temperature` on mean.

    phi_c = sum_z |v_z - c| / (Z log(Z + alpha)), z over the Z rows of the cluster, then divided by
    the mean of all phi and multiplied by the temperature.

    features: [N, D]; centroids: [K, D]; assignments: integers [N] below K; alpha = smoothing.
    A cluster without extent (a single row) takes the largest phi of the others, as in the official
    program; if none has an extent, all get `temperature`. That program also clips phi to its 10th
    and 90th percentile, which the paper does not. Returns [K]. Smoothing 10 and temperature 0.1:
    the paper's; the program has 0.2.
    Source: Li et al. 2021 (PCL), equation 12.

    Raises ValueError for an empty cluster, shapes that do not fit, integers, NaN (on the CPU), and
    a temperature or smoothing that is not finite and above 0.
    """
    check_rows(features=features, centroids=centroids)
    check_labels(assignments, len(features), classes=len(centroids), name="assignments")
    check_positive(temperature=temperature, smoothing=smoothing)
    assignments = assignments.long()  # bytes would be taken for a mask
    sizes = torch.bincount(assignments, minlength=len(centroids))
    if (sizes == 0).any():
        empty = (sizes == 0).nonzero().flatten().tolist()
        raise ValueError(f"centroids {empty} of {len(centroids)} have no row in assignments")
    distances = (single_precision(features) - single_precision(centroids)[assignments]).norm(dim=1)
    sums = distances.new_zeros(len(centroids)).index_add(0, assignments, distances)
    phi = sums / (sizes * (sizes + smoothing).log())
    phi = phi.where(phi > 0, phi.max())
    return temperature * phi / phi.mean() if phi.max() > 0 else torch.full_like(phi, temperature)
