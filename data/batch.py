"""The typed batch that leaves this room."""

from typing import NamedTuple

from torch import Tensor


class TranslationBatch(NamedTuple):
    """Pictures of two kinds: float32, NCHW, in [-1, 1]."""

    source: Tensor  # [B, C, H, W]
    target: Tensor  # [B, C, H, W]
