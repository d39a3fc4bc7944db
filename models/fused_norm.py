"""Instance norm, ReLU and a residual sum as one operator that reads and writes each value once.

    y = act((x - mean) / sqrt(var + 1e-5)) + residual,  act = relu or nothing

x: [B, C, H, W] of any floating dtype; y has the same dtype and memory format, contiguous or
channels-last. Mean and (biased) variance are over H, W of each sample and channel, always in
float32 or better. On a GPU this takes two Triton kernels forward and two backward; elsewhere, and
without Triton, plain PyTorch is used.
"""

from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function

if find_spec("triton"):
    from models import triton_norm
else:  # PyTorch builds without CUDA
    triton_norm = None

EPS = 1e-5


def fused_instance_norm(x: Tensor, *, relu: bool, residual: Tensor | None = None) -> Tensor:
    """Return act(instance_norm(x)) + residual, the formula at the top of this file.

    residual: same shape and dtype as x. Saves only x and two numbers per channel for the backward
    pass. Twice differentiable; the second derivative uses plain PyTorch.
    """
    return _InstanceNorm.apply(x, residual, relu)


class _InstanceNorm(Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, residual: Tensor | None, relu: bool) -> Tensor:
        x = _dense(x)
        residual = None if residual is None else residual.to(x.dtype)
        y, mean, rstd = instance_norm_forward(x, residual, relu)
        ctx.save_for_backward(x, mean, rstd)
        ctx.relu, ctx.adds = relu, residual is not None
        return y

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor | None, None]:
        x, mean, rstd = ctx.saved_tensors
        if torch.is_grad_enabled():  # create_graph=True: the gradient itself needs a graph
            y = normalized(x, ctx.relu)
            (of_x,) = torch.autograd.grad(y, x, gradient, create_graph=True)
        else:
            of_x = instance_norm_backward(gradient, x, mean, rstd, ctx.relu)
        return of_x, gradient if ctx.adds else None, None


@torch.library.custom_op("pairless::instance_norm", mutates_args=())
def instance_norm_forward(
    x: Tensor, residual: Tensor | None, relu: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """Return y like x, and mean and 1 / sqrt(var + 1e-5), each [B, C] in float32 or better."""
    if triton_norm and triton_norm.runs_on(x):
        return triton_norm.forward(x, residual, relu, EPS)
    wide = x.to(torch.promote_types(x.dtype, torch.float32))
    variance, mean = torch.var_mean(wide, (2, 3), correction=0, keepdim=True)
    rstd = (variance + EPS).rsqrt()
    y = (wide - mean) * rstd
    y = y.relu() if relu else y
    y = y if residual is None else y + residual
    y = torch.empty_like(x).copy_(y)
    return y, mean.flatten(1), rstd.flatten(1)


@instance_norm_forward.register_fake
def _(x: Tensor, residual: Tensor | None, relu: bool) -> tuple[Tensor, Tensor, Tensor]:
    wide = torch.promote_types(x.dtype, torch.float32)
    mean, rstd = (x.new_empty(x.shape[:2], dtype=wide) for _ in range(2))
    return torch.empty_like(x), mean, rstd


@torch.library.custom_op("pairless::instance_norm_backward", mutates_args=())
def instance_norm_backward(
    gradient: Tensor, x: Tensor, mean: Tensor, rstd: Tensor, relu: bool
) -> Tensor:
    """Return the gradient of x, like x: rstd (g - mean(g) - x^ mean(g x^)).

    x^ = (x - mean) rstd; g is the gradient of y where x^ > 0 or without ReLU, else 0.
    """
    if triton_norm and triton_norm.runs_on(x):
        return triton_norm.backward(_like(gradient, x), x, mean, rstd, relu)
    wide = mean.dtype
    normal = (x.to(wide) - mean[:, :, None, None]) * rstd[:, :, None, None]
    g = gradient.to(wide)
    g = torch.where(normal > 0, g, 0) if relu else g
    centred = g - g.mean((2, 3), keepdim=True)
    of_x = centred - normal * (g * normal).mean((2, 3), keepdim=True)
    return torch.empty_like(x).copy_(of_x * rstd[:, :, None, None])


@instance_norm_backward.register_fake
def _(gradient: Tensor, x: Tensor, mean: Tensor, rstd: Tensor, relu: bool) -> Tensor:
    return torch.empty_like(x)


def normalized(x: Tensor, relu: bool) -> Tensor:
    """The same function without residual, in PyTorch's own operators."""
    wide = x.to(torch.promote_types(x.dtype, torch.float32))
    y = torch.nn.functional.group_norm(wide, x.shape[1], eps=EPS)
    return (y.relu() if relu else y).to(x.dtype)


def _dense(x: Tensor) -> Tensor:
    """Return x in one of the two layouts in which a single stride steps through the pixels."""
    if x.is_contiguous() or x.is_contiguous(memory_format=torch.channels_last):
        return x
    return x.contiguous()


def _like(gradient: Tensor, x: Tensor) -> Tensor:
    """Return the gradient in the memory layout of x."""
    if gradient.stride() == x.stride():
        return gradient
    return torch.empty_like(x, dtype=gradient.dtype).copy_(gradient)
