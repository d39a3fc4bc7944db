"""DCGAN (Radford et al. 2016): strided 4x4 convolutions with batch norm, no hidden linear layer.

Widths, and convolutions without bias, follow PyTorch's DCGAN example, the usual form at 64 px.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from models.gan.inputs import (
    check_counts,
    check_labels,
    check_latents,
    check_pictures,
    check_side,
    with_one_hot,
)
from models.gan.interface import Discriminator, Generator
from models.gan.residual import ClassNorm
from models.initialization import initialize
from models.normalization import norm_layer

SMALLEST_PX = 16
DEVIATION = 0.02  # of the initial weights
CONDITIONINGS = ("concatenation", "projection")


def _check_conditioning(conditioning: str) -> None:
    if conditioning not in CONDITIONINGS:
        raise ValueError(f"conditioning {conditioning!r}: give {' or '.join(CONDITIONINGS)}")


def _widths(base_channels: int, size_px: int) -> list[int]:
    """Return the channels from half the picture's size down to 4x4; each halving doubles them."""
    return [base_channels * 2**halving for halving in range(round(math.log2(size_px)) - 2)]


@dataclass(frozen=True)
class DcganGeneratorSizes:
    """Hyperparameters of a DCGAN generator; ValueError for a size that is no power of two."""

    size_px: int = 64  # a power of two from 16
    out_channels: int = 3
    latent_channels: int = 100
    base_channels: int = 64  # before the last layer; doubled at each lower resolution
    classes: int = 0
    conditioning: str = "concatenation"  # or projection

    def __post_init__(self):
        _check_conditioning(self.conditioning)
        check_side(self.size_px, SMALLEST_PX)
        check_counts(
            out_channels=self.out_channels,
            latent_channels=self.latent_channels,
            base_channels=self.base_channels,
        )


class DcganGenerator(Generator):
    """Transposed convolutions from 1x1 to 4x4, 8x8, ..., with batch norm and ReLU; final tanh.

    Shape: latents [B, latent_channels] from N(0, I) -> [B, out_channels, S, S] in (-1, 1).
    With classes, the one-hot label is concatenated to the latent (Mirza and Osindero 2014); with
    conditioning "projection" every norm also has a scale and shift per class (Miyato and Koyama
    2018).
    Raises ValueError for latents or labels of the wrong shape.
    """

    def __init__(self, sizes: DcganGeneratorSizes | None = None):
        super().__init__(sizes or DcganGeneratorSizes())
        sizes = self.sizes
        widths = _widths(sizes.base_channels, sizes.size_px)[::-1]
        entrance = sizes.latent_channels + sizes.classes
        by_class = sizes.classes > 0 and sizes.conditioning == "projection"
        layers: list[nn.Module] = [nn.ConvTranspose2d(entrance, widths[0], 4, bias=False)]
        for before, after in zip(widths, [*widths[1:], sizes.out_channels], strict=True):
            layers += [ClassNorm(before, sizes.classes) if by_class else nn.BatchNorm2d(before)]
            layers.append(nn.ReLU())
            layers.append(nn.ConvTranspose2d(before, after, 4, stride=2, padding=1, bias=False))
        self.layers = nn.Sequential(*layers, nn.Tanh())

    def forward(self, latents: Tensor, labels: Tensor | None = None) -> Tensor:
        """Generate pictures from latents [B, latent_channels] and labels, int64 [B]."""
        check_latents(latents, self.latent_channels)
        x = with_one_hot(latents, labels, self.classes)[:, :, None, None]
        for layer in self.layers:
            x = layer(x, labels) if isinstance(layer, ClassNorm) else layer(x)
        return x

    def draw_weights(self, generator: torch.Generator) -> None:
        """Draw convolutions from N(0, 0.02^2), batch norm's scales from N(1, 0.02^2)."""
        initialize(self, generator, "normal", DEVIATION)
        for layer in self.layers:
            if isinstance(layer, ClassNorm):
                layer.reset()
                nn.init.normal_(layer.scale.weight, 1.0, DEVIATION, generator=generator)


@dataclass(frozen=True)
class DcganDiscriminatorSizes:
    """Hyperparameters of a DCGAN discriminator; ValueError for a size that is no power of two."""

    size_px: int = 64  # a power of two from 16
    in_channels: int = 3
    base_channels: int = 64  # after the first layer; doubled at each lower resolution
    norm: str = "batch"  # batch (the paper's); instance or none for gradient penalties
    classes: int = 0
    conditioning: str = "concatenation"  # or projection

    def __post_init__(self):
        _check_conditioning(self.conditioning)
        check_side(self.size_px, SMALLEST_PX)
        check_counts(in_channels=self.in_channels, base_channels=self.base_channels)


class DcganDiscriminator(Discriminator):
    """Strided convolutions to 4x4, leaky ReLU 0.2, batch norm except at both ends; no sigmoid.

    Shape: pictures [B, in_channels, S, S] in [-1, 1] -> logits [B]. With classes, the one-hot label
    is concatenated as constant channels; with conditioning "projection" the last layer has one
    output s and one output s_k per class instead, and the logit of class k is s + s_k (Miyato and
    Koyama 2018, here with weights at each of the 4x4 pixels). Batch norm couples the pictures of a
    batch, so per-sample gradient penalties need another `norm`; with "none" the convolutions have
    biases.
    Raises ValueError for pictures or labels of the wrong shape.
    """

    def __init__(self, sizes: DcganDiscriminatorSizes | None = None):
        super().__init__(sizes or DcganDiscriminatorSizes())
        sizes = self.sizes
        widths = _widths(sizes.base_channels, sizes.size_px)
        self.projected_classes = sizes.classes if sizes.conditioning == "projection" else 0
        self.concatenated_classes = sizes.classes - self.projected_classes
        entrance = sizes.in_channels + self.concatenated_classes
        layers: list[nn.Module] = [nn.Conv2d(entrance, widths[0], 4, 2, 1, bias=False)]
        layers.append(nn.LeakyReLU(0.2))
        for before, after in zip(widths, widths[1:], strict=False):
            layers.append(nn.Conv2d(before, after, 4, 2, 1, bias=sizes.norm == "none"))
            layers += [norm_layer(sizes.norm, after), nn.LeakyReLU(0.2)]
        outputs = 1 + self.projected_classes
        self.layers = nn.Sequential(*layers, nn.Conv2d(widths[-1], outputs, 4, bias=False))

    def forward(self, pictures: Tensor, labels: Tensor | None = None) -> Tensor:
        """Return the logits [B] of pictures [B, in_channels, S, S] with labels, int64 [B]."""
        check_pictures(pictures, self.in_channels, self.size_px)
        if not self.projected_classes:
            return self.layers(with_one_hot(pictures, labels, self.classes)).flatten()
        check_labels(labels, self.classes, len(pictures))
        scores = self.layers(pictures).flatten(1)  # [B, 1 + classes]
        rows = torch.arange(len(scores), device=scores.device)
        return scores[:, 0] + scores[rows, 1 + labels]

    def draw_weights(self, generator: torch.Generator) -> None:
        """Draw convolutions from N(0, 0.02^2), batch norm's scales from N(1, 0.02^2)."""
        initialize(self, generator, "normal", DEVIATION)
