"""Findings from a few files of a data set, fast enough for the start of every training."""

import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from data.decode import header_size
from data.finding import HARMS, LOOK, STOPS, Finding, by_severity, examples, plural
from data.transforms import Preprocessing

SAMPLE = 64  # files of each side whose headers are read
MOST_TRAINING_FILES = 2000  # whose sizes are compared with those of test files
MOST_COMPARED = 128  # pairs of files of equal size that are read
_ENLARGED = 1.5
_STRETCHED = 1.5
_WIDE = 1.5  # side-by-side pictures are at least this times as wide as high
_FEW = {"unpaired": 100, "pairs": 50, "side_by_side": 50, "pictures": 1000, "classes": 1000}
_UNEVEN = 20


class Side(NamedTuple):
    """The files of one side of a data set."""

    name: str
    train: Sequence[Path]
    test: Sequence[Path] = ()
    halves: bool = False  # two pictures side by side in each file


def glance(kind: str, sides: Sequence[Side], preprocessing: Preprocessing) -> list[Finding]:
    """Return what a sample of the files shows, the most serious first.

    kind: unpaired, pairs, side_by_side, pictures or classes. Headers of 64 files a side are read,
    and where there are test pictures, the bytes of a few files of equal size; no picture is
    decoded. `data.inspection` looks at everything.
    """
    found = [*count_findings(kind, [(side.name, len(side.train)) for side in sides])]
    of_sides: dict[tuple[str, str], list[tuple[str, Finding]]] = {}
    for side in sides:
        for finding in (*_headers(side, preprocessing), *_shared(side)):
            of_sides.setdefault((finding.kind, finding.words), []).append((side.name, finding))
    for (_, words), same in of_sides.items():  # what is true of both sides is reported once
        names = " and ".join(name for name, _ in same)
        found.append(same[0][1]._replace(words=f"{names}: {words}"))
    return by_severity(found)


def are_side_by_side(files: Sequence[Path]) -> bool:
    """Return whether files look like two pictures each, by the headers of a sample."""
    sizes = [header_size(path) for path in sample(files, SAMPLE)]
    known = [size for size in sizes if size]
    return bool(known) and all(
        width % 2 == 0 and width >= _WIDE * height for width, height in known
    )


def count_findings(kind: str, train: Sequence[tuple[str, int]]) -> Iterator[Finding]:
    """Yield what the numbers of training pictures, by group, let expect of a layout."""
    few = [f"{name} {count:,}" for name, count in train if count < _FEW[kind]]
    if few:
        words = (
            f"few training pictures ({', '.join(few)}; {_FEW[kind]:,} or more are usual): the "
            "discriminator will soon know them by heart"
        )
        yield Finding("few", LOOK, words, min(count for _, count in train))
    (name, least), (other, most) = (edge(train, key=lambda one: one[1]) for edge in (min, max))
    if kind == "unpaired" and most > _UNEVEN * least:
        words = (
            f"{other} has {most:,} pictures and {name} {least:,}: in one epoch each of the latter "
            f"is seen {most / least:.0f} times"
        )
        yield Finding("uneven", HARMS, words, least)


def sample(files: Sequence[Path], count: int) -> list[Path]:
    """Return so many files, or all if there are fewer, evenly from the whole list."""
    count = min(count, len(files))
    return [files[number * len(files) // count] for number in range(count)]


def _headers(side: Side, preprocessing: Preprocessing) -> Iterator[Finding]:
    """Findings about sizes; the words do not name the side."""
    files = sample(side.train, SAMPLE)
    sizes = {path: header_size(path) for path in files}
    bad = [path for path, size in sizes.items() if size is None]
    if bad:
        words = f"{len(bad):,} of {plural(len(files), 'file')} looked at cannot be read"
        yield Finding("unreadable", HARMS, words, len(bad), examples((path,) for path in bad))
    known = [size for size in sizes.values() if size]
    if not known:
        return
    if side.halves:
        known = [(max(1, width // 2), height) for width, height in known]
    mode, load_size = preprocessing.mode, preprocessing.load_size
    resized = [
        width if mode.startswith("scale_width") else min(width, height) for width, height in known
    ]
    usual = _median(resized)
    if mode not in ("crop", "none") and load_size > _ENLARGED * usual:
        words = (
            f"pictures are usually {usual:.0f} px and are enlarged to `load_size` "
            f"{load_size}; a smaller `load_size` and `crop_size` cost less and show as much"
        )
        yield Finding("enlarged", HARMS, words, len(known))
    aspect = _median([width / height for width, height in known])
    if mode == "resize_and_crop" and max(aspect, 1 / aspect) > _STRETCHED:
        words = (
            f"pictures are usually {aspect:.2f} times as wide as high, and "
            "`preprocess` resize_and_crop makes squares of them; scale_width_and_crop keeps the "
            "proportions"
        )
        yield Finding("stretched", HARMS, words, len(known))


def _shared(side: Side) -> Iterator[Finding]:
    """Test files that are training files too; the words do not name the side."""
    if not side.test or side.test == side.train or len(side.train) > MOST_TRAINING_FILES:
        return
    tests = sample(side.test, SAMPLE)
    by_size: dict[int, list[Path]] = {}
    for path in side.train:
        by_size.setdefault(_bytes(path), []).append(path)
    by_size.pop(0, None)  # empty or gone
    pairs = [(path, other) for path in tests for other in by_size.get(_bytes(path), ())]
    digests: dict[Path, bytes] = {}
    same = []
    for pair in sample(pairs, MOST_COMPARED):
        if len({digests.get(path) or digests.setdefault(path, _digest(path)) for path in pair}) < 2:
            same.append(pair)
    if same:
        count = len({test for test, _ in same})
        words = (
            f"{count:,} of {plural(len(tests), 'test picture')} looked at are "
            "training pictures too, byte for byte; measurements then reward remembering"
        )
        shown = examples(same)
        yield Finding("duplicates_between_train_and_test", STOPS, words, count, shown)


def _bytes(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:  # the training reports it when it reads the file
        return 0


def _digest(path: Path) -> bytes:
    return hashlib.blake2b(path.read_bytes()).digest()


def _median(values: Sequence[float]) -> float:
    return sorted(values)[len(values) // 2]
