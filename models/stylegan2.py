"""The generator and discriminator of SinCUT, built from StyleGAN2's layers (Karras et al. 2020).

Parameter names are those of CUT's program, so its weights load unchanged. There is no style vector:
the modulation is all ones, so a modulated convolution only normalises its weights to length 1.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.initialization import EqualizedLayer
from models.noise import NoiseSource
from models.passes import run_with_features
from models.resampling import FixedFilter

NOISE_PERIOD = 2**20  # pixels


class Blur(FixedFilter):
    """Filter [B, C, H, W] with [1, 3, 3, 1] x [1, 3, 3, 1] / 64 * gain after zero padding."""

    official_name = "kernel"

    def __init__(self, padding: tuple[int, int], gain: float = 1.0):
        super().__init__((1.0, 3.0, 3.0, 1.0), gain)
        self.padding = (*padding, *padding)

    def forward(self, x: Tensor) -> Tensor:
        """Blur [B, C, H, W]; H and W grow by the padding and shrink by 3."""
        channels = x.shape[1]
        kernel = self.kernel.to(x.dtype).expand(channels, 1, 4, 4)
        return F.conv2d(F.pad(x, self.padding), kernel, groups=channels)


class EqualConv2d(EqualizedLayer):
    """Convolution with weights N(0, 1) scaled by 1 / sqrt(fan_in) at run time."""

    def __init__(self, before: int, after: int, kernel_px: int, stride: int, padding: int):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(after, before, kernel_px, kernel_px))
        self.scale = 1 / math.sqrt(before * kernel_px**2)
        self.stride, self.padding = stride, padding

    def forward(self, x: Tensor) -> Tensor:
        """Convolve [B, before, H, W]."""
        return F.conv2d(x, self.weight * self.scale, stride=self.stride, padding=self.padding)


class EqualLinear(EqualizedLayer):
    """Linear layer, weights N(0, 1) scaled by 1 / sqrt(fan_in); leaky ReLU if `activate`."""

    def __init__(self, before: int, after: int, activate: bool):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(after, before))
        self.bias = nn.Parameter(torch.zeros(after))
        self.scale, self.activate = 1 / math.sqrt(before), activate

    def forward(self, x: Tensor) -> Tensor:
        """Map [B, before] to [B, after]."""
        x = F.linear(x, self.weight * self.scale, self.bias)
        return F.leaky_relu(x, 0.2) * math.sqrt(2) if self.activate else x


class FusedLeakyReLU(nn.Module):
    """sqrt(2) * leaky_relu(x + bias, 0.2), one bias per channel."""

    def __init__(self, channels: int):
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(1, channels, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        """Activate [B, C, H, W]."""
        return F.leaky_relu(x + self.bias, 0.2) * math.sqrt(2)


def conv_layer(
    before: int, after: int, kernel_px: int, *, halve: bool = False, activate: bool = True
) -> nn.Sequential:
    """Return [blur], equalised convolution, [biased leaky ReLU]; `halve` blurs and strides by 2."""
    layers: list[nn.Module] = []
    if halve:
        total = 2 + (kernel_px - 1)
        layers.append(Blur(((total + 1) // 2, total // 2)))
    padding = 0 if halve else kernel_px // 2
    layers.append(EqualConv2d(before, after, kernel_px, 2 if halve else 1, padding))
    if activate:
        layers.append(FusedLeakyReLU(after))
    return nn.Sequential(*layers)


class ResidualBlock(nn.Module):
    """(two 3x3 convolutions + skip) / sqrt(2); the second and the skip downsample if `halve`."""

    def __init__(self, before: int, after: int, halve: bool):
        super().__init__()
        self.conv1 = conv_layer(before, before, 3)
        self.conv2 = conv_layer(before, after, 3, halve=halve)
        same = before == after and not halve
        self.skip = (
            nn.Identity() if same else conv_layer(before, after, 1, halve=halve, activate=False)
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map [B, before, H, W] to [B, after, H or H/2, W or W/2]."""
        return (self.conv2(self.conv1(x)) + self.skip(x)) / math.sqrt(2)


