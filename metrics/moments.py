"""Mean and covariance in one pass, with memory that does not grow with the number of images."""

import torch
from torch import Tensor

from metrics.frechet import Gaussian, gaussian_of_covariance


class Moments:
    """Sums of x and x x^T over features x [D], in float64; sums of shards can be added."""

    def __init__(self, channels: int, device: torch.device):
        self.count = torch.zeros((), dtype=torch.float64, device=device)
        self.total = torch.zeros(channels, dtype=torch.float64, device=device)
        self.outer = torch.zeros(channels, channels, dtype=torch.float64, device=device)

    def add(self, features: Tensor) -> None:
        """Add features [N, D]."""
        features = features.to(self.outer)
        self.count += len(features)
        self.total += features.sum(0)
        self.outer.addmm_(features.T, features)

    def sums(self) -> tuple[Tensor, Tensor, Tensor]:
        """Return the tensors to add over processes, in place."""
        return self.count, self.total, self.outer

    def mean(self) -> Tensor:
        """Return the mean [D]."""
        return self.total / self.count

    def covariance(self) -> Tensor:
        """Return (sum x x^T - N m m^T) / (N - 1) [D, D], unbiased; N must be 2 or more."""
        mean = self.mean()
        return (self.outer - self.count * torch.outer(mean, mean)) / (self.count - 1)

    def gaussian(self) -> Gaussian:
        """Return the normal distribution with these moments."""
        return gaussian_of_covariance(self.mean(), self.covariance())
