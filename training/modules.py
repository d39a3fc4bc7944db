"""Helpers for networks and optimisers."""

import math
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from training import capture
from training.distributed import average_gradients


@contextmanager
def frozen(network: nn.Module) -> Iterator[None]:
    """Compute no gradients of the network's weights in the block; inputs still get theirs."""
    trained = [parameter for parameter in network.parameters() if parameter.requires_grad]
    for parameter in trained:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in trained:
            parameter.requires_grad_(True)


class Adam(torch.optim.Adam):
    """PyTorch's fused Adam; it takes over what was saved on another device."""

    def load_state_dict(self, state: dict) -> None:
        """Take over a saved state, in the weights' memory layout."""
        super().load_state_dict(state)
        for group in self.param_groups:
            group["capturable"] = capture.can_capture(group["params"][0].device)
        for weight, moments in self.state.items():
            for name, value in moments.items():
                if value.shape == weight.shape:
                    moments[name] = torch.empty_like(weight, dtype=value.dtype).copy_(value)


def adam(
    network: nn.Module, learning_rate: float, betas: tuple[float, float]
) -> torch.optim.Optimizer:
    """Return PyTorch's fused Adam for all trainable weights of the network."""
    trained = [parameter for parameter in network.parameters() if parameter.requires_grad]
    captured = capture.can_capture(trained[0].device)
    return Adam(trained, lr=learning_rate, betas=betas, fused=True, capturable=captured)


def sgd(
    network: nn.Module, *, momentum: float, weight_decay: float, trust: float = 0.0
) -> torch.optim.Optimizer:
    """Return SGD for all trainable weights of the network; `set_learning_rate` gives its rate.

    trust: eta of LARS (You et al. 2017), 0.001 in their paper; 0: plain SGD. Before each step LARS
    replaces the gradient g of a weight w by eta |w| / |g + d w| (g + d w), d the weight decay; as
    in SimCLR (Chen et al. 2020) biases and norms have neither the factor nor the decay.
    """
    trained = [parameter for parameter in network.parameters() if parameter.requires_grad]
    decay = 0.0 if trust else weight_decay
    optimizer = torch.optim.SGD(trained, lr=0.0, momentum=momentum, weight_decay=decay, fused=True)
    if trust:
        matrices = [parameter for parameter in trained if parameter.dim() > 1]
        optimizer.register_step_pre_hook(lambda *_: _scale_layers(matrices, weight_decay, trust))
    return optimizer


@torch.no_grad()
def _scale_layers(weights: list[nn.Parameter], weight_decay: float, trust: float) -> None:
    weights = [weight for weight in weights if weight.grad is not None]
    gradients = [weight.grad for weight in weights]
    torch._foreach_add_(gradients, weights, alpha=weight_decay)
    lengths, steps = torch._foreach_norm(weights), torch._foreach_norm(gradients)
    for gradient, length, step in zip(gradients, lengths, steps, strict=True):
        usable = (length > 0) & (step > 0)
        gradient.mul_(torch.where(usable, trust * length / step, 1.0))


def optimizer_step(network: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    """Make an optimiser step with the mean gradient of all processes, then clear the gradients."""
    average_gradients(network)
    optimizer.step()
    optimizer.zero_grad()
    torch.clear_autocast_cache()


def optimizer_step_if_finite(network: nn.Module, optimizer: torch.optim.Optimizer) -> Tensor:
    """Like `optimizer_step`, but only if every entry of the mean gradient is finite.

    Returns whether the step was made, a bool scalar on the device, without synchronising. If not,
    weights, moments and step count are unchanged, in all processes alike. Parameters without a
    gradient are ignored.

    Raises ValueError for an optimiser that is not fused, which could not skip the step, and if no
    parameter has a gradient.
    """
    if not optimizer.defaults.get("fused"):
        raise ValueError(f"{type(optimizer).__name__} is not fused; construct it with fused=True")
    average_gradients(network)
    gradients = [p.grad for p in network.parameters() if p.grad is not None]
    if not gradients:
        raise ValueError("no parameter of the network has a gradient; call backward first")
    # By the maximum norm, which is not finite if any entry is not; unlike a sum it cannot overflow.
    finite = torch.nn.utils.get_total_norm(gradients, math.inf).isfinite()
    optimizer.found_inf = 1 - finite.float()  # 1: skip the step, as torch.amp.GradScaler does
    try:
        optimizer.step()
    finally:
        del optimizer.found_inf
    optimizer.zero_grad()
    torch.clear_autocast_cache()
    return finite


def autocast(device: torch.device, precision: str) -> torch.autocast:
    """Return the autocast context for `precision`: bf16, or disabled for fp32 and tf32."""
    return torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16")


@contextmanager
def weights_cast_once() -> Iterator[None]:
    """Let autocast cast each weight once in the block, not once per autocast context.

    The casts stay in autocast's cache until the block ends or an optimiser steps (`optimizer_step`
    clears them, since the weights have changed).
    """
    torch.autocast_increment_nesting()
    try:
        yield
    finally:
        if torch.autocast_decrement_nesting() == 0:
            torch.clear_autocast_cache()


@contextmanager
def tf32_products(allowed: bool) -> Iterator[None]:
    """Allow or forbid TF32 (10-bit mantissa) in float32 products on GPUs within the block.

    PyTorch allows it for convolutions by default; here fp32 means true float32.
    """
    matmul, convolution = torch.backends.cuda.matmul, torch.backends.cudnn
    before = matmul.allow_tf32, convolution.allow_tf32
    matmul.allow_tf32 = convolution.allow_tf32 = allowed
    try:
        yield
    finally:
        matmul.allow_tf32, convolution.allow_tf32 = before


def set_learning_rate(optimizer: torch.optim.Optimizer, learning_rate: float) -> None:
    """Set the learning rate of all weights.

    Where steps can be captured it is a tensor that stays the same.
    """
    for group in optimizer.param_groups:
        device = group["params"][0].device
        if not group.get("capturable"):  # plain SGD has none
            group["lr"] = learning_rate
        elif isinstance(group["lr"], Tensor) and group["lr"].device == device:
            group["lr"].fill_(learning_rate)
        else:
            kind = torch.float32 if device.type == "cuda" else torch.float64  # what kernels read
            group["lr"] = torch.full((), learning_rate, dtype=kind, device=device)
