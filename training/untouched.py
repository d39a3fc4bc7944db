"""Use a network without changing its weights, statistics or spectral norm."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrize import ParametrizationList

from training.modules import frozen


@contextmanager
def untouched(network: nn.Module) -> Iterator[None]:
    """Use the network in the other network's update and keep it bitwise unchanged.

    Its weights get no gradient (gradients still flow to its inputs), running statistics are not
    updated, and spectral norm makes no iteration.
    """
    with ExitStack() as kept:
        kept.enter_context(frozen(network))
        kept.enter_context(untracked(network))
        for module in network.modules():
            if isinstance(module, ParametrizationList):
                kept.enter_context(_evaluated(module))
        yield


@contextmanager
def untracked(network: nn.Module) -> Iterator[None]:
    """Do not update running statistics; batch norm still uses those of the batch."""
    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    tracked = [norm.track_running_stats for norm in norms]
    for norm in norms:
        norm.track_running_stats = False
    try:
        yield
    finally:
        for norm, track in zip(norms, tracked, strict=True):
            norm.track_running_stats = track


def running_statistics(network: nn.Module) -> list[Tensor]:
    """Return copies of the running statistics and counters of all batch norms."""
    return [buffer.clone() for buffer in _statistics(network)]


@torch.no_grad()
def restore_unless(made: Tensor, network: nn.Module, statistics: list[Tensor]) -> None:
    """Restore what `running_statistics` returned unless `made`, a bool scalar, is true.

    Nothing synchronises with the device.
    """
    for buffer, before in zip(_statistics(network), statistics, strict=True):
        buffer.copy_(torch.where(made, buffer, before))


def _statistics(network: nn.Module) -> Iterator[Tensor]:
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            yield from module.buffers()


@contextmanager
def _evaluated(parametrization: ParametrizationList) -> Iterator[None]:
    training = parametrization.training
    parametrization.eval()
    try:
        yield
    finally:
        parametrization.train(training)
