"""Time and memory of one CycleGAN step: ours against a transcription of the official step.

Same sizes, same pictures, alternating in one process; the peak memory of each in a process of its
own. Prints one figure per line and a JSON object last.

  python benchmarks/cyclegan_step.py [--size 128] [--batch_size 1] [--rounds 9]
"""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import torch

import train_cyclegan
import training
from benchmarks import steps
from benchmarks.official_cyclegan import OfficialCycleGan


def ours(arguments: argparse.Namespace, device: torch.device) -> steps.Step:
    """Build our method."""
    options = train_cyclegan.Options(**steps.option_values(arguments))
    return steps.step_of(train_cyclegan.CycleGan(options, device, training.Processes()))


def official(arguments: argparse.Namespace, device: torch.device) -> steps.Step:
    """Build the transcription."""
    width = arguments.channels
    program = OfficialCycleGan(ngf=width, ndf=width, seed=0, device=device)
    return lambda batch, _images_seen: program.step(*batch)


if __name__ == "__main__":
    steps.run(
        steps.parser(__doc__.splitlines()[0]).parse_args(), {"ours": ours, "official": official}
    )
