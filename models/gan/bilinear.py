"""Doubling and halving with the filter [1, 3, 3, 1], pictures continued by zeros."""

import torch.nn.functional as F
from torch import Tensor

from models.resampling import FixedFilter

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
        kernel = self.kernel.to(x.dtype).expand(x.shape[1], 1, 4, 4)
        return F.conv_transpose2d(x, kernel, stride=2, padding=1, groups=x.shape[1])


class BilinearDown(FixedFilter):
    """Halve [B, C, H, W] to [B, C, H/2, W/2] by [1, 3, 3, 1] x [1, 3, 3, 1] / 64, H and W even.

    A quarter of the doubling's transpose.
    """

    def __init__(self) -> None:
        super().__init__(TAPS)

    def forward(self, x: Tensor) -> Tensor:
        """Halve [B, C, H, W]."""
        kernel = self.kernel.to(x.dtype).expand(x.shape[1], 1, 4, 4)
        return F.conv2d(x, kernel, stride=2, padding=1, groups=x.shape[1])
