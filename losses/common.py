"""Shared by all losses: input checks, precision, reduction.

Each check raises ValueError with the argument's name and value. The values of tensors are checked
on the CPU, in one pass. On a GPU that would synchronise with the device, so values are not checked
there: NaN in gives NaN out. Patches are checked on neither: the training loop, which detects NaN in
any loss and reports the images and the last good checkpoint, needs it to come out.
"""

import math
from typing import Literal

import torch
from torch import Tensor

Reduction = Literal["mean", "none"]


def values_are_checked(values: Tensor) -> bool:
    """Return whether the checks read tensor values, which they do on the CPU only."""
    return values.device.type == "cpu"


def check_rows(*, same_width: bool = True, **rows: Tensor) -> None:
    """Raise unless all are float [N, D], N and D at least 1, of equal width, finite."""
    for name, values in rows.items():
        if values.dim() != 2 or not values.numel():
            raise ValueError(f"{name} {list(values.shape)} is not [N, D], N and D at least 1")
        check_floats(name, values)
        check_finite(name, values)
    if same_width and len({values.shape[1] for values in rows.values()}) > 1:
        listed = ", ".join(f"{name} {list(values.shape)}" for name, values in rows.items())
        raise ValueError(f"{listed}: the widths must be equal")


def check_pairs(**rows: Tensor) -> None:
    """Raise as check_rows does, and for unequal numbers of rows."""
    check_same_shape(**rows)
    check_rows(**rows)


def check_patches(queries: Tensor, keys: Tensor) -> None:
    """Raise unless both are float [B, P, C] of the same shape and not empty; NaN is accepted."""
    shapes = f"{list(queries.shape)} and {list(keys.shape)}"
    if queries.shape != keys.shape or queries.dim() != 3:
        raise ValueError(f"queries and keys {shapes} are not [B, P, C] of the same shape")
    if not queries.numel():
        raise ValueError(f"queries and keys {shapes} are empty; give at least one patch")
    for name, values in {"queries": queries, "keys": keys}.items():
        check_floats(name, values)


def check_same_shape(**tensors: Tensor) -> None:
    """Raise for tensors of different shapes."""
    shapes = {name: list(values.shape) for name, values in tensors.items()}
    if len(set(map(tuple, shapes.values()))) > 1:
        listed = ", ".join(f"{name} {shape}" for name, shape in shapes.items())
        raise ValueError(f"{listed}: the shapes must be equal")


def check_floats(name: str, values: Tensor) -> None:
    """Raise for integers, booleans and complex numbers."""
    if not values.is_floating_point():
        raise ValueError(f"{name} are {values.dtype}, not floating-point numbers")


def check_finite(name: str, values: Tensor) -> None:
    """Raise for NaN and infinity, on the CPU only."""
    # A sum is the cheapest test; since it may overflow, a hit is verified.
    if not values_are_checked(values) or values.detach().sum().isfinite():
        return
    broken = (~values.detach().isfinite()).nonzero()
    if len(broken):
        place = broken[0].tolist()
        value = values.detach()[tuple(place)].item()
        raise ValueError(f"{name} hold {value} at {place}, expected finite numbers")


def check_labels(
    labels: Tensor, rows: int, classes: int | None = None, name: str = "labels"
) -> None:
    """Raise for labels that are not integers [rows] or, on the CPU, not in [0, classes)."""
    if labels.dim() != 1 or len(labels) != rows:
        raise ValueError(f"{name} {list(labels.shape)}: expected [{rows}], one per embedding")
    if labels.is_floating_point() or labels.is_complex():
        raise ValueError(f"{name} are {labels.dtype}, not integers")
    if classes is None or not values_are_checked(labels):
        return
    if not ((labels >= 0) & (labels < classes)).all():
        low, high = labels.min().item(), labels.max().item()
        raise ValueError(f"{name} from {low} to {high}: expected 0 to {classes - 1}")


def check_positive(**values: float) -> None:
    """Raise for numbers that are not finite and above 0, including NaN."""
    for name, value in values.items():
        if not 0 < value < math.inf:
            raise ValueError(f"{name} {value}: expected a finite number above 0")


def single_precision(x: Tensor) -> Tensor:
    """Return half-precision numbers as float32, all others as they are."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


def common_precision(first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
    """Return both in the wider of their dtypes, float32 or better, for a matrix product."""
    dtype = torch.promote_types(torch.promote_types(first.dtype, second.dtype), torch.float32)
    return first.to(dtype), second.to(dtype)


def reduced(losses: Tensor, counted: Tensor | int, reduction: Reduction) -> Tensor:
    """Return the losses per row, or their sum divided by the number of rows that count."""
    if reduction not in ("mean", "none"):
        raise ValueError(f"reduction {reduction!r} is neither 'mean' nor 'none'")
    return losses if reduction == "none" else losses.sum() / counted