class DoublingConv(EqualizedLayer):
    """Transposed 3x3 convolution, stride 2, weights normalised per output channel; then blur."""

    def __init__(self, before: int, after: int):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(1, after, before, 3, 3))
        self.scale = 1 / math.sqrt(before * 9)
        self.blur = Blur((1, 1), gain=4.0)

    def forward(self, x: Tensor) -> Tensor:
        """Map [B, before, H, W] to [B, after, 2H, 2W]."""
        weight = self.normalized_weight()
        return self.blur(F.conv_transpose2d(x, weight, stride=2))

    def normalized_weight(self) -> Tensor:
        """Return the weights [before, after, 3, 3], of length 1 for each output channel."""
        weight = self.weight[0] * self.scale
        weight = weight * torch.rsqrt(weight.square().sum((1, 2, 3), keepdim=True) + 1e-8)
        return weight.transpose(0, 1)


class NoiseInjection(nn.Module):
    """Add noise, one value per pixel, times one learned weight that starts at 0.

    In training mode the noise comes from the network's `NoiseSource`. In eval mode it is the same
    for all pictures (`fixed_noise`), so that a translation is deterministic and independent of the
    batch and the device.
    """

    def __init__(self, noise: NoiseSource):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))
        self.noise = noise

    def forward(self, x: Tensor) -> Tensor:
        """Add noise to [B, C, H, W]."""
        if self.training:
            noise = self.noise.normal((x.shape[0], 1, *x.shape[2:]), x.device)
        else:
            noise = fixed_noise(*x.shape[2:]).to(x.device)
        return x + self.weight * noise.to(x.dtype)


