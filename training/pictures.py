"""Preview sheets."""

from collections.abc import Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor
from torchvision.utils import make_grid, save_image

from training.files import write_atomically


def sheet(rows: Sequence[Tensor]) -> Tensor:
    """Lay out kinds of pictures below one another, one column a picture.

    rows: tensors [B, 3, H, W] in [-1, 1] (clamped here); smaller ones are padded with white.
    Returns [3, height, width] in [-1, 1].
    """
    height = max(row.shape[2] for row in rows)
    width = max(row.shape[3] for row in rows)
    cells = [
        F.pad(row.float(), (0, width - row.shape[3], 0, height - row.shape[2]), value=1)
        for row in rows
    ]
    return make_grid(torch.cat(cells).clamp(-1, 1), nrow=len(rows[0]), padding=2, pad_value=1.0)


def save_sheet(path: Path, picture: Tensor) -> None:
    """Write a sheet [3, H, W] in [-1, 1] as PNG, whole or not at all."""
    unit = (picture + 1) / 2
    write_atomically(path, lambda temporary: save_image(unit, temporary, format="png"))
