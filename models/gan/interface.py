"""The interface of every generator and discriminator in this package."""

import torch
from torch import Tensor, nn


class Generator(nn.Module):
    """A generator of pictures from noise.

    sizes: a frozen dataclass of numbers, so that `type(g)(type(g.sizes)(**json))` rebuilds it.
    """

    def __init__(self, sizes):
        super().__init__()
        self.sizes = sizes
        self.latent_channels: int = sizes.latent_channels
        self.classes: int = sizes.classes  # 0: unconditional
        self.size_px: int = sizes.size_px
        self.out_channels: int = sizes.out_channels

    def forward(self, latents: Tensor, labels: Tensor | None = None) -> Tensor:
        """Map latents [B, latent_channels] from N(0, I) to pictures [B, out_channels, S, S].

        labels: int64 [B] where there are classes, else None.
        """
        raise NotImplementedError

    def draw_weights(self, generator: torch.Generator) -> None:
        """Draw all weights as the network's paper does, from `generator` alone."""
        raise NotImplementedError


class Discriminator(nn.Module):
    """Maps each picture to one logit, positive for real. sizes: as for `Generator`."""

    def __init__(self, sizes):
        super().__init__()
        self.sizes = sizes
        self.classes: int = sizes.classes  # 0: unconditional
        self.size_px: int = sizes.size_px
        self.in_channels: int = sizes.in_channels

    def forward(self, pictures: Tensor, labels: Tensor | None = None) -> Tensor:
        """Map pictures [B, in_channels, S, S] in [-1, 1] to logits [B].

        labels: int64 [B] where there are classes, else None.
        """
        raise NotImplementedError

    def draw_weights(self, generator: torch.Generator) -> None:
        """Draw all weights as the network's paper does, from `generator` alone."""
        raise NotImplementedError
