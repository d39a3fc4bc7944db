"""The residual blocks of SNGAN (Miyato et al. 2018, appendix B.4 and figure 8).

Activations never work in place: the shortcut would then carry the activation instead of its input.
A shortcut's 1x1 convolution is applied at the lower resolution, before upsampling or after
downsampling, which gives the same result on fewer pixels.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.gan.growing import downsample, upsample
from models.gan.spectral import draw_xavier, normed

RESIDUAL_GAIN = math.sqrt(2)


class ClassNorm(nn.Module):
    """Batch norm whose scale and shift depend on the class; plain batch norm without classes.

    y = (x - mean) / sqrt(var + 1e-5) scale_k + shift_k for a picture of class k; scales start at 1.
    Shape: [B, C, H, W], labels int64 [B] -> [B, C, H, W].
    Source: Dumoulin et al. 2017, equation 5, as used by Miyato and Koyama 2018.
    """

    def __init__(self, channels: int, classes: int):
        super().__init__()
        self.classes = classes
        self.norm = nn.BatchNorm2d(channels, affine=not classes)
        if classes:
            self.scale = nn.Embedding(classes, channels)
            self.shift = nn.Embedding(classes, channels)
        self.reset()

    def forward(self, x: Tensor, labels: Tensor | None) -> Tensor:
        """Normalise [B, C, H, W]; `labels` are ignored without classes."""
        x = self.norm(x)
        if not self.classes:
            return x
        scale, shift = self.scale(labels).to(x.dtype), self.shift(labels).to(x.dtype)
        return x * scale[:, :, None, None] + shift[:, :, None, None]

    def reset(self) -> None:
        """Set scales to 1, shifts to 0 and reset the running statistics."""
        self.norm.reset_parameters()
        if self.classes:
            nn.init.ones_(self.scale.weight)
            nn.init.zeros_(self.shift.weight)


class DoublingBlock(nn.Module):
    """Norm, ReLU, upsample, convolve, norm, ReLU, convolve; plus an upsampled 1x1 shortcut."""

    def __init__(self, before: int, after: int, classes: int):
        super().__init__()
        self.norm1, self.norm2 = ClassNorm(before, classes), ClassNorm(after, classes)
        self.conv1 = nn.Conv2d(before, after, 3, padding=1)
        self.conv2 = nn.Conv2d(after, after, 3, padding=1)
        self.shortcut = nn.Conv2d(before, after, 1)

    def forward(self, x: Tensor, labels: Tensor | None) -> Tensor:
        """Map [B, before, H, W] to [B, after, 2H, 2W]."""
        residual = self.conv1(upsample(F.relu(self.norm1(x, labels))))
        residual = self.conv2(F.relu(self.norm2(residual, labels)))
        return residual + upsample(self.shortcut(x))

    def draw_weights(self, generator: torch.Generator) -> None:
        """Draw convolutions by Xavier's rule, gain sqrt(2), 1 for the shortcut; reset the norms."""
        for conv in (self.conv1, self.conv2):
            draw_xavier(conv, generator, RESIDUAL_GAIN)
        draw_xavier(self.shortcut, generator)
        self.norm1.reset()
        self.norm2.reset()


class CriticBlock(nn.Module):
    """[ReLU], convolve, ReLU, convolve, [downsample]; plus a shortcut, 1x1 convolution or identity.

    first: the block that takes the picture itself and does not start with a ReLU.
    """

    def __init__(self, before: int, after: int, *, first: bool, halve: bool, spectral: bool):
        super().__init__()
        self.first, self.halve = first, halve
        self.conv1 = normed(nn.Conv2d(before, after, 3, padding=1), spectral)
        self.conv2 = normed(nn.Conv2d(after, after, 3, padding=1), spectral)
        changes = halve or before != after
        self.shortcut = normed(nn.Conv2d(before, after, 1), spectral) if changes else None

    def forward(self, x: Tensor) -> Tensor:
        """Map [B, before, H, W] to [B, after, H, W], or [B, after, H / 2, W / 2] if `halve`."""
        residual = self.conv2(F.relu(self.conv1(x if self.first else F.relu(x))))
        if self.halve:
            residual, x = downsample(residual), downsample(x)
        return residual + (x if self.shortcut is None else self.shortcut(x))

    def draw_weights(self, generator: torch.Generator) -> None:
        """Draw convolutions by Xavier's rule, gain sqrt(2), 1 for the shortcut."""
        for conv in (self.conv1, self.conv2):
            draw_xavier(conv, generator, RESIDUAL_GAIN)
        if self.shortcut is not None:
            draw_xavier(self.shortcut, generator)
