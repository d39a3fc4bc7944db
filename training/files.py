"""Atomic writing of files."""

import os
from collections.abc import Callable, Iterable
from pathlib import Path

from errors import UserError


def write_atomically(path: Path, write: Callable[[Path], object]) -> None:
    """Call `write` on a temporary file beside `path`, flush it to disk, then rename it to `path`.

    On any error the temporary file is removed, an older `path` is left unchanged, and the error is
    raised.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        temporary.touch()
        mode = temporary.stat().st_mode  # the user's default, which some writers change
        write(temporary)
        temporary.chmod(mode)
        with open(temporary, "rb+") as file:
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
    if os.name == "posix":  # syncing the folder makes the rename durable
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def write_output(path: Path, option: str, write: Callable[[Path], object]) -> None:
    """Write a file that the user asked for, creating its parent folders; see `write_atomically`.

    Raises UserError, which names `option`, if that fails.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, write)
    except OSError as error:
        raise UserError(
            f"{option} {path}: cannot be written ({error.strerror or error}); give another path"
        ) from error


def write_lines_atomically(path: Path, lines: Iterable[str]) -> None:
    """Write `lines` as UTF-8 text, each followed by a newline."""
    text = "".join(f"{line}\n" for line in lines)
    write_atomically(path, lambda temporary: temporary.write_text(text, encoding="utf-8"))
