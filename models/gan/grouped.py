"""Grouped convolutions whose gradients can be differentiated without a loop over the groups.

PyTorch differentiates the gradient of a grouped convolution group by group: R1 and R2 of an R3GAN
discriminator would launch some 8,000 kernels a step. A convolution y = C(x, w) is linear in x and
in w, and so are the two transposes that its gradients are; each of the three has the other two as
its gradients, so they are closed under differentiation, with PyTorch's kernels for all groups.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd import Function


class GroupedConv2d(nn.Conv2d):
    """A grouped convolution without bias, stride 1, for passes that are differentiated twice."""

    def __init__(self, channels: int, kernel_size: int, *, groups: int, padding: int = 0):
        super().__init__(
            channels, channels, kernel_size, padding=padding, groups=groups, bias=False
        )

    def forward(self, x: Tensor) -> Tensor:
        """Convolve [B, C, H, W]; as usual under autocast, where nothing is differentiated twice."""
        if torch.is_autocast_enabled(x.device.type):
            return super().forward(x)
        return _Convolution.apply(x, self.weight, self.padding[0], self.groups)


class _Convolution(Function):
    """C(x, w)."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, padding: int, groups: int) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.settings = padding, groups
        return torch.conv2d(x, weight, padding=padding, groups=groups)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None, None, None]:
        x, weight = ctx.saved_tensors
        wanted = ctx.needs_input_grad
        of_x = _OfInput.apply(gradient, weight, x.shape, *ctx.settings) if wanted[0] else None
        of_weight = _OfWeight.apply(gradient, x, weight.shape, *ctx.settings) if wanted[1] else None
        return of_x, of_weight, None, None


class _OfInput(Function):
    """The transpose of x -> C(x, w), at a gradient of y."""

    @staticmethod
    def forward(
        ctx: Any, gradient: Tensor, weight: Tensor, shape: torch.Size, padding: int, groups: int
    ) -> Tensor:
        ctx.save_for_backward(gradient, weight)
        ctx.settings = padding, groups
        x = gradient.new_empty(()).expand(shape)  # of x the shape alone is read
        return _transposes(gradient, x, weight, padding, groups, (True, False))[0]

    @staticmethod
    def backward(
        ctx: Any, direction: Tensor
    ) -> tuple[Tensor | None, Tensor | None, None, None, None]:
        gradient, weight = ctx.saved_tensors
        wanted, of_gradient, of_weight = ctx.needs_input_grad, None, None
        if wanted[0]:
            of_gradient = _Convolution.apply(direction, weight, *ctx.settings)
        if wanted[1]:
            of_weight = _OfWeight.apply(gradient, direction, weight.shape, *ctx.settings)
        return of_gradient, of_weight, None, None, None


class _OfWeight(Function):
    """The transpose of w -> C(x, w), at a gradient of y."""

    @staticmethod
    def forward(
        ctx: Any, gradient: Tensor, x: Tensor, shape: torch.Size, padding: int, groups: int
    ) -> Tensor:
        ctx.save_for_backward(gradient, x)
        ctx.settings = padding, groups
        weight = gradient.new_empty(()).expand(shape)
        return _transposes(gradient, x, weight, padding, groups, (False, True))[1]

    @staticmethod
    def backward(
        ctx: Any, direction: Tensor
    ) -> tuple[Tensor | None, Tensor | None, None, None, None]:
        gradient, x = ctx.saved_tensors
        wanted, of_gradient, of_x = ctx.needs_input_grad, None, None
        if wanted[0]:
            of_gradient = _Convolution.apply(x, direction, *ctx.settings)
        if wanted[1]:
            of_x = _OfInput.apply(gradient, direction, x.shape, *ctx.settings)
        return of_gradient, of_x, None, None, None


def _transposes(
    gradient: Tensor,
    x: Tensor,
    weight: Tensor,
    padding: int,
    groups: int,
    wanted: tuple[bool, bool],
) -> tuple[Tensor, Tensor, Tensor]:
    return torch.ops.aten.convolution_backward(
        gradient, x, weight, None,
        [1, 1], [padding, padding], [1, 1], False, [0, 0], groups, [*wanted, False],
    )  # fmt: skip
