"""From the losses of rows to the loss of a batch."""

from typing import Literal

from torch import Tensor

Reduction = Literal["mean", "none"]


def reduced(losses: Tensor, counted: Tensor | int, reduction: Reduction) -> Tensor:
    """Return the losses of rows, or their sum over the number of rows that count."""
    if reduction not in ("mean", "none"):
        raise ValueError(f"reduction {reduction!r} is neither 'mean' nor 'none'")
    return losses if reduction == "none" else losses.sum() / counted
