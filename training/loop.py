"""The loop that every method shares, read downwards."""

import signal
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
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
from training.distributed import Processes, any_process, gather_objects
from training.files import write_atomically
from training.log import LossMeans, NonFiniteLossError, RunLog
from training.pictures import save_sheet
from training.run_folder import RunFolder


class Method(Protocol):
    """What a training script hands to the loop."""

    def step(self, batch: NamedTuple, images_seen: int) -> dict[str, Tensor]:
        """Make all updates for one batch; return detached scalars."""

    def preview(self, batch: NamedTuple) -> Tensor:
        """Return a sheet of pictures [3, H, W] in [-1, 1]."""

    def state(self) -> dict[str, Stateful]:
        """Return everything that a resume needs."""


class Stream(Protocol):
    """Where batches come from."""

    def batches(self, first_image: int) -> Iterator[NamedTuple]:
        """Return the endless batches from the global image number `first_image` on."""

    def files_of_batch(self, first_image: int) -> list[Path]:
        """Return the files of the global batch that starts at `first_image`."""


class Pace(NamedTuple):
    """How far to go and how often to do what, all in images; 0 means never."""

    total_images: int
    batch_size: int  # the global one
    save_every: int
    preview_every: int
    log_every: int
    evaluate_every: int = 0


class StoppedError(PairlessError):
    """The run was asked to stop, saved, and can go on."""

    prefix = ""  # no error

    def __init__(self, signal_number: int, images_seen: int):
        super().__init__(f"stopped and saved at {images_seen} images; the same command goes on")
        self.exit_code = 128 + signal_number  # as a shell reports it


class DivergedError(PairlessError):
    """A loss is not finite."""


def fit(
    method: Method,
    stream: Stream,
    preview_batch: NamedTuple,
    run: RunFolder,
    pace: Pace,
    exports: Mapping[str, Callable[[Path, int], object]],
    processes: Processes,
    device: torch.device,
    evaluate: Callable[[int], Mapping[str, object]] | None = None,
) -> None:
    """Train until `pace.total_images`, from the newest checkpoint of the run folder if it has one.

    exports: file name in the run folder -> function of (path, images seen) that writes it; called
    at every save. evaluate: function of the images seen, called in all processes, that returns the
    numbers for metrics.jsonl in the writing one.

    Raises StoppedError after SIGTERM or Ctrl-C (saved first), DivergedError for a loss that is not
    finite, UserError where the disk does not take a file.
    """
    means = LossMeans(device)
    parts = {**method.state(), "loss_means": means}

    images_seen = _restore(parts, run, processes)
    log = RunLog(run, images_seen, pace.total_images) if processes.writes else None
    saved_at = images_seen
    if log and images_seen >= pace.total_images:
        print(f"{images_seen} images are done; a larger --total_images goes on", file=sys.stderr)
    elif log:
        print(f"training to {pace.total_images} images on {device}", file=sys.stderr)

    def save() -> None:
        """Write the networks to use, then the checkpoint; what is not finite raises."""
        states = {name: part.state_dict() for name, part in parts.items()}  # in all processes
        bad = first_not_finite(states)
        if bad:
            where = f"{bad} is not finite at {images_seen} images"
            raise DivergedError(f"{where}; {_last_good(run)}")
        if log:
            with _disk_errors_told(run, images_seen):
                # The networks first: a run killed between the two makes both again.
                for name, export in exports.items():
                    target = run.folder / name
                    write_atomically(target, lambda path, e=export: e(path, images_seen))
                save_checkpoint(run.checkpoints, images_seen, states)

    batches = stream.batches(images_seen)
    try:
        with _stop_signals() as stop_signal:
            stopping = False
            while images_seen < pace.total_images and not stopping:
                # Step.
                batch = next(batches)
                batch = type(batch)(*(part.to(device, non_blocking=True) for part in batch))
                losses = method.step(batch, images_seen)
                means.add(losses, images_seen)
                before, images_seen = images_seen, images_seen + pace.batch_size
                stopping = any_process(bool(stop_signal))

                # Tell.
                if log:
                    log.advance(images_seen)
                at_end = images_seen >= pace.total_images
                with _disk_errors_told(run, images_seen):
                    if at_end or crossed(before, images_seen, pace.log_every):
                        values = means.take()
                        if log:
                            log.line(images_seen, values, device)
                    shown = crossed(before, images_seen, pace.preview_every)
                    if log and pace.preview_every and (at_end or shown):
                        picture = method.preview(preview_batch).cpu()
                        save_sheet(run.previews / f"{images_seen:09d}.png", picture)
                        log.picture("preview", (picture + 1) / 2, images_seen)

                # Save.
                if crossed(before, images_seen, pace.save_every):
                    save()
                    saved_at = images_seen

                # Measure.
                if evaluate and (at_end or crossed(before, images_seen, pace.evaluate_every)):
                    numbers = evaluate(images_seen)
                    with _disk_errors_told(run, images_seen):
                        if log:
                            log.metrics(images_seen, numbers)
            batches.close()  # no reading process outlives its use while the end is saved
            if saved_at != images_seen:
                save()
            if stopping and images_seen < pace.total_images:
                raise StoppedError(stop_signal[0] if stop_signal else signal.SIGTERM, images_seen)
            if log:
                written = ", ".join(str(run.folder / name) for name in exports)
                print(f"done: {images_seen} images, {written}", file=sys.stderr)
    except NonFiniteLossError as error:
        raise DivergedError(_tell_divergence(error, stream, run)) from error
    finally:
        batches.close()
        if log:
            log.close()


def _restore(parts: Mapping[str, Stateful], run: RunFolder, processes: Processes) -> int:
    """Load the newest whole checkpoint, if there is one; return the images seen."""
    images_seen = 0
    checkpoint = read_newest_checkpoint(run.checkpoints)
    if checkpoint:
        restore(parts, checkpoint.states, f"--run_dir {run.folder}")
        images_seen = checkpoint.images_seen
    starts = gather_objects(images_seen)
    if len(set(starts)) > 1:
        raise UserError(
            f"--run_dir {run.folder}: the processes read checkpoints of {starts} images; "
            "give a folder that every machine sees"
        )
    if processes.writes:
        set_aside_beyond(run.checkpoints, images_seen)
        if checkpoint:
            print(f"resumed at {images_seen} images from {run.checkpoints}", file=sys.stderr)
    return images_seen


def crossed(before: int, after: int, every: int) -> bool:
    """Tell whether a multiple of `every` lies in (before, after]; never for 0."""
    return every > 0 and before // every != after // every


@contextmanager
def _disk_errors_told(run: RunFolder, images_seen: int) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        reason = " ".join(str(error).split())[:200]
        raise UserError(
            f"--run_dir {run.folder}: cannot save at {images_seen} images ({reason}); the older "
            "checkpoint stays good: make room, then give the same command"
        ) from error


def _tell_divergence(error: NonFiniteLossError, stream: Stream, run: RunFolder) -> str:
    files = ", ".join(str(path) for path in stream.files_of_batch(error.images_seen))
    return f"{error} (images: {files}); {_last_good(run)}"


def _last_good(run: RunFolder) -> str:
    good = list_checkpoints(run.checkpoints)
    return f"the last good checkpoint is {good[0]}" if good else "no checkpoint was saved before"


@contextmanager
def _stop_signals() -> Iterator[list[int]]:
    """Collect SIGTERM and SIGINT instead of dying; a second one ends the process at once."""
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
