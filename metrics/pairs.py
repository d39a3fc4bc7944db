"""Means over a set of the metrics that compare pairs of pictures."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from errors import UserError
from metrics.lpips import Lpips
from metrics.structural import l1, psnr, ssim


class PairMeans:
    """The sum of each metric over pairs of pictures; sums of shards can be added.

    names: of l1, psnr, ssim, lpips; lpips: its network, if it is one of them. Pictures are
    compared on `device`, where the network is.
    """

    def __init__(self, names: Sequence[str], device: torch.device, lpips: Lpips | None = None):
        self.device = device
        known: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
            "l1": l1,
            "psnr": psnr,
            "ssim": ssim,
        }
        if lpips is not None:
            known["lpips"] = lpips
        self.measures = {name: known[name] for name in names}
        self.sums = torch.zeros(1 + len(names), dtype=torch.double)  # pairs, then each metric

    def add(self, first: Tensor, second: Tensor) -> None:
        """Add a pair of pictures uint8 [3, H, W] of one size."""
        pair = first[None].to(self.device), second[None].to(self.device)
        values = [measure(*pair).item() for measure in self.measures.values()]
        self.sums += torch.tensor([1.0, *values], dtype=torch.double)

    def means(self) -> dict[str, float]:
        """Return the mean of each metric; psnr is infinite if any pair is equal."""
        pairs, *sums = self.sums.tolist()
        if not pairs:
            raise UserError("`metrics`: no pair of which both pictures can be read; repair them")
        return {"n_pairs": int(pairs)} | {
            name: total / pairs for name, total in zip(self.measures, sums, strict=True)
        }
