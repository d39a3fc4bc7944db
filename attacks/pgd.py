"""Projected gradient descent (PGD) with random starts, and the momentum method (MI-FGSM)."""

from typing import Literal

import torch
from torch import Tensor

from attacks.ascent import ascend, random_start
from attacks.common import (
    LOSSES,
    Model,
    Norm,
    check_labels,
    check_pictures,
    check_settings,
    cross_entropy,
    in_eval_mode,
    margin,
    negative,
    rows,
)
from attacks.gradient_sign import check_targets
from errors import UserError


def pgd(
    model: Model,
    pictures: Tensor,
    labels: Tensor,
    *,
    epsilon: float,
    step: float,
    steps: int,
    norm: Norm = "linf",
    loss: Literal["cross_entropy", "margin"] = "cross_entropy",
    restarts: int = 1,
    generator: torch.Generator | None = None,
    targeted: bool = False,
) -> Tensor:
    """Maximise the loss in the ball of radius epsilon around each picture.

    From a random point of the ball (`generator` draws it, on the pictures' device; None: from the
    picture itself), x_t+1 = clip(P(x_t + step d_t)); d_t is sign(grad L) for norm linf, grad L /
    |grad L|_2 for l2. Of several `restarts` the result with the largest margin max_k≠y z_k - z_y
    is kept for each picture: a wrong one if there is any. targeted: `labels` are classes to reach,
    L is minimised, and the result with the smallest margin is kept.

    pictures: float [B, C, H, W] in [-1, 1]; labels: long [B]; epsilon and step in units of
    [-1, 1], for l2 of the Euclidean norm over a whole picture. Returns pictures of the same shape,
    detached. Raises UserError as `fgsm` does, for counts below 1 and for restarts without a
    generator. Source: Madry et al. 2018, section 2.1.
    """
    check_pictures(pictures)
    check_settings(epsilon, norm=norm, steps=steps, restarts=restarts)
    if restarts > 1 and generator is None:
        raise UserError(f"`restarts` {restarts}: all would be the same; give a `generator`")
    with in_eval_mode(model):
        if targeted:
            check_targets(model, pictures, labels)
        else:
            check_labels(model, pictures, labels)
        raised, kept = LOSSES[loss](model, labels), margin(model, labels)
        if targeted:
            raised, kept = negative(raised), negative(kept)
        best, best_margin = None, None
        for _ in range(restarts):
            start = random_start(pictures, epsilon, norm, generator) if generator else None
            found = ascend(
                raised, pictures, epsilon=epsilon, step=step, steps=steps, norm=norm, start=start
            )
            if restarts == 1:
                return found
            with torch.no_grad():
                margins = kept(found)
            if best is None:
                best, best_margin = found, margins
            is_better = margins > best_margin
            best = torch.where(rows(is_better), found, best)
            best_margin = torch.where(is_better, margins, best_margin)
        return best


def momentum(
    model: Model,
    pictures: Tensor,
    labels: Tensor,
    *,
    epsilon: float,
    step: float,
    steps: int,
    decay: float = 1.0,
) -> Tensor:
    """Iterate along the sign of an accumulated gradient: the momentum method (MI-FGSM).

    m_t+1 = decay m_t + grad L(x_t) / mean |grad L(x_t)|; x_t+1 = clip(x_t + step sign(m_t+1)),
    clipped to [x - epsilon, x + epsilon] and [-1, 1]. Such examples fool other models more often.
    Arguments, result and errors are those of `iterative_fgsm`. The paper divides by the sum
    |grad L|_1, most programs by the mean; the sign is the same. Source: Dong et al. 2018,
    algorithm 1.
    """
    check_pictures(pictures)
    check_settings(epsilon, steps=steps)
    with in_eval_mode(model):
        check_labels(model, pictures, labels)
        loss = cross_entropy(model, labels)
        return ascend(loss, pictures, epsilon=epsilon, step=step, steps=steps, decay=decay)
