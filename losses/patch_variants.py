"""Variants of PatchNCE that weight the negatives or exclude the positive from the denominator.

All take queries and keys [B, P, C], row p of both at the same position, of length 1, with gradients
to the queries only; the negatives of a patch are the other patches of its picture. They are
computed in float32 or better (without autocast), and NaN in gives NaN out. They return one loss per
patch, [B * P] in picture-major order; a picture with a single patch has no negatives and gives 0.
"""

import math
from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor

from losses.common import check_patches, check_positive, common_precision
from losses.patch_nce import patch_nce
from losses.similarity import unit
from losses.sinkhorn import sinkhorn_log_plan


def mo_nce(
    queries: Tensor,
    keys: Tensor,
    *,
    temperature: float = 0.07,
    cost: Literal["easy", "hard"] = "easy",
    epsilon: float = 1.0,
    iterations: int = 50,
) -> Tensor:
    """Return PatchNCE with negatives weighted by an optimal transport plan of queries to keys.

    l_p = -log( e^(s_pp / t) / (e^(s_pp / t) + (P - 1) sum_(n != p) w_pn e^(s_pn / t)) ), s = q k;
    w: the plan with rows and columns that sum to 1 for the kernel e^(c / epsilon) with zero
    diagonal. c = 1 - s ("easy": dissimilar patches get more weight) or s ("hard": similar patches
    do). An infinite epsilon gives PatchNCE.

    queries, keys: [B, P, C] of length 1; keys detached. As in the official program the gradient
    also flows through the plan; with 50 iterations it is exact for epsilon 0.1 or more, up to 1.3 %
    off at 0.03, 6 to 13 % at 0.01; once differentiable. Returns [B * P]; P = 1 gives 0.
    Source: Zhan et al. 2022 (MoNCE), section 3; defaults of the official program, whose script for
    horses uses "hard" with epsilon 0.1. It has e^(-10 / epsilon) on the kernel's diagonal, which
    distorts the plan for large epsilon; here the diagonal is 0.

    Raises ValueError as patch_nce does, for an epsilon not above 0 and an unknown cost.
    """
    check_patches(queries, keys)
    check_positive(temperature=temperature)
    if not epsilon > 0:
        raise ValueError(f"epsilon {epsilon}: expected a number above 0, or infinity")
    if cost not in ("easy", "hard"):
        raise ValueError(f"cost {cost!r} is neither 'easy' nor 'hard'")
    batch, patches, _ = queries.shape
    if patches == 1:
        return patch_nce(queries, keys, temperature=temperature)
    with torch.autocast(queries.device.type, enabled=False):
        similarities = _similarities(queries, keys)  # [B, P, P]
        own = _diagonal(similarities)
        costs = similarities if cost == "hard" else 1 - similarities
        log_kernel = (costs / epsilon).masked_fill(own, -torch.inf)
        log_weights = sinkhorn_log_plan(log_kernel, iterations) + math.log(patches - 1)
        logits = log_weights.masked_fill(own, 0).add(similarities, alpha=1 / temperature)
        own_logits = logits.diagonal(dim1=1, dim2=2)
        return (logits.logsumexp(2) - own_logits).flatten()


def decoupled_patch_nce(queries: Tensor, keys: Tensor, *, temperature: float = 0.07) -> Tensor:
    """Return PatchNCE with the positive excluded from the denominator.

    l_p = -s_pp / t + log sum_(n != p) e^(s_pn / t), s = q k, which may be negative.

    queries, keys: [B, P, C] of length 1; keys detached. Returns [B * P]; P = 1 gives 0.
    Source: Yeh et al. 2022 (decoupled contrastive learning); for patches Jung et al. 2022, whose
    official program returns the constant e^(l - l) = 1 with the gradient of l.

    Raises ValueError as patch_nce does.
    """
    check_patches(queries, keys)
    check_positive(temperature=temperature)
    with torch.autocast(queries.device.type, enabled=False):
        return _decoupled(_similarities(queries, keys) / temperature)


