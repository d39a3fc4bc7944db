"""Builds the networks of translators from their options."""

from collections.abc import Mapping

import torch
from torch import nn

import models
import training
from commands.trained import TrainedNetworks, is_generator
from commands.translation.options import TranslatorOptions

CPU = torch.device("cpu")


def build_generator(options: TranslatorOptions, **more: object) -> nn.Module:
    """Build the generator; more: further arguments of `models.build_generator`."""
    return models.build_generator(
        options.generator,
        base_channels=options.base_channels,
        norm=options.generator_norm,
        antialias=options.antialias,
        dropout=options.dropout,
        crop_px=options.crop_size,
        **more,
    )


def build_discriminator(options: TranslatorOptions, in_channels: int = 3) -> nn.Module:
    """Build the discriminator."""
    return models.build_discriminator(
        options.discriminator,
        base_channels=options.discriminator_channels,
        layers=options.discriminator_layers,
        norm=options.discriminator_norm,
        antialias=options.antialias,
        crop_px=options.crop_size,
        in_channels=in_channels,
    )


def build_trained(
    networks: Mapping[str, nn.Module], options: TranslatorOptions, device: torch.device
) -> TrainedNetworks:
    """Draw the initial weights from the seed and each network's name; add what training needs."""
    for name, network in networks.items():
        random = training.generator_for(CPU, options.seed, 0, f"{name} weights")
        models.initialize(network, random, options.initialization, options.initialization_gain)
        network.to(device)
    return TrainedNetworks(
        networks,
        options,
        device,
        learning_rate=options.learning_rate,
        betas=options.betas,
        averaged=bool(options.ema_halflife_images),
        layout=models.layout_for(device, options.precision),
        noise=[network.noise for name, network in networks.items() if is_generator(name)],
    )
