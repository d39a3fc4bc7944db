"""A moving average of a network's weights."""

import copy

import torch
from torch import nn


def ema_decay(images: int, halflife_images: float) -> float:
    """Return d = 0.5 ** (images / halflife_images), which does not depend on the batch size.

    images: of the step. A half-life of 0 gives 0: the average is the network.
    Source: Karras et al. 2020.
    """
    return 0.5 ** (images / halflife_images) if halflife_images else 0.0


class MovingAverage:
    """A copy of a network that follows it slowly.

    average <- d * average + (1 - d) * network, for the weights and for buffers of floating point
    (batch norm's running statistics, which would else belong to other weights); counters are
    copied. Source: Karras et al. 2018 (appendix A.1).
    """

    def __init__(self, network: nn.Module):
        self.network = copy.deepcopy(network).requires_grad_(False)

    @torch.no_grad()
    def update(self, network: nn.Module, decay: float) -> None:
        """Move the average towards `network`, keeping the share `decay` of itself."""
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
        """Take over saved weights."""
        self.network.load_state_dict(state)
