"""Builds networks from the names used on the command line."""

from torch import nn

from errors import UserError
from models.colorizer import Colorizer
from models.gan.inputs import is_power_of_two
from models.patchgan import PatchGAN, PatchGANSizes, PixelGAN, PixelGANSizes
from models.resnet_generator import ResnetGenerator, ResnetSizes
from models.stylegan2 import (
    Stylegan2Discriminator,
    Stylegan2DiscriminatorSizes,
    Stylegan2Generator,
    Stylegan2GeneratorSizes,
)
from models.unet import UnetGenerator, UnetSizes

RESNET_BLOCKS = {"resnet_9blocks": 9, "resnet_6blocks": 6}
UNET_HALVINGS = {"unet_256": 8, "unet_128": 7}


def build_generator(
    name: str,
    *,
    base_channels: int,
    norm: str,
    antialias: bool,
    dropout: bool,
    crop_px: int,
    in_channels: int = 3,
    out_channels: int = 3,
    lab: bool = False,
) -> nn.Module:
    """Build a translator: resnet_9blocks, resnet_6blocks, unet_256, unet_128 or StyleGAN2-style.

    stylegan2 and smallstylegan2 derive their widths from `crop_px`, translate 3 channels into 3 and
    ignore norm and dropout. antialias applies to the ResNets only. lab: a U-Net for colorization,
    with one input channel (lightness) and two output channels inside.
    Raises UserError for unsupported sizes and ValueError for an unknown name.
    """
    if base_channels < 1:
        raise UserError(f"`base_channels` {base_channels}: below 1; the papers use 64")
    if name in ("stylegan2", "smallstylegan2"):
        if (in_channels, out_channels) != (3, 3):
            raise UserError(
                f"`generator` {name}: translates 3 channels into 3, not {in_channels} into "
                f"{out_channels}; use a resnet or a unet"
            )
        small = name == "smallstylegan2"
        return Stylegan2Generator(
            Stylegan2GeneratorSizes(
                base_channels, crop_px, blocks=2 if small else 6, inject_noise=not small
            )
        )
    if lab:
        if name not in UNET_HALVINGS:
            raise UserError(f"`generator` {name}: `lab` needs a U-Net; use unet_256 or unet_128")
        return Colorizer(UnetSizes(1, 2, base_channels, UNET_HALVINGS[name], norm, dropout))
    if name in UNET_HALVINGS:
        return UnetGenerator(
            UnetSizes(in_channels, out_channels, base_channels, UNET_HALVINGS[name], norm, dropout)
        )
    if name not in RESNET_BLOCKS:
        raise ValueError(f"unknown generator {name!r}")
    return ResnetGenerator(
        ResnetSizes(
            in_channels=in_channels,
            out_channels=out_channels,
            base_channels=base_channels,
            blocks=RESNET_BLOCKS[name],
            norm=norm,
            antialias_down=antialias,
            antialias_up=antialias,
            dropout=dropout,
        )
    )


def build_discriminator(
    name: str,
    *,
    base_channels: int,
    layers: int,
    norm: str,
    antialias: bool,
    crop_px: int,
    in_channels: int = 3,
) -> nn.Module:
    """Build a discriminator: patch, pixel or stylegan2.

    `layers` and `antialias` apply to patch, `crop_px` to stylegan2, which takes whole pictures of
    that size with 3 channels. Raises UserError for unsupported sizes and ValueError for an unknown
    name.
    """
    if base_channels < 1:
        raise UserError(f"`discriminator_channels` {base_channels}: below 1; the papers use 64")
    if name == "stylegan2":
        if in_channels != 3:
            raise UserError(
                f"`discriminator` stylegan2: takes 3 channels, not {in_channels}; use patch or "
                "pixel"
            )
        if not is_power_of_two(crop_px, 8):
            raise UserError(
                f"`crop_size` {crop_px}: `discriminator` stylegan2 needs a power of two, at least 8"
            )
        return Stylegan2Discriminator(Stylegan2DiscriminatorSizes(base_channels, crop_px))
    if name == "pixel":
        return PixelGAN(PixelGANSizes(in_channels, base_channels, norm))
    if name != "patch":
        raise ValueError(f"unknown discriminator {name!r}")
    if not 1 <= layers <= 6:
        raise UserError(f"`discriminator_layers` {layers}: give 1 to 6")
    return PatchGAN(PatchGANSizes(in_channels, base_channels, layers, norm, antialias))


def check_picture_size(size_px: int, what: str, *networks: nn.Module) -> None:
    """Raise UserError if `size_px` is too small for a network; `what` names it in the message."""
    for network in networks:
        if size_px < network.smallest_size_px:
            raise UserError(
                f"{what} {size_px} px: {type(network).__name__} needs at least "
                f"{network.smallest_size_px} px; give a larger `crop_size` with `preprocess` "
                "resize_and_crop, or a smaller network"
            )


def describe(network: nn.Module) -> str:
    """Return a network's class name and number of parameters, to be printed."""
    weights = sum(parameter.numel() for parameter in network.parameters())
    return f"{type(network).__name__}, {weights:,} weights"
