"""Reading the outputs of inner layers, which PatchNCE compares."""

from collections.abc import Sequence

from torch import Tensor, nn

from errors import UserError


def run_with_features(
    layers: nn.Sequential, x: Tensor, wanted: Sequence[int]
) -> tuple[Tensor, list[Tensor]]:
    """Run all of `layers`; return the result and the outputs of the layers numbered in `wanted`."""
    features = []
    for number, layer in enumerate(layers):
        x = layer(x)
        if number in wanted:
            features.append(x)
    return x, features


def feature_channels(network: nn.Module, layers: Sequence[int], option: str) -> list[int]:
    """Return the channels of each of the network's `layers`, from its `channels_after`.

    Raises UserError, which names `option`, for a number that is no layer or an order that does
    not increase.
    """
    last = len(network.channels_after) - 1
    if not layers or list(layers) != sorted({*layers}) or not 0 <= layers[0] <= layers[-1] <= last:
        shown = " ".join(map(str, layers))
        raise UserError(f"{option} {shown}: give increasing numbers from 0 to {last}")
    return [network.channels_after[layer] for layer in layers]
