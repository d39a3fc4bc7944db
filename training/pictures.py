"""Preview sheets."""

from collections.abc import Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from training.files import write_atomically

GAP_PX = 2


def sheet(rows: Sequence[Tensor]) -> Tensor:
    """Arrange rows of pictures below one another, one picture per column, on white.

    rows: tensors [B, 3, H, W] in [-1, 1], clamped here; sizes may differ between rows.
    Returns [3, height, width] in [-1, 1].
    """
    height = max(row.shape[2] for row in rows) + GAP_PX
    width = max(row.shape[3] for row in rows) + GAP_PX
    lines = []
    for row in rows:
        room = (0, width - row.shape[3], 0, height - row.shape[2])
        cells = F.pad(row.float().clamp(-1, 1), room, value=1.0)  # [B, 3, height, width]
        lines.append(torch.cat(list(cells), dim=2))
    return F.pad(torch.cat(lines, dim=1), (GAP_PX, 0, GAP_PX, 0), value=1.0)


def save_sheet(path: Path, picture: Tensor) -> None:
    """Write a sheet [3, H, W] in [-1, 1] as PNG, atomically."""
    levels = ((picture + 1) * 127.5).round().clamp(0, 255).to(torch.uint8)
    image = Image.fromarray(levels.permute(1, 2, 0).cpu().numpy())
    write_atomically(path, lambda temporary: image.save(temporary, "PNG"))
