"""Layers that several networks share: norms with their companions, reflection, dropout."""

import torch.nn.functional as F
from torch import Tensor, nn

from models.instance_norm import EPS, NormReLU, single_precision
from models.linear_maps import reflection_pad
from models.noise import NoiseSource

NORM_KINDS = ("instance", "batch", "none")


class InstanceNorm(nn.Module):
    """Subtract each channel's mean over the picture and divide by its standard deviation.

    y = (x - mean) / sqrt(var + 1e-5), mean and (biased) var over H, W of each sample and channel,
    always in float32; no learned scale, no running statistics.

    Written as group norm with one channel a group, which is the same function: on the CPU PyTorch's
    `instance_norm` returns a wrong gradient for one picture and a channels-last gradient.

    Shape: [B, C, H, W] -> the same shape and dtype.
    Source: Ulyanov et al. 2016, equation 3.
    """

    def __init__(self, channels: int):
        super().__init__()
        self.channels = channels

    def forward(self, x: Tensor) -> Tensor:
        """Normalise [B, C, H, W]."""
        return F.group_norm(single_precision(x), self.channels, eps=EPS).to(x.dtype)

    def extra_repr(self) -> str:
        """Show the number of channels."""
        return str(self.channels)


class InstanceNormReLU(InstanceNorm):
    """Instance norm and ReLU in one layer, which keeps only its input for the backward pass."""

    def forward(self, x: Tensor) -> Tensor:
        """Normalise and rectify [B, C, H, W]."""
        return NormReLU.apply(single_precision(x)).to(x.dtype)


def normed_relu(kind: str, channels: int) -> list[nn.Module]:
    """Return a norm and a ReLU as two numbered layers.

    Instance norm does the ReLU's work itself; an identity keeps the second number, as layers are
    called by the official programs' numbers.
    """
    if kind == "instance":
        return [InstanceNormReLU(channels), nn.Identity()]
    return [norm_layer(kind, channels), nn.ReLU(inplace=True)]


def norm_layer(kind: str, channels: int) -> nn.Module:
    """Return the norm called `kind` ("instance", "batch" or "none") for `channels` channels."""
    if kind == "instance":
        return InstanceNorm(channels)
    if kind == "batch":
        return nn.BatchNorm2d(channels)
    if kind == "none":
        return nn.Identity()
    raise ValueError(f"norm {kind!r} is none of {', '.join(NORM_KINDS)}")


def biased_like_official(
    convolution: nn.Module, norm: str, *, read_before_norm: bool = False
) -> nn.Module:
    """Give a convolution in front of `norm` the bias that it has in the official networks.

    They have one exactly where instance norm follows, which cancels it: its true gradient is zero,
    and Adam would turn the rounding noise of it into full steps. So it stays in the files but is
    not trained, save where something reads the convolution before the norm (`read_before_norm`).
    """
    if norm != "instance":
        convolution.register_parameter("bias", None)
    elif not read_before_norm:
        convolution.bias.requires_grad_(False)
    return convolution


class ReflectionPad(nn.Module):
    """Mirror a picture at its borders: [B, C, H, W] -> [B, C, H + 2 pixels, W + 2 pixels]."""

    def __init__(self, pixels: int):
        super().__init__()
        self.pixels = pixels

    def forward(self, x: Tensor) -> Tensor:
        """Pad [B, C, H, W]; H and W above `pixels`."""
        return reflection_pad(x, self.pixels)

    def extra_repr(self) -> str:
        """Show the width of the border."""
        return str(self.pixels)


class Dropout(nn.Module):
    """Zero each value with probability one half and double the rest, while training.

    The mask comes from the network's own `NoiseSource`, so it is a function of the seed and the
    images seen. In eval mode the layer does nothing.
    """

    def __init__(self, noise: NoiseSource):
        super().__init__()
        self.noise = noise

    def forward(self, x: Tensor) -> Tensor:
        """Drop values of [B, ...]."""
        if not self.training:
            return x
        return x * (self.noise.uniform(x) < 0.5).to(x.dtype) * 2
