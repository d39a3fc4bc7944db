"""Normalization layers, alone and fused with the ReLU that follows."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd import Function
from torch.autograd.function import once_differentiable

from models.execution import few_launches
from models.fused_norm import EPS, fused_instance_norm

NORM_KINDS = ("instance", "batch", "none")


class InstanceNorm(nn.Module):
    """Instance norm without learned scale and without running statistics.

    y = (x - mean) / sqrt(var + 1e-5), mean and (biased) var over H, W of each sample and channel,
    always in float32.

    Implemented as group norm with one channel per group, which is the same function: on the CPU,
    PyTorch's `instance_norm` gives a wrong gradient for batch size 1 and a channels-last gradient.

    Shape: [B, C, H, W] -> the same shape and dtype.
    Source: Ulyanov et al. 2016, equation 3.
    """

    def __init__(self, channels: int):
        super().__init__()
        self.channels = channels

    def forward(self, x: Tensor) -> Tensor:
        """Normalise [B, C, H, W]."""
        if few_launches(x.device):
            return fused_instance_norm(x, relu=False)
        return F.group_norm(single_precision(x), self.channels, eps=EPS).to(x.dtype)

    def add_to(self, residual: Tensor, x: Tensor) -> Tensor:
        """Return residual + self(x), fused into one operator where that saves launches."""
        if few_launches(x.device):
            return fused_instance_norm(x, relu=False, residual=residual)
        return residual + self(x)

    def extra_repr(self) -> str:
        """Return the number of channels."""
        return str(self.channels)


class InstanceNormReLU(InstanceNorm):
    """Instance norm and ReLU in one layer that saves only its input for the backward pass."""

    def forward(self, x: Tensor) -> Tensor:
        """Normalise and rectify [B, C, H, W]."""
        if few_launches(x.device):
            return fused_instance_norm(x, relu=True)
        return NormReLU.apply(single_precision(x)).to(x.dtype)


def normed_relu(kind: str, channels: int) -> list[nn.Module]:
    """Return a norm and a ReLU as two layers.

    With instance norm both are one fused layer; an identity then takes the ReLU's place, so that
    layer numbers stay those of the official programs.
    """
    if kind == "instance":
        return [InstanceNormReLU(channels), nn.Identity()]
    # In place without a norm, it would change the convolution's output, which `encode` returns.
    return [norm_layer(kind, channels), nn.ReLU(inplace=kind != "none")]


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
    """Give a convolution followed by `norm` a bias exactly if the official networks have one.

    They have one only if instance norm follows, which cancels it: its true gradient is zero, and
    Adam would turn the rounding errors into full steps. So the bias is kept for the official files
    but frozen, unless the convolution's output is used before the norm (`read_before_norm`).
    """
    if norm != "instance":
        convolution.register_parameter("bias", None)
    elif not read_before_norm:
        convolution.bias.requires_grad_(False)
    return convolution


class NormReLU(Function):
    """y = relu((x - mean) / sqrt(var + 1e-5)), mean and variance of each [H, W] of [B, C, H, W].

    Autograd would save the output for the ReLU and the input for the norm. Here the backward pass
    recomputes the output, which costs less than 1% of a training step and saves an eighth of its
    memory. Implemented as group norm with one channel per group, whose gradient is correct in every
    memory layout.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        """Normalise and rectify [B, C, H, W], float32 or float64."""
        x = x.contiguous()
        y, mean, rstd = torch.native_group_norm(x, None, None, *_sizes(x), EPS)
        ctx.save_for_backward(x, mean, rstd)
        return y.relu_()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        """Return the gradient of x, given that of the output, [B, C, H, W]."""
        x, mean, rstd = ctx.saved_tensors
        y = torch.native_group_norm(x, None, None, *_sizes(x), EPS)[0]
        gradient = torch.ops.aten.threshold_backward.grad_input(
            gradient.contiguous(), y, 0, grad_input=y
        )
        return torch.ops.aten.native_group_norm_backward(
            gradient, x, mean, rstd, None, *_sizes(x), [True, False, False]
        )[0]


def _sizes(x: Tensor) -> tuple[int, int, int, int]:
    """Batch, channels, pixels, groups."""
    batch, channels, height, width = x.shape
    return batch, channels, height * width, channels


def single_precision(x: Tensor) -> Tensor:
    """Return half-precision numbers as float32, all others as they are."""
    return x.to(torch.promote_types(x.dtype, torch.float32))
