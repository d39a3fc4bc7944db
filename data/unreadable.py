"""Unreadable files: skipped, remembered and reported."""

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

from data.decode import UnreadableImageError
from errors import UserError

Entry = TypeVar("Entry")
Read = TypeVar("Read")
Found = tuple[tuple[Path, str], ...]  # (file, reason) of each


class UnreadableFiles:
    """The unreadable files met so far, so that none is tried twice; results do not depend on it."""

    def __init__(self) -> None:
        self._reasons: dict[Path, str] = {}

    def first_readable(
        self,
        entries: Sequence[Entry],
        place: int,
        paths: Callable[[Entry], Sequence[Path]],
        read: Callable[[Entry], Read],
        noun: str,
    ) -> tuple[Entry, Read, Found]:
        """The first entry from `place` on whose files can be read, wrapping around at the end.

        Returns it, what was read, and the unreadable files that were skipped. Raises `UserError`,
        which calls the entries `noun`, if none can be read.
        """
        found = []
        for step in range(len(entries)):
            entry = entries[(place + step) % len(entries)]
            bad = next((path for path in paths(entry) if path in self._reasons), None)
            if bad is None:
                try:
                    return entry, read(entry), tuple(found)
                except UnreadableImageError as error:
                    bad = error.path
                    self._reasons[bad] = error.reason
            found.append((bad, self._reasons[bad]))
        path, reason = found[0]
        raise UserError(
            f"{path.parent}: none of its {len(entries)} {noun} can be read, the first being "
            f"{path.name} ({reason}); repair or replace them"
        )


def report_preview(found: Sequence[tuple[Path, str]]) -> None:
    """Report on stderr each file that a preview could not read."""
    for path, reason in sorted(set(found)):
        print(f"preview: {path} cannot be read ({reason})", file=sys.stderr)
