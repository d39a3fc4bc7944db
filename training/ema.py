"""A moving average of a network's weights."""

import copy

import torch
from torch import nn


class MovingAverage:
    """A copy of a network that follows it slowly.

    average <- d * average + (1 - d) * network, d = 0.5 ** (images / halflife_images), so that the
    average does not depend on the batch size. Buffers are copied.
    Source: Karras et al. 2018 (appendix A.1); half-life in images as in Karras et al. 2020.
    """

    def __init__(self, network: nn.Module, halflife_images: float):
        self.halflife_images = halflife_images
        self.network = copy.deepcopy(network).requires_grad_(False)

    @torch.no_grad()
    def update(self, network: nn.Module, images: int) -> None:
        """Move the average towards `network` for a step of `images` images."""
        decay = 0.5 ** (images / self.halflife_images)
        followed = dict(network.named_parameters())
        for name, average in self.network.named_parameters():
            average.lerp_(followed[name], 1 - decay)
        for average, buffer in zip(self.network.buffers(), network.buffers(), strict=True):
            average.copy_(buffer)

    def state_dict(self) -> dict:
        """Return the averaged weights."""
        return self.network.state_dict()

    def load_state_dict(self, state: dict) -> None:
        """Take over saved weights."""
        self.network.load_state_dict(state)
