"""Classification losses for learning embeddings: softmax, modified softmax, CosFace, ArcFace."""

import math

import torch
from torch import Tensor, nn

from losses.common import (
    Reduction,
    check_finite,
    check_labels,
    check_positive,
    check_rows,
    common_precision,
    reduced,
)
from losses.similarity import unit


def class_softmax(
    embeddings: Tensor,
    labels: Tensor,
    weights: Tensor,
    bias: Tensor | None = None,
    *,
    reduction: Reduction = "mean",
) -> Tensor:
    """Return the mean cross-entropy of a linear classifier on embeddings.

    L = -mean_n log( e^(W_y z_n + b_y) / sum_j e^(W_j z_n + b_j) ), y the label of row n.

    embeddings: [N, D]; labels: integers [N] in [0, C); weights: [C, D], one row per class; bias:
    [C]. Nothing is normalised; all but the labels get gradients. Computed in float32 or better
    (without autocast). Returns the mean over rows, or [N] with reduction "none".
    Source: Wen et al. 2016, equation 1.

    Raises ValueError for mismatched shapes, floating-point labels, embeddings, weights or bias of
    integers, empty tensors, an unknown reduction and, on the CPU, NaN and labels out of range.
    """
    _check(embeddings, labels, weights)
    if bias is not None:
        if bias.shape != weights.shape[:1]:
            raise ValueError(f"bias {list(bias.shape)} is not [{len(weights)}]")
        check_finite("bias", bias)
    with torch.autocast(embeddings.device.type, enabled=False):
        embeddings, weights = common_precision(embeddings, weights)
        logits = embeddings @ weights.T
        return _cross_entropy(logits if bias is None else logits + bias, labels, reduction)


def modified_softmax(
    embeddings: Tensor, labels: Tensor, weights: Tensor, *, reduction: Reduction = "mean"
) -> Tensor:
    """Return class_softmax without bias and with unit-length weights: logits |z| cos(angle).

    L = -mean_n log( e^(|z_n| cos t_y) / sum_j e^(|z_n| cos t_j) ), t_j the angle of z_n and W_j.

    embeddings: [N, D], not normalised; labels: integers [N]; weights: [C, D], normalised here.
    Returns the mean over rows, or [N] with reduction "none".
    Source: Liu et al. 2017 (SphereFace), equation 4. Raises ValueError as class_softmax does.
    """
    _check(embeddings, labels, weights)
    return class_softmax(embeddings, labels, unit(weights), reduction=reduction)


class _MarginHead(nn.Module):
    """Class weights, and the softmax loss on s cos t with a margin for the true class.

    Subclasses define `_with_margin`, which maps the cosine of the true class.
    """

    def __init__(
        self, classes: int, channels: int, generator: torch.Generator, scale: float, margin: float
    ):
        super().__init__()
        check_positive(classes=classes, channels=channels, scale=scale, margin=margin)
        weights = torch.randn(classes, channels, generator=generator, device=generator.device)
        self.weights = nn.Parameter(weights)
        self.scale, self.margin = scale, margin

    def forward(
        self, embeddings: Tensor, labels: Tensor, *, reduction: Reduction = "mean"
    ) -> Tensor:
        """Return the mean loss of embeddings [N, D] with labels, integers [N].

        [N] with reduction "none". Embeddings and weights are normalised here. Computed in float32
        or better (without autocast). Raises ValueError as class_softmax does.
        """
        _check(embeddings, labels, self.weights)
        places = labels.long().unsqueeze(1)
        with torch.autocast(embeddings.device.type, enabled=False):
            rows, weights = common_precision(unit(embeddings), unit(self.weights))
            cosines = rows @ weights.T  # [N, C]
            own = self._with_margin(cosines.gather(1, places))  # [N, 1]
            cosines = cosines.scatter(1, places, own)
        return _cross_entropy(self.scale * cosines, labels, reduction)

    def _with_margin(self, cosines: Tensor) -> Tensor:
        raise NotImplementedError


class CosFaceHead(_MarginHead):
    """CosFace's loss and class weights: a margin on the cosine of the true class.

    L = -mean_n log( e^(s (cos t_y - m)) / (e^(s (cos t_y - m)) + sum_(j != y) e^(s cos t_j)) ).
    Some texts print e^(s cos t_y - m) in the denominator, without the parentheses, which is wrong.

    Source: Wang et al. 2018, equation 4; s = 64 and m = 0.35 are theirs.
    """

    def __init__(
        self,
        classes: int,
        channels: int,
        *,
        generator: torch.Generator,
        scale: float = 64.0,
        margin: float = 0.35,
    ):
        """Draw weights [classes, channels] from N(0, 1); only their directions matter.

        Raises ValueError unless classes, channels, scale and margin are finite and above 0.
        """
        super().__init__(classes, channels, generator, scale, margin)

    def _with_margin(self, cosines: Tensor) -> Tensor:
        return cosines - self.margin


class ArcFaceHead(_MarginHead):
    """ArcFace's loss and class weights: a margin on the angle to the true class.

    L = -mean_n log( e^(s cos(t_y + m)) / (e^(s cos(t_y + m)) + sum_(j != y) e^(s cos t_j)) ).
    For t_y > pi - m, where cos(t_y + m) would increase again, it is replaced by cos t_y - m sin m,
    as in the authors' program.

    Source: Deng et al. 2019, equation 3; s = 64 and m = 0.5 (28.6 degrees) are theirs.
    """

    def __init__(
        self,
        classes: int,
        channels: int,
        *,
        generator: torch.Generator,
        scale: float = 64.0,
        margin: float = 0.5,
    ):
        """Draw weights as CosFaceHead does; margin in radians.

        Raises ValueError as CosFaceHead does, and for a margin of pi or more.
        """
        super().__init__(classes, channels, generator, scale, margin)
        if margin >= math.pi:
            raise ValueError(f"margin {margin}: pi or more; give an angle in radians below pi")

    def _with_margin(self, cosines: Tensor) -> Tensor:
        # Without acos, whose gradient is infinite at -1 and 1; by the clamp it is 0 there.
        least = torch.finfo(cosines.dtype).tiny
        sines = (1 - cosines.square()).clamp(min=least).sqrt()
        moved = cosines * math.cos(self.margin) - sines * math.sin(self.margin)
        beyond = cosines < -math.cos(self.margin)
        return torch.where(beyond, cosines - self.margin * math.sin(self.margin), moved)


def _cross_entropy(logits: Tensor, labels: Tensor, reduction: Reduction) -> Tensor:
    # With gather, which refuses any label out of range: F.cross_entropy ignores labels of -100.
    own = logits.log_softmax(1).gather(1, labels.long().unsqueeze(1)).squeeze(1)
    return reduced(-own, len(labels), reduction)


def _check(embeddings: Tensor, labels: Tensor, weights: Tensor) -> None:
    check_rows(embeddings=embeddings, weights=weights, same_width=False)
    if weights.shape[1] != embeddings.shape[1]:
        expected = f"[classes, {embeddings.shape[1]}], as wide as the embeddings"
        raise ValueError(f"weights {list(weights.shape)}: expected {expected}")
    check_labels(labels, len(embeddings), classes=len(weights))
