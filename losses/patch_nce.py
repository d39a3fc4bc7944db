"""PatchNCE: identify each translated patch's source patch among other patches of the source."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from losses.common import check_floats, check_patches, check_positive, common_precision


def patch_nce(
    queries: Tensor,
    keys: Tensor,
    *,
    temperature: float = 0.07,
    all_keys: Tensor | None = None,
    first_row: int = 0,
) -> Tensor:
    """Return the loss of every query patch: the cross-entropy of identifying its own key.

    l_p = -log( exp(q_p k_p / t) / sum_n exp(q_p k_n / t) ), n over the P patches of the same
    picture, or over all rows of `all_keys`; the positive k_p is one of them.

    queries, keys: [B, P, C], row p of both at the same position, of length 1. Computed in float32
    (without autocast). The keys are detached: gradients flow to the queries only.
    all_keys: [N, C], to use negatives from the whole batch: the keys of all pictures of all
    processes, with this batch's own rows starting at `first_row`.
    Returns [B * P] in picture-major order; a single candidate gives 0. NaN in gives NaN out.

    Source: Park et al. 2020, equations 2 and 3. The official program overwrites the diagonal of the
    negatives with -10, which adds a negligible e^(-10/t) to the sum (e^-143 at t = 0.07), omitted
    here.

    Raises ValueError for unequal, empty or integer tensors, a temperature that is not finite and
    above 0, or `all_keys` of the wrong width or without this batch's rows.
    """
    check_patches(queries, keys)
    check_positive(temperature=temperature)
    if all_keys is not None:
        _check_all_keys(all_keys, first_row, queries)
    batch, patches, _ = queries.shape
    with torch.autocast(queries.device.type, enabled=False):
        candidates = keys if all_keys is None else all_keys
        queries, candidates = common_precision(queries, candidates.detach())
        positives = torch.arange(patches, device=queries.device)
        if all_keys is None:
            similarities = torch.bmm(queries, candidates.transpose(1, 2)).flatten(0, 1)
            positives = positives.repeat(batch)
        else:
            similarities = queries.flatten(0, 1) @ candidates.T
            positives = torch.arange(first_row, first_row + batch * patches, device=queries.device)
        return F.cross_entropy(similarities / temperature, positives, reduction="none")


def multilayer_patch_nce(layer_losses: Sequence[Tensor]) -> Tensor:
    """Return the mean over layers of the mean over patches; each [B * P_i], P_i may differ."""
    return torch.stack([losses.mean() for losses in layer_losses]).mean()


def _check_all_keys(all_keys: Tensor, first_row: int, queries: Tensor) -> None:
    batch, patches, channels = queries.shape
    if all_keys.dim() != 2 or all_keys.shape[1] != channels:
        raise ValueError(f"all_keys {list(all_keys.shape)} is not [N, {channels}]")
    check_floats("all_keys", all_keys)
    if not 0 <= first_row <= len(all_keys) - batch * patches:
        raise ValueError(
            f"first_row {first_row} leaves no {batch * patches} rows of this batch among the "
            f"{len(all_keys)} of all_keys"
        )
