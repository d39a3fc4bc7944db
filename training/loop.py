"""The training loop that all methods share."""

import signal
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from errors import PairlessError, UserError
from training.checkpoint import (
    Stateful,
    first_not_finite,
    list_checkpoints,
    read_newest_checkpoint,
    restore,
    save_checkpoint,
    set_aside_beyond,
)
from training.distributed import Processes, SharedFlag, gather_objects
from training.files import write_atomically
from training.log import LossMeans, NonFiniteLossError, RunLog
from training.pictures import save_sheet
from training.run_folder import RunFolder

SHOWN_FILES = 8  # of a batch with a loss that is not finite


class Method(Protocol):
    """The interface between a training script and the loop."""

    def step(self, batch: NamedTuple, images_seen: int) -> dict[str, Tensor]:
        """Make all updates for one batch; return detached scalars to be logged."""

    def preview(self, batch: NamedTuple) -> Tensor:
        """Return a sheet of pictures [3, H, W] in [-1, 1]."""

    def state(self) -> dict[str, Stateful]:
        """Return everything needed to resume."""


class Stream(Protocol):
    """The source of batches."""

    def batches(self, first_image: int) -> Iterator[NamedTuple]:
        """Return an endless iterator of batches, starting at global image number `first_image`."""

    def files_of_batch(self, first_image: int) -> list[Path]:
        """Return the files of the global batch that starts at `first_image`."""


class Pace(NamedTuple):
    """When to stop, save, preview, log and evaluate, all in images; 0 means never."""

    total_images: int
    images_a_step: Callable[[int], int]  # images seen -> images of the step that begins there
    save_every: int
    preview_every: int
    log_every: int
    evaluate_every: int = 0


class Watch(NamedTuple):
    """When a method's run is stopped or warned about, and which of its values are shown."""

    bad_steps: int = 1  # consecutive steps with a non-finite loss that end the run
    warnings: Callable[[Mapping[str, float]], Sequence[str]] = lambda values: ()  # of a log line
    charts: Mapping[str, Sequence[str]] = MappingProxyType({})  # for TensorBoard: title -> values
    shown: Sequence[str] = ()  # the values that the terminal shows first


class Reports(NamedTuple):
    """The outputs of a run during training.

    exports: file name in the run folder -> function of (path, images seen) that writes it; called
    at every save. evaluate: function of the images seen, called in all processes; in the writing
    one it returns the numbers for metrics.jsonl, {} for none. page: function of whether the run
    goes on; called in the writing process after each save and the evaluation that is due with it.
    """

    preview_batch: NamedTuple
    exports: Mapping[str, Callable[[Path, int], object]]
    evaluate: Callable[[int], Mapping[str, object]] | None = None
    watch: Watch = Watch()
    page: Callable[[bool], object] | None = None


class StoppedError(PairlessError):
    """The run was asked to stop; it was saved and can be resumed."""

    prefix = ""  # not an error

    def __init__(self, signal_number: int, images_seen: int):
        super().__init__(f"stopped and saved at {images_seen} images; the same command resumes")
        self.exit_code = 128 + signal_number  # the shell convention


class DivergedError(PairlessError):
    """A loss is not finite."""


def fit(
    method: Method,
    stream: Stream,
    run: RunFolder,
    pace: Pace,
    reports: Reports,
    processes: Processes,
    device: torch.device,
) -> None:
    """Train until `pace.total_images`, from the newest checkpoint of the run folder if it has one.

    Raises StoppedError after SIGTERM or Ctrl-C (saved first), DivergedError for a loss that is not
    finite, UserError if a file cannot be written.
    """
    progress = _Progress(method, run, pace, reports, processes, device)
    batches = stream.batches(progress.images_seen)
    try:
        with _stop_signals() as stop_signal:
            stopping, shared_stop = False, SharedFlag()
            while progress.images_seen < pace.total_images and not stopping:
                before = progress.step(next(batches))
                stopping = shared_stop.is_up(bool(stop_signal))
                progress.log_losses(before)
                progress.preview(before)
                if crossed(before, progress.images_seen, pace.save_every):
                    progress.save()
                progress.measure(before)
                progress.write_page(going_on=not (progress.at_end or stopping))
            batches.close()  # ends the loader's workers before the last save
            progress.save()
            progress.write_page(going_on=False)
            progress.end(stop_signal[0] if stop_signal else signal.SIGTERM)
    except NonFiniteLossError as error:
        raise DivergedError(_describe_divergence(error, stream, run)) from error
    finally:
        batches.close()
        progress.close()


