"""Logs of a run: log.jsonl, metrics.jsonl, TensorBoard, and the terminal."""

import json
import math
import resource
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType

import torch
from torch import Tensor
from torch.utils.tensorboard import SummaryWriter

from training.distributed import average_tensor, gather_objects
from training.files import write_lines_atomically
from training.run_folder import RunFolder
from training.table import RunTable


class NonFiniteLossError(Exception):
    """A loss became NaN or infinite; has its name and the images seen before that step."""

    def __init__(self, name: str, images_seen: int, in_a_row: int = 1):
        times = f", the {in_a_row}th time in a row" if in_a_row > 1 else ""
        super().__init__(f"{name} is not finite in the step after {images_seen} images{times}")
        self.name, self.images_seen = name, images_seen


class LossMeans:
    """Means of the losses since the last line, kept on the device: a step never synchronises.

    bad_steps: number of consecutive steps with a non-finite loss that is an error; 1: at once.
    Until then such values are excluded from the mean.
    """

    def __init__(self, device: torch.device, bad_steps: int = 1):
        self.device, self.bad_steps = device, bad_steps
        self.names: list[str] = []
        self.sums = self.counts = self.streaks = self.bad_at = torch.zeros(0, device=device)

    def add(self, losses: Mapping[str, Tensor], images_seen: int) -> None:
        """Add the losses (detached scalars) of the step that began at `images_seen`."""
        if not self.names:
            self._start(list(losses))
        if list(losses) != self.names:
            raise ValueError(f"losses {list(losses)} differ from {self.names}")
        values = torch.stack([value.detach() for value in losses.values()]).double()
        finite = torch.isfinite(values)
        self.sums += torch.where(finite, values, 0.0)
        self.counts += finite
        self.streaks = torch.where(finite, 0.0, self.streaks + 1)
        bad = (self.streaks >= self.bad_steps) & torch.isinf(self.bad_at)
        self.bad_at = torch.where(bad, float(images_seen), self.bad_at)

    def take(self) -> dict[str, float]:
        """Return the means over steps and processes, and reset; NaN for a loss never finite.

        Raises NonFiniteLossError, in all processes, if a loss of any of them was not finite in
        `bad_steps` consecutive steps.
        """
        found = self.state_dict()
        streaks = self.streaks
        self._start(self.names)
        self.streaks = streaks
        return {
            name: total / found["counts"][name] if found["counts"][name] else math.nan
            for name, total in found["sums"].items()
        }

    def state_dict(self) -> dict:
        """Return sums and counts, averaged over processes, and streaks; raises as `take` does."""
        is_bad = torch.isfinite(self.bad_at).double()
        found = average_tensor(torch.stack([self.sums, self.counts, is_bad])).tolist()
        sums, counts, is_bad = found
        if any(is_bad):
            per_process = gather_objects(self.bad_at.tolist())
            earliest = [min(values) for values in zip(*per_process, strict=True)]
            images_seen = min(earliest)
            name = self.names[earliest.index(images_seen)]
            raise NonFiniteLossError(name, int(images_seen), self.bad_steps)
        rows = {"sums": sums, "counts": counts, "streaks": self.streaks.tolist()}
        return {key: dict(zip(self.names, row, strict=True)) for key, row in rows.items()}

    def load_state_dict(self, state: dict) -> None:
        """Restore what `state_dict` returned."""
        self._start(list(state["sums"]))
        for kept, name in ((self.sums, "sums"), (self.counts, "counts"), (self.streaks, "streaks")):
            kept += torch.tensor(list(state[name].values()), dtype=torch.double).to(self.device)

    def _start(self, names: list[str]) -> None:
        self.names = names
        self.sums = torch.zeros(len(names), dtype=torch.double, device=self.device)
        self.counts, self.streaks = torch.zeros_like(self.sums), torch.zeros_like(self.sums)
        self.bad_at = torch.full_like(self.sums, math.inf)


class RunLog:
    """Writes a run's logs and shows its progress. Used by the writing process only."""

    def __init__(
        self,
        run: RunFolder,
        images_seen: int,
        total_images: int,
        charts: Mapping[str, Sequence[str]] = MappingProxyType({}),
        shown: Sequence[str] = (),
    ):
        """Open the files.

        charts: title -> names of values that TensorBoard plots together. shown: names of the values
        that the terminal shows first.
        """
        self.path, self.metrics_path = run.log, run.metrics
        for path in (self.path, self.metrics_path):
            _drop_lines_after(path, images_seen)
        self.tensorboard = SummaryWriter(str(run.tensorboard), purge_step=images_seen + 1)
        if charts:
            lines = {title: ["Multiline", list(names)] for title, names in charts.items()}
            self.tensorboard.add_custom_scalars({"charts": lines})
        self.started_at_seconds, self.started_at_images = time.monotonic(), images_seen
        self.table = RunTable(images_seen, total_images, shown)

    def advance(self, images_seen: int) -> None:
        """Update the live line."""
        self.table.line.update(images_seen)

    def line(
        self,
        images_seen: int,
        values: Mapping[str, float],
        device: torch.device,
        warnings: Sequence[str] = (),
    ) -> None:
        """Write one line: losses, learning rate, speed since the last line, peak memory.

        Values that are not finite become null. The line is also shown as a row, warnings below it.
        """
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
        for name, value in record.items():
            if name != "images":
                self.tensorboard.add_scalar(name, value, images_seen)
        record = {name: None if math.isnan(value) else value for name, value in record.items()}
        if warnings:
            record["warnings"] = list(warnings)
        with open(self.path, "a", encoding="utf-8") as file:
            file.write(json.dumps(record) + "\n")
        self.table.row(images_seen, values, speed)
        for warning in warnings:
            self.table.event(images_seen, "warning:", warning, "yellow")

    def metrics(self, images_seen: int, numbers: Mapping[str, object]) -> None:
        """Write one line of metrics.jsonl: numbers, and strings that say how they were measured."""
        record = {"images": images_seen, **numbers}
        with open(self.metrics_path, "a", encoding="utf-8") as file:
            file.write(json.dumps(record) + "\n")
        drawn = {name: value for name, value in numbers.items() if isinstance(value, float)}
        for name, value in drawn.items():
            self.tensorboard.add_scalar(f"metrics/{name}", value, images_seen)
        shown = "  ".join(f"{name} {value:.4g}" for name, value in drawn.items())
        if shown:
            self.table.event(images_seen, "measured", shown, "cyan")

    def picture(self, name: str, sheet: Tensor, images_seen: int) -> None:
        """Write a picture [3, H, W] in [0, 1] to TensorBoard."""
        self.tensorboard.add_image(name, sheet, images_seen)

    @contextmanager
    def busy(self, doing: str) -> Iterator[None]:
        """Show in the live line what the run is doing, if it takes longer than a step."""
        self.table.line.notes, notes = [doing], self.table.line.notes
        try:
            yield
        finally:
            self.table.line.notes = notes

    def saved(self, images_seen: int, what: str, path: str) -> None:
        """Print what was saved, and where in the run folder."""
        self.table.event(images_seen, what, path)

    def close(self) -> None:
        """Remove the live line and flush TensorBoard."""
        self.table.line.close()
        self.tensorboard.close()


def _drop_lines_after(path: Path, images_seen: int) -> None:
    """Delete the lines that a stopped run wrote after its checkpoint, and an incomplete one."""
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
    """Return the process's peak memory in GB (1e9 bytes), on the GPU if `device` is one."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 1e9
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e9


def log_lines(path: Path) -> list[dict]:
    """Read log.jsonl."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
