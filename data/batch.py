"""The typed batch that leaves this room."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor


class TranslationBatch(NamedTuple):
    """Pictures of two kinds: float32, NCHW, in [-1, 1]; label maps one-hot, 0 or 1."""

    source: Tensor  # [B, C, H, W]
    target: Tensor  # [B, C, H, W]


def stack_centres(pictures: Sequence[Tensor]) -> Tensor:
    """Pictures [C, H_i, W_i] cut about their centres to one size: [N, C, min H_i, min W_i]."""
    height = min(picture.shape[1] for picture in pictures)
    width = min(picture.shape[2] for picture in pictures)
    cut = []
    for picture in pictures:
        top, left = (picture.shape[1] - height) // 2, (picture.shape[2] - width) // 2
        cut.append(picture[:, top : top + height, left : left + width])
    return torch.stack(cut)