class _Progress:
    """The state of a running training: images seen, saving, logging, evaluation."""

    def __init__(
        self,
        method: Method,
        run: RunFolder,
        pace: Pace,
        reports: Reports,
        processes: Processes,
        device: torch.device,
    ):
        """Restore the newest checkpoint; in the writing process open the log."""
        self.method, self.run, self.pace, self.reports = method, run, pace, reports
        self.device = device
        self.means = LossMeans(device, reports.watch.bad_steps)
        self.parts = {**method.state(), "loss_means": self.means}
        self.images_seen = self.saved_at = _restore(self.parts, run, processes)
        self.page_of = self.saved_at
        self.log = None
        if processes.writes:
            watch = reports.watch
            self.log = RunLog(run, self.images_seen, pace.total_images, watch.charts, watch.shown)
            if self.images_seen >= pace.total_images:
                print(
                    f"already trained on {self.images_seen} images, the total is "
                    f"{pace.total_images}; to continue, raise the total",
                    file=sys.stderr,
                )
            else:
                print(
                    f"training to {pace.total_images} images on {device}, into {run.folder}",
                    file=sys.stderr,
                )

    @property
    def at_end(self) -> bool:
        """Whether the run has reached `total_images`."""
        return self.images_seen >= self.pace.total_images

    def step(self, batch: NamedTuple) -> int:
        """Train on a batch; return the images seen before it."""
        before = self.images_seen
        batch = type(batch)(*(part.to(self.device, non_blocking=True) for part in batch))
        with _out_of_memory_named(self.run, len(batch[0]), before):
            losses = self.method.step(batch, before)
        self.means.add(losses, before)
        self.images_seen = before + self.pace.images_a_step(before)
        return before

    def log_losses(self, before: int) -> None:
        """Write a line of the log if one is due."""
        if self.log:
            self.log.advance(self.images_seen)
        if not (self.at_end or crossed(before, self.images_seen, self.pace.log_every)):
            return
        values = self.means.take()
        warnings = self.reports.watch.warnings(values)
        if self.log:
            with _disk_errors_reported(self.run, self.images_seen):
                self.log.line(self.images_seen, values, self.device, warnings)

    def preview(self, before: int) -> None:
        """Write a preview if one is due."""
        every = self.pace.preview_every
        due = self.at_end or crossed(before, self.images_seen, every)
        if self.log and every and due:
            picture = self.method.preview(self.reports.preview_batch).cpu()
            path = self.run.previews / f"{self.images_seen:09d}.png"
            with _disk_errors_reported(self.run, self.images_seen):
                save_sheet(path, picture)
                self.log.picture("preview", (picture + 1) / 2, self.images_seen)
            self.log.saved(self.images_seen, "preview", f"{path.parent.name}/{path.name}")

    def measure(self, before: int) -> None:
        """Evaluate if it is due."""
        due = self.at_end or crossed(before, self.images_seen, self.pace.evaluate_every)
        if not (self.reports.evaluate and due):
            return
        with self.log.busy("measuring") if self.log else nullcontext():
            numbers = self.reports.evaluate(self.images_seen)
        if self.log and numbers:
            with _disk_errors_reported(self.run, self.images_seen):
                self.log.metrics(self.images_seen, numbers)

    def save(self) -> None:
        """Write exports, then the checkpoint; DivergedError if any value is not finite."""
        if self.saved_at == self.images_seen:
            return
        states = {name: part.state_dict() for name, part in self.parts.items()}  # in all processes
        bad = first_not_finite(states)
        if bad:
            where = f"{bad} is not finite at {self.images_seen} images"
            raise DivergedError(f"{where}; {_last_good(self.run)}")
        self.saved_at = self.images_seen
        if not self.log:
            return
        with _disk_errors_reported(self.run, self.images_seen):
            # Exports first: a run killed between the two writes both again when resumed.
            for name, export in self.reports.exports.items():
                target = self.run.folder / name
                write_atomically(target, lambda path, e=export: e(path, self.images_seen))
            save_checkpoint(self.run.checkpoints, self.images_seen, states)
        self.log.saved(self.images_seen, "saved", ", ".join(["checkpoint", *self.reports.exports]))

    def write_page(self, going_on: bool) -> None:
        """Write the run's page if it was saved since the last one."""
        if self.log and self.reports.page and self.page_of != self.saved_at:
            self.page_of = self.saved_at
            self.reports.page(going_on)

    def end(self, signal_number: int) -> None:
        """Report what was written; raise StoppedError if the run was stopped before its end."""
        if not self.at_end:
            raise StoppedError(signal_number, self.images_seen)
        if self.log:
            written = ", ".join(str(self.run.folder / name) for name in self.reports.exports)
            print(f"done: {self.images_seen} images, {written}", file=sys.stderr)

    def close(self) -> None:
        """Close the log."""
        if self.log:
            self.log.close()


