"""Layers that several networks share: norms, anti-aliased resampling, activations' companions."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.instance_norm import EPS, NormReLU, single_precision
from models.linear_maps import blur_and_halve, reflection_pad
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


class BlurDownsample(nn.Module):
    """Halve a picture after a [1, 2, 1] x [1, 2, 1] / 16 blur with reflected borders.

    Shape: [B, C, H, W] -> [B, C, ceil(H / 2), ceil(W / 2)]. Source: Zhang 2019 (BlurPool).
    """

    def __init__(self):
        super().__init__()
        taps = torch.tensor([1.0, 2.0, 1.0]) / 4
        # Constant, so no part of the state: official files carry it as `filt`.
        self.register_buffer("kernel", taps[:, None] * taps[None, :], persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Blur and halve [B, C, H, W]."""
        return blur_and_halve(x, self.kernel)


class BlurUpsample(nn.Module):
    """Double a picture with the [1, 3, 3, 1] x [1, 3, 3, 1] / 16 filter and repeated borders.

    The same function as bilinear interpolation at pixel centres (checked by a test).
    Shape: [B, C, H, W] -> [B, C, 2H, 2W].
    """

    def forward(self, x: Tensor) -> Tensor:
        """Double [B, C, H, W]."""
        return F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)


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
