"""What every loss does before and after its formula: checks, precision, reduction.

Each check raises ValueError with the argument's name and value. One rule for what tensors hold: on
the CPU it is looked at, one pass over the numbers. On a GPU a look would wait for all work that is
queued, so there nothing is looked at: NaN in gives NaN out. Patches alone are looked at nowhere:
the training loop, which finds NaN in any loss and names the images and the last good checkpoint,
needs it to come out.
"""

import math
from typing import Literal

import torch
from torch import Tensor

Reduction = Literal["mean", "none"]


def looked_at(values: Tensor) -> bool:
    """Return whether checks read the values: on the CPU alone."""
    return values.device.type == "cpu"


def check_rows(*, same_width: bool = True, **rows: Tensor) -> None:
    """Refuse anything but float [N, D], N and D of 1 or more, of one width, finite."""
    for name, values in rows.items():
        if values.dim() != 2 or not values.numel():
            raise ValueError(f"{name} {list(values.shape)} is not [N, D], N and D of 1 or more")
        check_floats(name, values)
        check_finite(name, values)
    if same_width and len({values.shape[1] for values in rows.values()}) > 1:
        listed = ", ".join(f"{name} {list(values.shape)}" for name, values in rows.items())
        raise ValueError(f"{listed}: the rows must be of one length")


def check_pairs(**rows: Tensor) -> None:
    """Refuse what check_rows refuses, and rows that do not pair."""
    check_same_shape(**rows)
    check_rows(**rows)


def check_patches(queries: Tensor, keys: Tensor) -> None:
    """Refuse anything but two equal [B, P, C] of floats, not empty; NaN is let through."""
    shapes = f"{list(queries.shape)} and {list(keys.shape)}"
    if queries.shape != keys.shape or queries.dim() != 3:
        raise ValueError(f"queries and keys {shapes} are not two equal [B, P, C]")
    if not queries.numel():
        raise ValueError(f"queries and keys {shapes} are empty; give a patch or more")
    for name, values in {"queries": queries, "keys": keys}.items():
        check_floats(name, values)


def check_same_shape(**tensors: Tensor) -> None:
    """Refuse tensors of unlike shapes."""
    shapes = {name: list(values.shape) for name, values in tensors.items()}
    if len(set(map(tuple, shapes.values()))) > 1:
        listed = ", ".join(f"{name} {shape}" for name, shape in shapes.items())
        raise ValueError(f"{listed}: the shapes must be equal")


def check_floats(name: str, values: Tensor) -> None:
    """Refuse integers, booleans and complex numbers."""
    if not values.is_floating_point():
        raise ValueError(f"{name} are {values.dtype}, not floating-point numbers")


def check_finite(name: str, values: Tensor) -> None:
    """Refuse NaN and infinity, where values are looked at."""
    # A sum is the cheapest look; it may overflow, so it only raises a suspicion.
    if not looked_at(values) or values.detach().sum().isfinite():
        return
    broken = (~values.detach().isfinite()).nonzero()
    if len(broken):
        place = broken[0].tolist()
        value = values.detach()[tuple(place)].item()
        raise ValueError(f"{name} hold {value} at {place}, expected finite numbers")


def check_labels(
    labels: Tensor, rows: int, classes: int | None = None, name: str = "labels"
) -> None:
    """Refuse labels that are not integers [rows], or, where looked at, not in [0, classes)."""
    if labels.dim() != 1 or len(labels) != rows:
        raise ValueError(f"{name} {list(labels.shape)}: expected [{rows}], one of every embedding")
    if labels.is_floating_point() or labels.is_complex():
        raise ValueError(f"{name} are {labels.dtype}, not integers")
    if classes is None or not looked_at(labels):
        return
    if not ((labels >= 0) & (labels < classes)).all():
        low, high = labels.min().item(), labels.max().item()
        raise ValueError(f"{name} from {low} to {high}: expected 0 to {classes - 1}")


def check_positive(**values: float) -> None:
    """Refuse numbers that are not above 0 and finite, NaN among them."""
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
    """Return the losses of rows, or their sum over the number of rows that count."""
    if reduction not in ("mean", "none"):
        raise ValueError(f"reduction {reduction!r} is neither 'mean' nor 'none'")
    return losses if reduction == "none" else losses.sum() / counted
