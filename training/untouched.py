"""Networks that are used and not changed, or not changed for the worse."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrize import ParametrizationList

from training.modules import frozen


@contextmanager
def untouched(network: nn.Module) -> Iterator[None]:
    """Let the network serve the other player's update, itself bitwise unchanged.

    Its weights get no gradient (those of its inputs still flow), running statistics stay as they
    are, and spectral norm makes no iteration.
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
    """Keep running statistics as they are, while batch norm goes on to use the batch's own."""
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
    """Give back what `running_statistics` returned unless `made`, a scalar of bool, is true.

    Nothing waits for the device.
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
