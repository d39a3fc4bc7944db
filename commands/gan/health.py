"""Monitoring of GAN training: values for the log, and warnings."""

from collections.abc import Mapping
from functools import partial

import torch
from torch import Tensor

import losses
import training
from commands import cli

GAMES = ("minimax", "non_saturating")  # objectives with the original GAN's discriminator loss
EQUILIBRIUM = float(-torch.tensor(4.0, dtype=torch.double).log())  # the game's value there
SHOWN = ("generator", "discriminator")  # the losses that the terminal shows first
BAD_STEPS = 20  # consecutive skipped updates that end a run


def game_values(
    objective: str,
    reals: Tensor,
    fakes: Tensor,
    real_logits: Tensor,
    fake_logits: Tensor,
    updated: Tensor,
) -> dict[str, Tensor]:
    """Return the values that a discriminator update logs in addition to its losses.

    reals, fakes: pictures [B, C, H, W]; logits: [B]; updated: a bool scalar, false for a skipped
    update. Returns detached scalars: accuracies, distances within a batch (see
    `training.pairwise_distance`), whether the update was skipped, and for GAMES the value of the
    game and the Jensen-Shannon divergence that it implies.
    """
    accuracies = losses.accuracies(real_logits, fake_logits, losses.OBJECTIVES[objective].boundary)
    values = dict(zip(("real_accuracy", "fake_accuracy"), accuracies, strict=True))
    values["real_distance"] = training.pairwise_distance(reals)
    values["fake_distance"] = training.pairwise_distance(fakes)
    values["discriminator_skipped"] = (~updated).float()
    if objective in GAMES:
        value = losses.game_value(real_logits, fake_logits)
        values["game_value"] = nan_if_skipped(value, updated)
        implied = losses.implied_jensen_shannon(value)
        values["implied_jensen_shannon"] = nan_if_skipped(implied, updated)
    return values


def nan_if_skipped(value: Tensor, updated: Tensor) -> Tensor:
    """Return the value, detached; NaN, which counts as a bad step, if the update was skipped."""
    return torch.where(updated, value.detach(), torch.nan)


def warnings(values: Mapping[str, float], objective: str) -> list[str]:
    """Return the warnings for a log line, which name options as on the command line.

    A Wasserstein critic should separate reals from fakes completely: the generator still learns.
    """
    if objective == "wgan":
        values = {name: value for name, value in values.items() if "accuracy" not in name}
    return [cli.named_as_options(warning) for warning in training.warnings(values)]


def watch(objective: str) -> training.Watch:
    """Return when a run ends, its warnings, and the values that TensorBoard plots together."""
    charts = {}
    if objective in GAMES:
        charts["value of the game"] = ("game_value", "game_value_at_equilibrium")
    return training.Watch(BAD_STEPS, partial(warnings, objective=objective), charts, SHOWN)
