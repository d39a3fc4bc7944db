"""Brightness and colours: of the two domains side by side, of training and test pictures."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from data.finding import HARMS, LOOK, Finding
from data.inspection.survey import Survey

MEASURES = {
    "brightness": "grey level",
    "contrast": "standard deviation of the grey levels",
    "saturation": "largest minus smallest channel",
    "red": "level",
    "green": "level",
    "blue": "level",
    "detail": "difference of neighbouring pixels at 64 px",
}
_LEAST_LEVELS = 20.0  # of brightness between two groups
_DOMAINS_EFFECT = 1.0  # differences in standard deviations of single pictures
_PHASES_EFFECT = 0.5
_LEAST_PICTURES = 20


class Summary(NamedTuple):
    """Mean of a measure over a group's pictures, and their standard deviation."""

    mean: float
    spread: float


def summaries(survey: Survey, group: int) -> dict[str, Summary]:
    """Return what `MEASURES` names of a group's readable pictures, in 8-bit levels."""
    members = survey.members(group)
    return {
        name: Summary(float(values.mean()), float(values.std()))
        for name, values in _values(survey, members).items()
        if len(values)
    }


def domain_findings(survey: Survey) -> Iterator[Finding]:
    """Yield large differences between sides, and between training and test pictures of one."""
    groups = survey.layout.groups
    for one, first in enumerate(groups):
        for other, second in enumerate(groups[one + 1 :], one + 1):
            if survey.labels[one] is not None or survey.labels[other] is not None:
                continue
            sides = first.side != second.side
            if sides == (first.phase != second.phase) or (sides and first.phase == "test"):
                continue
            yield from _difference(survey, one, other, sides=sides)


def _difference(survey: Survey, one: int, other: int, *, sides: bool) -> Iterator[Finding]:
    members = survey.members(one), survey.members(other)
    if min(len(side) for side in members) < _LEAST_PICTURES:
        return
    names = [survey.layout.groups[number].name for number in (one, other)]
    first, second = (_values(survey, side) for side in members)
    is_grey = [side["saturation"].max() < 1 for side in (first, second)]
    has_grey_side = sides and is_grey[0] != is_grey[1]
    if has_grey_side:
        grey, coloured = names if is_grey[0] else names[::-1]
        words = (
            f"all of {grey} is grey and {coloured} is not: the discriminator tells them apart by "
            "that alone, and the colours have to be made up"
        )
        yield Finding("grey_domain", LOOK, words)
    differing, compared = [], ("brightness", "saturation", "red", "green", "blue")
    if has_grey_side:
        compared = ("brightness",)
    for name in compared:
        difference = second[name].mean() - first[name].mean()
        spread = np.sqrt((second[name].var() + first[name].var()) / 2)
        limit = _DOMAINS_EFFECT if sides else _PHASES_EFFECT
        if abs(difference) >= max(_LEAST_LEVELS / (1 if sides else 2), limit * spread):
            differing.append(f"{name} {first[name].mean():.0f} and {second[name].mean():.0f}")
    if differing and sides:
        words = (
            f"{names[0]} and {names[1]} differ in {', '.join(differing)} (mean levels of 255): a "
            "translator will change that first; if it is not meant, even it out"
        )
        yield Finding("domains_differ", LOOK, words)
    elif differing:
        words = (
            f"{names[0]} and {names[1]} differ in {', '.join(differing)} (mean levels of 255): the "
            "test pictures are of another kind than the training pictures"
        )
        yield Finding("test_differs", HARMS, words)


def _values(survey: Survey, members: np.ndarray) -> dict[str, np.ndarray]:
    rows = survey.rows[members]
    colour = rows["colour"].astype(float)
    values = {name: rows[name].astype(float) for name in ("contrast", "saturation", "detail")}
    values |= {name: colour[:, at] for at, name in enumerate(("red", "green", "blue"))}
    values["brightness"] = survey.brightness[members].astype(float)
    return {name: values[name] for name in MEASURES}
