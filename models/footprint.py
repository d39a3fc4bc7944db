"""How much memory a forward pass takes, estimated from one pass over a small picture."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from models.inference import padded_side, translating

_SMALL_PX = 64
_COPIES = 2  # of a layer's input and output: skips and residuals, and what operators allocate


class PassMemory:
    """Estimates the memory of translating pictures of any size with one network.

    The largest input and output of a layer together, times 2, in proportion to the pixels.
    """

    def __init__(self, network: nn.Module):
        """Run the network once, on a picture of 64 px or of the smallest size that it accepts."""
        self.network = network
        largest = 0

        def measure(_: nn.Module, inputs: Sequence[Tensor], output: Tensor) -> None:
            nonlocal largest
            tensors = [one for one in (*inputs, output) if isinstance(one, Tensor)]
            largest = max(largest, sum(one.numel() * one.element_size() for one in tensors))

        layers = [module for module in network.modules() if not [*module.children()]]
        hooks = [layer.register_forward_hook(measure) for layer in layers]
        side = padded_side(_SMALL_PX, network)
        parameter = next(network.parameters())
        try:
            with translating(network) as translated:
                translated(torch.zeros(1, network.in_channels, side, side, device=parameter.device))
        finally:
            for hook in hooks:
                hook.remove()
        self._bytes_a_pixel = _COPIES * largest / side**2

    def bytes_of(self, width: int, height: int) -> int:
        """Return the estimate for one picture of this size, padded as `translate` pads it."""
        pixels = padded_side(width, self.network) * padded_side(height, self.network)
        return round(self._bytes_a_pixel * pixels)
