"""R3GAN (Huang et al. 2024): residual networks without normalisation, trained with R1 and R2.

Widths by name are in `R3GAN_WIDTHS`; "base" and "wide" are the authors', "tiny" is for a CPU.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import torch
from torch import Tensor, nn

from models.gan.grouped import GroupedConv2d
from models.gan.inputs import (
    check_counts,
    check_labels,
    check_latents,
    check_pictures,
    check_side,
)
from models.gan.interface import Discriminator, Generator
from models.gan.r3gan_blocks import (
    EXPANSION,
    GroupedBottleneck,
    StageDown,
    StageUp,
    draw_scaled,
)

FIRST_PX = 4
SMALLEST_PX = 8
# base_channels up to `widest_px`, then halved at each doubling; channels per group of a 3x3.
R3GAN_WIDTHS: Mapping[str, Mapping[str, int]] = MappingProxyType(
    {
        "tiny": {"base_channels": 128, "widest_px": 8, "group_channels": 8},
        "small": {"base_channels": 256, "widest_px": 16, "group_channels": 16},
        "base": {"base_channels": 768, "widest_px": 32, "group_channels": 16},  # CIFAR-10, FFHQ
        "wide": {"base_channels": 1536, "widest_px": 32, "group_channels": 32},  # ImageNet 32
        "wide64": {"base_channels": 1536, "widest_px": 64, "group_channels": 32},  # ImageNet 64
    }
)


def _widths(base_channels: int, widest_px: int, size_px: int) -> list[int]:
    """Return the channels at 4x4, 8x8, ... up to `size_px`."""
    sides = [FIRST_PX << doubling for doubling in range(round(math.log2(size_px / FIRST_PX)) + 1)]
    return [base_channels // max(1, side // widest_px) for side in sides]


def _check(widths: list[int], group_channels: int, blocks: int) -> None:
    check_counts(group_channels=group_channels, blocks=blocks, channels=min(widths))
    for width in widths:
        if EXPANSION * width % group_channels:
            raise ValueError(
                f"{width} channels, {EXPANSION * width} inside a block, cannot be divided into "
                f"groups of {group_channels}"
            )


@dataclass(frozen=True)
class R3ganGeneratorSizes:
    """Hyperparameters of an R3GAN generator; ValueError for sizes that do not fit."""

    size_px: int = 32  # a power of two from 8
    out_channels: int = 3
    latent_channels: int = 64
    label_channels: int = 64  # of the label embedding, concatenated to the latent
    base_channels: int = 768
    widest_px: int = 32  # the largest resolution that has all of base_channels
    group_channels: int = 16  # of the 3x3 convolutions
    blocks: int = 2  # a stage
    classes: int = 0

    def __post_init__(self):
        check_side(self.size_px, SMALLEST_PX)
        check_side(self.widest_px, FIRST_PX)
        check_counts(latent_channels=self.latent_channels, label_channels=self.label_channels)
        _check(self.widths, self.group_channels, self.blocks)

    @property
    def widths(self) -> list[int]:
        """Channels at 4x4, 8x8 and so on."""
        return _widths(self.base_channels, self.widest_px, self.size_px)


class R3ganGenerator(Generator):
    """A learned 4x4 basis weighted by the latent, stages of bottlenecks with bilinear upsampling.

    Shape: latents [B, latent_channels] from N(0, I) -> [B, out_channels, S, S], unbounded.
    With classes, an embedding of the label is concatenated to the latent.
    Raises ValueError for latents or labels of the wrong shape.
    """

    def __init__(self, sizes: R3ganGeneratorSizes | None = None):
        super().__init__(sizes or R3ganGeneratorSizes())
        sizes = self.sizes
        widths = sizes.widths
        self.embedding = None
        if sizes.classes:
            self.embedding = nn.Embedding(sizes.classes, sizes.label_channels)
        entrance = sizes.latent_channels + (sizes.label_channels if sizes.classes else 0)
        self.basis = nn.Parameter(torch.randn(widths[0], FIRST_PX, FIRST_PX))
        self.weights_of_basis = nn.Linear(entrance, widths[0], bias=False)
        stages: list[nn.Module] = []
        for number, width in enumerate(widths):
            if number:
                stages.append(StageUp(widths[number - 1], width))
            stages += [GroupedBottleneck(width, sizes.group_channels) for _ in range(sizes.blocks)]
        self.stages = nn.Sequential(*stages)
        self.to_rgb = nn.Conv2d(widths[-1], sizes.out_channels, 1, bias=False)

    def forward(self, latents: Tensor, labels: Tensor | None = None) -> Tensor:
        """Generate pictures from latents [B, latent_channels] and labels, int64 [B]."""
        check_latents(latents, self.latent_channels)
        check_labels(labels, self.classes, latents.shape[0])
        if self.embedding is not None:
            latents = torch.cat([latents, self.embedding(labels)], 1)
        x = self.weights_of_basis(latents)[:, :, None, None] * self.basis
        return self.to_rgb(self.stages(x))

    def draw_weights(self, generator: torch.Generator) -> None:
        """Draw all weights; every block starts as the identity."""
        nn.init.normal_(self.basis, generator=generator)
        draw_scaled(self.weights_of_basis.weight, generator)
        if self.embedding is not None:
            draw_scaled(self.embedding.weight, generator, fan_in=self.classes)
        _draw_stages(self.stages, generator)
        draw_scaled(self.to_rgb.weight, generator)


@dataclass(frozen=True)
class R3ganDiscriminatorSizes:
    """Hyperparameters of an R3GAN discriminator; ValueError for sizes that do not fit."""

    size_px: int = 32  # a power of two from 8
    in_channels: int = 3
    base_channels: int = 768
    widest_px: int = 32
    group_channels: int = 16
    blocks: int = 2  # a stage
    classes: int = 0

    def __post_init__(self):
        check_side(self.size_px, SMALLEST_PX)
        check_side(self.widest_px, FIRST_PX)
        check_counts(in_channels=self.in_channels)
        _check(self.widths, self.group_channels, self.blocks)

    @property
    def widths(self) -> list[int]:
        """Channels at 4x4, 8x8 and so on."""
        return _widths(self.base_channels, self.widest_px, self.size_px)


class R3ganDiscriminator(Discriminator):
    """Stages of bottlenecks with bilinear downsampling, depthwise 4x4 convolution, linear layer.

    Shape: pictures [B, in_channels, S, S], about [-1, 1] -> logits [B].
    With classes the linear layer gives base_channels features f, and the logit is embedding_k . f
    (Miyato and Koyama 2018, without the unconditional term).
    Raises ValueError for pictures or labels of the wrong shape.
    """

    def __init__(self, sizes: R3ganDiscriminatorSizes | None = None):
        super().__init__(sizes or R3ganDiscriminatorSizes())
        sizes = self.sizes
        widths = sizes.widths[::-1]
        self.from_rgb = nn.Conv2d(sizes.in_channels, widths[0], 1, bias=False)
        stages: list[nn.Module] = []
        for number, width in enumerate(widths):
            if number:
                stages.append(StageDown(widths[number - 1], width))
            stages += [GroupedBottleneck(width, sizes.group_channels) for _ in range(sizes.blocks)]
        self.stages = nn.Sequential(*stages)
        last = widths[-1]
        self.basis = GroupedConv2d(last, FIRST_PX, groups=last)
        self.linear = nn.Linear(last, last if sizes.classes else 1, bias=False)
        self.embedding = nn.Embedding(sizes.classes, last) if sizes.classes else None

    def forward(self, pictures: Tensor, labels: Tensor | None = None) -> Tensor:
        """Return the logits [B] of pictures [B, in_channels, S, S] with labels, int64 [B]."""
        check_pictures(pictures, self.in_channels, self.size_px)
        check_labels(labels, self.classes, len(pictures))
        features = self.linear(self.basis(self.stages(self.from_rgb(pictures))).flatten(1))
        if self.embedding is None:
            return features.squeeze(1)
        return (features * self.embedding(labels)).sum(1)

    def draw_weights(self, generator: torch.Generator) -> None:
        """Draw all weights; every block starts as the identity."""
        draw_scaled(self.from_rgb.weight, generator)
        _draw_stages(self.stages, generator)
        draw_scaled(self.basis.weight, generator)
        draw_scaled(self.linear.weight, generator)
        if self.embedding is not None:
            channels = self.linear.out_features
            draw_scaled(self.embedding.weight, generator, channels**-0.5, fan_in=self.classes)


def _draw_stages(stages: nn.Sequential, generator: torch.Generator) -> None:
    blocks = sum(isinstance(layer, GroupedBottleneck) for layer in stages)
    for layer in stages:
        if isinstance(layer, GroupedBottleneck):
            layer.draw_weights(generator, blocks)
        else:
            layer.draw_weights(generator)
