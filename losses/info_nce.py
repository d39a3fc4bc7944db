"""InfoNCE, the formula of all contrastive losses here, for any positives and candidates."""

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
    """Return InfoNCE of given logits: identify each row's positives among its candidates.

    l_i = log sum_(k in A_i) exp s_ik - 1 / |P_i| sum_(p in P_i) s_ip

    logits: s, [..., N, M], similarities divided by the temperature, plus log-weights if any;
    computed in float32 or better. positives, candidates: P and A, bool of the same shape; all are
    candidates by default. A positive need not be a candidate (in the decoupled loss none is).
    Returns the mean over the rows, or [..., N] with reduction "none". A row without positives or
    without candidates is 0 and excluded from the mean; if no row is left the mean is 0, with a
    graph.

    Source: van den Oord et al. 2018, equation 4; with several positives Khosla et al. 2020,
    equation 2. Some texts print it with two minus signs, which is to be maximised.

    Raises ValueError for masks of the wrong shape or dtype, an unknown reduction and, on the CPU, a
    row whose positives or candidates contain NaN (detected in the N results, at no cost; on a GPU
    the result is NaN).
    """
    if logits.dim() < 2 or not logits.is_floating_point():
        raise ValueError(f"logits {list(logits.shape)}, {logits.dtype}: not floats [..., N, M]")
    for name, mask in {"positives": positives, "candidates": candidates}.items():
        if mask is not None and (mask.shape != logits.shape or mask.dtype != torch.bool):
            found = f"{list(mask.shape)}, {mask.dtype}"
            raise ValueError(f"{name} {found}: expected bool {list(logits.shape)}, as the logits")
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
    """Return partition - attraction, masked_info_nce from its two terms.

    attraction: the mean similarity to the positives; partition: the log-sum-exp over the
    candidates, -inf if there are none; has_positive: bool, all by default; all [..., N].
    """
    kept = partition != -torch.inf  # not `>`, which would silently drop NaN
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
    """Return InfoNCE: identify each query's key among all candidates.

    l_i = -log( exp(q_i k_i / t) / sum_(j in A_i) exp(q_i k_j / t) ), A_i: all N keys of the batch,
    or k_i and the negatives.

    queries, keys: [N, D], corresponding rows are positive pairs; negatives: [K, D], shared by all
    queries. Nothing is normalised or detached here; computed in float32 or better (without
    autocast). Returns the mean over queries, or [N] with reduction "none". A single candidate gives
    0. Temperature 1: the paper has none.
    Source: van den Oord et al. 2018, equation 4, with f the exponential of the dot product.

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
