"""Whether layers should save memory or kernel launches.

On a CPU a training step is bound by arithmetic and memory, on a GPU at small batches by the number
of kernels it launches. Layers that have an implementation for each call `few_launches` to choose;
both give the same numbers up to rounding.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

_forced: list[bool] = []  # innermost last


def few_launches(device: torch.device) -> bool:
    """Return whether layers on this device should save kernel launches rather than memory."""
    return _forced[-1] if _forced else device.type == "cuda"


@contextmanager
def forced_few_launches(few: bool) -> Iterator[None]:
    """Override `few_launches` within the block, to count launches and to test on any device."""
    _forced.append(few)
    try:
        yield
    finally:
        _forced.pop()
