"""The typed batches that leave this room."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from errors import UserError


class TranslationBatch(NamedTuple):
    """Pictures of two kinds: float32, NCHW, in [-1, 1]; label maps one-hot, 0 or 1."""

    source: Tensor  # [B, C, H, W]
    target: Tensor  # [B, C, H, W]


class ImageBatch(NamedTuple):
    """Pictures and the numbers of their classes."""

    images: Tensor  # float32 [B, C, H, W] in [-1, 1]
    labels: Tensor  # int64 [B]; all 0 where there are no classes


def stack_equal(pictures: Sequence[Tensor], path_at: Callable[[int], Path]) -> Tensor:
    """N pictures [C, H, W] of one size as [N, C, H, W].

    path_at: from a place among the pictures to its file. Raises `UserError`, which names two files,
    where sizes differ.
    """
    first = pictures[0]
    for place, picture in enumerate(pictures):
        if picture.shape != first.shape:
            size, other_size = (
                f"{tensor.shape[2]}x{tensor.shape[1]} px" for tensor in (first, picture)
            )
            raise UserError(
                f"{path_at(0)} ({size}) and {path_at(place)} ({other_size}) do not fit into one "
                "batch; use --batch_size 1 or a --preprocess that crops"
            )
    return torch.stack(list(pictures))


def stack_centres(pictures: Sequence[Tensor]) -> Tensor:
    """Pictures [C, H_i, W_i] cut about their centres to one size: [N, C, min H_i, min W_i]."""
    height = min(picture.shape[1] for picture in pictures)
    width = min(picture.shape[2] for picture in pictures)
    cut = []
    for picture in pictures:
        top, left = (picture.shape[1] - height) // 2, (picture.shape[2] - width) // 2
        cut.append(picture[:, top : top + height, left : left + width])
    return torch.stack(cut)
