"""The patches of CUT and its descendants: sampling, comparison and loss."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import groupby
from typing import Literal

import torch
from torch import Tensor

import losses
import models
import training
from commands.options import check_ranges, check_read
from commands.translation.options import (
    UnpairedOptions,
    check_negatives,
    check_unpaired_options,
)
from errors import UserError

# (queries, keys), each [B, P, C] -> one loss per patch, [B * P]
PatchLoss = Callable[..., Tensor]

RANDOM_LAYERS = 3  # the first ones, for which QS-Attn's official program samples at random


@dataclass(frozen=True)
class PatchOptions(UnpairedOptions):
    """The options for comparing patches."""

    nce_weight: float = 1.0
    nce_layers: tuple[int, ...] = (0, 4, 8, 12, 16)
    patch_loss: Literal["patch_nce", "mo_nce", "hdce", "decoupled"] = "patch_nce"
    """Weights of a patch's negatives: equal (patch_nce), by optimal transport (mo_nce), equal with
    the positive excluded from the denominator (decoupled), or that with more weight on hard
    negatives (hdce)."""
    nce_identity: bool = True
    """Average the patch loss with that between target pictures and their translations."""
    patch_sampler: Literal["random", "attention"] = "random"
    """random, or attention (QS-Attn): from the fourth layer on, the patches whose attention to all
    others has the lowest entropy, with features averaged by it; the first three stay random."""
    nce_negatives: Literal["image", "batch"] = "image"
    """Source of a patch's negatives: its own image or the whole batch (patch_nce only)."""
    mo_nce_cost: Literal["easy", "hard"] = "easy"
    """Negatives that mo_nce gives more weight: dissimilar (easy) or similar (hard) ones."""
    mo_nce_epsilon: float = 1.0
    """Entropic regularization of mo_nce's transport; larger values give more even weights."""
    hdce_gamma: tuple[float, float] = (50.0, 10.0)
    """Temperature of hdce's weights at the start and at the end of the schedule."""
    semantic_relation_weight: float = 0.0
    """Weight of the semantic relation consistency (SRC), between the similarities of the patches in
    a translation and in its source; 0: off."""


def loss_of(options: PatchOptions, gamma: float | None) -> PatchLoss:
    """Return the loss that --patch_loss names, with its settings; gamma: `hdce_gamma`'s."""
    settings = {
        "patch_nce": {},
        "mo_nce": {"cost": options.mo_nce_cost, "epsilon": options.mo_nce_epsilon},
        "hdce": {"gamma": gamma},
        "decoupled": {},
    }
    return partial(
        losses.PATCH_LOSSES[options.patch_loss],
        temperature=options.nce_temperature,
        **settings[options.patch_loss],
    )


def hdce_gamma(images_seen: int, options: PatchOptions) -> float | None:
    """Return hDCE's gamma, interpolated linearly between its two values over the schedule.

    The schedule is given by the epochs, not by --total_images. The official program updates gamma
    once per epoch, this one in every step. None for the other patch losses.
    """
    if options.patch_loss != "hdce":
        return None
    epochs = options.constant_epochs + options.decay_epochs
    over_images = round(epochs * options.epoch_images)
    return training.anneal(
        images_seen, *options.hdce_gamma, over_images=over_images, shape="linear"
    )


def route(
    queries: Sequence[Tensor], keys: Sequence[Tensor], positions: Sequence[Tensor], patches: int
) -> tuple[list[Tensor], list[Tensor], list[Tensor]]:
    """Select and mix patches by the keys' self-attention, in all layers but the first three.

    queries, keys: one [B, C_i, H_i, W_i] per layer, aligned pixel by pixel (so mirrored queries
    must be mirrored back); positions: of the random patches, one [P_i] per layer.
    Returns the three for PatchProjector; the layers with attention are [B, C_i, S, 1], where S is
    `patches`, at most the number of pixels. Queries and keys use the same rows of attention, which
    are detached: row s of the queries corresponds to row s of the keys.
    Source: Hu et al. 2022 (QS-Attn), as in their program.
    """
    queries, keys, positions = list(queries), list(keys), list(positions)
    for layer in range(RANDOM_LAYERS, len(keys)):
        attention = models.select_queries(keys[layer], patches)
        queries[layer] = models.route_queries(queries[layer], attention)
        keys[layer] = models.route_queries(keys[layer], attention)
        positions[layer] = torch.arange(attention.shape[1], device=attention.device)
    return queries, keys, positions


