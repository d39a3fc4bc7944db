"""Doubling and halving with the filter [1, 3, 3, 1], pictures continued by zeros.

Each is the other's transpose, so their gradients are differentiated by themselves; PyTorch would
differentiate the gradient of a convolution by channels channel by channel.
"""

from functools import partial

import torch.nn.functional as F
from torch import Tensor

from models.resampling import FixedFilter, LinearMap

TAPS = (1.0, 3.0, 3.0, 1.0)


class BilinearUp(FixedFilter):
    """Double [B, C, H, W] to [B, C, 2H, 2W]: new pixels are 3/4 the nearer and 1/4 the farther.

    Bilinear interpolation at pixel centres; next to the border the missing neighbour counts as 0.
    Source: the resampling of Karras et al. 2020 and Huang et al. 2024.
    """

    def __init__(self) -> None:
        super().__init__(TAPS, gain=4.0)

    def forward(self, x: Tensor) -> Tensor:
        """Double [B, C, H, W]."""
        return LinearMap.apply(x, partial(_spread, self.kernel), partial(_gather, self.kernel))


class BilinearDown(FixedFilter):
    """Halve [B, C, H, W] to [B, C, H/2, W/2] by [1, 3, 3, 1] x [1, 3, 3, 1] / 64, H and W even.

    A quarter of the doubling's transpose.
    """

    def __init__(self) -> None:
        super().__init__(TAPS)

    def forward(self, x: Tensor) -> Tensor:
        """Halve [B, C, H, W]."""
        return LinearMap.apply(x, partial(_gather, self.kernel), partial(_spread, self.kernel))


def _spread(kernel: Tensor, x: Tensor) -> Tensor:
    """Double; the transpose of `_gather`."""
    kernel = kernel.to(x.dtype).expand(x.shape[1], 1, 4, 4)
    return F.conv_transpose2d(x, kernel, stride=2, padding=1, groups=x.shape[1])


def _gather(kernel: Tensor, x: Tensor) -> Tensor:
    """Halve; the transpose of `_spread`."""
    kernel = kernel.to(x.dtype).expand(x.shape[1], 1, 4, 4)
    return F.conv2d(x, kernel, stride=2, padding=1, groups=x.shape[1])
