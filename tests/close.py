"""A comparison whose limit holds on every processor.

Processors add in different orders, and each order rounds differently. What that moves is small
beside the largest value of a tensor, not beside each of its elements.
"""

from torch import Tensor


def assert_close_in_scale(actual: Tensor, expected: Tensor, relative: float) -> None:
    """Assert max |actual - expected| <= relative * max |expected|, for tensors of one shape."""
    assert actual.shape == expected.shape
    difference = (actual.double() - expected.double()).abs().max().item()
    scale = expected.double().abs().max().item()
    assert difference <= relative * scale, f"{difference:.3g} apart where values reach {scale:.3g}"


def in_float64(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return the same tensors, those of floating point as float64."""
    return {k: v.double() if v.is_floating_point() else v for k, v in tensors.items()}
