"""Kill a training run with SIGKILL at random moments; it must end as the run left alone.

  python tests/soak.py [--kills 10] [--seed 0]

Prints each kill, and at the end whether generator.safetensors is the same, tensor by tensor, byte
by byte; exit code 1 where it is not.
"""

import argparse
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from safetensors.torch import load_file

ROOT = Path(__file__).parents[1]
IMAGES = 400


def command(folder: Path, run: str) -> list[str]:
    """Return the training command for one of the two runs."""
    return [
        *(sys.executable, "train_cut.py", "--dataroot", str(folder / "data")),
        *("--run_dir", str(folder / run), "--total_images", str(IMAGES), "--save_every", "20"),
        *("--base_channels", "4", "--discriminator_channels", "4", "--nce_channels", "8"),
        *("--generator", "resnet_6blocks", "--load_size", "36", "--crop_size", "32"),
        *("--nce_patches", "16", "--constant_epochs", "4", "--decay_epochs", "4"),
        *("--ema_halflife_images", "50", "--workers", "1", "--preview_every", "50"),
    ]


def train(folder: Path, run: str, seconds: float | None = None) -> bool:
    """Run the command, kill it after `seconds`; tell whether it reached its end."""
    process = subprocess.Popen(command(folder, run), cwd=ROOT, stderr=subprocess.DEVNULL)
    try:
        code = process.wait(seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
        return False
    if code:
        raise SystemExit(f"the command ended with exit code {code}")
    return True


def main() -> None:
    """Train twice, once with kills, and compare."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    moments = random.Random(arguments.seed)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        draw = [sys.executable, "pocket.py", "draw", "--output", str(folder / "data")]
        subprocess.run(
            [*draw, "--size", "32", "--train", "40", "--test", "4"], cwd=ROOT, check=True
        )
        started = time.monotonic()
        train(folder, "alone")
        whole_seconds = time.monotonic() - started
        kills = 0
        while kills < arguments.kills:
            seconds = moments.uniform(0.02, 0.9) * whole_seconds
            if train(folder, "killed", seconds):
                print(f"reached its end after {kills} kills; starting anew for the rest")
                compare(folder)
                subprocess.run(["rm", "-r", str(folder / "killed")], check=True)
                continue
            kills += 1
            saved = sorted((folder / "killed").glob("checkpoints/*.pt"))
            print(f"kill {kills} after {seconds:.1f} s, newest: {saved[-1].stem if saved else '-'}")
        while not train(folder, "killed"):
            pass
        compare(folder)
    print(f"{kills} kills: the same generator, byte for byte")


def compare(folder: Path) -> None:
    """Exit with 1 unless both runs' generators are equal byte for byte."""
    alone, killed = (
        load_file(folder / run / "generator.safetensors") for run in ("alone", "killed")
    )
    if alone.keys() != killed.keys():
        raise SystemExit("the generators have other tensors")
    for name, tensor in alone.items():
        if tensor.numpy().tobytes() != killed[name].numpy().tobytes():
            raise SystemExit(f"{name} differs")


if __name__ == "__main__":
    main()
