"""Write a trained generator as a .pth state dict for the official programs.

Reads what translate.py reads. The official CycleGAN, pix2pix and CUT programs load the file as
checkpoints/NAME/latest_net_G.pth, with the options (--netG, --norm, ...) of its architecture.
"""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from torch import nn

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
    """For a CycleGAN run: which of its generators, from A to B or from B to A."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Read the generator and write it with the official parameter names."""
    options = cli.parse(Options, arguments)
    check_output(options.output, options.checkpoint)
    network = models.load_generator(options.checkpoint, "--checkpoint", options.direction).network
    training.write_output(
        options.output, "--output", lambda temporary: models.save_official(temporary, network)
    )
    print(
        f"{models.describe(network)}: written to {options.output}; the official programs read it "
        f"with {official_options(network)}",
        file=sys.stderr,
    )


def check_output(path: Path, checkpoint: Path) -> None:
    """Raise UserError if the file is not a .pth or would replace the checkpoint."""
    if path.suffix.lower() != ".pth":
        raise UserError(f"--output {path}: the official programs read .pth files; end it with .pth")
    if path.is_dir():
        raise UserError(f"--output {path}: is a folder; give a file")
    if path.resolve() == checkpoint.resolve():
        raise UserError(f"--output {path}: would replace the checkpoint; give another path")


def official_options(network: nn.Module) -> str:
    """Return the options with which the official programs build this generator."""
    sizes = network.sizes
    words = [f"--ngf {sizes.base_channels}"]
    if isinstance(network, models.Stylegan2Generator):
        small = "" if sizes.inject_noise else "small"
        return f"--netG {small}stylegan2 {words[0]} --crop_size {sizes.size_px}"
    words += [f"--input_nc {sizes.in_channels}", f"--output_nc {sizes.out_channels}"]
    if isinstance(network, models.UnetGenerator):
        words.insert(0, f"--netG unet_{2**sizes.halvings} --norm {sizes.norm}")
        words.append("(only unet_128 and unet_256 exist there)" * (sizes.halvings not in (7, 8)))
        return " ".join(words).rstrip()
    words.insert(0, f"--netG resnet_{sizes.blocks}blocks --norm {sizes.norm}")
    words += ["--no_dropout"] * (not sizes.dropout)
    if sizes.antialias_down or sizes.antialias_up:
        words += ["--no_antialias"] * (not sizes.antialias_down)
        words += ["--no_antialias_up"] * (not sizes.antialias_up)
        words = [word.replace("--norm", "--normG") for word in words] + ["(CUT's program)"]
    return " ".join(words)


if __name__ == "__main__":
    cli.run(main)
