"""Time and memory of one CUT step: ours against a literal transcription of the official step.

Same sizes, same pictures, alternating in one process; the peak memory of each in a process of its
own. Prints one figure per line and a JSON object last. Presets with another patch loss (cut_monce,
cut_hneg, cut_qs) are compared with the official CUT.

  python benchmarks/cut_step.py [--size 128] [--batch_size 1] [--rounds 9] [--preset cut]
"""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import torch

import train_cut
import training
from benchmarks import steps
from benchmarks.official_cut import OfficialCut


def ours(arguments: argparse.Namespace, device: torch.device) -> steps.Step:
    """Build our method."""
    preset = {**train_cut.PRESETS[arguments.preset], "preset": arguments.preset}
    options = train_cut.Options(**{**preset, **steps.option_values(arguments)})
    return steps.step_of(train_cut.Cut(options, device, training.Processes()))


def official(arguments: argparse.Namespace, device: torch.device) -> steps.Step:
    """Build the transcription."""
    mode = "FastCUT" if arguments.preset == "fastcut" else "CUT"
    width = arguments.channels
    program = OfficialCut(ngf=width, ndf=width, mode=mode, seed=0, device=device)
    return lambda batch, _images_seen: program.step(*batch)


if __name__ == "__main__":
    parser = steps.parser(__doc__.splitlines()[0])
    presets = ["cut", "fastcut", "cut_monce", "cut_hneg", "cut_qs"]
    parser.add_argument("--preset", choices=presets, default="cut")
    steps.run(parser.parse_args(), {"ours": ours, "official": official})
