"""A small trained classifier, and the pictures that it knows."""

from functools import cache

import torch
import torch.nn.functional as F
from torch import Tensor, nn

CLASSES = 4


def pictures_of(count: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Noise around a grating of one of four directions, float [B, 3, 8, 8] in [-1, 1]."""
    random = torch.Generator().manual_seed(seed)
    labels = torch.randint(CLASSES, (count,), generator=random)
    y, x = torch.meshgrid(torch.arange(8.0), torch.arange(8.0), indexing="ij")
    waves = torch.stack([torch.sin(angle) for angle in (x, y, (x + y) / 1.4, (x - y) / 1.4)])
    noise = torch.randn(count, 3, 8, 8, generator=random)
    return (0.2 * waves[labels][:, None] + 0.25 * noise).clamp(-1, 1), labels


@cache
def classifier() -> nn.Module:
    """A convolutional network with batch norm and dropout, trained until it is nearly always right.

    In training mode, so that an attack must put it into eval mode. Do not change it.
    """
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = nn.Sequential(
            nn.Conv2d(3, 8, 3, stride=2, padding=1),
            nn.BatchNorm2d(8),
            nn.SiLU(),
            nn.Dropout(0.1),
            nn.Conv2d(8, 16, 3, stride=2, padding=1),
            nn.SiLU(),
            nn.Flatten(),
            nn.Linear(64, CLASSES),
        )
        optimizer = torch.optim.Adam(network.parameters(), 1e-2)
        for step in range(60):
            pictures, labels = pictures_of(64, seed=1 + step)
            loss = F.cross_entropy(network(pictures), labels, label_smoothing=0.1)
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
    return network
