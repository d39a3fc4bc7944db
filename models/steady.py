"""Instance norms whose statistics are averaged over the frames of a film, against flicker."""

from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from models.fused_norm import EPS
from models.normalization import InstanceNorm, InstanceNormReLU, single_precision


@contextmanager
def steady_norms(network: nn.Module, frames: int) -> Iterator[None]:
    """Let the instance norms of a network use the mean statistics of the last `frames` frames.

        y = (x - m) / sqrt(v + 1e-5),  m and v: the means over the last frames of their means and
        (biased) variances over H, W, each [C]

    The frame itself is the last of them; at the start there are fewer. For one frame a pass, in
    order. With `frames` 1 nothing is changed. Afterwards the norms are as before. Raises
    ValueError for `frames` below 1.
    """
    if frames < 1:
        raise ValueError(f"frames {frames}: below 1")
    norms = [module for module in network.modules() if isinstance(module, InstanceNorm)]
    norms = norms if frames > 1 else []
    for norm in norms:
        steady = _SteadyNorm(frames, isinstance(norm, InstanceNormReLU))
        vars(norm).update(forward=steady, add_to=steady.add_to)
    try:
        yield
    finally:
        for norm in norms:
            del vars(norm)["forward"], vars(norm)["add_to"]


def has_instance_norms(network: nn.Module) -> bool:
    """Return whether `steady_norms` changes anything in this network."""
    return any(isinstance(module, InstanceNorm) for module in network.modules())


class _SteadyNorm:
    """The function of one norm, and the statistics of the last frames."""

    def __init__(self, frames: int, relu: bool):
        self.relu = relu
        self.means: deque[Tensor] = deque(maxlen=frames)
        self.variances: deque[Tensor] = deque(maxlen=frames)

    def __call__(self, x: Tensor) -> Tensor:
        """Normalise one frame, [1, C, H, W]."""
        if len(x) != 1:
            raise ValueError(f"a batch of {len(x)}: give one frame at a time")
        wide = single_precision(x)
        variance, mean = torch.var_mean(wide, (2, 3), correction=0, keepdim=True)
        self.means.append(mean)
        self.variances.append(variance)
        mean, variance = (sum(kept) / len(kept) for kept in (self.means, self.variances))
        y = (wide - mean) * (variance + EPS).rsqrt()
        return (y.relu_() if self.relu else y).to(x.dtype)

    def add_to(self, residual: Tensor, x: Tensor) -> Tensor:
        """Return residual + self(x)."""
        return residual + self(x)
