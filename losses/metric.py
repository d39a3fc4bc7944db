"""Losses of given pairs and triplets of embeddings."""

from typing import Literal

import torch
from torch import Tensor

from losses.common import (
    Reduction,
    check_labels,
    check_pairs,
    check_positive,
    check_rows,
    check_same_shape,
    reduced,
)
from losses.distances import row_distances


def contrastive(
    first: Tensor,
    second: Tensor,
    same: Tensor,
    *,
    margin: float = 1.0,
    form: Literal["linear", "squared", "squared_distance"] = "squared",
    reduction: Reduction = "mean",
) -> Tensor:
    """Return the contrastive loss of pairs, which pushes dissimilar pairs a margin apart.

    With D = |x - y|, y = 1 for a similar pair and m = margin:
    "linear": y D + (1 - y) [m - D]_+, the pairwise ranking loss;
    "squared": y D^2 + (1 - y) [m - D]_+^2, twice Hadsell et al.
    2006, equation 4, whose Y is 0 for a similar pair;
    "squared_distance": y D^2 + (1 - y) [m - D^2]_+, with the square
    inside the hinge, so the loss of dissimilar pairs is 0 from a distance of sqrt(m).
    Some texts print a minus before the hinge, which pulls dissimilar pairs together, or a
    "simple" y D - (1 - y) D, which is unbounded below.

    first, second: [N, D], not normalised here; same: bool [N], or integers 0 and 1. Computed in
    float32 or better. Returns the mean over pairs, or [N] with reduction "none". Margin 1: a common
    choice.

    Raises ValueError for unequal shapes, empty tensors, integers, a margin that is not finite and
    above 0, an unknown form or reduction and, on the CPU, for NaN and other numbers in `same`.
    """
    check_pairs(first=first, second=second)
    check_positive(margin=margin)
    check_labels(same, len(first), classes=2, name="same")
    same = same.bool()
    distances = row_distances(first, second, squared=form == "squared_distance")
    if form == "squared":
        losses = torch.where(same, distances, (margin - distances).relu()).square()
    elif form in ("linear", "squared_distance"):
        losses = torch.where(same, distances, (margin - distances).relu())
    else:
        raise ValueError(f"form {form!r} is none of 'linear', 'squared', 'squared_distance'")
    return reduced(losses, len(losses), reduction)


def triplet_margin(
    anchors: Tensor,
    positives: Tensor,
    negatives: Tensor,
    *,
    margin: float = 0.2,
    squared: bool = False,
    reduction: Reduction = "mean",
) -> Tensor:
    """Return the triplet loss: the positive must be nearer than the negative by a margin.

    L = mean_n [D(a_n, p_n) - D(a_n, n_n) + m]_+, D = |x - y| or its square. Some texts omit [.]_+,
    which leaves the loss unbounded below.

    anchors, positives, negatives: [N, D], not normalised here. Computed in float32 or better.
    Returns the mean over triplets, or [N] with reduction "none"; no triplets ([0, D]) give 0 with a
    graph.
    Source: Schroff et al. 2015 (FaceNet), section 3.1, with the sum over triplets, squared
    distances and unit vectors; margin 0.2 is theirs.

    Raises ValueError for unequal shapes, integers, NaN (on the CPU), a margin that is not finite
    and above 0 and an unknown reduction.
    """
    check_positive(margin=margin)
    check_same_shape(anchors=anchors, positives=positives, negatives=negatives)
    if anchors.dim() != 2 or len(anchors):
        check_rows(anchors=anchors, positives=positives, negatives=negatives)
    to_positive = row_distances(anchors, positives, squared=squared)
    to_negative = row_distances(anchors, negatives, squared=squared)
    losses = (to_positive - to_negative + margin).relu()
    return reduced(losses, max(len(losses), 1), reduction)
