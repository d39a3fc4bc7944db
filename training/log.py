"""What a run tells: log.jsonl, TensorBoard, and the terminal."""

import json
import math
import resource
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from torch import Tensor
from torch.utils.tensorboard import SummaryWriter

from training.distributed import average_tensor, gather_objects
from training.files import write_lines_atomically
from training.run_folder import RunFolder


class NonFiniteLossError(Exception):
    """A loss became NaN or infinite; holds its name and the images seen before that step."""

    def __init__(self, name: str, images_seen: int):
        super().__init__(f"{name} is not finite in the step after {images_seen} images")
        self.name, self.images_seen = name, images_seen


class LossMeans:
    """Means of the losses since the last line, kept on the device: a step never waits for it."""

    def __init__(self, device: torch.device):
        self.device = device
        self.names: list[str] = []
        self.steps = 0
        self.sums = self.first_bad = torch.zeros(0, device=device)

    def add(self, losses: Mapping[str, Tensor], images_seen: int) -> None:
        """Count in the losses (detached scalars) of the step that began at `images_seen`."""
        if not self.names:
            self._start(list(losses))
        if list(losses) != self.names:
            raise ValueError(f"losses {list(losses)} after {self.names}")
        values = torch.stack([value.detach().double() for value in losses.values()])
        self.sums += values
        self.steps += 1
        bad = ~torch.isfinite(values) & torch.isinf(self.first_bad)
        self.first_bad = torch.where(bad, float(images_seen), self.first_bad)

    def take(self) -> dict[str, float]:
        """Return the means over steps and processes, and begin anew.

        Raises NonFiniteLossError, in all processes, where a loss of any of them was not finite.
        """
        means = self.state_dict()
        self._start(self.names)
        return {name: total / means["steps"] for name, total in means["sums"].items()}

    def state_dict(self) -> dict:
        """Return sums, averaged over the processes, and steps; raises as `take` does."""
        sums = average_tensor(self.sums.clone()).tolist()
        if not math.isfinite(sum(sums)):
            per_process = gather_objects(self.first_bad.tolist())
            earliest = [min(values) for values in zip(*per_process, strict=True)]
            images_seen = min(earliest)
            raise NonFiniteLossError(self.names[earliest.index(images_seen)], int(images_seen))
        return {"steps": self.steps, "sums": dict(zip(self.names, sums, strict=True))}

    def load_state_dict(self, state: dict) -> None:
        """Take over saved sums."""
        self._start(list(state["sums"]))
        self.steps = state["steps"]
        self.sums += torch.tensor(list(state["sums"].values()), dtype=torch.double).to(self.device)

    def _start(self, names: list[str]) -> None:
        self.names, self.steps = names, 0
        self.sums = torch.zeros(len(names), dtype=torch.double, device=self.device)
        self.first_bad = torch.full_like(self.sums, math.inf)


class RunLog:
    """Writes the lines of a run and shows its progress. Used by the writing process alone."""

    def __init__(self, run: RunFolder, images_seen: int, total_images: int):
        self.path, self.metrics_path = run.log, run.metrics
        for path in (self.path, self.metrics_path):
            _drop_lines_after(path, images_seen)
        self.tensorboard = SummaryWriter(str(run.tensorboard), purge_step=images_seen + 1)
        self.started_at_seconds, self.started_at_images = time.monotonic(), images_seen
        self.progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]}"),
            TimeRemainingColumn(),
            console=Console(stderr=True),
            disable=not sys.stderr.isatty(),
        )
        self.task = self.progress.add_task(
            "starting", total=total_images, completed=images_seen, rate=""
        )
        self.progress.start()

    def advance(self, images_seen: int) -> None:
        """Move the progress bar."""
        self.progress.update(self.task, completed=images_seen)

    def line(self, images_seen: int, values: Mapping[str, float], device: torch.device) -> None:
        """Write one line: losses, learning rate, speed since the last line, peak memory."""
        now = time.monotonic()
        seconds = max(now - self.started_at_seconds, 1e-9)
        speed = (images_seen - self.started_at_images) / seconds
        self.started_at_seconds, self.started_at_images = now, images_seen
        record = {
            "images": images_seen,
            **values,
            "images_per_second": speed,
            "peak_memory_gb": peak_memory_gb(device),
        }
        with open(self.path, "a", encoding="utf-8") as file:
            file.write(json.dumps(record) + "\n")
        for name, value in record.items():
            if name != "images":
                self.tensorboard.add_scalar(name, value, images_seen)
        losses = " ".join(f"{name} {value:.3g}" for name, value in values.items())
        self.progress.update(self.task, description=losses, rate=f"{speed:.2f} images/s")
        if self.progress.disable:
            print(f"{images_seen} images  {losses}  {speed:.2f} images/s", file=sys.stderr)

    def metrics(self, images_seen: int, numbers: Mapping[str, object]) -> None:
        """Write one line of metrics.jsonl: numbers, and words that say how they were made."""
        record = {"images": images_seen, **numbers}
        with open(self.metrics_path, "a", encoding="utf-8") as file:
            file.write(json.dumps(record) + "\n")
        drawn = {name: value for name, value in numbers.items() if isinstance(value, float)}
        for name, value in drawn.items():
            self.tensorboard.add_scalar(f"metrics/{name}", value, images_seen)
        told = " ".join(f"{name} {value:.4g}" for name, value in drawn.items())
        print(f"{images_seen} images  {told}", file=sys.stderr)

    def picture(self, name: str, sheet: Tensor, images_seen: int) -> None:
        """Hand a picture [3, H, W] in [0, 1] to TensorBoard."""
        self.tensorboard.add_image(name, sheet, images_seen)

    def close(self) -> None:
        """Stop the bar and flush TensorBoard."""
        self.progress.stop()
        self.tensorboard.close()


def _drop_lines_after(path: Path, images_seen: int) -> None:
    """Forget what a stopped run wrote after its checkpoint, a torn last line included."""
    if not path.exists():
        return
    kept = []
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        if _images_of(line) <= images_seen:
            kept.append(line)
    write_lines_atomically(path, kept)


def _images_of(line: str) -> float:
    try:
        return json.loads(line)["images"]
    except (ValueError, KeyError, TypeError):
        return math.inf


def peak_memory_gb(device: torch.device) -> float:
    """Return the process's peak memory in GB (1e9 bytes): on the GPU, or else in RAM."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 1e9
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e9


def log_lines(path: Path) -> list[dict]:
    """Read log.jsonl."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
