"""Networks by the names that the commands give them."""

from torch import nn

from errors import UserError
from models.patchgan import PatchGAN, PatchGANSizes, PixelGAN, PixelGANSizes
from models.resnet_generator import ResnetGenerator, ResnetSizes
from models.stylegan2 import (
    Stylegan2Discriminator,
    Stylegan2DiscriminatorSizes,
    Stylegan2Generator,
    Stylegan2GeneratorSizes,
)


def build_generator(
    name: str, *, base_channels: int, norm: str, antialias: bool, dropout: bool, crop_px: int
) -> nn.Module:
    """Build a translator: resnet_9blocks, resnet_6blocks, stylegan2 or smallstylegan2.

    The StyleGAN2 kinds take their widths from `crop_px`; norm, antialias and dropout are for the
    ResNet kinds. Raises UserError for a width below 1 and ValueError for another name.
    """
    if base_channels < 1:
        raise UserError(f"--base_channels {base_channels}: below 1; the papers use 64")
    if name in ("stylegan2", "smallstylegan2"):
        small = name == "smallstylegan2"
        return Stylegan2Generator(
            Stylegan2GeneratorSizes(
                base_channels, crop_px, blocks=2 if small else 6, inject_noise=not small
            )
        )
    if name not in ("resnet_9blocks", "resnet_6blocks"):
        raise ValueError(f"unknown generator {name!r}")
    return ResnetGenerator(
        ResnetSizes(
            base_channels=base_channels,
            blocks=9 if name == "resnet_9blocks" else 6,
            norm=norm,
            antialias_down=antialias,
            antialias_up=antialias,
            dropout=dropout,
        )
    )


def build_discriminator(
    name: str, *, base_channels: int, layers: int, norm: str, antialias: bool, crop_px: int
) -> nn.Module:
    """Build a judge: patch, pixel or stylegan2.

    `layers` and `antialias` are for the patch kind, `crop_px` for the stylegan2 kind, which sees
    whole pictures of that size. Raises UserError for sizes that do not fit and ValueError for
    another name.
    """
    if base_channels < 1:
        raise UserError(f"--discriminator_channels {base_channels}: below 1; the papers use 64")
    if name == "stylegan2":
        if crop_px < 8 or crop_px & (crop_px - 1):
            raise UserError(
                f"--crop_size {crop_px}: --discriminator stylegan2 needs a power of two from 8 on"
            )
        return Stylegan2Discriminator(Stylegan2DiscriminatorSizes(base_channels, crop_px))
    if name == "pixel":
        return PixelGAN(PixelGANSizes(base_channels=base_channels, norm=norm))
    if name != "patch":
        raise ValueError(f"unknown discriminator {name!r}")
    if not 1 <= layers <= 6:
        raise UserError(f"--discriminator_layers {layers}: give 1 to 6")
    return PatchGAN(
        PatchGANSizes(base_channels=base_channels, layers=layers, norm=norm, antialias=antialias)
    )


def check_picture_size(size_px: int, what: str, *networks: nn.Module) -> None:
    """Raise UserError where `what`, of `size_px`, is too small for one of the networks."""
    for network in networks:
        if size_px < network.smallest_size_px:
            raise UserError(
                f"{what} {size_px} px: {type(network).__name__} needs at least "
                f"{network.smallest_size_px} px; give a larger --crop_size with --preprocess "
                "resize_and_crop, or a smaller network"
            )


def describe(network: nn.Module) -> str:
    """Return a network's kind and number of weights, for people."""
    weights = sum(parameter.numel() for parameter in network.parameters())
    return f"{type(network).__name__}, {weights:,} weights"
