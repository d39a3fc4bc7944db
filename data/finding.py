"""What an inspection finds: one sentence, how serious it is, and the files to look at."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

STOPS, HARMS, LOOK = 3, 2, 1  # of training or its numbers; of its result; perhaps on purpose
SHOWN_EXAMPLES = 24
_LONGEST_NAME = 100


class Finding(NamedTuple):
    """One thing to know about a folder."""

    kind: str  # a fixed name, for programs
    severity: int  # STOPS, HARMS or LOOK
    words: str
    count: int = 0  # files or pairs that it concerns
    # Files that belong together, at most SHOWN_EXAMPLES groups of them.
    examples: tuple[tuple[Path, ...], ...] = ()


def by_severity(findings: Iterable[Finding]) -> list[Finding]:
    """Return the findings, the most serious first and otherwise as they came."""
    return sorted(findings, key=lambda finding: -finding.severity)


def examples(groups: Iterable[Sequence[Path]]) -> tuple[tuple[Path, ...], ...]:
    """Return the first groups of files that a finding shows."""
    found = []
    for group in groups:
        if len(found) == SHOWN_EXAMPLES:
            break
        found.append(tuple(group))
    return tuple(found)


def printable(text: str) -> str:
    """Return a text on one line; signs without a form of their own are escaped as in Python."""
    return "".join(sign if sign.isprintable() else ascii(sign)[1:-1] for sign in text)


def shown_name(path: Path, folder: Path | None = None) -> str:
    """Return a file's place below a folder as one short printable line.

    It is `printable`, and of a very long name the middle is left out.
    """
    name = str(path)
    if folder is not None and path.is_relative_to(folder):
        name = str(path.relative_to(folder))
    name = printable(name)
    if len(name) > _LONGEST_NAME:
        half = _LONGEST_NAME // 2
        name = f"{name[: half - 2]}...{name[-half:]}"
    return name


def plural(count: int, noun: str) -> str:
    """Return a number with its noun: 1 picture, 2,000 pictures."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"
