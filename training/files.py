"""Files that appear whole or not at all."""

import os
from collections.abc import Callable, Iterable
from pathlib import Path

from errors import UserError


def write_atomically(path: Path, write: Callable[[Path], object]) -> None:
    """Let `write` make a temporary sibling of `path`, flush it to the disk, then rename it.

    When anything fails the temporary file is removed, an older `path` stays as it was, and the
    error goes on.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        temporary.touch()
        rights = temporary.stat().st_mode  # those of the user's new files; some writers set others
        write(temporary)
        temporary.chmod(rights)
        with open(temporary, "rb+") as file:
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
    if os.name == "posix":  # the rename itself is on the disk once the folder is
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def write_output(path: Path, option: str, write: Callable[[Path], object]) -> None:
    """Let `write` make a file that the user asked for, and the folders above it.

    Raises UserError, which names `option`, where the system does not let it.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, write)
    except OSError as error:
        raise UserError(
            f"{option} {path}: cannot be written ({error.strerror or error}); name another place"
        ) from error


def write_lines_atomically(path: Path, lines: Iterable[str]) -> None:
    """Write `lines` as UTF-8 text, each ended by a newline."""
    text = "".join(f"{line}\n" for line in lines)
    write_atomically(path, lambda temporary: temporary.write_text(text, encoding="utf-8"))
