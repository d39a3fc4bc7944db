"""PatchNCE: a patch of the translation finds its own place among patches of the source."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from losses.precision import single_precision


def patch_nce(
    queries: Tensor,
    keys: Tensor,
    *,
    temperature: float = 0.07,
    all_keys: Tensor | None = None,
    first_row: int = 0,
) -> Tensor:
    """Return the loss of every query patch: cross-entropy of finding its own key.

    l_p = -log( exp(q_p k_p / t) / sum_n exp(q_p k_n / t) ), n over the P patches of the same
    picture, or over all rows of `all_keys`; the positive k_p is one of them.

    queries, keys: [B, P, C], row p of a picture at the same place, of length 1. Computed in float32
    (without autocast). The keys are detached: the loss moves only what made the queries.
    all_keys: [N, C], negatives from the whole batch: the keys of all pictures (of all processes),
    this batch's own rows among them from `first_row` on.
    Returns [B * P] in picture-major order; a single candidate gives 0.

    Source: Park et al. 2020, equations 2 and 3. The official program overwrites the diagonal of the
    negatives with -10, which adds e^(-10/t) to the sum and is left out here (e^-143 at t = 0.07).

    Raises ValueError for unequal shapes or a temperature that is not positive.
    """
    if queries.shape != keys.shape or queries.dim() != 3:
        shapes = f"{list(queries.shape)} and {list(keys.shape)}"
        raise ValueError(f"queries and keys {shapes} are not two equal [B, P, C]")
    if temperature <= 0:
        raise ValueError(f"temperature {temperature} is not positive")
    batch, patches, _ = queries.shape
    with torch.autocast(queries.device.type, enabled=False):
        queries, keys = single_precision(queries), single_precision(keys.detach())
        positives = torch.arange(patches, device=queries.device)
        if all_keys is None:
            similarities = torch.bmm(queries, keys.transpose(1, 2)).flatten(0, 1)
            positives = positives.repeat(batch)
        else:
            similarities = queries.flatten(0, 1) @ single_precision(all_keys.detach()).T
            positives = torch.arange(first_row, first_row + batch * patches, device=queries.device)
        return F.cross_entropy(similarities / temperature, positives, reduction="none")


def multilayer_patch_nce(layer_losses: Sequence[Tensor]) -> Tensor:
    """Return the mean over layers of the mean over patches; each [B * P_i], P_i may differ."""
    return torch.stack([losses.mean() for losses in layer_losses]).mean()
