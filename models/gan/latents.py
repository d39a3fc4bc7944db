"""Latents and labels as pure functions of the seed and the picture's number."""

import hashlib
import math
from collections.abc import Sequence

import torch
from torch import Tensor

BLOCK = 64  # pictures whose numbers are drawn together
SEEDS = 2**32  # PyTorch's CPU generator uses only the lowest 32 bits of a seed
WEYL_STEP = 0x9E3779B1  # odd, so that no two blocks of a seed share a generator


def draw_latents(
    seed: int, count: int, channels: int, *, first: int = 0, truncation: float = 1.0
) -> Tensor:
    """Draw the latents of pictures `first` to `first + count - 1` of a seed from N(0, I).

    The latent of a picture depends only on the seed and the picture's number.

    truncation: see `truncate`.

    Returns float32 [count, channels] on the CPU; [0, channels] for a count of 0.
    Raises ValueError for a truncation outside [0, 1], a negative count or first, and channels
    below 1.
    """
    _check_truncation(truncation)
    if channels < 1:
        raise ValueError(f"channels {channels}: below 1")
    blocks = [
        torch.randn(BLOCK, channels, generator=_generator(seed, block, "latents"))
        for block in _blocks(count, first)
    ]
    return truncate(_rows(blocks, count, first, torch.zeros(0, channels)), truncation)


def truncate(latents: Tensor, truncation: float) -> Tensor:
    """Move latents from N(0, I) towards 0, computed in float64.

    truncation: the fraction t of the normal distribution, around its centre, that is used; each z
    becomes sqrt(2) erfinv(t erf(z / sqrt(2))). The distribution is that of resampling all values
    beyond the quantile (1 + t) / 2 (Brock et al. 2019, section 3.1), but each latent is moved
    towards 0 instead of replaced. 1: z itself; 0: zeros.

    Returns float32 of the same shape; raises ValueError for a truncation outside [0, 1].
    """
    _check_truncation(truncation)
    if truncation == 1:
        return latents
    fractions = torch.erf(latents.double() / math.sqrt(2))
    return (math.sqrt(2) * torch.erfinv(truncation * fractions)).float()


def _check_truncation(truncation: float) -> None:
    if not 0 <= truncation <= 1:
        raise ValueError(f"truncation {truncation}: give 0 (all alike) to 1 (nothing is cut off)")


def draw_labels(seed: int, count: int, shares: Sequence[float], *, first: int = 0) -> Tensor:
    """Draw the labels of pictures `first` to `first + count - 1` of a seed, weighted by `shares`.

    shares: one non-negative weight per class; they need not sum to 1.
    The label of a picture depends only on the seed, its number and the shares.

    Returns int64 [count] on the CPU; [0] for a count of 0.
    Raises ValueError for shares that `check_shares` refuses, a negative count or first.
    """
    check_shares(shares)
    bounds = torch.tensor(shares, dtype=torch.float64).cumsum(0)
    bounds = bounds / bounds[-1]
    blocks = [
        torch.rand(BLOCK, dtype=torch.float64, generator=_generator(seed, block, "labels"))
        for block in _blocks(count, first)
    ]
    places = _rows(blocks, count, first, torch.zeros(0, dtype=torch.float64))
    return torch.searchsorted(bounds, places, right=True)


def check_shares(shares: Sequence[float]) -> None:
    """Raise ValueError unless the class weights are finite, non-negative and not all 0."""
    if not all(share >= 0 for share in shares) or not 0 < float(sum(shares)) < math.inf:
        raise ValueError(f"shares {list(shares)[:10]}: give one per class, none below 0, not all 0")


def interpolate_spherically(keys: Tensor, steps: int, *, closed: bool = False) -> Tensor:
    """Interpolate spherically from each latent to the next.

    slerp(a, b; t) = sin((1 - t) w) / sin(w) a + sin(t w) / sin(w) b, where w is the angle between a
    and b and t = 0, 1/steps, ..., (steps - 1)/steps; lengths are interpolated too. Where a and b
    are parallel or opposite, or one is 0, the arc is not unique, and the interpolation is linear,
    (1 - t) a + t b.

    keys: float [K, C] -> float [(K - 1) steps + 1, C] of the same dtype and device, from the first
    key to the last. closed: a loop from the last key back to the first, which is not repeated:
    [K steps, C]. Every steps-th row is a key, bit for bit.
    Raises ValueError for no keys and for steps below 1.
    Source: Shoemake 1985; for latents White 2016, section 2.1.
    """
    if keys.dim() != 2 or not len(keys):
        raise ValueError(f"keys {tuple(keys.shape)}: give latents [K, C], at least one")
    if steps < 1:
        raise ValueError(f"steps {steps}: below 1")
    starts = keys.double() if closed else keys[:-1].double()
    ends = keys.roll(-1, 0).double()[: len(starts)]
    lengths = starts.norm(dim=1) * ends.norm(dim=1)
    cosines = (starts * ends).sum(1) / lengths.where(lengths > 0, 1.0)
    angles = cosines.where(lengths > 0, 1.0).clamp(-1, 1).acos()[:, None, None]  # 0: no angle
    parts = torch.arange(steps, dtype=torch.float64, device=keys.device)[:, None] / steps
    bent = angles.sin() > 1e-6
    sines = torch.where(bent, angles.sin(), 1.0)
    from_start = torch.where(bent, ((1 - parts) * angles).sin() / sines, 1 - parts)
    from_end = torch.where(bent, (parts * angles).sin() / sines, parts)
    walk = from_start * starts[:, None] + from_end * ends[:, None]  # [segments, steps, C]
    walk = walk.flatten(0, 1).to(keys.dtype)
    return walk if closed else torch.cat([walk, keys[-1:]])


def _blocks(count: int, first: int) -> range:
    if count < 0 or first < 0:
        raise ValueError(f"count {count}, first {first}: below 0")
    return range(first // BLOCK, -(-(first + count) // BLOCK) if count else first // BLOCK)


def _rows(blocks: Sequence[Tensor], count: int, first: int, none: Tensor) -> Tensor:
    place = first % BLOCK
    return torch.cat(list(blocks))[place : place + count] if blocks else none


def _generator(seed: int, block: int, purpose: str) -> torch.Generator:
    digest = hashlib.blake2b(f"{purpose}/{seed}".encode(), digest_size=4).digest()
    start = int.from_bytes(digest, "little")
    return torch.Generator().manual_seed((start + block * WEYL_STEP) % SEEDS)
