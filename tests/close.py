"""Comparisons of floats whose bounds hold on every processor.

Float32 sums in another order (other vector widths, other numbers of threads) differ by rounding,
which goes with the largest terms of a sum and not with its result. So an element is compared by the
scale of its whole tensor.
"""

import torch
from torch import Tensor


def error_in_scale(found: Tensor, expected: Tensor) -> float:
    """Return max |found - expected| / max |expected|, 0 for equal tensors, also of zeros."""
    assert found.shape == expected.shape
    difference = (found - expected).abs().max()
    return 0.0 if difference == 0 else (difference / expected.abs().max()).item()


def assert_close_in_scale(found: Tensor, expected: Tensor, limit: float) -> None:
    """Assert that no element differs by more than `limit` times the largest expected one."""
    assert torch.isfinite(found).all()
    error = error_in_scale(found, expected)
    assert error <= limit, f"differs by {error:.2e} of the largest value, more than {limit:.0e}"