def _restore(parts: Mapping[str, Stateful], run: RunFolder, processes: Processes) -> int:
    """Load the newest undamaged checkpoint, if there is one; return the images seen."""
    images_seen = 0
    checkpoint = read_newest_checkpoint(run.checkpoints)
    if checkpoint:
        restore(parts, checkpoint.states, f"`run_dir` {run.folder}")
        images_seen = checkpoint.images_seen
    starts = gather_objects(images_seen)
    if len(set(starts)) > 1:
        raise UserError(
            f"`run_dir` {run.folder}: the processes read different checkpoints, at {starts} "
            "images; give a folder that all machines share"
        )
    if processes.writes:
        set_aside_beyond(run.checkpoints, images_seen)
        if checkpoint:
            print(f"resumed at {images_seen} images from {run.checkpoints}", file=sys.stderr)
    return images_seen


def crossed(before: int, after: int, every: int) -> bool:
    """Return whether a multiple of `every` lies in (before, after]; False for `every` 0."""
    return every > 0 and before // every != after // every


@contextmanager
def _disk_errors_reported(run: RunFolder, images_seen: int) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        reason = " ".join(str(error).split())[:200]
        raise UserError(
            f"`run_dir` {run.folder}: cannot save at {images_seen} images ({reason}); the previous "
            "checkpoint is intact: free disk space, then repeat the command"
        ) from error


@contextmanager
def _out_of_memory_named(run: RunFolder, images: int, images_seen: int) -> Iterator[None]:
    try:
        yield
    except torch.OutOfMemoryError as error:
        tried = " ".join(str(error).split(". Of the allocated")[0].split())[:300]
        fewer = f"`batch_size` {images // 2} for each process, which needs about half as much"
        remedy = fewer if images > 1 else "a smaller `crop_size`"
        raise UserError(
            f"`batch_size`: {images} pictures in one process do not fit into the memory of the GPU "
            f"(the step after {images_seen} images; {tried}); use {remedy}, or `precision` bf16, "
            f"or `accelerate` off; {_last_good(run)}"
        ) from error


def _describe_divergence(error: NonFiniteLossError, stream: Stream, run: RunFolder) -> str:
    paths = stream.files_of_batch(error.images_seen)
    files = ", ".join(str(path) for path in paths[:SHOWN_FILES])
    if len(paths) > SHOWN_FILES:
        files += f" and {len(paths) - SHOWN_FILES} more"
    return f"{error} (images: {files}); {_last_good(run)}"


def _last_good(run: RunFolder) -> str:
    good = list_checkpoints(run.checkpoints)
    return f"the last good checkpoint is {good[0]}" if good else "no checkpoint was saved before"


@contextmanager
def _stop_signals() -> Iterator[list[int]]:
    """Record SIGTERM and SIGINT instead of ending; a second one ends the process at once."""
    received: list[int] = []
    old = {}

    def remember(number: int, _frame: object) -> None:
        received.append(number)
        signal.signal(number, old[number])

    for number in (signal.SIGTERM, signal.SIGINT):
        old[number] = signal.signal(number, remember)
    try:
        yield received
    finally:
        for number, handler in old.items():
            signal.signal(number, handler)
