"""A network that is used and not changed."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from torch import nn
from torch.nn.utils.parametrize import ParametrizationList

from training.modules import frozen


@contextmanager
def untouched(network: nn.Module) -> Iterator[None]:
    """Let the network serve the other player's update, itself bitwise unchanged.

    Its weights get no gradient (those of its inputs still flow), running statistics stay as they
    are while batch norm goes on to use the batch's own, and spectral norm makes no iteration.
    """
    with ExitStack() as kept:
        kept.enter_context(frozen(network))
        for module in network.modules():
            if isinstance(module, nn.BatchNorm2d):
                kept.enter_context(_without_tracking(module))
            elif isinstance(module, ParametrizationList):
                kept.enter_context(_evaluated(module))
        yield


@contextmanager
def _without_tracking(norm: nn.BatchNorm2d) -> Iterator[None]:
    tracked, norm.track_running_stats = norm.track_running_stats, False
    try:
        yield
    finally:
        norm.track_running_stats = tracked


@contextmanager
def _evaluated(parametrization: ParametrizationList) -> Iterator[None]:
    training = parametrization.training
    parametrization.eval()
    try:
        yield
    finally:
        parametrization.train(training)
