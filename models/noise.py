"""Seeded noise that does not depend on the number of processes, and dropout that draws from it."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn


class NoiseSource:
    """The random numbers for dropout and noise injection in one network.

    `reseed` is called before each training step, so that the noise is a pure function of the seed
    and the images seen. Every process draws the noise of the whole global batch and keeps its own
    rows, so two processes use the same noise as one. A network's input may be several batches
    concatenated (source and target, for example); each gets its own noise.
    """

    def __init__(self) -> None:
        self.rank, self.world_size, self.rows = 0, 1, None
        self.seed = 0
        self.generator = None

    def reseed(self, seed: int, rows: int, rank: int = 0, world_size: int = 1) -> None:
        """Start a step: `rows` pictures of this process's batch, rank `rank` of `world_size`."""
        self.seed, self.rows, self.rank, self.world_size = seed, rows, rank, world_size
        self.generator = None

    @contextmanager
    def borrowed(self, seed: int, rows: int) -> Iterator[None]:
        """Draw from another seed within the block and restore the state afterwards."""
        before = dict(vars(self))
        self.reseed(seed, rows)
        try:
            yield
        finally:
            vars(self).update(before)

    def uniform(self, like: Tensor) -> Tensor:
        """Return float32 uniform numbers in [0, 1) in the shape of `like` [B, ...]."""
        return self._draw(torch.rand, tuple(like.shape), like.device)

    def normal(self, shape: tuple[int, ...], device: torch.device) -> Tensor:
        """Return float32 standard normal numbers of `shape` [B, ...]."""
        return self._draw(torch.randn, shape, device)

    def _draw(self, distribution, shape: tuple[int, ...], device: torch.device) -> Tensor:
        if self.generator is None or self.generator.device != device:
            self.generator = torch.Generator(device).manual_seed(self.seed)
        rows = self.rows or shape[0]
        batches = shape[0] // rows
        whole = distribution(
            (batches, self.world_size, rows, *shape[1:]), generator=self.generator, device=device
        )
        return whole[:, self.rank].reshape(shape)


class Dropout(nn.Module):
    """Zero each value with probability 1/2 and double the rest, in training mode.

    The mask is drawn from the network's `NoiseSource`, so it is a function of the seed and the
    images seen. The identity in eval mode.
    """

    def __init__(self, noise: NoiseSource):
        super().__init__()
        self.noise = noise

    def forward(self, x: Tensor) -> Tensor:
        """Apply dropout to [B, ...]."""
        if not self.training:
            return x
        return x * (self.noise.uniform(x) < 0.5).to(x.dtype) * 2
