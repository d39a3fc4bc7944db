"""How networks run: with little memory, or with few kernel launches.

On a CPU a training step is bound by arithmetic and memory, on a GPU at small batches by the number
of kernels it launches. Where the two want different forms of one function, the layers ask here;
both forms give the same numbers up to rounding.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

_forced: list[bool] = []  # innermost last


def few_launches(device: torch.device) -> bool:
    """Return whether functions on this device should launch few kernels rather than save memory."""
    return _forced[-1] if _forced else device.type == "cuda"


@contextmanager
def forced_few_launches(few: bool) -> Iterator[None]:
    """Run the block in the form of a GPU (or of a CPU) on any device: for counts and tests."""
    _forced.append(few)
    try:
        yield
    finally:
        _forced.pop()
