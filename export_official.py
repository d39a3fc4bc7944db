"""Write a trained generator as a .pth state dict for the official programs.

Reads what translate.py reads. The official CycleGAN, pix2pix and CUT programs load the file as
checkpoints/NAME/latest_net_G.pth, with the options (--netG, --norm, ...) of its architecture.
"""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import models
import training
from commands import cli
from errors import UserError


@dataclass(frozen=True)
class Options:
    """Every option of this command."""

    checkpoint: Path
    """Run folder, .safetensors file, or official .pth."""
    output: Path
    """File (.pth) to write."""
    direction: Literal["a2b", "b2a"] | None = None
    """For a run that learns both ways: the generator from A to B or from B to A."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Read the generator and write it under the official names."""
    options = cli.parse(Options, arguments)
    check_output(options.output, options.checkpoint)
    network = models.load_generator(options.checkpoint, "--checkpoint", options.direction).network
    training.write_output(
        options.output, "--output", lambda temporary: models.save_official(temporary, network)
    )
    print(
        f"{models.describe(network)}: written to {options.output}; the official programs read it "
        f"with {models.official_options(network)}",
        file=sys.stderr,
    )


def check_output(path: Path, checkpoint: Path) -> None:
    """Raise UserError where the file would be no .pth or would replace the checkpoint."""
    if path.suffix.lower() != ".pth":
        raise UserError(f"--output {path}: the official programs read .pth; end it with .pth")
    if path.is_dir():
        raise UserError(f"--output {path}: is a folder; name a file")
    if path.resolve() == checkpoint.resolve():
        raise UserError(f"--output {path}: would replace the checkpoint; name another place")


if __name__ == "__main__":
    cli.run(main)
