"""Classification losses that shape embeddings: softmax, modified softmax, CosFace, ArcFace."""

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

    embeddings: [N, D]; labels: integers [N] in [0, C); weights: [C, D], one row a class (one
    text has the size of the batch there); bias: [C]. Nothing is normalised; all but the labels
    get gradients. Computed in float32 or better (without autocast). Returns the mean over rows, or
    [N] with reduction "none".
    Source: Wen et al. 2016, equation 1.

    Raises ValueError for weights, bias or labels of another shape, labels of floats, empty tensors,
    integers, an unknown reduction and, on the CPU, for NaN and labels out of range.
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
    """Return class_softmax without bias and with weights of length 1: logits |z| cos(angle).

    L = -mean_n log( e^(|z_n| cos t_y) / sum_j e^(|z_n| cos t_j) ), t_j the angle of z_n and W_j.

    embeddings: [N, D], not normalised; labels: integers [N]; weights: [C, D], divided by their
    lengths here. Returns the mean over rows, or [N] with reduction "none".
    Source: Liu et al. 2017 (SphereFace), equation 4. Errors: as class_softmax.
    """
    _check(embeddings, labels, weights)
    return class_softmax(embeddings, labels, unit(weights), reduction=reduction)


class _MarginHead(nn.Module):
    """Weights of classes, and the softmax loss on s cos t with a margin for the right class.

    A head says by `_with_margin` what the cosine of the right class becomes.
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
        """Return the mean loss of embeddings [N, D] of any length with labels, integers [N].

        With reduction "none" it is [N]. Embeddings and weights are divided by their lengths here.
        Computed in float32 or better (without autocast). Raises ValueError as class_softmax does.
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
    """CosFace's loss, and the weights of its classes: a margin on the cosine of the right class.

    L = -mean_n log( e^(s (cos t_y - m)) / (e^(s (cos t_y - m)) + sum_(j != y) e^(s cos t_j)) ).
    Some texts print e^(s cos t_y - m) in the denominator: a parenthesis lost, another value.

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
        """Draw weights [classes, channels] from a normal distribution, of which directions count.

        Raises ValueError for classes, channels, scale or margin that are not finite and above 0.
        """
        super().__init__(classes, channels, generator, scale, margin)

    def _with_margin(self, cosines: Tensor) -> Tensor:
        return cosines - self.margin


class ArcFaceHead(_MarginHead):
    """ArcFace's loss, and the weights of its classes: a margin on the angle to the right class.

    L = -mean_n log( e^(s cos(t_y + m)) / (e^(s cos(t_y + m)) + sum_(j != y) e^(s cos t_j)) ).
    Beyond t_y = pi - m, where cos(t_y + m) would rise again, it is cos t_y - m sin m, as in the
    authors' program.

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
            raise ValueError(f"margin {margin} is an angle of pi or more; give radians below pi")

    def _with_margin(self, cosines: Tensor) -> Tensor:
        # Not by the arc cosine, whose gradient is infinite at the ends; clamped, it is 0 there.
        least = torch.finfo(cosines.dtype).tiny
        sines = (1 - cosines.square()).clamp(min=least).sqrt()
        moved = cosines * math.cos(self.margin) - sines * math.sin(self.margin)
        beyond = cosines < -math.cos(self.margin)
        return torch.where(beyond, cosines - self.margin * math.sin(self.margin), moved)


def _cross_entropy(logits: Tensor, labels: Tensor, reduction: Reduction) -> Tensor:
    # By gather, which stops at any label out of range: F.cross_entropy leaves out those of -100.
    own = logits.log_softmax(1).gather(1, labels.long().unsqueeze(1)).squeeze(1)
    return reduced(-own, len(labels), reduction)


def _check(embeddings: Tensor, labels: Tensor, weights: Tensor) -> None:
    check_rows(embeddings=embeddings, weights=weights, same_width=False)
    if weights.shape[1] != embeddings.shape[1]:
        expected = f"[classes, {embeddings.shape[1]}], as wide as the embeddings"
        raise ValueError(f"weights {list(weights.shape)}: expected {expected}")
    check_labels(labels, len(embeddings), classes=len(weights))
