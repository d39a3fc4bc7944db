"""From a generator to its graph of feature maps."""

import math
from functools import singledispatch

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from errors import UserError
from models.colorizer import Colorizer, join_lab, split_lab
from models.inference import padded_side
from models.noise import Dropout
from models.normalization import InstanceNorm, InstanceNormReLU
from models.resampling import BlurDownsample, BlurUpsample, ReflectionPad
from models.resnet_generator import ResnetBlock, ResnetGenerator
from models.stylegan2 import (
    NOISE_PERIOD,
    Blur,
    DoublingConv,
    EqualConv2d,
    FusedLeakyReLU,
    NoiseInjection,
    ResidualBlock,
    StyledConv,
    Stylegan2Generator,
    noise_sequence,
)
from models.tiled.graph import Map, Read, then
from models.tiled.operators import (
    AddedNoise,
    Convolution,
    Doubling,
    Mirror,
    Norm,
    Pointwise,
    TransposedConvolution,
)
from models.tiled.regions import Region, Span
from models.unet import SkippedLevel, UnetGenerator, UnetLevel
from models.winograd import WinogradConvolution, is_faster


def graph_of(network: nn.Module, size: tuple[int, int], read: Read) -> Map:
    """Return the map of the translation of a picture, at the size that the network needs.

    network: in eval mode. size: of the picture; read: a region of it -> [1, C, h, w] in [-1, 1].
    Raises UserError, which names the layer, for a network that sees more than the surroundings of
    a pixel, other than through an instance norm.
    """
    picture = Map(network.in_channels, size, 1.0, read=read)
    padding = [padded_side(side, network) - side for side in size]
    before = tuple(total // 2 for total in padding)
    after = tuple(total - first for total, first in zip(padding, before, strict=True))
    return extended(network, then(Mirror(before, after), picture) if any(padding) else picture)


def picture_region(translation: Map, size: tuple[int, int], part: Region) -> Region:
    """Return where a part of the picture, which has this size, lies in the padded translation."""
    return Region(
        *(
            Span(*(place + (padded - side) // 2 for place in span))
            for padded, side, span in zip(translation.size, size, part, strict=True)
        )
    )


@singledispatch
def extended(layer: nn.Module, x: Map) -> Map:
    """Return the map that a layer makes of `x`; UserError for a layer that no case below knows."""
    raise UserError(
        f"`tile`: the network has a layer {type(layer).__name__}, which is not known to see only "
        "the surroundings of each pixel; leave `tile` out"
    )


@extended.register(nn.Sequential)
def _(layer: nn.Sequential, x: Map) -> Map:
    for one in layer:
        x = extended(one, x)
    return x


@extended.register(nn.Identity)
@extended.register(Dropout)  # in eval mode
def _(layer: nn.Module, x: Map) -> Map:
    return x


@extended.register(nn.Tanh)
@extended.register(nn.BatchNorm2d)  # in eval mode
@extended.register(FusedLeakyReLU)
def _(layer: nn.Module, x: Map) -> Map:
    return then(Pointwise(layer), x)


@extended.register(nn.ReLU)
def _(layer: nn.ReLU, x: Map) -> Map:
    return then(Pointwise(F.relu), x)  # not in place: others may read x


@extended.register(nn.LeakyReLU)
def _(layer: nn.LeakyReLU, x: Map) -> Map:
    return then(Pointwise(lambda y: F.leaky_relu(y, layer.negative_slope)), x)


@extended.register(InstanceNorm)
def _(layer: InstanceNorm, x: Map) -> Map:
    return then(Norm(relu=isinstance(layer, InstanceNormReLU)), x)


@extended.register(nn.Conv2d)
def _(layer: nn.Conv2d, x: Map) -> Map:
    stride, padding = layer.stride[0], layer.padding[0]
    fast = WinogradConvolution(layer, padding=0) if is_faster(layer) else None
    convolution = Convolution(layer.weight, layer.bias, stride, padding, padding, convolve=fast)
    return then(convolution, x, channels=layer.out_channels)


@extended.register(nn.ConvTranspose2d)
def _(layer: nn.ConvTranspose2d, x: Map) -> Map:
    sides = layer.stride[0], layer.padding[0], layer.output_padding[0]
    convolution = TransposedConvolution(layer.weight, layer.bias, *sides)
    return then(convolution, x, channels=layer.out_channels)


@extended.register(ReflectionPad)
def _(layer: ReflectionPad, x: Map) -> Map:
    return then(Mirror((layer.pixels,) * 2, (layer.pixels,) * 2), x)


@extended.register(BlurDownsample)
def _(layer: BlurDownsample, x: Map) -> Map:
    padded = then(Mirror((1, 1), (1, 1)), x)
    return then(_depthwise(layer.kernel, x.channels, stride=2), padded)


@extended.register(BlurUpsample)
def _(layer: BlurUpsample, x: Map) -> Map:
    return then(Doubling(), x)


@extended.register(ResnetBlock)
def _(layer: ResnetBlock, x: Map) -> Map:
    return then(Pointwise(torch.add), x, extended(layer.conv_block, x))


@extended.register(ResnetGenerator)
@extended.register(UnetGenerator)
@extended.register(UnetLevel)
def _(layer: ResnetGenerator | UnetGenerator | UnetLevel, x: Map) -> Map:
    return extended(layer.model, x)


@extended.register(SkippedLevel)
def _(layer: SkippedLevel, x: Map) -> Map:
    activation, *deeper = layer.model
    skipped = extended(activation, x)  # in place in the network: the skip carries it too
    up = extended(nn.Sequential(*deeper), skipped)
    return then(Pointwise(_joined), skipped, up, channels=skipped.channels + up.channels)


@extended.register(Colorizer)
def _(layer: Colorizer, x: Map) -> Map:
    lightness = then(Pointwise(lambda picture: split_lab(picture)[0]), x, channels=1)
    return then(Pointwise(join_lab), lightness, extended(layer.model, lightness), channels=3)


@extended.register(Blur)
def _(layer: Blur, x: Map) -> Map:
    before, after = layer.padding[:2]
    return then(_depthwise(layer.kernel, x.channels, before=before, after=after), x)


@extended.register(EqualConv2d)
def _(layer: EqualConv2d, x: Map) -> Map:
    weight, padding = layer.weight * layer.scale, layer.padding
    convolution = Convolution(weight, None, layer.stride, padding, padding)
    return then(convolution, x, channels=len(weight))


@extended.register(DoublingConv)
def _(layer: DoublingConv, x: Map) -> Map:
    weight = layer.normalized_weight()
    doubled = then(TransposedConvolution(weight), x, channels=weight.shape[1])
    return extended(layer.blur, doubled)


@extended.register(NoiseInjection)
def _(layer: NoiseInjection, x: Map) -> Map:
    sequence = noise_sequence(NOISE_PERIOD).to(layer.weight)
    return then(AddedNoise(layer.weight, sequence), x)


@extended.register(StyledConv)
def _(layer: StyledConv, x: Map) -> Map:
    return extended(nn.Sequential(layer.conv, layer.noise, layer.activate), x)


@extended.register(ResidualBlock)
def _(layer: ResidualBlock, x: Map) -> Map:
    refined = extended(layer.conv2, extended(layer.conv1, x))
    return then(Pointwise(_halved_power), refined, extended(layer.skip, x))


@extended.register(Stylegan2Generator)
def _(layer: Stylegan2Generator, x: Map) -> Map:
    return extended(layer.decoder.convs, extended(layer.encoder.convs, x))


def _depthwise(kernel: Tensor, channels: int, **sides: int) -> Convolution:
    weight = kernel.expand(channels, 1, *kernel.shape)
    return Convolution(weight, groups=channels, **sides)


def _joined(skipped: Tensor, up: Tensor) -> Tensor:
    return torch.cat((skipped, up), 1)


def _halved_power(refined: Tensor, skipped: Tensor) -> Tensor:
    return (refined + skipped) / math.sqrt(2)
