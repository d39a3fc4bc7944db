"""What every generator and discriminator of this folder offers."""

from typing import Protocol

import torch
from torch import Tensor


class Generator(Protocol):
    """From noise to pictures.

    `sizes` is a frozen dataclass of numbers: `type(g)(type(g.sizes)(**json))` builds it again.
    """

    sizes: object
    latent_channels: int
    classes: int  # 0: unconditional
    size_px: int
    out_channels: int

    def forward(self, latents: Tensor, labels: Tensor | None = None) -> Tensor:
        """Map latents [B, latent_channels] from N(0, I) to pictures [B, out_channels, S, S].

        labels: int64 [B] where there are classes, else None.
        """
        ...

    def draw_weights(self, generator: torch.Generator) -> None:
        """Draw all weights as the network's paper does, from `generator` alone."""
        ...


class Discriminator(Protocol):
    """From pictures to one logit each, positive for real; no sigmoid."""

    sizes: object
    classes: int
    size_px: int
    in_channels: int

    def forward(self, pictures: Tensor, labels: Tensor | None = None) -> Tensor:
        """Map pictures [B, in_channels, S, S] in [-1, 1] to logits [B]."""
        ...

    def draw_weights(self, generator: torch.Generator) -> None:
        """Draw all weights as the network's paper does, from `generator` alone."""
        ...
