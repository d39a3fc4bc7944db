"""Losses for two sets of paired rows: pictures and texts, anchors and positives."""

import math

import torch
from torch import Tensor, nn

from losses.common import (
    Reduction,
    check_finite,
    check_pairs,
    check_positive,
    check_rows,
    common_precision,
    single_precision,
    values_are_checked,
)
from losses.info_nce import info_nce
from losses.similarity import unit


class LogitScale(nn.Module):
    """CLIP's learnable scale of the logits, exp(s), initially 1 / 0.07 and at most 100.

    The parameter s itself is clamped to log 100, in place and before use, so that it still gets a
    gradient there and can decrease again. Source: Radford et al. 2021, section 2.5.
    """

    def __init__(self, initial: float = 1 / 0.07, maximum: float = 100.0):
        super().__init__()
        if not 0 < initial <= maximum < math.inf:
            found = f"initial {initial}, maximum {maximum}"
            raise ValueError(f"{found}: expected 0 < initial <= maximum, both finite")
        self.maximum = maximum
        self.log_scale = nn.Parameter(torch.tensor(math.log(initial)))

    def forward(self) -> Tensor:
        """Return the scale, a scalar with a gradient."""
        with torch.no_grad():
            self.log_scale.clamp_(max=math.log(self.maximum))
        return self.log_scale.exp()


def clip(
    images: Tensor,
    texts: Tensor,
    *,
    logit_scale: Tensor | float = 1 / 0.07,
    reduction: Reduction = "mean",
) -> Tensor:
    """Return CLIP's loss: identify each picture's text and each text's picture in the batch.

    l_i = -1/2 ( log softmax_j(a cos(x_i, y_j))_i + log softmax_j(a cos(x_j, y_i))_i )

    images, texts: x, y, [N, D], row i of both a pair; normalised here (a row of zeros stays zero),
    gradients to both. logit_scale: a, a number or a scalar tensor such as LogitScale()().
    Computed in float32 or better (without autocast). Returns the mean over pairs, or [N] with
    reduction "none"; N = 1 gives 0. Scale 1 / 0.07: the paper's initial value.
    Source: Radford et al. 2021, figure 3.

    Raises ValueError for unequal or empty shapes, integers, NaN or a scale that is not finite and
    above 0 (on the CPU), a scale that is not a single number and an unknown reduction.
    """
    check_pairs(images=images, texts=texts)
    scale = torch.as_tensor(logit_scale)
    if scale.numel() != 1:
        raise ValueError(f"logit_scale {list(scale.shape)} is not a single number")
    if values_are_checked(scale):
        check_positive(logit_scale=scale.item())
    with torch.autocast(images.device.type, enabled=False):
        scale = single_precision(scale.reshape(()))
        images, texts = unit(images), unit(texts)
        by_image = info_nce(images * scale, texts, reduction=reduction)
        by_text = info_nce(texts * scale, images, reduction=reduction)
        return (by_image + by_text) / 2


def n_pair(
    anchors: Tensor,
    positives: Tensor,
    *,
    penalty: float = 0.0,
    reduction: Reduction = "mean",
) -> Tensor:
    """Return the N-pair loss of one pair per class; the other pairs' positives are the negatives.

    l_i = log( 1 + sum_(j != i) exp(f_i g_j - f_i g_i) ) + penalty (|f_i|^2 + |g_i|^2) / 2

    anchors, positives: f, g, [N, D], row i of both of the same class, all classes different;
    neither normalised nor detached: the lengths are learned, and the penalty bounds them. Computed
    in float32 or better (without autocast). Returns the mean over pairs, or [N] with reduction
    "none"; N = 1 gives the penalty alone. Penalty 0: off; the paper does not give its weight.
    Source: Sohn 2016, equation 6 and the regularisation of section 3.2.2.

    Raises ValueError for unequal or empty shapes, integers, NaN (on the CPU), a penalty that is
    negative or infinite, and an unknown reduction.
    """
    if not 0 <= penalty < math.inf:
        raise ValueError(f"penalty {penalty}: expected a finite number, at least 0")
    losses = info_nce(anchors, positives, reduction=reduction)
    if penalty == 0:
        return losses
    squares = sum(single_precision(rows).square().sum(1) for rows in (anchors, positives)) / 2
    return losses + penalty * (squares if reduction == "none" else squares.mean())


def curl(queries: Tensor, keys: Tensor, weight: Tensor, *, reduction: Reduction = "mean") -> Tensor:
    """Return InfoNCE of the bilinear similarity q^T W k.

    l_i = -log( exp(q_i W k_i) / sum_j exp(q_i W k_j) ), j over the batch.

    queries: [N, D]; keys: [N, E], detached here (they come from the momentum encoder); weight: W,
    [D, E], learned. Neither normalised nor divided by a temperature. Computed in float32 or better
    (without autocast). Returns the mean over queries, or [N] with reduction "none"; N = 1 gives 0.
    Source: Laskin et al. 2020 (CURL), section 4.4; the official program subtracts each row's
    largest logit, which does not change the loss.

    Raises ValueError for mismatched shapes, empty tensors, integers, NaN (on the CPU) and an
    unknown reduction.
    """
    check_rows(queries=queries, keys=keys, same_width=False)
    if weight.shape != (queries.shape[1], keys.shape[1]):
        expected = [queries.shape[1], keys.shape[1]]
        raise ValueError(f"weight {list(weight.shape)} is not {expected}, as queries and keys")
    check_finite("weight", weight)
    with torch.autocast(queries.device.type, enabled=False):
        queries, weight = common_precision(queries, weight)
        return info_nce(queries @ weight, keys.detach(), reduction=reduction)
