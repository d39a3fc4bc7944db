"""Colorization: a U-Net that adds the colours to a picture's lightness, in Lab."""

import torch
from kornia.color import lab_to_rgb, rgb_to_lab
from torch import Tensor

from models.unet import UnetGenerator, UnetSizes

HALF_LIGHTNESS = 50.0
COLOUR_RANGE = 110.0


def split_lab(pictures: Tensor) -> tuple[Tensor, Tensor]:
    """Return lightness L / 50 - 1 [B, 1, H, W] in [-1, 1] and colours (a, b) / 110 [B, 2, H, W].

    pictures: RGB [B, 3, H, W] in [-1, 1]; float32 throughout. The scaling is that of pix2pix's
    program; the conversion to CIE Lab (D65) is kornia's.
    """
    lab = rgb_to_lab(pictures.float().add(1).div(2).clamp(0, 1))
    return lab[:, :1] / HALF_LIGHTNESS - 1, lab[:, 1:] / COLOUR_RANGE


def join_lab(lightness: Tensor, colours: Tensor) -> Tensor:
    """Return the RGB picture [B, 3, H, W] in [-1, 1] that `split_lab` would split so."""
    lab = torch.cat([(lightness.float() + 1) * HALF_LIGHTNESS, colours.float() * COLOUR_RANGE], 1)
    return lab_to_rgb(lab, clip=True) * 2 - 1


class Colorizer(UnetGenerator):
    """From RGB, of which only the lightness is looked at, to RGB with colours of its own.

    The U-Net inside maps lightness, one channel, to colours, two (`colours`); its weights are those
    of pix2pix's program for colorization. Shape: as `UnetGenerator`, 3 channels to 3.
    """

    def __init__(self, sizes: UnetSizes | None = None):
        super().__init__(sizes or UnetSizes(in_channels=1, out_channels=2))
        self.in_channels = self.out_channels = 3

    def forward(self, x: Tensor) -> Tensor:
        """Colour [B, 3, H, W] in [-1, 1] anew."""
        lightness, _ = split_lab(x)
        return join_lab(lightness, self.colours(lightness))

    def colours(self, lightness: Tensor) -> Tensor:
        """Return colours [B, 2, H, W] in (-1, 1) for lightness [B, 1, H, W] in [-1, 1]."""
        return super().forward(lightness)
