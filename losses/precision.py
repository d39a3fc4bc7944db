"""The precision that losses are computed in."""

import torch
from torch import Tensor


def single_precision(x: Tensor) -> Tensor:
    """Return half-precision numbers as float32, all others as they are."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


def common_precision(first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
    """Return both in the wider of their dtypes, float32 or better, for a matrix product."""
    dtype = torch.promote_types(torch.promote_types(first.dtype, second.dtype), torch.float32)
    return first.to(dtype), second.to(dtype)
