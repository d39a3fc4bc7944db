"""Time of one CUT step with each patch loss, relative to that with PatchNCE.

Same networks, same pictures, alternating in one process. A ratio is the median over the rounds of a
step's time, divided by that of the step with PatchNCE in the same round. Prints one figure per line
and a JSON object last.

  python benchmarks/patch_losses.py [--size 128] [--batch_size 1] [--rounds 9]
      [--only cut_monce cut_qs]
"""

import argparse
import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import torch

import data
import train_cut
import training
from benchmarks import steps
from benchmarks.alternating import alternate, compared

BASELINE = "patch_nce"
# Name -> preset, options that differ from it.
ROWS = {
    BASELINE: ("cut", {}),
    "cut_monce": ("cut_monce", {}),
    "cut_hneg": ("cut_hneg", {}),
    "hdce": ("cut", {"patch_loss": "hdce"}),
    "decoupled": ("cut", {"patch_loss": "decoupled"}),
    "cut_qs": ("cut_qs", {}),
}


def build(name: str, arguments: argparse.Namespace, device: torch.device) -> steps.Step:
    """Build the method of one row."""
    preset, differing = ROWS[name]
    values = {**train_cut.PRESETS[preset], "preset": preset, **differing}
    options = train_cut.Options(**{**values, **steps.option_values(arguments)})
    return steps.step_of(train_cut.Cut(options, device, training.Processes()))


def noise(arguments: argparse.Namespace, device: torch.device) -> data.TranslationBatch:
    """Return two batches of noise in [-1, 1]."""
    random = torch.Generator().manual_seed(0)
    shape = (2, arguments.batch_size, 3, arguments.size, arguments.size)
    return data.TranslationBatch(*(torch.rand(shape, generator=random) * 2 - 1).to(device))


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", type=int, default=128, help="pixels of a side")
    parser.add_argument("--batch_size", type=int, default=1)
    parser.add_argument("--channels", type=int, default=64, help="width of all networks")
    parser.add_argument("--rounds", type=int, default=9, help="timed steps of each")
    parser.add_argument("--precision", choices=["fp32", "bf16"], default="fp32")
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--only", nargs="+", choices=ROWS, default=list(ROWS), help="these rows")
    arguments = parser.parse_args()
    device = torch.device(arguments.device)
    batch = noise(arguments, device)
    built = {
        name: build(name, arguments, device) for name in dict.fromkeys([BASELINE, *arguments.only])
    }
    actions = {
        name: lambda number, step=step: step(batch, number * arguments.batch_size)
        for name, step in built.items()
    }
    results = compared(alternate(actions, arguments.rounds, warm_ups=2), BASELINE)
    for name, value in results.items():
        print(f"{name:24} {value}")
    print(json.dumps({**vars(arguments), **results, "threads": torch.get_num_threads()}))


if __name__ == "__main__":
    main()
