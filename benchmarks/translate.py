"""Pictures that translate.py translates per second, against the official test.py's way.

  python benchmarks/translate.py [--width 64] [--pictures 200] [--rounds 3] [--device cpu]

Drawn JPEGs of 256 px are translated by CycleGAN's generator (resnet_9blocks) with --width base
channels (the papers' ngf) and random weights, the same for all: by a transcription of test.py
(official_translate.py), by translate.py with --batch_size 1, and with --batch_size auto. Rounds
alternate, after one of warm-up on a few pictures. Prints medians in pictures per second, ratios to
the official way, processor seconds for a picture (of all processes, as long as OpenMP's threads do
not spin: with OMP_NUM_THREADS=1), and the largest difference of the written pictures in grey
levels, as JSON. The official program truncates to 8 bits and ours rounds, so 1 is the least that
can be expected.
"""

import argparse
import contextlib
import json
import os
import shutil
import statistics
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import numpy as np
import torch
from PIL import Image

import translate
from benchmarks import official_translate
from benchmarks.alternating import alternate, compared
from benchmarks.data import draw
from benchmarks.official_cut import instance_norm
from benchmarks.official_cyclegan import ResnetGenerator
from benchmarks.official_networks import initialise

SIZE_PX = 256
WARM_UP = 2  # pictures


def ours(checkpoint: Path, output: Path, device: str, batch_size: str, folder: Path) -> None:
    """Translate a folder by the command."""
    arguments = ["--checkpoint", checkpoint, "--input", folder, "--output", output]
    arguments += ["--batch_size", batch_size, "--device", device]
    with open(os.devnull, "w") as nowhere, contextlib.redirect_stderr(nowhere):
        translate.main([str(argument) for argument in arguments])


def largest_difference(official: Path, own: Path) -> int:
    """Return the largest difference of two folders' translations in grey levels."""
    found = 0
    for path in own.iterdir():
        one, other = (
            np.asarray(Image.open(file)).astype(int)
            for file in (path, official / f"{path.stem}_fake.png")
        )
        found = max(found, int(np.abs(one - other).max()))
    return found


def measure(width: int, pictures: int, rounds: int, device: str) -> dict[str, object]:
    """Return pictures per second and ratios."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        files = draw(folder / "pictures", pictures, SIZE_PX)
        (folder / "few").mkdir()
        for path in files[:WARM_UP]:
            shutil.copy(path, folder / "few")
        network = ResnetGenerator(width, instance_norm).eval()
        initialise(network, torch.Generator().manual_seed(0))
        torch.save(network.state_dict(), folder / "latest_net_G.pth")
        network.to(device)

        def official(source: Path) -> None:
            official_translate.run(network, source, folder / "official", SIZE_PX, device)

        ways = {"official": official}
        for batch_size in ("1", "auto"):
            ways[batch_size] = partial(
                ours, folder / "latest_net_G.pth", folder / batch_size, device, batch_size
            )
        for way in ways.values():
            way(folder / "few")
        used: dict[str, list[float]] = {name: [] for name in ways}

        def timed(name: str) -> Callable[[int], None]:
            def run(_: int) -> None:
                before = sum(os.times()[:4])
                ways[name](folder / "pictures")
                used[name].append(sum(os.times()[:4]) - before)

            return run

        seconds = alternate({name: timed(name) for name in ways}, rounds)
        differences = {
            name: largest_difference(folder / "official", folder / name) for name in ("1", "auto")
        }
    found: dict[str, object] = {"width": width, "pictures": pictures, "device": device}
    found["threads"] = torch.get_num_threads()
    for name in ways:
        pair = compared({name: seconds[name], "official": seconds["official"]}, name)
        found[f"{name}_pictures_per_second"] = round(pictures / pair[f"{name}_seconds"], 2)
        processor_seconds = statistics.median(used[name]) / pictures
        found[f"{name}_processor_seconds_a_picture"] = round(processor_seconds, 3)
        if name != "official":
            found[f"{name}_ratio"] = round(pair["official_ratio"], 2)
            found[f"{name}_ratio_range"] = [round(r, 2) for r in pair["official_ratio_range"]]
            found[f"{name}_largest_difference"] = differences[name]
    return found


def main() -> None:
    """Parse, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--width", type=int, default=64, help="base channels")
    parser.add_argument("--pictures", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    arguments = parser.parse_args()
    print(json.dumps(measure(**vars(arguments))), flush=True)


if __name__ == "__main__":
    main()
