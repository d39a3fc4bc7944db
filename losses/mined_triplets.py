"""The mean triplet loss over all triplets of one kind in a labelled batch, without listing them."""

from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable

from losses.common import single_precision
from losses.metric import triplet_margin
from losses.triplets import Anchors, Kind, check_batch, mine_triplets, split_anchors


def mined_triplet_margin(
    embeddings: Tensor,
    labels: Tensor,
    *,
    kind: Kind = "semi_hard",
    margin: float = 0.2,
    squared: bool = False,
) -> Tensor:
    """Return the mean triplet loss over all triplets of one kind.

    L = mean over (a, p, n) of [D_ap - D_an + m]_+, equal to triplet_margin on the rows that
    mine_triplets lists. L is a weighted sum of distances, each weighted by the number of active
    triplets that it is in, counted by sorting each anchor's positives. N rows in classes of K thus
    take time O(N^2 log K) and memory for a few anchors' distances, instead of O(N^2 K) for both.

    embeddings: [N, D], once differentiable, not normalised here; labels: integers [N]. The
    selection of triplets is detached.
    Returns a scalar, float32 or better; 0, with a graph, if there is no triplet of the kind, and
    always for "easy".
    Source and errors: as for mine_triplets and triplet_margin.
    """
    check_batch(embeddings, labels, kind, margin)
    if kind == "batch_hard":
        rows = mine_triplets(embeddings, labels, kind=kind, squared=squared)
        chosen = (embeddings[index] for index in rows)
        return triplet_margin(*chosen, margin=margin, squared=squared)
    return _MeanLoss.apply(single_precision(embeddings), labels, kind, margin, squared)


class _MeanLoss(Function):
    """The mean loss; forward also computes the gradient, a few anchors at a time."""

    @staticmethod
    def forward(
        ctx: Any, embeddings: Tensor, labels: Tensor, kind: Kind, margin: float, squared: bool
    ) -> Tensor:
        members, valid = _class_members(labels)
        x = embeddings.double()
        total, triplets, gradient = x.new_zeros(()), x.new_zeros(()), torch.zeros_like(x)
        for anchors in split_anchors(embeddings, labels, squared):
            rows, distances = anchors.rows, anchors.distances
            weights, active, count = _weigh(anchors, members[rows], valid[rows], kind, margin)
            total += (weights * distances).sum(dtype=x.dtype) + margin * active
            triplets += count
            # The gradient of D_aj is (x_a - x_j) / D_aj, that of its square 2 (x_a - x_j).
            pulls = 2 * weights if squared else weights / distances.masked_fill(distances == 0, 1)
            pulls = pulls.double()
            gradient[rows] += pulls.sum(1, keepdim=True) * x[rows] - pulls @ x
            gradient += pulls.sum(0).unsqueeze(1) * x - pulls.T @ x[rows]
        triplets.clamp_(min=1)
        ctx.save_for_backward((gradient / triplets).to(embeddings.dtype))
        return (total / triplets).to(embeddings.dtype)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None, None, None]:
        (of_embeddings,) = ctx.saved_tensors
        return gradient * of_embeddings, None, None, None, None


def _weigh(
    anchors: Anchors, members: Tensor, valid: Tensor, kind: str, margin: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Return each distance's weight in the sum of losses, the active terms' number, and all terms'.

    D_ap is weighted by the number of negatives with which (a, p) is active, D_an by minus the
    number of positives. members, valid: [R, K], see _class_members. Returns [R, N] and scalars.
    """
    reaches = anchors.distances.gather(1, members).masked_fill(~valid, torch.inf)
    reaches, order = reaches.sort(1)
    members, valid = members.gather(1, order), valid.gather(1, order)
    if kind == "hard":
        near, far = _count(reaches, valid, anchors)
    else:
        near, far = _count(reaches + margin, valid, anchors)
    if kind == "semi_hard":
        hard_near, hard_far = _count(reaches, valid, anchors)
        near, far = near - hard_near, far - hard_far
    triplets = near.sum(dtype=torch.double)
    if kind in ("all", "easy"):
        every = (valid.sum(1) * anchors.negatives.sum(1)).sum()
        triplets = every if kind == "all" else every - triplets
    if kind == "easy":
        near, far = torch.zeros_like(near), torch.zeros_like(far)
    return (-far).scatter_add_(1, members, near), near.sum(dtype=torch.double), triplets


def _class_members(labels: Tensor) -> tuple[Tensor, Tensor]:
    """Return the rows in each row's class, int64 [N, K], and a mask of those that are positives."""
    _, classes, sizes = labels.unique(return_inverse=True, return_counts=True)
    starts = sizes.cumsum(0) - sizes
    columns = torch.arange(int(sizes.max()), device=labels.device)
    places = (starts[classes].unsqueeze(1) + columns).clamp(max=len(labels) - 1)
    members = classes.argsort(stable=True)[places]
    itself = members == torch.arange(len(labels), device=labels.device).unsqueeze(1)
    return members, (columns < sizes[classes].unsqueeze(1)) & ~itself


def _count(reaches: Tensor, valid: Tensor, anchors: Anchors) -> tuple[Tensor, Tensor]:
    """Count the negatives within each radius, and for each negative the radii that contain it.

    reaches: the radii, [R, K], ascending, invalid ones infinite. Returns float [R, K] and [R, N].
    """
    short = torch.searchsorted(reaches, anchors.distances)  # reaches below the distance, [R, N]
    negatives = anchors.negatives.to(reaches.dtype)
    ends = negatives.new_zeros(len(reaches), reaches.shape[1] + 1)
    within = ends.scatter_add_(1, short, negatives).cumsum(1)[:, :-1] * valid
    return within, (valid.sum(1, keepdim=True) - short) * negatives