def compare(
    queries: Sequence[Tensor],
    keys: Sequence[Tensor],
    loss: PatchLoss,
    *,
    whole_batch: bool = False,
    rank: int = 0,
) -> Tensor:
    """Return for each picture the mean over layers of the mean of `loss` over its patches, [B].

    queries, keys: one [B, P_i, C] per layer. whole_batch: a patch's candidates are the keys of all
    pictures of all processes, for patch_nce only; `rank` is this process's.
    """
    pictures = len(queries[0])
    if whole_batch:
        means = []
        for query, key in zip(queries, keys, strict=True):
            rows = key.flatten(0, 1)
            candidates = {
                "all_keys": training.gather_rows(rows),
                "first_row": rank * len(rows),
            }
            means.append(loss(query, key, **candidates).view(pictures, -1).mean(1))
        return torch.stack(means).mean(0)
    if models.few_launches(queries[0].device):
        queries, keys = _joined(queries), _joined(keys)
    means = [
        loss(query, key).view(-1, pictures, query.shape[1]).mean(2)
        for query, key in zip(queries, keys, strict=True)
    ]
    return torch.cat(means).mean(0)


def _joined(layers: Sequence[Tensor]) -> list[Tensor]:
    """Concatenate adjacent layers of equal shape [B, P, C] to [L * B, P, C]: fewer launches."""
    groups = groupby(layers, key=lambda layer: layer.shape)
    return [torch.cat(list(group)) for _, group in groups]


def semantic_relation(queries: Sequence[Tensor], keys: Sequence[Tensor]) -> Tensor:
    """Return SRC, summed over patches, averaged over layers and pictures; [B, P_i, C] per layer.

    Source: Jung et al. 2022 and their program, which applies it to the translation only, not to the
    identity.
    """
    pairs = zip(queries, keys, strict=True)
    return torch.stack([losses.semantic_relation(*pair).mean() for pair in pairs]).mean()


def check(options: PatchOptions) -> None:
    """Raise UserError for invalid values and combinations."""
    check_unpaired_options(options)
    check_ranges(
        options, above_zero=("mo_nce_epsilon",), at_least_zero=("semantic_relation_weight",)
    )
    _check_negatives(options)
    if options.accelerate == "graph" and options.patch_loss == "hdce":
        raise UserError(
            "--accelerate graph: --patch_loss hdce changes its gamma in every step, and a graph "
            "cannot; use --accelerate off"
        )
    if not all(gamma > 0 and math.isfinite(gamma) for gamma in options.hdce_gamma):
        raise UserError(f"--hdce_gamma {_shown(options.hdce_gamma)}: give two numbers above 0")
    if options.semantic_relation_weight and not options.nce_weight:
        raise UserError(
            f"--semantic_relation_weight {options.semantic_relation_weight}: needs patches, and "
            "there are none with --nce_weight 0; give --nce_weight above 0, or this one as 0"
        )
    if options.patch_sampler == "attention" and len(options.nce_layers) <= RANDOM_LAYERS:
        raise UserError(
            f"--patch_sampler attention: applies from the fourth of --nce_layers on, and "
            f"{_shown(options.nce_layers)} are {len(options.nce_layers)}; give more layers, or "
            "--patch_sampler random"
        )
    compared = bool(options.nce_weight)
    check_read(
        options,
        {
            **dict.fromkeys(("patch_loss", "patch_sampler"), (compared, "--nce_weight")),
            **dict.fromkeys(
                ("mo_nce_cost", "mo_nce_epsilon"),
                (options.patch_loss == "mo_nce", "--patch_loss mo_nce"),
            ),
            "hdce_gamma": (options.patch_loss == "hdce", "--patch_loss hdce"),
        },
    )


def _check_negatives(options: PatchOptions) -> None:
    whole_batch = options.nce_negatives == "batch"
    if whole_batch and options.patch_loss != "patch_nce":
        raise UserError(
            f"--nce_negatives batch: --patch_loss {options.patch_loss} takes the negatives from a "
            "patch's own picture; give --nce_negatives image, or --patch_loss patch_nce"
        )
    check_negatives(
        options,
        pictures=options.batch_size if whole_batch else 1,
        alternative=", or a larger --batch_size with --nce_negatives batch",
    )
    if options.semantic_relation_weight and options.nce_patches < 2:
        raise UserError(
            f"--nce_patches {options.nce_patches}: --semantic_relation_weight compares the patches "
            "of a picture; give 2 or more"
        )


def _shown(numbers: Sequence[float]) -> str:
    return " ".join(map(str, numbers))
