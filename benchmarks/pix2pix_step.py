"""Time and memory of one pix2pix step: ours against a transcription of the official step.

Same sizes, same pictures, alternating in one process; the peak memory of each in a process of its
own. Prints one figure per line and a JSON object last.

  python benchmarks/pix2pix_step.py [--size 256] [--batch_size 1] [--rounds 9]
"""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import torch

import train_pix2pix
import training
from benchmarks import steps
from benchmarks.official_pix2pix import OfficialPix2Pix


def ours(arguments: argparse.Namespace, device: torch.device) -> steps.Step:
    """Build our method."""
    options = train_pix2pix.Options(**steps.option_values(arguments))
    return steps.step_of(train_pix2pix.Pix2Pix(options, device, training.Processes()))


def official(arguments: argparse.Namespace, device: torch.device) -> steps.Step:
    """Build the transcription."""
    width = arguments.channels
    program = OfficialPix2Pix(ngf=width, ndf=width, seed=0, device=device)
    return lambda batch, _images_seen: program.step(*batch)


if __name__ == "__main__":
    parser = steps.parser(__doc__.splitlines()[0])
    parser.set_defaults(size=256)
    steps.run(parser.parse_args(), {"ours": ours, "official": official})
