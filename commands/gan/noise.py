"""The random numbers of a GAN update."""

from collections.abc import Callable

import torch
from torch import Tensor

import training
from models.gan import augmentation


class Noise:
    """The random numbers of one update, a pure function of the seed and the images seen.

    They are drawn for the whole global batch, and each process keeps its own rows.
    """

    def __init__(self, generator: torch.Generator, rows: int, processes: training.Processes):
        self.generator, self.all_rows = generator, rows * processes.world_size
        self.rows = slice(rows * processes.rank, rows * (processes.rank + 1))

    def latents(self, channels: int) -> Tensor:
        """Return latents [rows, channels] from N(0, I)."""
        return self._draw(torch.randn, channels)

    def fractions(self) -> Tensor:
        """Return numbers [rows] from U(0, 1)."""
        return self._draw(torch.rand)

    def augmentation(self) -> augmentation.Draws:
        """Return the random numbers for augmenting a batch."""
        return augmentation.draw(self.all_rows, self.generator).rows(self.rows)

    def _draw(self, distribution: Callable[..., Tensor], *shape: int) -> Tensor:
        generator = self.generator
        whole = distribution(self.all_rows, *shape, generator=generator, device=generator.device)
        return whole[self.rows]
