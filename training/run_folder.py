"""The run folder: its files, and the options that it was started with."""

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
        """Compare with the run that already lives here, if one does; touch nothing.

        config: {"options": {...}, "data": {...}, ...} of plain JSON values. Raises UserError where
        the folder holds something else, cannot be written, or was started with other options than
        these; options named in `may_change` do not change the result and are not compared.
        before_options: what runs did before an option existed, by its name.
        """
        with self._errors_told():
            self._check(config, may_change, before_options)

    def create(self, config: Mapping) -> None:
        """Make the folders and write `config.json`; a later start writes its own values over it.

        From here on the folder is this process's alone, until `release` or its end. Temporary files
        of a process that was killed while it wrote are removed. Raises UserError
        where the folder cannot be written.
        """
        with self._errors_told():
            self.folder.mkdir(parents=True, exist_ok=True)
            self._lock()
            write_lines_atomically(self.config, [json.dumps(config, indent=2)])
            for folder in (self.previews, self.checkpoints, self.tensorboard):
                folder.mkdir(exist_ok=True)
            for folder in (self.folder, self.previews, self.checkpoints):
                for left_over in folder.glob(".*.tmp"):
                    left_over.unlink()

    def release(self) -> None:
        """Let other processes train in this folder; does nothing where `create` was not called."""
        if self._held:
            self._held.close()
            self._held = None

    def _lock(self) -> None:
        self._held = open(self.folder / ".lock", "w")  # noqa: SIM115  (held until `release`)
        try:
            # A record lock goes with its process; reading processes, which may outlive a killed
            # one by seconds, do not inherit it.
            fcntl.lockf(self._held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except (BlockingIOError, PermissionError) as error:
            self.release()
            raise UserError(
                f"`run_dir` {self.folder}: another process is training there; wait for its end or "
                "name another folder"
            ) from error

    @contextmanager
    def _errors_told(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise UserError(
                f"`run_dir` {self.folder}: cannot be used ({error.strerror}); name another folder"
            ) from error

    def _check(
        self, config: Mapping, may_change: Collection[str], before_options: Mapping[str, object]
    ) -> None:
        option = f"`run_dir` {self.folder}"
        if self.folder.exists() and not self.folder.is_dir():
            raise UserError(f"{option}: is a file; name a folder")
        nearest = next(p for p in (self.folder, *self.folder.absolute().parents) if p.exists())
        if not os.access(nearest, os.W_OK) or not nearest.is_dir():
            raise UserError(f"{option}: {nearest} cannot be written; name another folder")
        if not self.config.exists():
            if self.folder.exists() and not all(map(_is_left_over, self.folder.iterdir())):
                raise UserError(f"{option}: holds files but no run; name a new or empty folder")
            return
        if not list_checkpoints(self.checkpoints):  # nothing is lost by other options
            return
        started_with = self._read_config(option)
        old, new = started_with.get("command"), config["command"]
        if old != new:
            raise UserError(
                f"{option}: is a run of {old}, not of {new}; name another folder (`init_from` "
                "takes weights along)"
            )
        for section in ("options", "data"):
            old, new = started_with.get(section, {}), config[section]
            if section == "options":
                old = {name: before_options[name] for name in before_options if name in new} | old
            for name in sorted((old.keys() | new.keys()) - set(may_change)):
                if old.get(name) != new.get(name):
                    shown = f"`{name}`" if section == "options" else f"the data ({name})"
                    raise UserError(
                        f"{shown}: this run was started with {old.get(name)!r}, now it is "
                        f"{new.get(name)!r}; give the old value, or another `run_dir` to start "
                        "anew (`init_from` takes this run's weights along)"
                    )

    def _read_config(self, option: str) -> dict:
        try:
            return json.loads(self.config.read_text(encoding="utf-8"))
        except ValueError as error:
            raise UserError(
                f"{option}: config.json is damaged ({error}); name another folder"
            ) from error


def _is_left_over(path: Path) -> bool:
    """Tell whether a killed process left this before it had written its config.json."""
    return path.name == ".lock" or (path.name.startswith(".") and path.suffix == ".tmp")
