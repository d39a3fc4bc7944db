"""Discriminators that classify patches: PatchGAN and PixelGAN (Isola et al. 2017).

Layer order and parameter names are those of the official programs, so their weights load unchanged.
"""

from dataclasses import dataclass

from torch import Tensor, nn

from models.normalization import biased_like_official, norm_layer
from models.resampling import BlurDownsample


@dataclass(frozen=True)
class PatchGANSizes:
    """Hyperparameters of a PatchGAN."""

    in_channels: int = 3
    base_channels: int = 64  # the papers' ndf
    layers: int = 3  # halvings; 3 gives the papers' 70 px receptive field (84 anti-aliased)
    norm: str = "instance"  # instance, batch or none
    antialias: bool = True  # blur before downsampling; else strided convolutions


class PatchGAN(nn.Module):
    """Map a picture to one logit per patch: 4x4 convolutions, leaky ReLU 0.2, no sigmoid.

    Shape: [B, in_channels, H, W] in [-1, 1] -> [B, 1, h, w] logits; 30x30 for 256 px and 3 layers.
    """

    def __init__(self, sizes: PatchGANSizes | None = None):
        super().__init__()
        self.sizes = sizes = sizes or PatchGANSizes()
        widths = [sizes.base_channels * min(2**i, 8) for i in range(sizes.layers + 1)]
        layers: list[nn.Module] = self._halving(sizes.in_channels, widths[0], None)
        for before, after in zip(widths[:-2], widths[1:-1], strict=True):
            layers += self._halving(before, after, sizes.norm)
        layers += [
            biased_like_official(nn.Conv2d(widths[-2], widths[-1], 4, padding=1), sizes.norm),
            norm_layer(sizes.norm, widths[-1]),
            nn.LeakyReLU(0.2, inplace=True),
            nn.Conv2d(widths[-1], 1, 4, padding=1),
        ]
        self.model = nn.Sequential(*layers)

    @property
    def smallest_size_px(self) -> int:
        """The smallest side that gives at least one logit and more than one value to every norm."""
        return 2 ** (self.sizes.layers + 2)

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits of [B, in_channels, H, W]."""
        return self.model(x)

    def _halving(self, before: int, after: int, norm: str | None) -> list[nn.Module]:
        stride = 1 if self.sizes.antialias else 2
        layers: list[nn.Module] = [nn.Conv2d(before, after, 4, stride, padding=1)]
        if norm is not None:  # the first halving has none
            biased_like_official(layers[0], norm)
            layers.append(norm_layer(norm, after))
        layers.append(nn.LeakyReLU(0.2, inplace=True))
        return [*layers, BlurDownsample(after)] if self.sizes.antialias else layers


@dataclass(frozen=True)
class PixelGANSizes:
    """Hyperparameters of a PixelGAN."""

    in_channels: int = 3
    base_channels: int = 64  # the papers' ndf
    norm: str = "instance"  # instance, batch or none


class PixelGAN(nn.Module):
    """Map a picture to one logit per pixel by 1x1 convolutions.

    Shape: [B, in_channels, H, W] in [-1, 1] -> [B, 1, H, W] logits.
    """

    smallest_size_px = 1

    def __init__(self, sizes: PixelGANSizes | None = None):
        super().__init__()
        self.sizes = sizes = sizes or PixelGANSizes()
        width = sizes.base_channels
        last = nn.Conv2d(2 * width, 1, 1)
        self.net = nn.Sequential(
            nn.Conv2d(sizes.in_channels, width, 1),
            nn.LeakyReLU(0.2, inplace=True),
            biased_like_official(nn.Conv2d(width, 2 * width, 1), sizes.norm),
            norm_layer(sizes.norm, 2 * width),
            nn.LeakyReLU(0.2, inplace=True),
            biased_like_official(last, sizes.norm, read_before_norm=True),  # no norm follows
        )

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits of [B, in_channels, H, W]."""
        return self.net(x)
