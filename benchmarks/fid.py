"""Time and memory of FID over two folders: evaluate.py, pytorch-fid, torch-fidelity, clean-fid.

  python benchmarks/fid.py [--images 200] [--size 256] [--rounds 3] [--layer 2048]
  python benchmarks/fid.py --memory 1000 20000

Whole commands, each in a process of its own, in turns; each tool under its own protocol, with the
same random weights (no download) and two folders of smooth random JPEGs. Memory is the peak
resident set of evaluate.py for the given numbers of pictures, against saved statistics.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import numpy as np
from PIL import Image

from benchmarks.alternating import alternate, compared
from tests.inception_weights import write_inception_weights

ROOT = Path(__file__).parents[1]
PUBLISHED_NAMES = (
    "pt_inception-2015-12-05-6726825d.pth",
    "weights-inception-2015-12-05-6726825d.pth",
)
# clean-fid has no command, and downloads its network as TorchScript; pytorch-fid's is used here.
CLEAN_FID = """
import sys, torch
from cleanfid import fid
from pytorch_fid.inception import InceptionV3
network = InceptionV3([InceptionV3.BLOCK_INDEX_BY_DIM[int(sys.argv[3])]], resize_input=False,
                      normalize_input=False).eval()
@torch.no_grad()
def features(images):
    found = network((images - 128) / 128)[0]
    return found.mean((2, 3))
print(fid.compute_fid(sys.argv[1], sys.argv[2], mode="clean", device=torch.device("cpu"),
                      custom_feat_extractor=features, num_workers=2, verbose=False,
                      use_dataparallel=False))
"""


def draw(folder: Path, images: int, size: int, seed: int) -> Path:
    """Fill a folder with smooth random JPEGs."""
    folder.mkdir()
    random = np.random.default_rng(seed)
    for number in range(images):
        colours = random.integers(20 * seed, 200 + 20 * seed, (8, 8, 3), dtype=np.uint8)
        picture = Image.fromarray(colours).resize((size, size), Image.Resampling.BICUBIC)
        picture.save(folder / f"{number:06d}.jpg", quality=90)
    return folder


def run(command: list, environment: dict) -> tuple[str, float]:
    """Run a command to its end; return its stdout and its peak resident set in GB."""
    started = subprocess.Popen(
        [str(part) for part in command],
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    output = started.stdout.read()
    _, status, usage = os.wait4(started.pid, 0)
    if status:
        raise SystemExit(f"{command} ended with status {status}")
    return output, usage.ru_maxrss / 1e6


def commands(real: Path, fake: Path, weights: Path, layer: int) -> dict[str, list]:
    """Return each tool's command, and ours under the same protocol."""
    scripts = Path(sys.executable).parent
    ours = [sys.executable, "evaluate.py", "--real", real, "--fake", fake, "--weights", weights]
    ours += ["--layer", layer, "--protocol"]
    fidelity = [scripts / "fidelity", "-c", "-f", "--silent", "--no-cache", "--json"]
    fidelity += ["--input1", fake, "--input2", real, "--feature-layer-fid", layer]
    pytorch_fid = [scripts / "pytorch-fid", real, fake, "--dims", layer, "--device", "cpu"]
    return {
        "ours_torch": [*ours, "torch"],
        "pytorch_fid": pytorch_fid,
        "ours_tf": [*ours, "tf"],
        "torch_fidelity": fidelity,
        "ours_clean": [*ours, "clean"],
        "clean_fid": [sys.executable, "-c", CLEAN_FID, real, fake, layer],
    }


def compare_times(arguments: argparse.Namespace, folder: Path, environment: dict) -> dict:
    """Run all commands in turns; return medians, ratios and each tool's result."""
    weights = Path(environment["TORCH_HOME"]) / "random.pth"
    pair = [draw(folder / name, arguments.images, arguments.size, k) for k, name in enumerate("ab")]
    tools = commands(*pair, weights, arguments.layer)
    outputs: dict[str, str] = {}

    def action(name: str):
        def call(_number: int) -> None:
            outputs[name] = run(tools[name], environment)[0].strip()

        return call

    seconds = alternate({name: action(name) for name in tools}, arguments.rounds)
    results: dict = {name: output.splitlines()[-1][-60:] for name, output in outputs.items()}
    for protocol, tool in (
        ("torch", "pytorch_fid"),
        ("tf", "torch_fidelity"),
        ("clean", "clean_fid"),
    ):
        ours = f"ours_{protocol}"
        results[ours] = json.loads(outputs[ours].splitlines()[-1])["fid"]
        results |= compared({ours: seconds[ours], tool: seconds[tool]}, ours)
    return results


def peak_memory(arguments: argparse.Namespace, folder: Path, environment: dict) -> dict:
    """Return the peak memory of evaluate.py in GB by number of pictures."""
    weights = Path(environment["TORCH_HOME"]) / "random.pth"
    command = [sys.executable, "evaluate.py", "--weights", weights, "--layer", arguments.layer]
    real, statistics = draw(folder / "real", 64, 64, 0), folder / "real.npz"
    run([*command, "--real", real, "--save_stats", statistics], environment)
    peaks = {}
    for images in arguments.memory:
        fake = draw(folder / str(images), images, 64, 1)
        _, peaks[f"{images}_gb"] = run(
            [*command, "--real", statistics, "--fake", fake], environment
        )
        print(images, peaks, flush=True)
    return peaks


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=200)
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--layer", type=int, default=2048)
    parser.add_argument("--memory", type=int, nargs="+", help="pictures; only the peak memory")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        checkpoints = folder / "torch" / "hub" / "checkpoints"
        checkpoints.mkdir(parents=True)
        write_inception_weights(folder / "torch" / "random.pth")
        for name in PUBLISHED_NAMES:
            (checkpoints / name).symlink_to(folder / "torch" / "random.pth")
        environment = {
            **os.environ,
            "TORCH_HOME": str(folder / "torch"),
            "PYTHONWARNINGS": "ignore",
        }
        measure = peak_memory if arguments.memory else compare_times
        results = measure(arguments, folder, environment)
    for name, value in results.items():
        print(f"{name:25} {value}")
    print(json.dumps({**vars(arguments), **results}))


if __name__ == "__main__":
    main()
