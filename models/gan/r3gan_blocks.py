"""The layers of R3GAN: grouped bottlenecks without normalisation, resampling between stages.

Source: Huang et al. 2024, section 3 and appendix; weights are initialised as in Fixup (Zhang et al.
2019).
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.gan.bilinear import BilinearDown, BilinearUp

LEAKY_GAIN = math.sqrt(2 / (1 + 0.2**2))
EXPANSION = 2


def draw_scaled(
    weight: nn.Parameter, generator: torch.Generator, gain: float = 1.0, fan_in: int | None = None
) -> None:
    """Draw weight from N(0, gain^2 / fan_in); fan_in defaults to the layer's own."""
    fan_in = fan_in or weight[0].numel()
    nn.init.normal_(weight, 0.0, gain / math.sqrt(fan_in), generator=generator)


class BiasedLeaky(nn.Module):
    """leaky_relu(x + bias, 0.2), one bias per channel, initially 0."""

    def __init__(self, channels: int):
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(1, channels, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        """Activate [B, C, H, W]."""
        return F.leaky_relu(x + self.bias.to(x.dtype), 0.2)


class GroupedBottleneck(nn.Module):
    """x + W3 a(W2 a(W1 x)): 1x1 to twice the channels, grouped 3x3, 1x1 back; a: `BiasedLeaky`.

    Shape: [B, channels, H, W] -> the same. W3 starts at 0, so the block starts as the identity.
    """

    def __init__(self, channels: int, group_channels: int):
        super().__init__()
        inner = channels * EXPANSION
        self.expand = nn.Conv2d(channels, inner, 1, bias=False)
        self.activate1, self.activate2 = BiasedLeaky(inner), BiasedLeaky(inner)
        self.conv = nn.Conv2d(
            inner, inner, 3, padding=1, groups=inner // group_channels, bias=False
        )
        self.project = nn.Conv2d(inner, channels, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Apply the block to [B, channels, H, W]."""
        return x + self.project(self.activate2(self.conv(self.activate1(self.expand(x)))))

    def draw_weights(self, generator: torch.Generator, blocks: int) -> None:
        """Draw for a network of `blocks` blocks: gain sqrt(2 / 1.04) blocks^(-1/4), W3 = 0."""
        gain = LEAKY_GAIN * blocks**-0.25
        draw_scaled(self.expand.weight, generator, gain)
        draw_scaled(self.conv.weight, generator, gain)
        nn.init.zeros_(self.project.weight)
        nn.init.zeros_(self.activate1.bias)
        nn.init.zeros_(self.activate2.bias)


class StageUp(nn.Module):
    """A 1x1 convolution where the width changes, then upsampling."""

    def __init__(self, before: int, after: int):
        super().__init__()
        self.conv = nn.Conv2d(before, after, 1, bias=False) if before != after else None
        self.resample = BilinearUp()

    def forward(self, x: Tensor) -> Tensor:
        """Map [B, before, H, W] to [B, after, 2H, 2W]."""
        return self.resample(x if self.conv is None else self.conv(x))

    def draw_weights(self, generator: torch.Generator) -> None:
        """Draw the convolution with gain 1."""
        if self.conv is not None:
            draw_scaled(self.conv.weight, generator)


class StageDown(nn.Module):
    """Downsampling, then a 1x1 convolution where the width changes."""

    def __init__(self, before: int, after: int):
        super().__init__()
        self.conv = nn.Conv2d(before, after, 1, bias=False) if before != after else None
        self.resample = BilinearDown()

    def forward(self, x: Tensor) -> Tensor:
        """Map [B, before, H, W] to [B, after, H / 2, W / 2]."""
        x = self.resample(x)
        return x if self.conv is None else self.conv(x)

    def draw_weights(self, generator: torch.Generator) -> None:
        """Draw the convolution with gain 1."""
        if self.conv is not None:
            draw_scaled(self.conv.weight, generator)