def fixed_noise(height: int, width: int) -> Tensor:
    """Return noise [1, 1, H, W]: pixel (y, x) is number (y W + x) mod 2^20 of a fixed sequence."""
    count = height * width
    drawn = noise_sequence(min(count, NOISE_PERIOD))
    return drawn.repeat(-(-count // NOISE_PERIOD))[:count].view(1, 1, height, width)


def noise_sequence(count: int) -> Tensor:
    """Return the first `count` numbers of the sequence, standard normal, on the CPU."""
    # PyTorch draws 16 numbers at a time; a count that is no multiple would change the last ones.
    seeded = torch.Generator().manual_seed(0)
    return torch.randn(-(-count // 16) * 16, generator=seeded)[:count]


class NoiseFromTable(nn.Module):
    """`NoiseInjection` in eval mode with the sequence in a buffer, for exported programs."""

    def __init__(self, injection: NoiseInjection):
        super().__init__()
        self.weight = injection.weight
        self.register_buffer("table", noise_sequence(NOISE_PERIOD).to(self.weight.dtype))

    def forward(self, x: Tensor) -> Tensor:
        """Add noise to [B, C, H, W]."""
        height, width = x.shape[2:]
        places = torch.arange(height * width, device=x.device).remainder(NOISE_PERIOD)
        return x + self.weight * self.table.index_select(0, places).view(1, 1, height, width)


def use_noise_table(network: nn.Module) -> None:
    """Replace each `NoiseInjection` of a network by a `NoiseFromTable`, for inference only."""
    for name, layer in list(network.named_modules()):
        if isinstance(layer, NoiseInjection):
            network.set_submodule(name, NoiseFromTable(layer))


class StyledConv(nn.Module):
    """Upsample by convolution, inject noise unless `noise` is None, activate."""

    def __init__(self, before: int, after: int, noise: NoiseSource | None):
        super().__init__()
        self.conv = DoublingConv(before, after)
        self.noise = nn.Identity() if noise is None else NoiseInjection(noise)
        self.activate = FusedLeakyReLU(after)

    def forward(self, x: Tensor) -> Tensor:
        """Map [B, before, H, W] to [B, after, 2H, 2W]."""
        return self.activate(self.noise(self.conv(x)))


@dataclass(frozen=True)
class Stylegan2GeneratorSizes:
    """Hyperparameters of a StyleGAN2-style translator."""

    base_channels: int = 64  # CUT's ngf
    size_px: int = 256  # the training crop, which determines the widths
    downs: int = 1
    blocks: int = 6  # residual blocks, half in the encoder, half in the decoder
    inject_noise: bool = True

    @property
    def widths(self) -> list[int]:
        """Channels at full resolution and after each downsampling."""
        top = round(math.log2(self.size_px))
        return [self._channels(2 ** (top - i)) for i in range(self.downs + 1)]

    def _channels(self, resolution: int) -> int:
        width = self.base_channels / 32
        if resolution <= 32:
            return min(512, round(width * 4096 / 2 ** max(0, math.log2(resolution) - 2)))
        return round(width * 256 * 64 / resolution)


class _Convolutions(nn.Module):
    """A sequence in an attribute `convs`, as in the official parameter names."""

    def __init__(self, layers: Sequence[nn.Module]):
        super().__init__()
        self.convs = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        return self.convs(x)


class Stylegan2Generator(nn.Module):
    """Residual encoder, upsampling decoder, no tanh.

    Shape: [B, 3, H, W] in [-1, 1], H and W multiples of 2^downs -> [B, 3, H, W], unbounded.

    Layer numbers for `encode` and `forward_with_features`: 0 the picture, 1 the first convolution,
    2, 3, ... the residual blocks of the encoder.
    """

    smallest_size_px = 8
    in_channels = out_channels = 3

    def __init__(self, sizes: Stylegan2GeneratorSizes | None = None):
        super().__init__()
        self.sizes = sizes = sizes or Stylegan2GeneratorSizes()
        self.noise = NoiseSource()
        widths, half = sizes.widths, sizes.blocks // 2
        halvings = list(zip(widths[:-1], widths[1:], strict=True))
        middle = [ResidualBlock(widths[-1], widths[-1], halve=False) for _ in range(2 * half)]
        encoder = [nn.Identity(), conv_layer(3, widths[0], 1)]
        encoder += [ResidualBlock(before, after, halve=True) for before, after in halvings]
        noise = self.noise if sizes.inject_noise else None
        doublings = [StyledConv(after, before, noise) for before, after in reversed(halvings)]
        self.encoder = _Convolutions(encoder + middle[:half])
        self.decoder = _Convolutions([*middle[half:], *doublings, conv_layer(widths[0], 3, 1)])
        self.channels_after = [3, *widths, *[widths[-1]] * half]

    @property
    def size_multiple(self) -> int:
        """Height and width must be multiples of this."""
        return 2**self.sizes.downs

    def forward(self, x: Tensor) -> Tensor:
        """Translate [B, 3, H, W]."""
        return self.decoder(self.encoder(x))

    def encode(self, x: Tensor, layers: Sequence[int]) -> list[Tensor]:
        """Return the outputs of `layers` (increasing numbers); later layers are not run."""
        return run_with_features(self.encoder.convs[: max(layers) + 1], x, layers)[1]

    def forward_with_features(
        self, x: Tensor, layers: Sequence[int]
    ) -> tuple[Tensor, list[Tensor]]:
        """Return the translation and the outputs of `layers` from the same forward pass."""
        encoded, features = run_with_features(self.encoder.convs, x, layers)
        return self.decoder(encoded), features


@dataclass(frozen=True)
class Stylegan2DiscriminatorSizes:
    """Hyperparameters of a StyleGAN2-style discriminator."""

    base_channels: int = 64  # CUT's ndf
    size_px: int = 256  # a power of two

    def channels(self, resolution: int) -> int:
        """Channels at `resolution` px."""
        width = self.base_channels / 64
        if resolution <= 32:
            return min(384, int(width * 4096 / 2 ** (math.log2(resolution) - 2)))
        return int(width * 256 * 64 / resolution)


class Stylegan2Discriminator(nn.Module):
    """Map a picture to one logit: downsampling residual blocks to 4x4, then two linear layers.

    Shape: [B, 3, size_px, size_px] in [-1, 1] -> [B, 1] logits.
    """

    smallest_size_px = 4

    def __init__(self, sizes: Stylegan2DiscriminatorSizes | None = None):
        super().__init__()
        self.sizes = sizes = sizes or Stylegan2DiscriminatorSizes()
        resolutions = [2**i for i in range(round(math.log2(sizes.size_px)), 1, -1)]
        widths = [sizes.channels(resolution) for resolution in resolutions]
        self.convs = nn.Sequential(
            conv_layer(3, widths[0], 1),
            *(
                ResidualBlock(before, after, halve=True)
                for before, after in zip(widths[:-1], widths[1:], strict=True)
            ),
        )
        self.final_conv = conv_layer(widths[-1], widths[-1], 3)
        self.final_linear = nn.Sequential(
            EqualLinear(widths[-1] * 16, widths[-1], activate=True),
            EqualLinear(widths[-1], 1, activate=False),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits of [B, 3, size_px, size_px]."""
        return self.final_linear(self.final_conv(self.convs(x)).flatten(1))
