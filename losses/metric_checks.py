"""What the metric losses ask of their arguments; each raises ValueError with name and value."""

from torch import Tensor


def check_vectors(**vectors: Tensor) -> None:
    """Refuse anything but finite floats [N, D], N > 0; to look at the values stops the device."""
    for name, rows in vectors.items():
        if rows.dim() != 2 or not rows.numel():
            raise ValueError(f"{name} {list(rows.shape)} is not [N, D] with a row or more")
        if not rows.is_floating_point():
            raise ValueError(f"{name} is {rows.dtype}, not a float")
        if not rows.isfinite().all():
            broken = int((~rows.isfinite()).any(1).sum())
            raise ValueError(f"{name}: {broken} of {len(rows)} rows hold NaN or infinity")


def check_same_shape(**vectors: Tensor) -> None:
    """Refuse vectors of unlike shapes."""
    shapes = {name: list(rows.shape) for name, rows in vectors.items()}
    if len(set(map(tuple, shapes.values()))) > 1:
        told = ", ".join(f"{name} {shape}" for name, shape in shapes.items())
        raise ValueError(f"{told}: the shapes must be equal")


def check_labels(
    labels: Tensor, rows: int, classes: int | None = None, name: str = "labels"
) -> None:
    """Refuse labels that are not integers [rows], or not in [0, classes)."""
    if labels.dim() != 1 or len(labels) != rows:
        raise ValueError(f"{name} {list(labels.shape)}: expected [{rows}], one of every embedding")
    if labels.is_floating_point() or labels.is_complex():
        raise ValueError(f"{name} are {labels.dtype}, not integers")
    if classes is not None and not ((labels >= 0) & (labels < classes)).all():
        low, high = labels.min().item(), labels.max().item()
        raise ValueError(f"{name} from {low} to {high}: expected 0 to {classes - 1}")


def check_positive(**values: float) -> None:
    """Refuse numbers that are not above 0, NaN among them."""
    for name, value in values.items():
        if not value > 0:
            raise ValueError(f"{name} {value} is not positive")
