"""Small tools around networks and optimisers."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

from training.distributed import average_gradients


@contextmanager
def frozen(network: nn.Module) -> Iterator[None]:
    """Keep gradients away from the network's weights; those of its inputs still flow."""
    trained = [parameter for parameter in network.parameters() if parameter.requires_grad]
    for parameter in trained:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in trained:
            parameter.requires_grad_(True)


def adam(
    network: nn.Module, learning_rate: float, betas: tuple[float, float]
) -> torch.optim.Optimizer:
    """Return Adam for all trained weights of the network, in PyTorch's fused form."""
    trained = [parameter for parameter in network.parameters() if parameter.requires_grad]
    return torch.optim.Adam(trained, lr=learning_rate, betas=betas, fused=True)


def descend(network: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    """Step the network's optimiser by the mean gradient of all processes; forget the gradient."""
    average_gradients(network)
    optimizer.step()
    optimizer.zero_grad()


def autocast(device: torch.device, precision: str) -> torch.autocast:
    """Return the context in which networks run for `--precision` fp32 or bf16."""
    return torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16")


def set_learning_rate(optimizer: torch.optim.Optimizer, learning_rate: float) -> None:
    """Set the learning rate of all weights."""
    for group in optimizer.param_groups:
        group["lr"] = learning_rate
