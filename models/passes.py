"""Forward passes that return the outputs of inner layers, or take two inputs at once."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from errors import UserError


def run_with_features(
    layers: nn.Sequential, x: Tensor, wanted: Sequence[int]
) -> tuple[Tensor, list[Tensor]]:
    """Run all of `layers`; return the result and the outputs of the layers listed in `wanted`."""
    features = []
    for number, layer in enumerate(layers):
        x = layer(x)
        if number in wanted:
            features.append(x)
    return x, features


def feature_channels(network: nn.Module, layers: Sequence[int], option: str) -> list[int]:
    """Return the output channels of each of the network's `layers`, from its `channels_after`.

    Raises UserError, which names `option`, unless the numbers are valid and increasing.
    """
    last = len(network.channels_after) - 1
    if not layers or list(layers) != sorted({*layers}) or not 0 <= layers[0] <= layers[-1] <= last:
        shown = " ".join(map(str, layers))
        raise UserError(f"{option} {shown}: give increasing numbers from 0 to {last}")
    return [network.channels_after[layer] for layer in layers]


def run_together(network: nn.Module, first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
    """Return network(first), network(second), in one forward pass if `may_run_together`."""
    if not may_run_together(network, first, second):
        return network(first), network(second)
    both = network(torch.cat([first, second]))
    return both[: len(first)], both[len(first) :]


def may_run_together(network: nn.Module, first: Tensor, second: Tensor) -> bool:
    """Return whether one pass over both [B, C, H, W], concatenated, equals two separate passes.

    It does if the pictures have the same size and the network has no batch norm.
    """
    return first.shape[1:] == second.shape[1:] and not couples_a_batch(network)


def couples_a_batch(network: nn.Module) -> bool:
    """Return whether a picture's output depends on the rest of its batch."""
    return network.training and any(isinstance(m, nn.BatchNorm2d) for m in network.modules())
