"""Losses with features of earlier batches: MoCo's negatives, NNCLR's nearest neighbours."""

import torch
from torch import Tensor

from losses.common import Reduction, check_pairs, check_positive, check_rows, common_precision
from losses.info_nce import info_nce
from losses.similarity import by_row_blocks, unit


def moco(
    queries: Tensor,
    keys: Tensor,
    queue: Tensor,
    *,
    temperature: float = 0.07,
    reduction: Reduction = "mean",
) -> Tensor:
    """Return MoCo's loss: identify each query's key among the key itself and the queue.

    l_i = -log( exp(q_i k_i / t) / (exp(q_i k_i / t) + sum_(j = 1..K) exp(q_i n_j / t)) )

    queries: [N, D]; keys: [N, D] from the momentum encoder; queue: n, [K, D], such as
    FeatureQueue.features before the keys are pushed. All normalised here (a row of zeros stays
    zero), keys and queue detached. The queue may change before the backward pass.
    Computed in float32 or better (without autocast). Returns the mean over queries, or [N] with
    reduction "none". Temperature 0.07: the paper's; 0.2 in version 2.
    Source: He et al. 2020, equation 1.

    Raises ValueError for shapes that do not fit, empty tensors, integers, NaN (on the CPU), a
    temperature that is not finite and above 0, and an unknown reduction.
    """
    check_pairs(queries=queries, keys=keys)
    check_rows(queries=queries, queue=queue)
    with torch.autocast(queries.device.type, enabled=False):
        return info_nce(
            unit(queries),
            unit(keys.detach()),
            unit(queue.detach()),
            temperature=temperature,
            reduction=reduction,
        )


def nnclr(
    view_a: Tensor,
    view_b: Tensor,
    support: Tensor,
    *,
    predictions: tuple[Tensor, Tensor] | None = None,
    temperature: float = 0.1,
    reduction: Reduction = "mean",
) -> Tensor:
    """Return NNCLR's loss: match one view's nearest neighbour to the prediction of the other view.

    l_i = 1/2 ( h(NN(a_i), q)_i + h(NN(b_i), p)_i ), h(n, p)_i = -log( exp(n p_i / t) / sum_j
    exp(n p_j / t) ), j over the N predictions of one view; p, q: predictions of the views a, b;
    NN(z): the row of the support set nearest to z, of unit vectors.

    view_a, view_b: [N, D], used only for the search, no gradient; support: [M, D], such as
    FeatureQueue.features, detached; predictions: (p, q), each [N, D], the predictor's outputs for
    the views (by default the views themselves). All normalised here (a row of zeros stays zero).
    Computed in float32 or better (without autocast). Returns the mean over pictures, or [N] with
    reduction "none"; N = 1 gives 0. Temperature 0.1: the paper's.
    Source: Dwibedi et al. 2021, equations 1 to 3. The neighbour replaces one augmented view only,
    and the other view is its positive. lightly's recipe also uses negatives of the same view.

    Raises ValueError for shapes that do not fit, empty tensors, integers, NaN (on the CPU), a
    temperature that is not finite and above 0, and an unknown reduction.
    """
    check_positive(temperature=temperature)
    predicted_a, predicted_b = (view_a, view_b) if predictions is None else predictions
    check_pairs(view_a=view_a, view_b=view_b)
    check_pairs(predictions_a=predicted_a, predictions_b=predicted_b)
    check_rows(predictions=predicted_a, support=support)
    with torch.autocast(view_a.device.type, enabled=False):
        neighbours = [nearest_neighbours(view, support) for view in (view_a, view_b)]
        losses = [
            info_nce(near, unit(predicted), temperature=temperature, reduction=reduction)
            for near, predicted in zip(neighbours, (predicted_b, predicted_a), strict=True)
        ]
        return (losses[0] + losses[1]) / 2


@torch.no_grad()
def nearest_neighbours(rows: Tensor, support: Tensor) -> Tensor:
    """Return for each row of [N, D] the nearest unit vector of the support set [M, D], as [N, D].

    Nearest in angle, equivalently in distance of the unit vectors. No gradient.
    """
    check_rows(rows=rows, support=support)
    with torch.autocast(rows.device.type, enabled=False):
        rows, support = common_precision(unit(rows), unit(support))
        return support[
            by_row_blocks(
                lambda first, last: (rows[first:last] @ support.T).argmax(1),
                len(rows),
                len(support),
            )
        ]
