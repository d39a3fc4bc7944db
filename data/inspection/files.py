"""What can be said of single files: unreadable, plain, of odd modes, of odd sizes, too few."""

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from data.finding import HARMS, LOOK, STOPS, Finding, examples, plural
from data.glance import count_findings
from data.inspection.survey import Survey

TOLERATED_ONE_IN = 100  # unreadable files, more of which stop a training
_PLAIN = 1.0  # grey levels of contrast
_RANGE = 4.0  # of sizes in one group
_ASPECT_RANGE = 1.5


def file_findings(survey: Survey) -> Iterator[Finding]:
    """Yield what is wrong with single files, and with their number."""
    yield from survey.layout.findings
    yield from _counts(survey)
    for number, group in enumerate(survey.layout.groups):
        if group.half != "right":
            yield from _unreadable(group.name, group.files, survey.reasons)
        members = survey.members(number)
        if len(members):
            yield from _plain(survey, group.name, number, members)
            yield from _modes(survey, group.name, number, members)
            yield from _sizes(survey, group.name, members)
            odd = members[survey.rows["odd"][members]]
            if len(odd) and group.half == "left":
                words = (
                    f"{group.name}: {plural(len(odd), 'picture')} of odd width, which has no two "
                    "equal halves; training on pairs refuses that"
                )
                yield Finding("odd_width", STOPS, words, len(odd), _each(survey, odd))


def _counts(survey: Survey) -> Iterator[Finding]:
    layout = survey.layout
    single = layout.kind == "unpaired" and [len(group.files) for group in layout.groups] == [1, 1]
    train = [(group.name, len(group.files)) for group in layout.groups if group.phase == "train"]
    if single:
        return
    yield from count_findings(layout.kind, train)
    of_sides = layout.folder and layout.kind not in ("pictures", "classes")
    if of_sides and all(group.phase == "train" for group in layout.groups):
        words = "no test pictures: measurements would be made on the training pictures"
        yield Finding("no_test", LOOK, words)


def _unreadable(name: str, files: Sequence[Path], reasons: dict[Path, str]) -> Iterator[Finding]:
    bad = [path for path in files if path in reasons]
    cut_short = [path for path in bad if "truncated" in reasons[path]]
    for kind, paths in (("truncated", cut_short), ("unreadable", sorted({*bad} - {*cut_short}))):
        if not paths:
            continue
        # Without how many bytes are missing, which differ from file to file.
        counted = Counter(re.sub(r" \(\d+ bytes.*", "", reasons[path]) for path in paths)
        why = ", ".join(f"{reason} ({count:,})" for reason, count in counted.most_common(3))
        if len(counted) == 1:
            why = next(iter(counted))
        stops = len(bad) * TOLERATED_ONE_IN > len(files)
        then = (
            f"more than 1 in {TOLERATED_ONE_IN} of all files stop a training"
            if stops
            else "training passes over them"
        )
        what = "end too early" if kind == "truncated" else "cannot be read"
        words = f"{name}: {len(paths):,} of {plural(len(files), 'file')} {what}: {why}; {then}"
        shown = examples((path,) for path in paths)
        yield Finding(kind, STOPS if stops else HARMS, words, len(paths), shown)


def _plain(survey: Survey, name: str, group: int, members: np.ndarray) -> Iterator[Finding]:
    plain = members[survey.rows["contrast"][members] < _PLAIN]
    if len(plain) and survey.labels[group] is None:
        words = f"{name}: {plural(len(plain), 'picture')} of almost one colour"
        yield Finding("plain", LOOK, words, len(plain), _each(survey, plain))


def _modes(survey: Survey, name: str, group: int, members: np.ndarray) -> Iterator[Finding]:
    if survey.labels[group] is not None:
        return
    rows = survey.rows[members]
    total = plural(len(members), "picture")
    for kind, which, what in (
        (
            "transparent",
            rows["transparent"],
            "with transparency, which is laid over white (`source_channels` 4 of train_pix2pix.py "
            "keeps it)",
        ),
        (
            "deep",
            rows["bits"] > 8,
            "with 16 bits a channel, which become 8 (`source_bits` 16 of train_pix2pix.py keeps "
            "those of grey ones)",
        ),
        ("cmyk", rows["mode"] == "CMYK", "in CMYK, whose colours become RGB without a profile"),
        ("palette", rows["mode"] == "P", "with a palette of colours, which become RGB"),
    ):
        if which.any():
            count = int(which.sum())
            words = f"{name}: {count:,} of {total} {what}"
            yield Finding(kind, LOOK, words, count, _each(survey, members[which]))
    grey = rows["saturation"] < 1.0
    share = grey.mean()
    if 0 < share < 1:
        few, what = (grey, "grey, the others coloured")
        if share > 0.5:
            few, what = (~grey, "coloured, the others grey")
        words = f"{name}: {int(few.sum()):,} of {total} {what}"
        yield Finding("grey_and_colour", LOOK, words, int(few.sum()), _each(survey, members[few]))


def _sizes(survey: Survey, name: str, members: np.ndarray) -> Iterator[Finding]:
    rows = survey.rows[members]
    short = np.minimum(rows["width"], rows["height"]).astype(float)
    usual = np.median(short)
    small = short * _RANGE / 2 < usual
    if small.any():
        words = (
            f"{name}: {plural(int(small.sum()), 'picture')} of less than half the usual size "
            f"({short.min():.0f} px on the short side, usually {usual:.0f}); resized, they are "
            "blurred among sharp ones"
        )
        order = members[small][np.argsort(short[small], kind="stable")]
        yield Finding("small", LOOK, words, int(small.sum()), _each(survey, order))
    aspect = rows["width"] / rows["height"]
    low, high = np.quantile(aspect, (0.05, 0.95))
    if high > _ASPECT_RANGE * low:
        odd = members[(aspect <= low) | (aspect >= high)]
        words = (
            f"{name}: shapes from {low:.2f} to {high:.2f} (width by height); resize_and_crop "
            "makes squares of all, so some are stretched"
        )
        yield Finding("shapes", LOOK, words, len(odd), _each(survey, odd))


def _each(survey: Survey, numbers: np.ndarray) -> tuple[tuple[Path, ...], ...]:
    return examples((survey.path(number),) for number in numbers)
