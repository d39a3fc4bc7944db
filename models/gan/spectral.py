"""Spectral norm with seeded initialisation, and Xavier weights under it."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import parametrize
from torch.nn.utils.parametrizations import _SpectralNorm

FIRST_ITERATIONS = 15


def normed(layer: nn.Module, spectral: bool) -> nn.Module:
    """Apply spectral norm to the layer's weight if `spectral`; return the layer.

    The weight is reshaped to [outputs, -1] and divided by its largest singular value. The singular
    vectors are buffers, updated by one power iteration per forward pass in training mode only.
    Source: Miyato et al. 2018, equation 8 and algorithm 1.
    """
    if spectral:
        parametrize.register_parametrization(layer, "weight", PreciseSpectralNorm(layer.weight))
    return layer


class PreciseSpectralNorm(_SpectralNorm):
    """PyTorch's spectral norm with autocast off, which would iterate in bfloat16 on a GPU."""

    def forward(self, weight: Tensor) -> Tensor:
        """Return the weight divided by its largest singular value, in its own precision."""
        device = weight.device.type
        if not torch.amp.is_autocast_available(device):  # meta tensors, which have no data
            return super().forward(weight)
        with torch.autocast(device, enabled=False):
            return super().forward(weight)


@torch.no_grad()
def draw_xavier(layer: nn.Module, generator: torch.Generator, gain: float = 1.0) -> None:
    """Draw the weight from U(-a, a), a = gain sqrt(6 / (fan_in + fan_out)); the bias is 0.

    layer: a convolution, linear layer or embedding. With spectral norm the weight before the
    division is drawn, and the singular vectors are initialised from `generator` again.
    """
    spectral = parametrize.is_parametrized(layer)
    weight = layer.parametrizations.weight.original if spectral else layer.weight
    nn.init.xavier_uniform_(weight, gain, generator=generator)
    if spectral:
        _restart(layer.parametrizations.weight[0], weight, generator)
    if not isinstance(layer, nn.Embedding) and layer.bias is not None:
        nn.init.zeros_(layer.bias)


def _restart(norm: nn.Module, weight: nn.Parameter, generator: torch.Generator) -> None:
    for vector in norm.buffers():
        nn.init.normal_(vector, generator=generator)
        F.normalize(vector, dim=0, out=vector)
    mode = norm.training
    norm.train()
    for _ in range(FIRST_ITERATIONS):
        norm(weight)  # each evaluation in training mode is one iteration
    norm.train(mode)
