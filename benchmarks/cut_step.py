"""Time and memory of one CUT step: ours against a literal transcription of the official step.

Same sizes, same weights, same pictures, alternating in one process; the peak memory of each in a
process of its own. Prints one line a figure and a JSON object last.

  python benchmarks/cut_step.py [--size 128] [--batch_size 1] [--rounds 9] [--preset cut|fastcut]
"""

import argparse
import json
import statistics
import subprocess
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import torch

import data
import train_cut
import training
from benchmarks.official_cut import OfficialCut
from models.official import normalize_state

SIDES = ("ours", "official")


def build(side: str, arguments: argparse.Namespace, device: torch.device):
    """Return a function that makes one step on a batch and waits for its losses."""
    if side == "official":
        mode = {"cut": "CUT", "fastcut": "FastCUT"}[arguments.preset]
        program = OfficialCut(
            ngf=arguments.channels, ndf=arguments.channels, mode=mode, seed=0, device=device
        )
        return program, lambda batch, images_seen: program.step(*batch)
    options = train_cut.Options(
        **{
            **train_cut.PRESETS[arguments.preset],
            "preset": arguments.preset,
            "crop_size": arguments.size,
            "batch_size": arguments.batch_size,
            "base_channels": arguments.channels,
            "discriminator_channels": arguments.channels,
            "precision": arguments.precision,
            "epoch_images": 1000,
        }
    )
    method = train_cut.Cut(options, device, training.Processes())

    def step(batch, images_seen):
        losses = method.step(data.TranslationBatch(*batch), images_seen)
        return {name: value.item() for name, value in losses.items()}

    return method, step


def share_weights(official, ours) -> None:
    """Give ours the weights of the official networks."""
    ours.generator.load_state_dict(normalize_state(official.netG.state_dict()))
    ours.discriminator.load_state_dict(normalize_state(official.netD.state_dict()))
    heads = official.netF.state_dict()
    ours.projector.load_state_dict({k.replace("mlp_", "heads."): v for k, v in heads.items()})


def pictures(arguments: argparse.Namespace, device: torch.device):
    """Return a source and a target batch of noise in [-1, 1]."""
    random = torch.Generator().manual_seed(0)
    shape = (arguments.batch_size, 3, arguments.size, arguments.size)
    return [(torch.rand(shape, generator=random) * 2 - 1).to(device) for _ in SIDES]


def compare_times(arguments: argparse.Namespace, device: torch.device) -> dict:
    """Alternate the two; return medians in seconds and the median ratio of neighbours."""
    (official, _), (ours, _) = built = [build(side, arguments, device) for side in reversed(SIDES)]
    share_weights(official, ours)
    steps = dict(zip(reversed(SIDES), (step for _, step in built), strict=True))
    batch = pictures(arguments, device)
    seconds = {side: [] for side in SIDES}
    for number in range(arguments.rounds + 2):  # the first two warm up
        for side in SIDES:
            started = time.perf_counter()
            steps[side](batch, number * arguments.batch_size)
            seconds[side].append(time.perf_counter() - started)
    ratios = [b / a for a, b in zip(*(seconds[side][2:] for side in SIDES), strict=True)]
    return {
        **{f"{side}_seconds": statistics.median(seconds[side][2:]) for side in SIDES},
        "speed_ratio": statistics.median(ratios),
        "speed_ratio_range": [min(ratios), max(ratios)],
    }


def peak_memory(side: str) -> float:
    """Run this file again for one side alone; return its peak memory in GB."""
    command = [sys.executable, __file__, *sys.argv[1:], "--memory_of", side]
    finished = subprocess.run(command, capture_output=True, text=True, check=True)
    return float(finished.stdout.split()[-1])


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", type=int, default=128, help="pixels of a side")
    parser.add_argument("--batch_size", type=int, default=1)
    parser.add_argument("--channels", type=int, default=64, help="width of both networks")
    parser.add_argument("--rounds", type=int, default=9, help="counted steps of each")
    parser.add_argument("--preset", choices=["cut", "fastcut"], default="cut")
    parser.add_argument("--precision", choices=["fp32", "bf16"], default="fp32", help="of ours")
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--memory_of", choices=SIDES, help="only this side's peak memory")
    arguments = parser.parse_args()
    device = torch.device(arguments.device)
    if arguments.memory_of:
        if arguments.memory_of == "official":
            import torchvision.transforms  # noqa: F401  as the official program does
        _, step = build(arguments.memory_of, arguments, device)
        for number in range(3):
            step(pictures(arguments, device), number)
        print(training.peak_memory_gb(device))
        return
    results = {f"{side}_peak_gb": peak_memory(side) for side in SIDES}
    results["memory_ratio"] = results["ours_peak_gb"] / results["official_peak_gb"]
    results |= compare_times(arguments, device)
    for name, value in results.items():
        print(f"{name:20} {value}")
    print(json.dumps({**vars(arguments), **results, "threads": torch.get_num_threads()}))


if __name__ == "__main__":
    main()
