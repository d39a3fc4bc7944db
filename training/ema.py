"""A moving average of a network's weights."""

import copy

import torch
from torch import nn


def ema_decay(images: int, halflife_images: float) -> float:
    """Return d = 0.5 ** (images / halflife_images), so the half-life is independent of batch size.

    images: per step. A half-life of 0 gives 0: the average equals the network.
    Source: Karras et al. 2020.
    """
    return 0.5 ** (images / halflife_images) if halflife_images else 0.0


class MovingAverage:
    """A copy of a network with exponentially averaged weights.

    average <- d * average + (1 - d) * network, for the weights and floating-point buffers (else
    batch norm's running statistics would not match the weights); integer buffers are copied.
    Source: Karras et al. 2018 (appendix A.1).
    """

    def __init__(self, network: nn.Module):
        self.network = copy.deepcopy(network).requires_grad_(False)

    @torch.no_grad()
    def update(self, network: nn.Module, decay: float) -> None:
        """Update the average: decay * average + (1 - decay) * network."""
        followed = {**dict(network.named_parameters()), **dict(network.named_buffers())}
        floating, current = [], []
        for name, average in (*self.network.named_parameters(), *self.network.named_buffers()):
            if average.is_floating_point():
                floating.append(average)
                current.append(followed[name])
            else:
                average.copy_(followed[name])
        torch._foreach_lerp_(floating, current, 1 - decay)

    def state_dict(self) -> dict:
        """Return the averaged weights."""
        return self.network.state_dict()

    def load_state_dict(self, state: dict) -> None:
        """Restore saved weights."""
        self.network.load_state_dict(state)
