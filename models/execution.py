"""How networks run: saving memory or kernel launches, in which layout, compiled or not.

On a CPU a training step is bound by arithmetic and memory, on a GPU at small batches by the number
of kernels it launches. Layers that have an implementation for each call `few_launches` to choose;
both give the same numbers up to rounding.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor, nn

_forced: list[bool] = []  # innermost last


def few_launches(device: torch.device) -> bool:
    """Return whether layers on this device should save kernel launches rather than memory."""
    return _forced[-1] if _forced else device.type == "cuda"


def layout_for(device: torch.device, precision: str) -> torch.memory_format:
    """Return the memory layout of a translator's weights and pictures.

    A GPU's bf16 convolutions read channels-last; given another layout they copy before and after.
    """
    if few_launches(device) and precision == "bf16":
        return torch.channels_last
    return torch.contiguous_format


@contextmanager
def forced_few_launches(few: bool) -> Iterator[None]:
    """Override `few_launches` within the block, to count launches and to test on any device."""
    _forced.append(few)
    try:
        yield
    finally:
        _forced.pop()


@runtime_checkable
class _Encoder(Protocol):
    """A network whose inner layers are read."""

    def encode(self, x: Tensor, layers: Sequence[int]) -> list[Tensor]: ...

    def forward_with_features(
        self, x: Tensor, layers: Sequence[int]
    ) -> tuple[Tensor, list[Tensor]]: ...


def compile_network(network: nn.Module) -> None:
    """Let `torch.compile` make a program of each way to call the network, at its first use.

    Inside `eagerly` the network runs as it is.
    """
    methods = {"forward": network.forward}
    if isinstance(network, _Encoder):
        methods["encode"] = network.encode
        methods["forward_with_features"] = network.forward_with_features
    for name, method in methods.items():
        vars(network)[name] = torch.compile(method, dynamic=False)


def eagerly() -> torch.compiler.set_stance:
    """Return a context in which compiled networks run as they are.

    For passes that are differentiated twice: under torch.compile their gradients have come back
    without a graph, so that a penalty moved nothing (pytorch issues 91469, 181581, 183603). And for
    pictures of many sizes, each of which would be compiled.
    """
    return torch.compiler.set_stance("force_eager")
