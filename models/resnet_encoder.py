"""ResNets without a classifier, which turn pictures into feature vectors, and with one.

Written here because importing torchvision's would double the time in which every command starts.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from math import gcd

import torch
import torch.nn.functional as F
from torch import Tensor, nn

GROUP_CHANNELS = 16  # of a group norm, as Wu and He 2018 recommend beside 32 groups
Norm = Callable[[int], nn.Module]
NORMS: dict[str, Norm] = {
    "batch": nn.BatchNorm2d,
    "group": lambda channels: nn.GroupNorm(channels // gcd(channels, GROUP_CHANNELS), channels),
}


class BasicBlock(nn.Module):
    """Two 3x3 convolutions and a shortcut (He et al. 2016, figure 5 left)."""

    expansion = 1

    def __init__(self, in_channels: int, width: int, stride: int, norm: Norm):
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, width, 3, stride, padding=1, bias=False)
        self.bn1 = norm(width)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.bn2 = norm(width)
        self.downsample = shortcut(in_channels, width, stride, norm)

    def forward(self, x: Tensor) -> Tensor:
        """Return [B, width, H / stride, W / stride] of x [B, C, H, W]."""
        y = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)), inplace=True)))
        y += x if self.downsample is None else self.downsample(x)
        return F.relu(y, inplace=True)


class Bottleneck(nn.Module):
    """1x1, 3x3 and 1x1 convolutions and a shortcut (figure 5 right).

    The 3x3 convolution has the stride, as in torchvision (ResNet v1.5); in the paper the first has.
    """

    expansion = 4

    def __init__(self, in_channels: int, width: int, stride: int, norm: Norm):
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, width, 1, bias=False)
        self.bn1 = norm(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride, padding=1, bias=False)
        self.bn2 = norm(width)
        self.conv3 = nn.Conv2d(width, 4 * width, 1, bias=False)
        self.bn3 = norm(4 * width)
        self.downsample = shortcut(in_channels, 4 * width, stride, norm)

    def forward(self, x: Tensor) -> Tensor:
        """Return [B, 4 * width, H / stride, W / stride] of x [B, C, H, W]."""
        y = F.relu(self.bn1(self.conv1(x)), inplace=True)
        y = F.relu(self.bn2(self.conv2(y)), inplace=True)
        y = self.bn3(self.conv3(y))
        y += x if self.downsample is None else self.downsample(x)
        return F.relu(y, inplace=True)


class Projection(nn.Sequential):
    """A shortcut to another shape: a 1x1 convolution with stride, and a norm.

    The stride is a slice, because oneDNN (of PyTorch 2.15, CPU) writes beyond its memory in the
    backward pass of a strided 1x1 convolution of fewer than 8 channels, channels last.
    """

    def __init__(self, in_channels: int, out_channels: int, stride: int, norm: Norm):
        super().__init__(nn.Conv2d(in_channels, out_channels, 1, bias=False), norm(out_channels))
        self.stride = stride

    def forward(self, x: Tensor) -> Tensor:
        """Return [B, out_channels, H / stride, W / stride] of x [B, C, H, W]."""
        return super().forward(x[:, :, :: self.stride, :: self.stride])


def shortcut(in_channels: int, out_channels: int, stride: int, norm: Norm) -> Projection | None:
    """Return a projection where a block changes the shape, else None for the identity."""
    if stride == 1 and in_channels == out_channels:
        return None
    return Projection(in_channels, out_channels, stride, norm)


BLOCKS = {
    18: (BasicBlock, (2, 2, 2, 2)),
    50: (Bottleneck, (3, 4, 6, 3)),
}


@dataclass(frozen=True)
class EncoderSizes:
    """What determines the shapes of a ResNet's weights."""

    depth: int = 18  # or 50
    in_channels: int = 3
    base_channels: int = 64  # of the first convolution
    small_pictures: bool = True  # the first convolution is 3x3 without stride or pooling
    norm: str = "batch"  # or group


