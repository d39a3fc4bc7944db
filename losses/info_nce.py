"""InfoNCE: the one formula of all contrastive losses here, with any positives and candidates."""

import torch
import torch.nn.functional as F
from torch import Tensor

from losses.common import (
    Reduction,
    check_finite,
    check_pairs,
    check_positive,
    check_rows,
    common_precision,
    reduced,
    single_precision,
)
from losses.similarity import cross_entropies, log_partition


def masked_info_nce(
    logits: Tensor,
    positives: Tensor,
    candidates: Tensor | None = None,
    reduction: Reduction = "mean",
) -> Tensor:
    """Return how badly each row's positives are found among its candidates.

    l_i = log sum_(k in A_i) exp s_ik - 1 / |P_i| sum_(p in P_i) s_ip

    logits: s, [..., N, M], similarities over the temperature, log-weights added; computed in
    float32 or better. positives, candidates: P and A, bool of the same shape; all are candidates by
    default. A positive need not be a candidate (the decoupled loss has none among them).
    Returns the mean over the rows, or [..., N] with reduction "none". A row without a positive or
    without a candidate is 0 and leaves the mean; if none is left the mean is 0, with a graph.

    Source: van den Oord et al. 2018, equation 4; with several positives Khosla et al. 2020,
    equation 2. A form with two minus signs is in circulation, which is to be maximised.

    Raises ValueError for masks of another shape or dtype, an unknown reduction and, on the CPU, a
    row whose positives or candidates hold NaN (found in the N results, at no cost; on a GPU NaN
    comes out).
    """
    if logits.dim() < 2 or not logits.is_floating_point():
        raise ValueError(f"logits {list(logits.shape)}, {logits.dtype}: not floats [..., N, M]")
    for name, mask in {"positives": positives, "candidates": candidates}.items():
        if mask is not None and (mask.shape != logits.shape or mask.dtype != torch.bool):
            found = f"{list(mask.shape)}, {mask.dtype}"
            raise ValueError(f"{name} {found}: expected bool {list(logits.shape)} as the logits")
    with torch.autocast(logits.device.type, enabled=False):
        logits = single_precision(logits)
        allowed = logits if candidates is None else logits.masked_fill(~candidates, -torch.inf)
        counts = positives.sum(-1)
        attraction = logits.masked_fill(~positives, 0).sum(-1) / counts.clamp(min=1)
        partition = allowed.logsumexp(-1)
        check_finite("logits, by rows,", attraction)
        check_finite("logits, by rows,", partition.masked_fill(partition == -torch.inf, 0))
        return contrast(attraction, partition, counts > 0, reduction)


def contrast(
    attraction: Tensor,
    partition: Tensor,
    has_positive: Tensor | None = None,
    reduction: Reduction = "mean",
) -> Tensor:
    """Return partition - attraction, the formula of masked_info_nce once its two sums are known.

    attraction: the mean similarity to the positives; partition: the log-sum over the candidates,
    -inf where there is none; has_positive: bool, all by default; all [..., N].
    """
    kept = partition != -torch.inf  # not `>`, which would drop NaN in silence
    if has_positive is not None:
        kept = kept & has_positive
    return reduced((partition - attraction).where(kept, 0), kept.sum().clamp(min=1), reduction)


def info_nce(
    queries: Tensor,
    keys: Tensor,
    negatives: Tensor | None = None,
    *,
    temperature: float = 1.0,
    reduction: Reduction = "mean",
) -> Tensor:
    """Return the loss of finding each query's key.

    l_i = -log( exp(q_i k_i / t) / sum_(j in A_i) exp(q_i k_j / t) ), A_i: all N keys of the batch,
    or k_i and the negatives.

    queries, keys: [N, D], row i of one belongs to row i of the other; negatives: [K, D], shared by
    all queries. Nothing is normalised or detached here; computed in float32 or better (without
    autocast). Returns the mean over queries, or [N] with reduction "none". A single candidate gives
    0. Temperature 1: the paper has none.
    Source: van den Oord et al. 2018, equation 4, with the exponential of a dot product for f.

    Raises ValueError for unequal or empty shapes, integers, NaN (on the CPU), a temperature that is
    not finite and above 0, and an unknown reduction.
    """
    check_pairs(queries=queries, keys=keys)
    check_positive(temperature=temperature)
    if negatives is not None:
        check_rows(queries=queries, negatives=negatives)
    with torch.autocast(queries.device.type, enabled=False):
        queries, keys = common_precision(queries, keys)
        queries = queries / temperature
        if negatives is None:
            places = torch.arange(len(keys), device=keys.device)
            losses = cross_entropies(queries, keys, places)
        else:
            # -log( e^a / (e^a + e^p) ), with p the log-sum over the negatives.
            partition = log_partition(*common_precision(queries, negatives))
            losses = -F.logsigmoid((queries * keys).sum(1) - partition)
        return reduced(losses, len(losses), reduction)
