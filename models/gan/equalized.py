"""Layers of ProGAN: equalised learning rate, pixel norm, minibatch standard deviation.

Weights are initialised from N(0, 1) and scaled by gain / sqrt(fan_in) at run time, so that Adam
trains all of them at the same relative speed (Karras et al. 2018, section 4.1). Biases start at 0
and are not scaled.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from errors import UserError
from models.initialization import EqualizedLayer
from models.normalization import single_precision
from models.stylegan2 import EqualConv2d, EqualLinear

EPS = 1e-8


class EqualizedConv(EqualConv2d):
    """Convolution with an odd kernel and same padding: [B, before, H, W] -> [B, after, H, W].

    y = w gain / sqrt(before kernel_px^2) * x + b; w starts as N(0, 1), b as 0.
    """

    def __init__(self, before: int, after: int, kernel_px: int, gain: float = math.sqrt(2)):
        super().__init__(before, after, kernel_px, stride=1, padding=kernel_px // 2)
        self.scale *= gain
        self.bias = nn.Parameter(torch.zeros(after))

    def forward(self, x: Tensor) -> Tensor:
        """Convolve [B, before, H, W]."""
        return F.conv2d(x, self.weight * self.scale, self.bias, padding=self.padding)


class EqualizedLinear(EqualLinear):
    """Linear layer, no activation: y = w gain / sqrt(before) x + b; [B, before] -> [B, after]."""

    def __init__(self, before: int, after: int, gain: float = math.sqrt(2)):
        super().__init__(before, after, activate=False)
        self.scale *= gain


class LatentToMap(EqualizedLayer):
    """Linear layer from latent to 4x4 map, one bias per channel: [B, before] -> [B, after, 4, 4].

    The gain is sqrt(2) / 4, as for a transposed convolution with fan_in 16 before.
    """

    def __init__(self, before: int, after: int):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(before, after, 4, 4))
        self.bias = nn.Parameter(torch.zeros(after))
        self.scale = math.sqrt(2) / 4 / math.sqrt(before)

    def forward(self, x: Tensor) -> Tensor:
        """Map [B, before] to [B, after, 4, 4]."""
        return F.conv_transpose2d(x[:, :, None, None], self.weight * self.scale, self.bias)


def pixel_norm(x: Tensor) -> Tensor:
    """Divide each pixel's feature vector by its root mean square.

    y = x / sqrt(mean_c x_c^2 + 1e-8), in float32 or better. [B, C, ...] -> the same shape and
    dtype. Source: Karras et al. 2018, section 4.2.
    """
    precise = single_precision(x)
    return (precise * torch.rsqrt(precise.square().mean(1, keepdim=True) + EPS)).to(x.dtype)


def with_minibatch_deviation(x: Tensor, group: int) -> Tensor:
    """Return x with one more channel, the minibatch standard deviation.

    Groups are strided: of B pictures in groups of G, picture i belongs to group i mod (B / G). The
    (biased) standard deviation sqrt(var + 1e-8) over the group, for each feature and pixel, is
    averaged to one number per group and repeated at every pixel, in float32 or better.

    x: [B, C, H, W] -> [B, C + 1, H, W]. A batch smaller than `group` is one group.
    Raises UserError if `group` does not divide a larger batch.
    Source: Karras et al. 2018, section 3, with the groups of the authors' program.
    """
    batch, _, height, width = x.shape
    members = min(group, batch)
    if batch % members:
        raise UserError(
            f"`batch_size` {batch} on one device: the minibatch standard deviation takes groups of "
            f"{group} pictures; give a multiple of {group}, or fewer than {group}"
        )
    groups = single_precision(x).unflatten(0, (members, batch // members))
    deviation = (groups.var(0, correction=0) + EPS).sqrt().mean((1, 2, 3))
    column = deviation.repeat(members).view(batch, 1, 1, 1).expand(-1, -1, height, width)
    return torch.cat([x, column.to(x.dtype)], 1)
