"""How the game between the two networks goes: values for the log, and what is warned of."""

from collections.abc import Mapping
from functools import partial

import torch
from torch import Tensor

import losses
import training

GAMES = ("minimax", "non_saturating")  # whose discriminator plays Goodfellow's game
EQUILIBRIUM = float(-torch.tensor(4.0, dtype=torch.double).log())  # of its value
BAD_STEPS = 20  # skipped updates in a row that end a run


def game_values(
    objective: str,
    reals: Tensor,
    fakes: Tensor,
    real_logits: Tensor,
    fake_logits: Tensor,
    updated: Tensor,
) -> dict[str, Tensor]:
    """Return the values that a discriminator's update logs beside its losses.

    reals, fakes: pictures [B, C, H, W]; logits: [B]; updated: a scalar of bool, false for a skipped
    update. Returns detached scalars: accuracies, distances within a batch (see
    `training.pairwise_distance`), whether the update was skipped, and for GAMES the value of the
    game with the Jensen-Shannon divergence that it implies.
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
    """Return the value, detached; NaN, which counts as a bad step, where the update was skipped."""
    return torch.where(updated, value.detach(), torch.nan)


def warnings(values: Mapping[str, float], objective: str) -> list[str]:
    """Return what a line of the log gives reason to warn of.

    A Wasserstein critic is meant to separate all reals from all fakes: the generator learns all the
    same.
    """
    if objective == "wgan":
        values = {name: value for name, value in values.items() if "accuracy" not in name}
    return training.warnings(values)


def watch(objective: str) -> training.Watch:
    """Return what ends a run, what is warned of, and what TensorBoard draws together."""
    charts = {}
    if objective in GAMES:
        charts["value of the game"] = ("game_value", "game_value_at_equilibrium")
    return training.Watch(BAD_STEPS, partial(warnings, objective=objective), charts)
