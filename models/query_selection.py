"""Choice of the patches to compare by query-selected attention (Hu et al. 2022)."""

import torch
from torch import Tensor

from models.normalization import single_precision

ELEMENTS = 2**24  # of the attention matrix in memory at a time: 64 MB of float32


@torch.no_grad()
def select_queries(source: Tensor, patches: int, elements: int = ELEMENTS) -> Tensor:
    """Return the rows of a feature map's self-attention that have the smallest entropy.

    A = softmax over columns of F F^T, F the map as [H * W, C]; each position i is a row of A.
    Selects the `patches` rows with the smallest -sum_j A_ij log A_ij, in increasing order.

    source: features of the source pictures [B, C, H, W], neither normalised nor scaled. A is
    computed in blocks of rows, about `elements` numbers each, so little more than the result is in
    memory; the time is O((H * W)^2 C), so this is meant for the deeper layers.
    Returns [B, min(patches, H * W), H * W], float32 or better, detached; rows sum to 1.
    Source: Hu et al. 2022 (QS-Attn), section 3, global attention. Their program keeps random
    positions in the first three layers and lets a gradient reach the source features through A.

    Raises ValueError unless `source` is a float [B, C, H, W] and `patches` at least 1.
    """
    _check(source)
    if patches < 1:
        raise ValueError(f"patches {patches}: must be at least 1")
    with torch.autocast(source.device.type, enabled=False):
        features = single_precision(source).flatten(2)  # [B, C, H * W]
        batch, _, places = features.shape
        rows = max(1, elements // (batch * places))
        entropies = torch.cat(
            [_log_entropy(_logits(part, features)) for part in features.split(rows, dim=2)], dim=1
        )
        chosen = entropies.argsort(dim=1, stable=True)[:, :patches]  # [B, S]
        index = chosen.unsqueeze(1).expand(-1, features.shape[1], -1)
        return _logits(features.gather(2, index), features).softmax(2)


def route_queries(feature: Tensor, attention: Tensor) -> Tensor:
    """Return A F as a map with one pixel per row of A, to be passed to PatchProjector.

    feature: [B, C, H, W], of the source or of its translation; attention: [B, S, H * W], the same
    for both. Returns [B, C, S, 1], float32 or better (without autocast), for PatchProjector with
    positions 0 to S - 1. Gradients flow to the feature only.
    Source: Hu et al. 2022 (QS-Attn), section 3.

    Raises ValueError for shapes that do not match.
    """
    _check(feature)
    batch, _, height, width = feature.shape
    if attention.dim() != 3 or attention.shape[::2] != (batch, height * width):
        expected = [batch, "S", height * width]
        raise ValueError(f"attention {list(attention.shape)}: expected {expected}")
    with torch.autocast(feature.device.type, enabled=False):
        pixels = single_precision(feature).flatten(2)
        return torch.bmm(pixels, attention.detach().transpose(1, 2)).unsqueeze(3)


def _check(feature: Tensor) -> None:
    if feature.dim() != 4 or not feature.numel() or not feature.is_floating_point():
        given = f"{list(feature.shape)} of {feature.dtype}"
        raise ValueError(f"features {given}: expected a non-empty float [B, C, H, W]")


def _logits(queries: Tensor, features: Tensor) -> Tensor:
    """Return the dot products of `queries` [B, C, R] with `features` [B, C, P], as [B, R, P]."""
    return torch.bmm(queries.transpose(1, 2), features)


def _log_entropy(logits: Tensor) -> Tensor:
    """Return log H of H = -sum_j p_j log p_j, p = softmax(logits), along the last dimension.

    Attention is often nearly one-hot. H is then far below the rounding error of the logits, so its
    logarithm is computed and ranked instead. With d_j = max l - l_j and q the sum of e^(-d_j) over
    all but the maximum, H = log(1 + q) + sum_j p_j d_j.
    """
    most = logits.argmax(2, keepdim=True)
    distances = logits.gather(2, most) - logits  # [B, R, P], 0 or more
    distances = distances.scatter(2, most, torch.inf)  # removes the maximum from all sums
    log_q = (-distances).logsumexp(2)
    log_sum = log_q.exp().log1p()  # log(1 + q), accurate for tiny q
    log_first = torch.where(log_q < -15, log_q, log_sum.log())
    log_terms = distances.clamp_min(torch.finfo(logits.dtype).tiny).log() - distances
    log_second = log_terms.where(distances.isfinite(), -torch.inf).logsumexp(2) - log_sum
    return torch.logaddexp(log_first, log_second)
