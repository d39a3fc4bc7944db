"""Colorization: a U-Net that predicts a picture's colours from its lightness, in Lab."""

from collections.abc import Callable

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
    lab = _by_pixel(rgb_to_lab, pictures.float().add(1).div(2).clamp(0, 1))
    return lab[:, :1] / HALF_LIGHTNESS - 1, lab[:, 1:] / COLOUR_RANGE


def join_lab(lightness: Tensor, colours: Tensor) -> Tensor:
    """Return the RGB picture [B, 3, H, W] in [-1, 1]: the inverse of `split_lab`."""
    lab = torch.cat([(lightness.float() + 1) * HALF_LIGHTNESS, colours.float() * COLOUR_RANGE], 1)
    return _by_pixel(lab_to_rgb, lab) * 2 - 1


def _by_pixel(convert: Callable[[Tensor], Tensor], pictures: Tensor) -> Tensor:
    """Convert [B, 3, H, W] as one row of pixels, [3, 1, B H W].

    The conversion's einsum treats sizes of 1 in a way of their own, as reshaping does: a program
    exported from them would refuse batches of one picture.
    """
    planes = torch.stack(pictures.unbind(1))
    row = convert(planes.flatten(1)[:, None])
    return torch.stack(row.view(planes.shape).unbind(), 1)


class Colorizer(UnetGenerator):
    """Colorize RGB pictures: keep the lightness and predict the colours from it.

    The U-Net inside maps lightness, one channel, to colours, two channels (`colours`); it loads the
    weights of pix2pix's colorization model. Shape: as `UnetGenerator`, 3 channels to 3.
    """

    def __init__(self, sizes: UnetSizes | None = None):
        super().__init__(sizes or UnetSizes(in_channels=1, out_channels=2))
        self.in_channels = self.out_channels = 3

    def forward(self, x: Tensor) -> Tensor:
        """Replace the colours of [B, 3, H, W] in [-1, 1]."""
        lightness, _ = split_lab(x)
        return join_lab(lightness, self.colours(lightness.to(x.dtype)))

    def colours(self, lightness: Tensor) -> Tensor:
        """Predict colours [B, 2, H, W] in (-1, 1) from lightness [B, 1, H, W] in [-1, 1]."""
        return super().forward(lightness)
