"""The residual networks of SNGAN at 32 px (Miyato et al. 2018) and their conditional form.

Conditional: class-conditional batch norm in the generator, projection in the discriminator (Miyato
and Koyama 2018). Other picture sizes use the papers' widths with more or fewer blocks.
"""

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.gan.inputs import (
    check_counts,
    check_labels,
    check_latents,
    check_pictures,
    check_side,
)
from models.gan.interface import Discriminator, Generator
from models.gan.residual import ClassNorm, CriticBlock, DoublingBlock
from models.gan.spectral import draw_xavier, normed

SMALLEST_PX = 16
FIRST_PX, LAST_PX = 4, 8  # the generator's first and the discriminator's last resolution


@dataclass(frozen=True)
class SnganGeneratorSizes:
    """Hyperparameters of an SNGAN generator; ValueError for a size that is no power of two."""

    size_px: int = 32  # a power of two from 16
    out_channels: int = 3
    latent_channels: int = 128
    base_channels: int = 256
    classes: int = 0

    def __post_init__(self):
        check_side(self.size_px, SMALLEST_PX)
        check_counts(
            out_channels=self.out_channels,
            latent_channels=self.latent_channels,
            base_channels=self.base_channels,
        )


class SnganGenerator(Generator):
    """Linear layer to 4x4, upsampling residual blocks, norm, ReLU, convolution, tanh.

    Shape: latents [B, latent_channels] from N(0, I) -> [B, out_channels, S, S] in (-1, 1).
    Upsampling is nearest neighbour. With classes, every norm has a scale and shift per class.
    Raises ValueError for latents or labels of the wrong shape.
    """

    def __init__(self, sizes: SnganGeneratorSizes | None = None):
        super().__init__(sizes or SnganGeneratorSizes())
        sizes = self.sizes
        width = sizes.base_channels
        self.start = nn.Linear(sizes.latent_channels, width * FIRST_PX**2)
        doublings = round(math.log2(sizes.size_px / FIRST_PX))
        self.blocks = nn.ModuleList(
            DoublingBlock(width, width, sizes.classes) for _ in range(doublings)
        )
        self.norm = ClassNorm(width, 0)
        self.to_rgb = nn.Conv2d(width, sizes.out_channels, 3, padding=1)

    def forward(self, latents: Tensor, labels: Tensor | None = None) -> Tensor:
        """Generate pictures from latents [B, latent_channels] and labels, int64 [B]."""
        check_latents(latents, self.latent_channels)
        check_labels(labels, self.classes, latents.shape[0])
        x = self.start(latents).view(-1, self.sizes.base_channels, FIRST_PX, FIRST_PX)
        for block in self.blocks:
            x = block(x, labels)
        return torch.tanh(self.to_rgb(F.relu(self.norm(x, None))))

    def draw_weights(self, generator: torch.Generator) -> None:
        """Draw weights by Xavier's uniform rule, gain sqrt(2) in residual convolutions, else 1."""
        draw_xavier(self.start, generator)
        for block in self.blocks:
            block.draw_weights(generator)
        self.norm.reset()
        draw_xavier(self.to_rgb, generator)


@dataclass(frozen=True)
class SnganDiscriminatorSizes:
    """Hyperparameters of an SNGAN discriminator; ValueError for a size that is no power of two."""

    size_px: int = 32  # a power of two from 16
    in_channels: int = 3
    base_channels: int = 128
    spectral: bool = True  # False: a critic for a gradient penalty (Gulrajani et al. 2017)
    classes: int = 0

    def __post_init__(self):
        check_side(self.size_px, SMALLEST_PX)
        check_counts(in_channels=self.in_channels, base_channels=self.base_channels)


class SnganDiscriminator(Discriminator):
    """Downsampling residual blocks to 8x8, two more blocks, ReLU, sum over pixels, linear layer.

    logit = w . f + b, and with classes + embedding_k . f, for the features f [B, base_channels].
    All weights have spectral norm, including the embedding's.

    Shape: pictures [B, in_channels, S, S] in [-1, 1] -> logits [B].
    Each forward pass in training mode runs one power iteration.
    Raises ValueError for pictures or labels of the wrong shape.
    """

    def __init__(self, sizes: SnganDiscriminatorSizes | None = None):
        super().__init__(sizes or SnganDiscriminatorSizes())
        sizes = self.sizes
        width, halvings = sizes.base_channels, round(math.log2(sizes.size_px / LAST_PX))
        self.blocks = nn.ModuleList(
            CriticBlock(
                width if number else sizes.in_channels,
                width,
                first=number == 0,
                halve=number < halvings,
                spectral=sizes.spectral,
            )
            for number in range(halvings + 2)
        )
        self.linear = normed(nn.Linear(width, 1), sizes.spectral)
        self.embedding = None
        if sizes.classes:
            self.embedding = normed(nn.Embedding(sizes.classes, width), sizes.spectral)

    def forward(self, pictures: Tensor, labels: Tensor | None = None) -> Tensor:
        """Return the logits [B] of pictures [B, in_channels, S, S] with labels, int64 [B]."""
        check_pictures(pictures, self.in_channels, self.size_px)
        check_labels(labels, self.classes, len(pictures))
        x = pictures
        for block in self.blocks:
            x = block(x)
        features = F.relu(x).sum((2, 3))
        logits = self.linear(features).squeeze(1)
        if self.embedding is None:
            return logits
        return logits + (self.embedding(labels) * features).sum(1)

    def draw_weights(self, generator: torch.Generator) -> None:
        """Draw weights by Xavier's uniform rule, gain sqrt(2) in residual convolutions, else 1."""
        for block in self.blocks:
            block.draw_weights(generator)
        draw_xavier(self.linear, generator)
        if self.embedding is not None:
            draw_xavier(self.embedding, generator)
