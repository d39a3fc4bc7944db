"""What is exported: a module, what it takes and gives, and our own form of the same function."""

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.export import Dim

LEVELS = 255
BATCH = Dim("batch", min=1)


@dataclass(frozen=True)
class Program:
    """A module to export.

    inputs, output: their names in the file. example: arguments of `module` of a batch above 1, to
    be exported with. dynamic: for each argument its dimensions that may have any size.
    ours: the same function as the other commands compute it, in float32. cases: returns for a batch
    size the arguments to compare both at, by name; varied: what the names say. about: JSON values
    to store in the file. words: the inputs and the output, to be printed.
    """

    module: nn.Module
    inputs: tuple[str, ...]
    output: str
    example: tuple[Tensor, ...]
    dynamic: tuple[dict[int, Dim], ...]
    ours: Callable[..., Tensor]
    cases: Callable[[int], Mapping[str, tuple[Tensor, ...]]]
    varied: str
    about: Mapping[str, object]
    words: Sequence[str]


def for_inference(network: nn.Module, fp16: bool) -> nn.Module:
    """Return a copy of a network in eval mode without gradients, with float16 weights if `fp16`."""
    network = copy.deepcopy(network).eval().requires_grad_(False)
    return network.half() if fp16 else network


def as_bytes(pictures: Tensor) -> Tensor:
    """Return float [B, C, H, W] in [-1, 1] as uint8 [B, H, W, C], rounded as in PNG files."""
    levels = (pictures + 1).mul(LEVELS / 2).round()
    return levels.to(torch.uint8).permute(0, 2, 3, 1)
