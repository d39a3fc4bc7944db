"""Triplets of a labelled batch, as lists of indices.

A triplet is an anchor a, a positive p (another row with the same label) and a negative n (a row
with another label). With the distance D and the margin m it is hard if D_an <= D_ap, semi-hard if
D_ap < D_an <= D_ap + m, and easy if D_an > D_ap + m (Schroff et al. 2015). Embeddings are not
normalised here.
"""

from collections.abc import Iterator
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from losses.common import check_labels, check_positive, check_rows
from losses.distances import pairwise_distances

Kind = Literal["all", "hard", "semi_hard", "easy", "batch_hard"]
KINDS = ("all", "hard", "semi_hard", "easy", "batch_hard")
CHUNK = 2**18  # distances processed at a time: few enough to stay in a processor's cache


class Triplets(NamedTuple):
    """Row indices of the batch, three int64 [T]."""

    anchors: Tensor
    positives: Tensor
    negatives: Tensor


class Anchors(NamedTuple):
    """Some rows of the batch and the relation of all rows to them."""

    rows: Tensor  # int64 [R]
    distances: Tensor  # [R, N], float32 or better
    positives: Tensor  # bool [R, N], same label and another row
    negatives: Tensor  # bool [R, N], another label


@torch.no_grad()
def mine_triplets(
    embeddings: Tensor,
    labels: Tensor,
    *,
    kind: Kind = "semi_hard",
    margin: float = 0.2,
    squared: bool = False,
) -> Triplets:
    """List the triplets of one kind, sorted by anchor, positive, negative.

    kind: "hard", "semi_hard" or "easy" as above; "all": every triplet; "batch_hard": for each
    anchor its farthest positive and its nearest negative (Hermans et al. 2017).

    embeddings: [N, D]; labels: integers [N]. squared: compare squared distances with the margin.
    Returns three int64 [T]; T = 0 if there are none, as in a batch with one row or one class. For N
    rows in classes of K, "all" gives N (K - 1) (N - K) triplets; mined_triplet_margin avoids the
    list.

    Raises ValueError for empty or integer embeddings, NaN (on the CPU; on a GPU a row of NaN is in
    no hard, semi-hard or easy triplet), labels of the wrong length or dtype, a margin that is not
    finite and above 0, or an unknown kind.
    """
    check_batch(embeddings, labels, kind, margin)
    find = _batch_hard if kind == "batch_hard" else _of_kind
    found = [find(anchors, kind, margin) for anchors in split_anchors(embeddings, labels, squared)]
    return Triplets(*(torch.cat(parts) for parts in zip(*found, strict=True)))


def check_batch(embeddings: Tensor, labels: Tensor, kind: str, margin: float) -> None:
    """Check the arguments of mine_triplets and mined_triplet_margin; raise ValueError."""
    check_rows(embeddings=embeddings)
    check_labels(labels, len(embeddings))
    check_positive(margin=margin)
    if kind not in KINDS:
        raise ValueError(f"kind {kind!r} is none of {', '.join(map(repr, KINDS))}")


def split_anchors(embeddings: Tensor, labels: Tensor, squared: bool) -> Iterator[Anchors]:
    """Yield the batch a few anchors at a time, about CHUNK distances each.

    Distances are computed in float64 and rounded to float32 (unless the embeddings are float64), so
    that equal distances are exactly equal.
    """
    precision = torch.promote_types(embeddings.dtype, torch.float32)
    embeddings = embeddings.detach().double()
    embeddings = embeddings - embeddings.mean(0)  # the same distances, with less cancellation
    everyone = torch.arange(len(labels), device=labels.device)
    for rows in everyone.split(max(1, CHUNK // len(labels))):
        distances = pairwise_distances(embeddings[rows], embeddings, squared=squared)
        same = labels[rows].unsqueeze(1) == labels
        yield Anchors(rows, distances.to(precision), same & (everyone != rows.unsqueeze(1)), ~same)


def _of_kind(anchors: Anchors, kind: str, margin: float) -> Triplets:
    pairs = anchors.positives.nonzero()  # [pairs, 2], index among the anchors and positive
    found = []
    for part in pairs.split(max(1, 8 * CHUNK // anchors.distances.shape[1])):
        place, positive = part.T
        to_negative = anchors.distances[place]  # [pairs, N]
        to_positive = anchors.distances[place, positive].unsqueeze(1)
        wanted = anchors.negatives[place]
        if kind == "hard":
            wanted &= to_negative <= to_positive
        elif kind == "semi_hard":
            wanted &= (to_negative > to_positive) & (to_negative <= to_positive + margin)
        elif kind == "easy":
            wanted &= to_negative > to_positive + margin
        pair, negative = wanted.nonzero().T
        found.append(Triplets(anchors.rows[place[pair]], positive[pair], negative))
    return Triplets(*(torch.cat(parts) for parts in zip(*found, strict=True)))


def _batch_hard(anchors: Anchors, kind: str, margin: float) -> Triplets:
    """Return one triplet for each anchor that has any."""
    farthest = anchors.distances.masked_fill(~anchors.positives, -torch.inf).argmax(1)
    nearest = anchors.distances.masked_fill(~anchors.negatives, torch.inf).argmin(1)
    usable = anchors.positives.any(1) & anchors.negatives.any(1)
    return Triplets(anchors.rows[usable], farthest[usable], nearest[usable])
