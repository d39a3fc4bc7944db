"""Upsampling and downsampling by 2 with the filter [1, 3, 3, 1] and zero padding."""

import torch.nn.functional as F
from torch import Tensor

from models.resampling import FixedFilter

TAPS = (1.0, 3.0, 3.0, 1.0)


class BilinearUp(FixedFilter):
    """Upsample [B, C, H, W] to [B, C, 2H, 2W]; per axis 3/4 the nearer and 1/4 the farther pixel.

    Bilinear interpolation with align_corners=False, except that pixels beyond the border are 0.
    Source: the resampling of Karras et al. 2020 and Huang et al. 2024.
    """

    def __init__(self) -> None:
        super().__init__(TAPS, gain=4.0)

    def forward(self, x: Tensor) -> Tensor:
        """Upsample [B, C, H, W]."""
        kernel = self.kernel.to(x.dtype).expand(x.shape[1], 1, 4, 4)
        return F.conv_transpose2d(x, kernel, stride=2, padding=1, groups=x.shape[1])


class BilinearDown(FixedFilter):
    """Downsample [B, C, H, W] to [B, C, H/2, W/2] by [1, 3, 3, 1] x [1, 3, 3, 1] / 64; even H, W.

    The transpose of `BilinearUp`, divided by 4.
    """

    def __init__(self) -> None:
        super().__init__(TAPS)

    def forward(self, x: Tensor) -> Tensor:
        """Downsample [B, C, H, W]."""
        kernel = self.kernel.to(x.dtype).expand(x.shape[1], 1, 4, 4)
        return F.conv2d(x, kernel, stride=2, padding=1, groups=x.shape[1])
