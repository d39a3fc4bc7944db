"""Inputs of generators and discriminators: checks of shapes, one-hot labels."""

import torch
from torch import Tensor


def is_power_of_two(side_px: int, smallest_px: int) -> bool:
    """Return whether a picture's side is a power of two and at least `smallest_px`."""
    return side_px >= smallest_px and not side_px & (side_px - 1)


def check_side(size_px: int, smallest_px: int) -> None:
    """Raise ValueError unless a picture's side is a power of two and at least `smallest_px`."""
    if not is_power_of_two(size_px, smallest_px):
        allowed = ", ".join(str(smallest_px << doubling) for doubling in range(4))
        raise ValueError(f"{size_px} px: not a power of two from {smallest_px} up ({allowed}, ...)")


def check_counts(**counts: int) -> None:
    """Raise ValueError if one of the counts, of channels or layers, is below 1."""
    for name, count in counts.items():
        if count < 1:
            raise ValueError(f"{name} {count}: below 1")


def check_latents(latents: Tensor, channels: int) -> None:
    """Raise ValueError unless latents are [B, channels]."""
    if latents.dim() != 2 or latents.shape[1] != channels:
        raise ValueError(f"latents {tuple(latents.shape)}: this generator takes [B, {channels}]")


def check_pictures(pictures: Tensor, channels: int, size_px: int) -> None:
    """Raise ValueError unless pictures are [B, channels, size_px, size_px]."""
    if pictures.dim() != 4 or pictures.shape[1:] != (channels, size_px, size_px):
        raise ValueError(
            f"pictures {tuple(pictures.shape)}: this discriminator takes [B, {channels}, "
            f"{size_px}, {size_px}] here"
        )


def check_labels(labels: Tensor | None, classes: int, batch: int) -> None:
    """Raise ValueError unless labels are int64 [batch], or None where there are no classes.

    The values are not checked, which would synchronise with the device: the lookup that follows
    refuses a class out of range (IndexError on the CPU, a device-side assert on CUDA).
    """
    if labels is None:
        if classes:
            raise ValueError(f"this network has {classes} classes and needs labels [B]")
        return
    if not classes:
        raise ValueError("this network is unconditional and takes no labels")
    if labels.dtype != torch.int64 or labels.shape != (batch,):
        raise ValueError(
            f"labels {labels.dtype} {tuple(labels.shape)}: give int64 class indices, [{batch}]"
        )


def with_one_hot(x: Tensor, labels: Tensor | None, classes: int) -> Tensor:
    """Return x concatenated with its one-hot label, `classes` further channels.

    x: [B, C] or [B, C, H, W]; labels: int64 [B] in 0 .. classes - 1, None if `classes` is 0.
    Returns [B, C + classes] or [B, C + classes, H, W], the label repeated at every pixel; x itself
    if there are no classes. Source: Mirza and Osindero 2014, section 3.2.

    Raises ValueError as `check_labels` does.
    """
    check_labels(labels, classes, x.shape[0])
    if labels is None:
        return x
    rows = torch.eye(classes, dtype=x.dtype, device=x.device).index_select(0, labels)
    rows = rows.view(x.shape[0], classes, *[1] * (x.dim() - 2))
    return torch.cat([x, rows.expand(-1, -1, *x.shape[2:])], 1)
