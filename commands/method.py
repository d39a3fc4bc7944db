"""What the methods share: weights drawn, optimisers, moving averages, start and end of a step."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

import models
import training
from commands import cli

CPU = torch.device("cpu")


def build_generator(options: cli.TranslatorOptions, **more: object) -> nn.Module:
    """Build the generator that the options describe; more: what `models.build_generator` takes."""
    return models.build_generator(
        options.generator,
        base_channels=options.base_channels,
        norm=options.generator_norm,
        antialias=options.antialias,
        dropout=options.dropout,
        crop_px=options.crop_size,
        **more,
    )


def build_discriminator(options: cli.TranslatorOptions, in_channels: int = 3) -> nn.Module:
    """Build the discriminator that the options describe."""
    return models.build_discriminator(
        options.discriminator,
        base_channels=options.discriminator_channels,
        layers=options.discriminator_layers,
        norm=options.discriminator_norm,
        antialias=options.antialias,
        crop_px=options.crop_size,
        in_channels=in_channels,
    )


def draw_weights(
    networks: Mapping[str, nn.Module], options: cli.TranslatorOptions, device: torch.device
) -> None:
    """Draw all first weights from the seed and the network's name; move to the device."""
    for name, network in networks.items():
        random = training.generator_for(CPU, options.seed, 0, f"{name} weights")
        models.initialize(network, random, options.initialization, options.initialization_gain)
        network.to(device)


def build_optimizers(
    networks: Mapping[str, nn.Module], options: cli.TranslatorOptions
) -> dict[str, torch.optim.Optimizer]:
    """Return Adam for each network."""
    return {
        name: training.adam(network, options.learning_rate, options.betas)
        for name, network in networks.items()
    }


def build_averages(
    networks: Mapping[str, nn.Module], options: cli.TranslatorOptions
) -> dict[str, training.MovingAverage]:
    """Return a moving average of each generator, by its name; none where they are off."""
    if not options.ema_halflife_images:
        return {}
    return {
        name: training.MovingAverage(network)
        for name, network in networks.items()
        if is_generator(name)
    }


def is_generator(name: str) -> bool:
    """Tell a generator by its name among a method's networks."""
    return name.startswith("generator")


def begin_step(
    networks: Mapping[str, nn.Module],
    optimizers: Mapping[str, torch.optim.Optimizer],
    options: cli.TranslatorOptions,
    processes: training.Processes,
    images_seen: int,
) -> float:
    """Set the learning rate and the seeds of all noise by the images seen; return the first."""
    factor = training.linear_decay(
        images_seen,
        epoch_images=options.epoch_images,
        constant_epochs=options.constant_epochs,
        decay_epochs=options.decay_epochs,
    )
    learning_rate = factor * options.learning_rate
    for name, network in networks.items():
        training.set_learning_rate(optimizers[name], learning_rate)
        if is_generator(name):
            network.noise.reseed(
                training.seed_for(options.seed, images_seen, f"{name} noise"),
                options.batch_size // processes.world_size,
                processes.rank,
                processes.world_size,
            )
    return learning_rate


def end_step(
    networks: Mapping[str, nn.Module],
    averages: Mapping[str, training.MovingAverage],
    options: cli.TranslatorOptions,
) -> None:
    """Make running statistics those of all processes; let the averages follow the networks."""
    for network in networks.values():
        training.average_statistics(network)
    for name, average in averages.items():
        decay = training.ema_decay(options.batch_size, options.ema_halflife_images)
        average.update(networks[name], decay)


def saved_parts(
    networks: Mapping[str, nn.Module],
    optimizers: Mapping[str, torch.optim.Optimizer],
    averages: Mapping[str, training.MovingAverage],
) -> dict[str, training.Stateful]:
    """Return what every method saves."""
    parts: dict[str, training.Stateful] = dict(networks)
    parts |= {f"{name}_optimizer": part for name, part in optimizers.items()}
    return parts | {f"{name}_average": part for name, part in averages.items()}


def generators_to_use(
    networks: Mapping[str, nn.Module], averages: Mapping[str, training.MovingAverage]
) -> dict[str, nn.Module]:
    """Return the generators to give away, by file name: moving averages where there are some."""
    return {
        f"{name}.safetensors": averages[name].network if name in averages else network
        for name, network in networks.items()
        if is_generator(name)
    }


def translate_and_encode(
    generator: nn.Module, pictures: Tensor, layers: Sequence[int]
) -> tuple[Tensor, list[Tensor]]:
    """Return the translation of pictures and, from the same pass, the outputs of `layers`, if any.

    Without layers any generator will do.
    """
    if not layers:
        return generator(pictures), []
    return generator.forward_with_features(pictures, layers)


def translate_both(
    generator: nn.Module, first: Tensor, second: Tensor | None, layers: Sequence[int]
) -> tuple[Sequence[Tensor], list[Tensor]]:
    """Return the translations of `first` and of `second`, if there is one; and features of `first`.

    The features, detached, one [B, C_i, H_i, W_i] a layer, come from the pass that translates. The
    pictures share it where that gives what two passes give (see `models.run_together`).
    """
    alone = second is None or first.shape[1:] != second.shape[1:]
    if alone or models.couples_a_batch(generator):
        output, features = translate_and_encode(generator, first, layers)
        outputs = (output,) if second is None else (output, generator(second))
    else:
        both, features = translate_and_encode(generator, torch.cat([first, second]), layers)
        outputs = (both[: len(first)], both[len(first) :])
    return outputs, [feature[: len(first)].detach() for feature in features]
