"""Reads a run folder, also that of a run that was killed or is still being written."""

import errno
import fcntl
import json
import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import training
from errors import UserError


class Record(NamedTuple):
    """The files of a run folder that a page shows."""

    folder: Path
    name: str  # of the folder
    command: str
    options: Mapping[str, object]
    data: Mapping[str, str]
    versions: Mapping[str, str]
    given: tuple[str, ...] | None  # arguments with which the run started; None: not recorded
    lines: list[dict]  # of log.jsonl, in order of `images`
    measured: list[dict]  # of metrics.jsonl, likewise
    previews: dict[int, Path]  # images seen -> sheet
    saved_at: int  # images seen at the newest checkpoint; 0: there is none
    damaged: dict[str, int]  # file name -> lines that cannot be read

    @property
    def images(self) -> int:
        """Images seen at the last line of the log or at the newest checkpoint."""
        return max(self.lines[-1]["images"] if self.lines else 0, self.saved_at)

    @property
    def total_images(self) -> int:
        """Images that the run is to see."""
        return self.options["total_images"]


def read_record(folder: Path, option: str = "--run_dir") -> Record:
    """Read a run folder; only config.json must be there and whole.

    Lines of a log that cannot be read are counted, except an incomplete last one: the run may be
    writing it. Raises UserError, which names `option`, for a folder that holds no run.
    """
    with _disk_errors_named(folder, option):
        return _read(training.RunFolder(folder), option)


def check_run(folder: Path, option: str = "--run_dir") -> None:
    """Raise UserError, which names `option`, for a folder that holds no run."""
    with _disk_errors_named(folder, option):
        _read_config(training.RunFolder(folder), option)


@contextmanager
def _disk_errors_named(folder: Path, option: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise UserError(
            f"{option} {folder}: cannot be read ({error.strerror}); make its files readable"
        ) from error


def _read(run: training.RunFolder, option: str) -> Record:
    config = _read_config(run, option)
    lines, damaged = _read_lines(run.log)
    measured, damaged_measures = _read_lines(run.metrics)
    counts = {run.log.name: damaged, run.metrics.name: damaged_measures}
    given = config.get("given")
    return Record(
        run.folder,
        run.folder.absolute().name,
        str(config["command"]),
        config["options"],
        _mapping(config.get("data")),
        _mapping(config.get("versions")),
        tuple(map(str, given)) if isinstance(given, list) else None,
        lines,
        measured,
        _previews(run.previews),
        _saved_at(run.checkpoints),
        {name: count for name, count in counts.items() if count},
    )


def is_held(folder: Path) -> bool:
    """Return whether another process trains in this folder.

    The process that trains there must not call this: closing the file would end its lock.
    """
    try:
        file = open(folder / ".lock")  # noqa: SIM115  (closed below)
    except OSError:  # no run has started here, or it is another user's, and no one can tell
        return False
    with file:
        try:
            fcntl.lockf(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except OSError as error:  # other numbers: a file system without locks, where no one knows
            return error.errno in (errno.EAGAIN, errno.EACCES)
    return False


def _read_config(run: training.RunFolder, option: str) -> dict:
    named = f"{option} {run.folder}"
    if not run.folder.is_dir():
        reason = "is a file" if run.folder.exists() else "no such folder"
        raise UserError(f"{named}: {reason}; give the folder of a run")
    if not run.config.is_file():
        raise UserError(f"{named}: holds no run (no config.json); give the folder of a training")
    try:
        config = json.loads(run.config.read_text(encoding="utf-8"))
        if isinstance(config["command"], str) and config["options"]["total_images"] + 1 > 0:
            return config
        reason = "not those of a run"
    except (ValueError, KeyError, TypeError) as error:
        reason = f"{type(error).__name__}: {error}"
    raise UserError(f"{named}: its config.json is damaged ({reason}); give another folder")


def _read_lines(path: Path) -> tuple[list[dict], int]:
    """Return the lines in order, the last one for each number of images, and how many are bad."""
    if not path.is_file():
        return [], 0
    texts = path.read_text(encoding="utf-8", errors="replace").split("\n")
    found: dict[int, dict] = {}
    damaged = 0
    for text in texts[:-1]:  # what follows the last line break is not whole yet
        line = _read_line(text)
        if line is None:
            damaged += 1
        else:
            found[line["images"]] = line
    return [found[images] for images in sorted(found)], damaged


def _read_line(text: str) -> dict | None:
    try:
        line = json.loads(text)
    except ValueError:
        return None
    is_line = isinstance(line, dict) and isinstance(line.get("images"), int)
    return line if is_line else None


def _mapping(value: object) -> dict[str, str]:
    return {str(name): str(one) for name, one in value.items()} if isinstance(value, dict) else {}


def _previews(folder: Path) -> dict[int, Path]:
    found = {int(path.stem): path for path in folder.glob("*.png") if path.stem.isdecimal()}
    return dict(sorted(found.items()))


def _saved_at(folder: Path) -> int:
    newest = next(iter(training.list_checkpoints(folder)), None)
    return int(newest.stem) if newest else 0


def numbers(line: Mapping[str, object]) -> dict[str, float]:
    """Return the finite numbers of a line by their names."""
    return {
        name: value
        for name, value in line.items()
        if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    }


def seconds_of(lines: list[dict]) -> list[float]:
    """Return for each line of the log how long the training had taken, without its pauses."""
    seconds, before, total = [], 0, 0.0
    for line in lines:
        speed = numbers(line).get("images_per_second", 0.0)
        if speed > 0:
            total += (line["images"] - before) / speed
        before = line["images"]
        seconds.append(total)
    return seconds
