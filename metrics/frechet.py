"""The Fréchet distance between two normal distributions, without a matrix square root."""

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor


class Gaussian(NamedTuple):
    """A normal distribution: its mean [D] and a factor [D, R] of its covariance S = F F^T.

    Both float64. The factor may be the centred features themselves: with fewer images than
    dimensions no D x D matrix is needed.
    """

    mean: Tensor
    factor: Tensor


def gaussian_of_features(features: Tensor) -> Gaussian:
    """Fit mean and unbiased covariance to features [N, D], N at least 2."""
    count, channels = features.shape
    features = features.double()
    mean = features.mean(0)
    centred = (features - mean).T / (count - 1) ** 0.5
    if count <= channels:
        return Gaussian(mean, centred)
    return Gaussian(mean, _factor(centred @ centred.T))


def gaussian_of_covariance(mean: Tensor, covariance: Tensor) -> Gaussian:
    """Return the distribution with a mean [D] and a symmetric covariance [D, D], even singular."""
    covariance = covariance.double()
    return Gaussian(mean.double(), _factor((covariance + covariance.T) / 2))


def frechet_distance(first: Gaussian, second: Gaussian) -> float:
    """Return d^2 = |m1 - m2|^2 + tr S1 + tr S2 - 2 tr (S1 S2)^(1/2), 0 or more up to rounding.

    With S = F F^T the last trace is the nuclear norm of F1^T F2, the sum of its singular values:
    the eigenvalues of S1 S2 are their squares. So nothing is ever complex, singular covariances
    are exact, and N images cost an N x N problem where N is below D. (Heusel et al. 2017, "GANs
    Trained by a Two Time-Scale Update Rule", equation 6, who use a matrix square root.)
    """
    overlap = torch.linalg.svdvals(first.factor.T @ second.factor).sum()
    shift = (first.mean - second.mean).square().sum()
    traces = first.factor.square().sum() + second.factor.square().sum()
    return float(shift + traces - 2 * overlap)


def frechet_infinity(
    real: Gaussian, fake_features: Tensor, *, points: int = 15, seed: int = 2020
) -> float:
    """Extrapolate the distance to infinitely many fakes: the intercept of a line over 1/n.

    A least-squares fit to the distances of random subsets of `points` sizes n from min(5000, N/10)
    to N; fake_features [N, D]. All reals are always used. (Chong and Forsyth 2020, "Effectively
    Unbiased FID and Inception Score and where to find them".)
    """
    count = len(fake_features)
    random = np.random.RandomState(seed)
    sizes = np.linspace(max(2, min(5000, count // 10)), count, points).astype(int)
    distances = []
    for size in sizes:
        chosen = torch.from_numpy(random.choice(count, size, replace=False))
        distances.append(frechet_distance(real, gaussian_of_features(fake_features[chosen])))
    return float(np.polyfit(1 / sizes, distances, 1)[1])


def _factor(covariance: Tensor) -> Tensor:
    """Return F [D, R] with S = F F^T: by Cholesky if S is clearly regular, else by eigenvectors.

    Eigenvalues at the level of rounding errors are left out: the root of an error of 1e-16 is 1e-8,
    and a singular covariance has hundreds of them.
    """
    noise = len(covariance) * torch.finfo(torch.float64).eps * covariance.diagonal().max()
    lower, failed = torch.linalg.cholesky_ex(covariance)
    if not failed and lower.diagonal().square().min() > noise:
        return lower
    values, vectors = torch.linalg.eigh(covariance)
    kept = values > noise
    return vectors[:, kept] * values[kept].sqrt()
