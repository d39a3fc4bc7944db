"""Write a trained generator for other programs: as ONNX, for PyTorch alone, or as official .pth.

Reads what translate.py and generate.py read. onnx and torch_export hold the network with its
padding, cropping and clamping, so that they compute what our commands compute; both are run beside
our network at ten sizes and two batch sizes before the file is written. official is a state dict
for the official CycleGAN, pix2pix and CUT programs, which load it as
checkpoints/NAME/latest_net_G.pth with the options (--netG, --norm, ...) of its architecture.
"""

import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from rich.console import Console

import models
import training
from commands import cli, exporting
from commands.options import check_least
from errors import PairlessError, UserError

LIMIT, FP16_LIMIT = 1e-4, 2e-2  # of differences, for values in [-1, 1]
RUNNERS = {"onnx": "onnxruntime", "torch_export": "the loaded program"}


@dataclass(frozen=True)
class Options:
    """Every option of this command."""

    checkpoint: Path
    """Run folder, .safetensors file, or official .pth."""
    output: Path
    """File to write: .onnx, .pt2 (torch_export) or .pth (official)."""
    format: Literal["onnx", "torch_export", "official"] = "onnx"
    """onnx: for onnxruntime and others; torch_export: a program that PyTorch loads without our
    code; official: a state dict for the official programs, of translators only."""
    direction: Literal["a2b", "b2a"] | None = None
    """For a CycleGAN run: which of its generators, from A to B or from B to A."""
    uint8: bool = False
    """Pictures as bytes [batch, height, width, channels] in and out, instead of float32 [batch,
    channels, height, width] in [-1, 1]."""
    fp16: bool = False
    """Weights and arithmetic in float16; inputs and outputs stay as they are."""
    limit: float | None = None
    """Largest difference from our network that is accepted, for values in [-1, 1]; by default 1e-4,
    with --fp16 2e-2."""
    compare_px: int = 128
    """Side in pixels around which the sizes lie at which a translator is compared."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Read the generator, write it in the format, and compare the two."""
    options = cli.parse(Options, arguments)
    check(options)
    if options.format == "official":
        write_official(options)
        return
    exporting.check_packages(options.format)
    saved = models.read_saved(options.checkpoint, "--checkpoint", options.direction)
    program = program_of(saved, options)
    training.write_output(
        options.output, "--output", lambda temporary: write_checked(temporary, program, options)
    )
    size = f"{options.output.stat().st_size / 1e6:.1f} MB"
    opset = f", opset {exporting.OPSET}" if options.format == "onnx" else ""
    name = models.describe(saved.network)
    print(f"{name}: written to {options.output} ({size}{opset})", file=sys.stderr)
    print("\n".join(program.words), file=sys.stderr)


def check(options: Options) -> None:
    """Raise UserError for an output that does not fit, and for options that do not go together."""
    path, ending = options.output, exporting.ENDINGS[options.format]
    if path.suffix.lower() != ending:
        raise UserError(f"--output {path}: end it with {ending}, as --format {options.format} does")
    if path.is_dir():
        raise UserError(f"--output {path}: is a folder; give a file")
    if path.resolve() == options.checkpoint.resolve():
        raise UserError(f"--output {path}: would replace the checkpoint; give another path")
    check_least(options, compare_px=16)
    if options.limit is not None and not 0 < options.limit < math.inf:
        raise UserError(f"--limit {options.limit}: give a number above 0")
    if options.format == "official":
        for name in ("uint8", "fp16"):
            if vars(options)[name]:
                raise UserError(f"--{name}: official files hold float32 weights only; leave it out")


def write_official(options: Options) -> None:
    """Write the generator's weights with the official parameter names."""
    network = models.load_generator(
        options.checkpoint, "--checkpoint", options.direction, "use --format onnx or torch_export"
    ).network
    training.write_output(
        options.output, "--output", lambda temporary: models.save_official(temporary, network)
    )
    print(
        f"{models.describe(network)}: written to {options.output}; the official programs read it "
        f"with {exporting.official_options(network)}",
        file=sys.stderr,
    )


def program_of(saved: models.SavedGenerator, options: Options) -> exporting.Program:
    """Return the program of a translator or of a generator from noise."""
    kind = {"uint8": options.uint8, "fp16": options.fp16}
    if not models.makes_from_noise(saved):
        return exporting.translator_program(saved, side_px=options.compare_px, **kind)
    sampler = models.sampler_of(saved, options.checkpoint, "--checkpoint")
    return exporting.sampler_program(sampler, options.checkpoint, **kind)


def write_checked(path: Path, program: exporting.Program, options: Options) -> None:
    """Write a program to `path` and compare it with our network; PairlessError if they differ."""
    exporting.write_program(path, program, options.format)
    exported = exporting.open_program(path, options.format)
    found = list(exporting.compare(program, exported))
    unit = "grey levels" if options.uint8 else "values of -1 to 1"
    Console().print(exporting.table(found, program.varied, RUNNERS[options.format], unit))
    limit = options.limit or (FP16_LIMIT if options.fp16 else LIMIT)
    allowed = math.ceil(limit * 255 / 2) if options.uint8 else limit
    worst = max(found, key=lambda row: math.inf if math.isnan(row.difference) else row.difference)
    if not worst.difference <= allowed:
        raise PairlessError(
            f"--output {options.output}: not written, since it differs from our network by "
            f"{worst.difference:.2g} ({unit}) at {program.varied} {worst.case}, batch "
            f"{worst.batch}, and {allowed:g} is allowed; see --limit"
        )


if __name__ == "__main__":
    cli.run(main)