class ResnetEncoder(nn.Module):
    """torchvision's ResNet-18 or 50 without its classifier, of any width.

    Names and shapes of the weights are torchvision's (at 64 base channels). For small pictures the
    first convolution has 3x3 pixels and stride 1, and there is no max pooling, as is usual for
    CIFAR-10 since He et al. 2016 (section 4.2) and Chen et al. 2020 (appendix B.9).
    Raises ValueError for an unknown depth or norm.
    """

    def __init__(self, sizes: EncoderSizes):
        super().__init__()
        if sizes.depth not in BLOCKS or sizes.norm not in NORMS:
            raise ValueError(f"no ResNet of depth {sizes.depth} with {sizes.norm} norm")
        self.sizes = sizes
        kind, repeats = BLOCKS[sizes.depth]
        norm, width = NORMS[sizes.norm], sizes.base_channels
        first = {"kernel_size": 3} if sizes.small_pictures else {"kernel_size": 7, "stride": 2}
        self.conv1 = nn.Conv2d(
            sizes.in_channels, width, padding=first["kernel_size"] // 2, bias=False, **first
        )
        self.bn1 = norm(width)  # torchvision's name, whatever the norm
        small = sizes.small_pictures
        self.maxpool = nn.Identity() if small else nn.MaxPool2d(3, stride=2, padding=1)
        stage = partial(_stage, kind, norm)
        self.layer1 = stage(width, width, repeats[0], 1)
        self.layer2 = stage(width * kind.expansion, 2 * width, repeats[1], 2)
        self.layer3 = stage(2 * width * kind.expansion, 4 * width, repeats[2], 2)
        self.layer4 = stage(4 * width * kind.expansion, 8 * width, repeats[3], 2)

    @property
    def channels(self) -> int:
        """D, the length of a feature vector: 512 or 2048 at 64 base channels."""
        return 8 * self.sizes.base_channels * BLOCKS[self.sizes.depth][0].expansion

    def forward(self, pictures: Tensor) -> Tensor:
        """Return features [B, D] of pictures [B, C, H, W] in [-1, 1], of any height and width."""
        x = self.maxpool(F.relu(self.bn1(self.conv1(pictures)), inplace=True))
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))  # [B, D, H/8 or H/32, ...]
        return x.mean((2, 3))


@dataclass(frozen=True)
class ClassifierSizes(EncoderSizes):
    """What determines the shapes of a classifier's weights."""

    classes: int = 1


class ResnetClassifier(nn.Module):
    """An encoder and a linear layer on its features."""

    def __init__(self, sizes: ClassifierSizes):
        super().__init__()
        self.sizes = sizes
        values = vars(sizes)
        self.encoder = ResnetEncoder(
            EncoderSizes(**{name: values[name] for name in EncoderSizes.__dataclass_fields__})
        )
        self.head = nn.Linear(self.encoder.channels, sizes.classes)

    def forward(self, pictures: Tensor) -> Tensor:
        """Return logits [B, K] of pictures [B, C, H, W] in [-1, 1]."""
        return self.head(self.encoder(pictures))


def classifier_of(encoder: ResnetEncoder, head: nn.Linear) -> ResnetClassifier:
    """Return a classifier that shares the encoder's and the layer's weights."""
    with torch.device("meta"):  # its own weights are dropped
        classifier = ResnetClassifier(
            ClassifierSizes(**vars(encoder.sizes), classes=len(head.bias))
        )
    classifier.encoder, classifier.head = encoder, head
    return classifier


def draw_layers(network: nn.Module, generator: torch.Generator) -> None:
    """Draw all weights of `network` from `generator`, distributed as PyTorch's and torchvision's.

    Convolutions: N(0, 2 / fan_out) (He et al. 2015); linear layers: weight and bias uniform within
    1 / sqrt(fan_in); norms: weight 1, bias 0.
    """
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(
                layer.weight, mode="fan_out", nonlinearity="relu", generator=generator
            )
        elif isinstance(layer, nn.Linear):
            bound = layer.in_features**-0.5
            for part in layer.parameters(recurse=False):
                nn.init.uniform_(part, -bound, bound, generator=generator)
        elif isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d | nn.GroupNorm | nn.LayerNorm):
            layer.reset_parameters()


def _stage(
    kind: type[BasicBlock | Bottleneck],
    norm: Norm,
    in_channels: int,
    width: int,
    repeats: int,
    stride: int,
) -> nn.Sequential:
    """Return blocks of one resolution; the first one halves it if the stride is 2."""
    blocks = [kind(in_channels, width, stride, norm)]
    blocks += [kind(width * kind.expansion, width, 1, norm) for _ in range(repeats - 1)]
    return nn.Sequential(*blocks)
