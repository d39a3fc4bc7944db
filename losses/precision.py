"""The precision that losses are computed in."""

import torch
from torch import Tensor


def single_precision(x: Tensor) -> Tensor:
    """Return half-precision numbers as float32, all others as they are."""
    return x.to(torch.promote_types(x.dtype, torch.float32))
