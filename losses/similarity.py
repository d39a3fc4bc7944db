"""Normalisation of vectors, and log-sum-exp over all their similarities."""

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from losses.common import single_precision

# Similarities in memory at a time, 16 MiB of float32. A quarter of that is slightly faster on one
# thread, and slower when several threads share a busy machine.
BLOCK_ELEMENTS = 2**22


def unit(rows: Tensor) -> Tensor:
    """Return each row of [..., D] divided by its length, in float32 or better.

    A row of zeros is returned unchanged and passes its gradient through unchanged (the usual
    x / max(|x|, 1e-12) would multiply it by 1e12).
    """
    rows = single_precision(rows)
    lengths = rows.norm(dim=-1, keepdim=True)
    return rows / lengths.masked_fill(lengths == 0, 1)


def cross_entropies(
    queries: Tensor, keys: Tensor, places: Tensor, excluded: Sequence[Tensor] = ()
) -> Tensor:
    """Return -log( exp(q_i k_p) / sum_k exp(q_i k_k) ) of every query, p the index of its key.

    queries: [N, D], divided by the temperature; keys: [M, D], both float32 or better, autocast off;
    places: p, int64 [N]; excluded: indices of keys to exclude, each int64 [N], one per query.
    Returns [N]. Similarities are computed in blocks and recomputed in the backward pass, so that
    at most BLOCK_ELEMENTS of them are in memory.
    """

    def block(first: int, last: int) -> Tensor:
        similarities = _similarities(queries, keys, excluded, first, last)
        return F.cross_entropy(similarities, places[first:last], reduction="none")

    return by_row_blocks(block, len(queries), len(keys))


def log_partition(queries: Tensor, keys: Tensor, excluded: Sequence[Tensor] = ()) -> Tensor:
    """Return log sum_k exp(q_i k_k) of every query, as in cross_entropies, as [N].

    The excluded keys of a query must be distinct; if no key is left the result is -inf.
    """
    if len(excluded) >= len(keys):
        return queries.new_full((len(queries),), -torch.inf)

    def block(first: int, last: int) -> Tensor:
        return _similarities(queries, keys, excluded, first, last).logsumexp(1)

    return by_row_blocks(block, len(queries), len(keys))


def _similarities(
    queries: Tensor, keys: Tensor, excluded: Sequence[Tensor], first: int, last: int
) -> Tensor:
    """Return q_i k_k of the queries [first, last) with all keys, -inf where excluded."""
    similarities = queries[first:last] @ keys.T
    own = torch.arange(last - first, device=queries.device)
    for columns in excluded:
        # In place, hidden from autograd, is safe: -inf has softmax 0, so gradient 0.
        similarities.detach()[own, columns[first:last]] = -torch.inf
    return similarities


def by_row_blocks(block: Callable[[int, int], Tensor], rows: int, columns: int) -> Tensor:
    """Return block(first, last) for all rows, concatenated; each block is checkpointed."""
    size = max(1, BLOCK_ELEMENTS // columns)
    if rows <= size:
        return block(0, rows)
    parts = [
        checkpoint(
            block, first, min(first + size, rows), use_reentrant=False, preserve_rng_state=False
        )
        for first in range(0, rows, size)
    ]
    return torch.cat(parts)
