"""The architecture of a generator, read from the names and shapes of its weights."""

import re

from torch import Tensor, nn

from models.colorizer import Colorizer
from models.resnet_generator import ResnetGenerator, ResnetSizes
from models.stylegan2 import Stylegan2Generator, Stylegan2GeneratorSizes
from models.unet import UnetGenerator, UnetSizes


def build_like(state: dict[str, Tensor]) -> nn.Module:
    """Build the generator that a normalised state (see `normalize_state`) belongs to.

    U-Nets are built with dropout, pix2pix's default: parameter names are the same without it, and
    it is off in eval mode. A U-Net from one channel to two is pix2pix's colorization network.
    Raises KeyError, IndexError or ValueError for a state that belongs to no known generator.
    """
    if "encoder.convs.1.0.weight" in state:
        return Stylegan2Generator(_stylegan2_sizes(state))
    if "model.model.0.weight" in state:
        sizes = _unet_sizes(state)
        colours = (sizes.in_channels, sizes.out_channels) == (1, 2)
        return Colorizer(sizes) if colours else UnetGenerator(sizes)
    if "model.1.weight" in state:
        return ResnetGenerator(_resnet_sizes(state))
    raise ValueError(f"unknown parameter names, such as {next(iter(state), 'none at all')}")


def _norm(state: dict[str, Tensor], convolution: str, norm: str) -> str:
    """Infer the norm that follows a convolution from the parameters present.

    Only batch norm has weights. The official programs give a convolution a bias only where instance
    norm follows.
    """
    if f"{norm}.weight" in state:
        return "batch"
    return "instance" if f"{convolution}.bias" in state else "none"


def _unet_sizes(state: dict[str, Tensor]) -> UnetSizes:
    level, halvings = "model.model.1.model", 1
    while f"{level}.1.weight" in state:
        level, halvings = f"{level}.3.model", halvings + 1
    base_channels, in_channels = state["model.model.0.weight"].shape[:2]
    return UnetSizes(
        in_channels=in_channels,
        out_channels=state["model.model.3.weight"].shape[1],
        base_channels=base_channels,
        halvings=halvings,
        norm=_norm(state, "model.model.1.model.1", "model.model.1.model.2"),
    )


def _resnet_sizes(state: dict[str, Tensor]) -> ResnetSizes:
    block_numbers = sorted({int(m[1]) for m in _matches(r"model\.(\d+)\.conv_block\.", state)})
    if not block_numbers:
        raise ValueError("no residual blocks")
    first, last = block_numbers[0], block_numbers[-1]
    tops = {int(m[1]) for m in _matches(r"model\.(\d+)\.weight", state) if state[m[0]].dim() == 4}
    # Downsampling ends at layer 9 if strided, at 11 if anti-aliased (one more layer each). An
    # anti-aliased upsampling starts with its resampling layer, a strided one with the convolution.
    up_numbers = sorted(number for number in tops if number > last)
    head, tail = state["model.1.weight"], state[f"model.{up_numbers[-1]}.weight"]
    return ResnetSizes(
        in_channels=head.shape[1],
        out_channels=tail.shape[0],
        base_channels=head.shape[0],
        blocks=len(block_numbers),
        norm=_norm(state, "model.1", "model.2"),
        antialias_down=first == 12,
        antialias_up=up_numbers[0] == last + 2,
        dropout=f"model.{first}.conv_block.6.weight" in state
        and state[f"model.{first}.conv_block.6.weight"].dim() == 4,
    )


def _stylegan2_sizes(state: dict[str, Tensor]) -> Stylegan2GeneratorSizes:
    """Read widths and depth, and search for the training size and ngf that give these widths."""
    doublings = _matches(r"decoder\.convs\.(\d+)\.conv\.weight", state)
    plain = {int(m[1]) for m in _matches(r"decoder\.convs\.(\d+)\.conv1\.0\.weight", state)}
    first = state["encoder.convs.1.0.weight"].shape[0]
    last = state[doublings[0][0]].shape[2]
    noise = bool(_matches(r"decoder\.convs\.(\d+)\.noise\.weight", state))
    for size_px in (2**k for k in range(3, 11)):
        for base_channels in range(1, 257):
            sizes = Stylegan2GeneratorSizes(
                base_channels, size_px, len(doublings), 2 * len(plain), noise
            )
            if (sizes.widths[0], sizes.widths[-1]) == (first, last):
                return sizes
    raise ValueError(f"no training size gives the widths {first} and {last}")


def _matches(pattern: str, state: dict[str, Tensor]) -> list[re.Match]:
    found = (re.match(pattern, name) for name in state)
    return [match for match in found if match]
