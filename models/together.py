"""Two inputs in one pass, where that gives what two passes give."""

import torch
from torch import Tensor, nn


def run_together(network: nn.Module, first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
    """Return network(first), network(second), from one pass where it is the same.

    That is where the pictures [B, C, H, W] have one size and no batch norm couples those of a
    batch.
    """
    if first.shape[1:] != second.shape[1:] or couples_a_batch(network):
        return network(first), network(second)
    both = network(torch.cat([first, second]))
    return both[: len(first)], both[len(first) :]


def couples_a_batch(network: nn.Module) -> bool:
    """Tell whether a picture's result depends on the others of its batch."""
    return network.training and any(isinstance(m, nn.BatchNorm2d) for m in network.modules())
