"""What a training will cost on this machine: five steps of it, for real."""

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from commands.gan.presets import PRESETS
from commands.inspection.advice import Advice

STEPS = 5
_FIRST = 1  # steps that are left out: memory is taken and kernels are chosen in them
_SCRIPTS = Path(__file__).parents[2]


class Cost(NamedTuple):
    """Time and memory of the whole training, from a few steps."""

    images_per_second: float
    total_images: int
    peak_memory_gb: float
    steps: int  # that were timed

    @property
    def seconds(self) -> float:
        """How long the training will take."""
        return self.total_images / self.images_per_second


class Refused(NamedTuple):
    """Why the training did not start, or why nothing was measured."""

    by_training: bool
    words: str


def measure_cost(advice: Advice, device: str, workers: int, limit_seconds: float) -> Cost | Refused:
    """Run five steps of what is advised, in a folder that is removed again.

    The steps after the first are timed. What is done after `limit_seconds` is what counts.
    """
    batch = int(advice.options.get("batch_size", _preset_batch(advice)))
    with _exit_at_sigterm(), tempfile.TemporaryDirectory(prefix="check_data-") as folder:
        run_dir = Path(folder) / "run"
        own = {
            "run_dir": run_dir,
            "batch_size": batch,
            "total_images": STEPS * batch,
            "log_every": batch,
            "preview_every": 0,
            "evaluate_every": 0,
            "save_every": 1_000_000_000,
            "device": device,
            "workers": workers,
        }
        given = [part for name, value in own.items() for part in (f"--{name}", str(value))]
        command = [sys.executable, str(_SCRIPTS / advice.script), *advice.arguments, *given]
        process = subprocess.Popen(
            command,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            start_new_session=True,
        )
        try:
            _, printed = process.communicate(timeout=limit_seconds)
            is_late = False
        except subprocess.TimeoutExpired:
            printed, is_late = "", True
        finally:
            if process.poll() is None:  # its reading processes are of its group
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
        if process.returncode > 0:
            last = printed.strip().splitlines()[-1:] or [f"exit code {process.returncode}"]
            return Refused(process.returncode == 2, last[0].removeprefix("error: "))
        if process.returncode < 0 and not is_late:
            words = f"signal {-process.returncode} ended it; there may be too little memory"
            return Refused(False, words)
        lines = _lines(run_dir / "log.jsonl")
        if len(lines) <= _FIRST:
            words = f"fewer than {_FIRST + 1} steps in {limit_seconds:.0f} s, too slow to measure"
            return Refused(False, words)
        config = json.loads((run_dir / "config.json").read_text(encoding="utf-8"))
    timed = lines[_FIRST:]
    seconds = sum(batch / line["images_per_second"] for line in timed)
    return Cost(
        len(timed) * batch / seconds,
        advice.total_images or _schedule(config["options"]),
        max(line["peak_memory_gb"] for line in lines),
        len(timed),
    )


@contextmanager
def _exit_at_sigterm() -> Iterator[None]:
    """Let SIGTERM raise SystemExit, so that process and folder are removed."""
    before = signal.signal(signal.SIGTERM, lambda number, _frame: sys.exit(128 + number))
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _preset_batch(advice: Advice) -> int:
    # Presets of translators that are advised train on one picture a step, except that of patches.
    if advice.script == "train_gan.py":
        return PRESETS[advice.options["preset"]]["batch_size"]
    return 16 if advice.options.get("preset") == "sincut" else 1


def _schedule(options: Mapping[str, float]) -> int:
    epochs = options["constant_epochs"] + options["decay_epochs"]
    return round(epochs * options["epoch_images"])


def _lines(path: Path) -> list[dict]:
    """The whole lines of a log that may have been cut short."""
    if not path.exists():
        return []
    whole = path.read_text(encoding="utf-8").split("\n")[:-1]
    return [json.loads(line) for line in whole]
