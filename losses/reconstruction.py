"""Distances between pictures."""

import torch.nn.functional as F
from torch import Tensor

from losses.precision import single_precision


def l1(pictures: Tensor, expected: Tensor) -> Tensor:
    """Return the mean absolute difference of two tensors of one shape, a scalar."""
    return F.l1_loss(single_precision(pictures), single_precision(expected))
