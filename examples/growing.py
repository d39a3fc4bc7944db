"""Draw how a progressive GAN grew: the same latents at each resolution, from a run's previews.

$ python examples/growing.py --run_dir runs/growing --output growing.png

Each row shows the first row of fakes of the last preview before the next resolution began to fade
in. All rows are enlarged to the largest resolution.
"""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # the packages are one folder above

import torch
import torch.nn.functional as F
from torch import Tensor

import data
import training
from commands import cli
from commands.gan.images import PREVIEW_SIDE
from errors import UserError
from training.pictures import GAP_PX


@dataclass(frozen=True)
class Options:
    """Every option of this command."""

    run_dir: Path
    """Run folder of train_gan.py with progressive networks, up to 256 px."""
    output: Path = Path("growing.png")
    """Picture to write (.png)."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Read the previews, write the strip."""
    options = cli.parse(Options, arguments)
    rows = list(last_rows(options.run_dir).values())
    largest = max(row.shape[3] for row in rows)
    enlarged = [F.interpolate(row, size=largest) for row in rows]
    training.write_output(
        options.output,
        "--output",
        lambda path: training.save_sheet(path, training.sheet(enlarged)),
    )
    sides = ", ".join(f"{row.shape[3]}" for row in rows)
    print(f"{options.output}: the same latents at {sides} px")


def last_rows(run_dir: Path) -> dict[int, Tensor]:
    """Return by resolution in pixels the first row of fakes [8, 3, S, S] of its last preview."""
    files = sorted((run_dir / "previews").glob("*.png"))
    if not files:
        raise UserError(f"--run_dir {run_dir}: holds no previews; give a run of train_gan.py")
    rows = {}
    for path in files:
        try:
            row = second_row(data.to_tensor(data.decode_image(path)))
        except data.UnreadableImageError as error:
            raise UserError(f"--run_dir {run_dir}: {error}; remove this preview") from error
        rows[row.shape[3]] = row
    return rows


def second_row(sheet: Tensor) -> Tensor:
    """Return the second row of pictures of a preview sheet [3, H, W], below the reals."""
    cell = (sheet.shape[2] - GAP_PX) // PREVIEW_SIDE
    row = sheet[:, GAP_PX + cell : 2 * cell, GAP_PX:]
    return torch.stack([part[..., :-GAP_PX] for part in row.split(cell, 2)])


if __name__ == "__main__":
    cli.run(main)
