"""One change that fools a model on most pictures."""

from typing import NamedTuple

import torch
from torch import Tensor

from attacks.common import (
    Model,
    Norm,
    check_classes,
    check_pictures,
    check_settings,
    in_eval_mode,
    project,
)
from attacks.deepfool import deepfool
from errors import UserError


class UniversalPerturbation(NamedTuple):
    """A change for any picture, and the share of the given pictures whose class it changes."""

    change: Tensor  # [1, C, H, W], in units of [-1, 1]
    fooling_rate: float


def universal_perturbation(
    model: Model,
    pictures: Tensor,
    *,
    epsilon: float,
    fooling_rate: float = 0.8,
    passes: int = 10,
    steps: int = 50,
    norm: Norm = "linf",
    batch_size: int = 64,
    generator: torch.Generator | None = None,
) -> UniversalPerturbation:
    """Find v with |v|_norm at most epsilon so that model(clip(x + v)) differs from model(x).

    In each pass over the pictures, in an order that `generator` draws: where v does not change the
    class, v <- P(v + r), r the change by which DeepFool (`steps`, of the same norm) moves x + v
    over the boundary, P the projection onto the ball. It ends once the share of changed classes
    reaches `fooling_rate`, or after `passes`.

    pictures: float [B, C, H, W] in [-1, 1], no labels needed; batch_size: pictures a forward pass.
    Apply it as (x + change).clamp(-1, 1). Raises UserError for pictures outside the range, an
    epsilon outside 0 to 2, a fooling rate outside 0 to 1, and counts below 1.
    Source: Moosavi-Dezfooli et al. 2017, algorithm 1.
    """
    check_pictures(pictures)
    check_settings(epsilon, norm=norm, passes=passes, steps=steps, batch_size=batch_size)
    if not 0 < fooling_rate <= 1:
        raise UserError(f"`fooling_rate` {fooling_rate:g}: not above 0 and at most 1")
    pictures = pictures.detach()
    change = torch.zeros_like(pictures[:1])
    with in_eval_mode(model):
        labels = _classes(model, pictures, batch_size)
        order = torch.arange(len(pictures))
        for _ in range(passes):
            if generator is not None:
                order = torch.randperm(len(pictures), generator=generator, device=generator.device)
            for places in order.to(pictures.device).split(batch_size):
                change = _extended(
                    model, pictures[places], labels[places], change, epsilon, norm, steps
                )
            moved = _classes(model, (pictures + change).clamp(-1, 1), batch_size)
            rate = (moved != labels).double().mean().item()
            if rate >= fooling_rate:
                break
    return UniversalPerturbation(change, rate)


def _extended(
    model: Model,
    pictures: Tensor,
    labels: Tensor,
    change: Tensor,
    epsilon: float,
    norm: Norm,
    steps: int,
) -> Tensor:
    """Return the change, extended for each picture in turn that it does not fool yet."""
    with torch.no_grad():
        unfooled = model((pictures + change).clamp(-1, 1)).argmax(1) == labels
    for place in unfooled.nonzero()[:, 0].tolist():
        moved = (pictures[place, None] + change).clamp(-1, 1)
        # Returned as it is if the change of an earlier picture fools the model on this one too.
        beyond = deepfool(model, moved, labels[place, None], steps=steps, norm=norm)
        change = project(change + (beyond - moved), epsilon, norm)
    return change


def _classes(model: Model, pictures: Tensor, batch_size: int) -> Tensor:
    """Return the model's classes, long [B]."""
    with torch.no_grad():
        logits = torch.cat([model(part) for part in pictures.split(batch_size)])
    classes = logits.argmax(1)
    check_classes(logits, classes)
    return classes
