"""Builds the generator and the discriminator from train_gan.py's options."""

from dataclasses import fields

from torch import nn

import models
from commands.gan.options import GanOptions
from errors import UserError


def build_networks(options: GanOptions) -> dict[str, nn.Module]:
    """Build both networks; UserError for sizes that the architecture does not support."""
    of_generator = models.gan.NETWORKS[options.generator]
    of_discriminator = models.gan.NETWORKS[options.discriminator]
    try:
        generator_sizes = _sizes(of_generator.generator_sizes, options, options.base_channels)
        discriminator_sizes = _sizes(
            of_discriminator.discriminator_sizes, options, options.discriminator_channels
        )
        return {
            "generator": of_generator.generator(generator_sizes),
            "discriminator": of_discriminator.discriminator(discriminator_sizes),
        }
    except ValueError as error:
        raise UserError(
            f"--generator {options.generator} --discriminator {options.discriminator} at "
            f"--crop_size {options.crop_size}: {error}"
        ) from error


def _sizes(kind: type, options: GanOptions, width: int) -> object:
    """Return a network's sizes from the options; sizes without an option keep their defaults."""
    values = {
        "size_px": options.crop_size,
        "in_channels": options.channels,
        "out_channels": options.channels,
        "latent_channels": options.latent_channels,
        "classes": options.classes,
        "base_channels": width,
        "hidden_channels": width,
        "most_channels": options.most_channels,
        "deviation_group": options.deviation_group,
        "widest_px": options.widest_px,
        "group_channels": options.group_channels,
        "norm": options.discriminator_norm,
        "conditioning": options.conditioning,
        "spectral": options.spectral_norm,
    }
    known = [field.name for field in fields(kind) if field.name in values]
    return kind(**{name: values[name] for name in known})
