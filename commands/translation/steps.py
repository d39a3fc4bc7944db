"""The part of a training step that all translators share."""

from collections.abc import Callable

import torch
from torch import Tensor

import data
import models
import training
from commands.trained import TrainedNetworks, is_generator
from commands.translation.options import TranslatorOptions

Losses = dict[str, Tensor]  # detached scalars by name


def run_step(
    trained: TrainedNetworks,
    options: TranslatorOptions,
    processes: training.Processes,
    batch: data.TranslationBatch,
    images_seen: int,
    update: Callable[[], Losses],
) -> Losses:
    """Set learning rate and random generators by the images seen, update, then update the averages.

    Returns the losses from `update`, and the learning rate.
    """
    side_px = min(batch.source.shape[2:] + batch.target.shape[2:])
    for name, network in trained.networks.items():
        if name.startswith(("generator", "discriminator")):
            models.check_picture_size(side_px, "a picture's short side of", network)
    learning_rate = options.learning_rate * training.linear_decay(
        images_seen,
        epoch_images=options.epoch_images,
        constant_epochs=options.constant_epochs,
        decay_epochs=options.decay_epochs,
    )
    trained.random.start(images_seen)
    for name, network in trained.networks.items():
        training.set_learning_rate(trained.optimizers[name], learning_rate)
        if is_generator(name):
            network.noise.reseed(
                training.seed_for(options.seed, images_seen, f"{name} noise"),
                options.batch_size // processes.world_size,
                processes.rank,
                processes.world_size,
            )
    values = update()
    for network in trained.networks.values():
        training.average_statistics(network)
    for name, average in trained.averages.items():
        decay = training.ema_decay(options.batch_size, options.ema_halflife_images)
        average.update(trained.networks[name], decay)
    return values | {"learning_rate": torch.full((), learning_rate, device=batch.source.device)}
