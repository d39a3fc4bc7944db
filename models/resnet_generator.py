"""The ResNet generator of CycleGAN and CUT (Johnson 2016; Zhu et al. 2017; Park et al. 2020).

The layers are one `nn.Sequential` in the official order: layer numbers (which PatchNCE uses) and
parameter names are those of the official programs, so their weights load unchanged.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor, nn

from models.noise import Dropout, NoiseSource
from models.normalization import biased_like_official, norm_layer, normed_relu
from models.passes import run_with_features
from models.resampling import BlurDownsample, BlurUpsample, ReflectionPad


@dataclass(frozen=True)
class ResnetSizes:
    """Hyperparameters of a ResNet generator."""

    in_channels: int = 3
    out_channels: int = 3
    base_channels: int = 64  # the papers' ngf
    blocks: int = 9
    norm: str = "instance"  # instance, batch or none
    antialias_down: bool = True  # blur before downsampling; else strided convolutions
    antialias_up: bool = True  # bilinear upsampling, convolution; else transposed convolutions
    dropout: bool = False  # with probability 1/2, inside each block


class ResnetBlock(nn.Module):
    """x + (pad, conv 3x3, norm, ReLU, [dropout], pad, conv 3x3, norm)(x), same shape."""

    def __init__(self, channels: int, norm: str, dropout: bool, noise: NoiseSource):
        super().__init__()

        def convolution() -> nn.Module:
            return biased_like_official(nn.Conv2d(channels, channels, 3), norm)

        self.conv_block = nn.Sequential(
            ReflectionPad(1),
            convolution(),
            *normed_relu(norm, channels),
            *([Dropout(noise)] if dropout else []),
            ReflectionPad(1),
            convolution(),
            norm_layer(norm, channels),
        )
        self.norm_adds = norm == "instance"

    def forward(self, x: Tensor) -> Tensor:
        """Apply the block to [B, C, H, W]."""
        *layers, norm = self.conv_block
        refined = x
        for layer in layers:
            refined = layer(refined)
        return norm.add_to(x, refined) if self.norm_adds else x + norm(refined)


class ResnetGenerator(nn.Module):
    """7x7 convolution, two downsampling stages, residual blocks, two upsampling stages, tanh.

    Shape: [B, in_channels, H, W] in [-1, 1], H and W multiples of 4 and at least 16 ->
    [B, out_channels, H, W] in (-1, 1).

    Layer numbers for `encode` and `forward_with_features`, if anti-aliased: 0 the padded picture,
    4 and 8 the downsampling convolutions before their norms, 12, 13, ... the residual blocks. If
    strided, the same numbers mean other layers, and the output of a norm is returned after the
    ReLU, which works in place as in the official program.
    """

    size_multiple = 4
    smallest_size_px = 16

    def __init__(self, sizes: ResnetSizes | None = None):
        super().__init__()
        self.sizes = sizes = sizes or ResnetSizes()
        self.in_channels, self.out_channels = sizes.in_channels, sizes.out_channels
        self.noise = NoiseSource()
        width = sizes.base_channels
        stages = [self._head(), self._down(width), self._down(2 * width)]
        stages += [
            [(ResnetBlock(4 * width, sizes.norm, sizes.dropout, self.noise), 4 * width)]
            for _ in range(sizes.blocks)
        ]
        stages += [self._up(4 * width), self._up(2 * width), self._tail()]
        layers = [layer for stage in stages for layer in stage]
        self.model = nn.Sequential(*(layer for layer, _ in layers))
        self.channels_after = [channels for _, channels in layers]

    def forward(self, x: Tensor) -> Tensor:
        """Translate [B, in_channels, H, W]."""
        return self.model(x)

    def encode(self, x: Tensor, layers: Sequence[int]) -> list[Tensor]:
        """Return the outputs of `layers` (increasing numbers); later layers are not run."""
        return run_with_features(self.model[: max(layers) + 1], x, layers)[1]

    def forward_with_features(
        self, x: Tensor, layers: Sequence[int]
    ) -> tuple[Tensor, list[Tensor]]:
        """Return the translation and the outputs of `layers` from the same forward pass."""
        return run_with_features(self.model, x, layers)

    # Each stage is a list of (layer, output channels).

    def _normed(
        self, convolution: nn.Module, channels: int, read_before_norm: bool = False
    ) -> list[tuple[nn.Module, int]]:
        norm = self.sizes.norm
        biased_like_official(convolution, norm, read_before_norm=read_before_norm)
        return [(layer, channels) for layer in (convolution, *normed_relu(norm, channels))]

    def _head(self) -> list[tuple[nn.Module, int]]:
        before, after = self.sizes.in_channels, self.sizes.base_channels
        return [(ReflectionPad(3), before), *self._normed(nn.Conv2d(before, after, 7), after)]

    def _down(self, channels: int) -> list[tuple[nn.Module, int]]:
        stride = 1 if self.sizes.antialias_down else 2
        conv = nn.Conv2d(channels, 2 * channels, 3, stride=stride, padding=1)
        layers = self._normed(conv, 2 * channels, read_before_norm=True)  # by PatchNCE
        if self.sizes.antialias_down:
            layers.append((BlurDownsample(2 * channels), 2 * channels))
        return layers

    def _up(self, channels: int) -> list[tuple[nn.Module, int]]:
        half = channels // 2
        if self.sizes.antialias_up:
            conv = nn.Conv2d(channels, half, 3, padding=1)
            return [(BlurUpsample(channels), channels), *self._normed(conv, half)]
        conv = nn.ConvTranspose2d(channels, half, 3, stride=2, padding=1, output_padding=1)
        return self._normed(conv, half)

    def _tail(self) -> list[tuple[nn.Module, int]]:
        before, after = self.sizes.base_channels, self.sizes.out_channels
        return [
            (ReflectionPad(3), before),
            (nn.Conv2d(before, after, 7), after),
            (nn.Tanh(), after),
        ]
