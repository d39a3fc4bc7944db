"""Weight initialisation, with the official programs' names and gains."""

import torch
from torch import nn

SCHEMES = ("normal", "xavier", "kaiming", "orthogonal")


def initialize(
    network: nn.Module, generator: torch.Generator, scheme: str = "xavier", gain: float = 0.02
) -> nn.Module:
    """Draw all weights of `network` from `generator` and return the network.

    Convolutions and linear layers: bias 0 and weight by `scheme`:
    normal N(0, gain^2); xavier N(0, gain^2 * 2 / (fan_in + fan_out)); kaiming N(0, 2 / fan_in),
    which ignores the gain; orthogonal with the gain. Batch norm: weight N(1, gain^2), bias 0.
    Layers with an equalised learning rate ignore the scheme and use their own `draw_weights`.

    CUT uses xavier with gain 0.02, CycleGAN and pix2pix normal with 0.02.
    """
    if scheme not in SCHEMES:
        raise ValueError(f"initialisation {scheme!r} is none of {', '.join(SCHEMES)}")
    for layer in network.modules():
        if isinstance(layer, EqualizedLayer):
            layer.draw_weights(generator)
        elif isinstance(layer, nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
            _draw(layer.weight, scheme, gain, generator)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
        elif isinstance(layer, nn.BatchNorm2d) and layer.affine:
            nn.init.normal_(layer.weight, 1.0, gain, generator=generator)
            nn.init.zeros_(layer.bias)
    return network


class EqualizedLayer(nn.Module):
    """A layer whose `weight` is initialised from N(0, 1) and scaled at run time (Karras 2018)."""

    weight: nn.Parameter

    def draw_weights(self, generator: torch.Generator) -> None:
        """Draw `weight` from N(0, 1)."""
        nn.init.normal_(self.weight, generator=generator)


def _draw(weight: nn.Parameter, scheme: str, gain: float, generator: torch.Generator) -> None:
    if scheme == "normal":
        nn.init.normal_(weight, 0.0, gain, generator=generator)
    elif scheme == "xavier":
        nn.init.xavier_normal_(weight, gain, generator=generator)
    elif scheme == "kaiming":
        nn.init.kaiming_normal_(weight, generator=generator)
    else:
        nn.init.orthogonal_(weight, gain, generator=generator)
