"""The U-Net generator of pix2pix (Isola et al. 2017, section 3.2.1 and appendix 6.1.1).

Levels are nested as in the official program: parameter names are the same, so its weights load
unchanged.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from models.noise import Dropout, NoiseSource
from models.normalization import biased_like_official, norm_layer

FEWEST_HALVINGS, MOST_HALVINGS = 5, 12
FIRST_LEVEL_WITH_DROPOUT = 4


@dataclass(frozen=True)
class UnetSizes:
    """Hyperparameters of a U-Net; ValueError for fewer than 5 or more than 12 halvings.

    Official files do not record whether a U-Net was trained with dropout.
    """

    in_channels: int = 3
    out_channels: int = 3
    base_channels: int = 64  # the papers' ngf
    halvings: int = 8  # 8: unet_256, 7: unet_128
    norm: str = "batch"  # instance, batch or none
    dropout: bool = True  # with probability 1/2, in the decoder below level 3, except innermost

    def __post_init__(self):
        if not FEWEST_HALVINGS <= self.halvings <= MOST_HALVINGS:
            raise ValueError(f"{self.halvings} halvings: give {FEWEST_HALVINGS} to {MOST_HALVINGS}")

    @property
    def widths(self) -> list[int]:
        """Channels after each halving."""
        return [self.base_channels * min(2**level, 8) for level in range(self.halvings)]


class UnetLevel(nn.Module):
    """A level of the U-Net: downsampling, the deeper levels, upsampling."""

    def __init__(self, *layers: nn.Module):
        super().__init__()
        self.model = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        """Apply the level and all deeper ones."""
        return self.model(x)


class SkippedLevel(UnetLevel):
    """A level with a skip connection: [B, C, H, W] -> [B, 2C, H, W], x, then the level's output."""

    def forward(self, x: Tensor) -> Tensor:
        """Concatenate x and the level's output; x is overwritten by its leaky ReLU."""
        # The first layer works on x in place, so the skip carries leaky(x). Every concatenation is
        # followed by a ReLU, and relu(leaky(x)) = relu(x): no second copy of x is needed.
        deeper = self.model(x)
        return torch.cat((x, deeper), 1)


class UnetGenerator(nn.Module):
    """Strided convolutions down to a bottleneck, transposed ones up, skip connections across.

    Shape: [B, in_channels, H, W] in [-1, 1], H and W multiples of 2^halvings ->
    [B, out_channels, H, W] in (-1, 1).

    Every norm sees at least 2 x 2 values per channel (the bottleneck itself has no norm), so batch
    norm trains even with a single picture of the smallest size.
    """

    def __init__(self, sizes: UnetSizes | None = None):
        super().__init__()
        self.sizes = sizes = sizes or UnetSizes()
        self.in_channels, self.out_channels = sizes.in_channels, sizes.out_channels
        self.noise = NoiseSource()
        widths = sizes.widths
        level = self._innermost(widths[-2], widths[-1])
        for number in range(sizes.halvings - 2, 0, -1):
            dropped = sizes.dropout and number >= FIRST_LEVEL_WITH_DROPOUT
            level = self._middle(widths[number - 1], widths[number], level, dropped)
        self.model = self._outermost(widths[0], level)

    @property
    def size_multiple(self) -> int:
        """Height and width must be multiples of this."""
        return 2**self.sizes.halvings

    @property
    def smallest_size_px(self) -> int:
        """The smallest picture side, whose bottleneck is 1x1."""
        return self.size_multiple

    def forward(self, x: Tensor) -> Tensor:
        """Translate [B, in_channels, H, W]; ValueError unless H and W are `size_multiple`s."""
        height, width = x.shape[2:]
        if height % self.size_multiple or width % self.size_multiple:
            raise ValueError(
                f"pictures of {width}x{height} px: a U-Net with {self.sizes.halvings} halvings "
                f"needs multiples of {self.size_multiple}"
            )
        return self.model(x)

    def _innermost(self, outer: int, inner: int) -> UnetLevel:
        return SkippedLevel(
            nn.LeakyReLU(0.2, inplace=True),
            self._down(outer, inner, norm_follows=False),
            nn.ReLU(inplace=True),
            *self._up(inner, outer),
        )

    def _middle(self, outer: int, inner: int, deeper: UnetLevel, dropout: bool) -> UnetLevel:
        return SkippedLevel(
            nn.LeakyReLU(0.2, inplace=True),
            self._down(outer, inner),
            norm_layer(self.sizes.norm, inner),
            deeper,
            nn.ReLU(inplace=True),
            *self._up(2 * inner, outer),
            *([Dropout(self.noise)] if dropout else []),
        )

    def _outermost(self, inner: int, deeper: UnetLevel) -> UnetLevel:
        return UnetLevel(
            self._down(self.in_channels, inner, norm_follows=False),
            deeper,
            nn.ReLU(inplace=True),
            nn.ConvTranspose2d(2 * inner, self.out_channels, 4, stride=2, padding=1),
            nn.Tanh(),
        )

    def _down(self, before: int, after: int, *, norm_follows: bool = True) -> nn.Module:
        conv = nn.Conv2d(before, after, 4, stride=2, padding=1)
        return biased_like_official(conv, self.sizes.norm, read_before_norm=not norm_follows)

    def _up(self, before: int, after: int) -> list[nn.Module]:
        conv = nn.ConvTranspose2d(before, after, 4, stride=2, padding=1)
        return [biased_like_official(conv, self.sizes.norm), norm_layer(self.sizes.norm, after)]