def hdce(
    queries: Tensor, keys: Tensor, *, temperature: float = 0.07, gamma: float = 50.0
) -> Tensor:
    """Return the decoupled loss with hard negatives: similar source patches get more weight.

    l_p = -s_pp / t + log sum_(n != p) e^(w_pn s_pn / t), s = q k,
    w_pn = e^((k_p k_n - max_(m != p) k_p k_m) / gamma), so the most similar patch has w = 1. An
    infinite gamma gives the decoupled loss; a smaller gamma gives dissimilar patches less weight.

    queries, keys: [B, P, C] of length 1; keys and weights detached. Returns [B * P]; P = 1 gives 0.
    Source: Jung et al. 2022 (hDCE), as in their official program: w multiplies the similarity and
    gamma divides, whereas in the paper w multiplies the exponential and gamma the similarity. Their
    gamma decreases from 50 to 10 during training.

    Raises ValueError as patch_nce does and for a gamma that is not above 0.
    """
    check_patches(queries, keys)
    check_positive(temperature=temperature)
    if not gamma > 0:
        raise ValueError(f"gamma {gamma}: expected a number above 0, or infinity")
    if queries.shape[1] == 1:
        return decoupled_patch_nce(queries, keys, temperature=temperature)
    with torch.autocast(queries.device.type, enabled=False):
        similarities = _similarities(queries, keys)
        relations = _similarities(keys.detach(), keys)
        relations = relations.masked_fill(_diagonal(relations), -torch.inf)
        weights = ((relations - relations.amax(2, keepdim=True)) / gamma).exp()
        return _decoupled(similarities * weights / temperature, similarities / temperature)


def semantic_relation(queries: Tensor, keys: Tensor) -> Tensor:
    """Return the divergence between a translation's patch similarities and those of its source.

    L_b = sum_p JSD( softmax_n(q_p q_n) || softmax_n(k_p k_n) ),
    JSD(p || r) = KL(p || m) / 2 + KL(r || m) / 2, m = (p + r) / 2; between 0 and P log 2.
    Some texts print m = p + r, which makes every row too small by log 2.

    queries, keys: [B, P, C], normalised here (a row of zeros stays zero); keys detached. Returns
    [B], summed over patches; P = 1 gives 0.
    Source: Jung et al. 2022 (semantic relation consistency, SRC); no temperature in either softmax.

    Raises ValueError for unequal, empty or integer tensors.
    """
    check_patches(queries, keys)
    with torch.autocast(queries.device.type, enabled=False):
        log_p, log_r = (
            torch.bmm(units, units.transpose(1, 2)).log_softmax(2)
            for units in (unit(queries), unit(keys.detach()))
        )
        log_m = torch.logaddexp(log_p, log_r) - math.log(2)
        terms = log_p.exp() * (log_p - log_m) + log_r.exp() * (log_r - log_m)
        return terms.sum((1, 2)) / 2


def _similarities(queries: Tensor, keys: Tensor) -> Tensor:
    queries, keys = common_precision(queries, keys.detach())
    return torch.bmm(queries, keys.transpose(1, 2))


def _diagonal(square: Tensor) -> Tensor:
    return torch.eye(square.shape[-1], dtype=torch.bool, device=square.device)


def _decoupled(negatives: Tensor, positives: Tensor | None = None) -> Tensor:
    """Return -positives_pp + log sum_(n != p) e^negatives_pn as [B * P], of logits [B, P, P]."""
    positives = (negatives if positives is None else positives).diagonal(dim1=1, dim2=2)
    if negatives.shape[1] == 1:
        return positives.flatten() * 0
    others = negatives.masked_fill(_diagonal(negatives), -torch.inf)
    return (others.logsumexp(2) - positives).flatten()


# Patch losses by name: functions of (queries, keys, *, temperature, ...) that return [B * P].
PATCH_LOSSES: dict[str, Callable[..., Tensor]] = {
    "patch_nce": patch_nce,
    "mo_nce": mo_nce,
    "hdce": hdce,
    "decoupled": decoupled_patch_nce,
}
