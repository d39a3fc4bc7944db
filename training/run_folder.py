"""The run folder: its files, and the options that the run was started with."""

import fcntl
import json
import os
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import TextIO

from errors import UserError
from training.checkpoint import list_checkpoints
from training.files import write_lines_atomically


class RunFolder:
    """The paths of one run."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.config = folder / "config.json"
        self.log = folder / "log.jsonl"
        self.metrics = folder / "metrics.jsonl"
        self.tensorboard = folder / "tensorboard"
        self.previews = folder / "previews"
        self.checkpoints = folder / "checkpoints"
        self._held: TextIO | None = None  # the locked file

    def check(
        self,
        config: Mapping,
        may_change: Collection[str],
        before_options: Mapping[str, object] = MappingProxyType({}),
    ) -> None:
        """Compare `config` with the run in this folder, if there is one; write nothing.

        config: {"options": {...}, "data": {...}, ...} of plain JSON values. Raises UserError if the
        folder holds something else, cannot be written, or holds a run with other options; options
        in `may_change` do not change the result and are not compared. before_options: by option,
        the value that corresponds to runs from before the option existed.
        """
        with self._disk_errors_reported():
            self._check(config, may_change, before_options)

    def create(self, config: Mapping) -> None:
        """Create the folders and write `config.json`, overwriting that of an earlier start.

        Locks the folder for this process until `release` or its end. Temporary files of a process
        that was killed while writing are removed. Raises UserError if the folder cannot be written.
        """
        with self._disk_errors_reported():
            self.folder.mkdir(parents=True, exist_ok=True)
            self._lock()
            write_lines_atomically(self.config, [json.dumps(config, indent=2)])
            for folder in (self.previews, self.checkpoints, self.tensorboard):
                folder.mkdir(exist_ok=True)
            for folder in (self.folder, self.previews, self.checkpoints):
                for left_over in folder.glob(".*.tmp"):
                    left_over.unlink()

    def release(self) -> None:
        """Unlock the folder; does nothing if `create` was not called."""
        if self._held:
            self._held.close()
            self._held = None

    def _lock(self) -> None:
        self._held = open(self.folder / ".lock", "w")  # noqa: SIM115  (held until `release`)
        try:
            # A record lock ends with its process and is not inherited by the loader's workers,
            # which may outlive a killed process by seconds.
            fcntl.lockf(self._held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except (BlockingIOError, PermissionError) as error:
            self.release()
            raise UserError(
                f"`run_dir` {self.folder}: another process is training there; wait until it ends, "
                "or give another folder"
            ) from error

    @contextmanager
    def _disk_errors_reported(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise UserError(
                f"`run_dir` {self.folder}: cannot be used ({error.strerror}); give another folder"
            ) from error

    def _check(
        self, config: Mapping, may_change: Collection[str], before_options: Mapping[str, object]
    ) -> None:
        option = f"`run_dir` {self.folder}"
        if self.folder.exists() and not self.folder.is_dir():
            raise UserError(f"{option}: is a file; give a folder")
        nearest = next(p for p in (self.folder, *self.folder.absolute().parents) if p.exists())
        if not os.access(nearest, os.W_OK) or not nearest.is_dir():
            raise UserError(f"{option}: {nearest} is not writable; give another folder")
        if not self.config.exists():
            if self.folder.exists() and not all(map(_is_left_over, self.folder.iterdir())):
                raise UserError(f"{option}: holds files but no run; give a new or empty folder")
            return
        if not list_checkpoints(self.checkpoints):  # nothing to resume, so other options are fine
            return
        started_with = self._read_config(option)
        old, new = started_with.get("command"), config["command"]
        if old != new:
            raise UserError(
                f"{option}: is a run of {old}, not of {new}; give another folder (and `init_from` "
                "to start from its weights)"
            )
        for section in ("options", "data"):
            old, new = started_with.get(section, {}), config[section]
            if section == "options":
                old = {name: before_options[name] for name in before_options if name in new} | old
            names = sorted((old.keys() | new.keys()) - set(may_change))
            changed = [name for name in names if old.get(name) != new.get(name)]
            if changed:
                shown = f"the data ({changed[0]})" if section == "data" else f"`{changed[0]}`"
                others = ", ".join(f"`{name}`" for name in changed[1:])
                raise UserError(
                    f"{shown}: this run was started with {old.get(changed[0])!r}, now it is "
                    f"{new.get(changed[0])!r}{f' (others that differ: {others})' * bool(others)}; "
                    "give the old value, or another `run_dir` for a new run (and `init_from` to "
                    "start from this one's weights)"
                )

    def _read_config(self, option: str) -> dict:
        try:
            return json.loads(self.config.read_text(encoding="utf-8"))
        except ValueError as error:
            raise UserError(
                f"{option}: config.json is damaged ({error}); give another folder"
            ) from error


def _is_left_over(path: Path) -> bool:
    """Return whether this may be left from a process killed before it wrote its config.json."""
    return path.name == ".lock" or (path.name.startswith(".") and path.suffix == ".tmp")
