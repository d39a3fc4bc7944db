"""Classes of label maps, and how often each occurs."""

from collections.abc import Iterator
from typing import NamedTuple

from data.finding import HARMS, LOOK, Finding
from data.inspection.survey import LabelCounts, Survey

_RARE_PIXELS = 1e-4  # of all
_RARE_PICTURES = 2


class LabelClass(NamedTuple):
    """One value of a group's label maps."""

    value: int
    pixel_share: float
    pictures: int


def classes(counts: LabelCounts) -> list[LabelClass]:
    """Return the values in order."""
    total = sum(counts.pixels.values())
    return [
        LabelClass(value, counts.pixels[value] / total, counts.pictures[value])
        for value in sorted(counts.pixels)
    ]


def label_findings(survey: Survey) -> Iterator[Finding]:
    """Yield rare classes, gaps in the numbering, and classes that only the test set has."""
    groups = survey.layout.groups
    for number, group in enumerate(groups):
        counts = survey.labels[number]
        if counts is None or group.phase != "train":
            continue
        found = classes(counts)
        values = [one.value for one in found]
        missing = sorted(set(range(max(values))) - set(values))
        if missing:
            words = (
                f"{group.name}: label values up to {max(values)}, of which {len(missing)} do not "
                f"occur (first {missing[0]}); `source_classes` would have to be {max(values) + 1}"
            )
            yield Finding("label_gaps", LOOK, words, len(missing))
        rare = [
            one.value
            for one in found
            if one.pixel_share < _RARE_PIXELS or one.pictures < _RARE_PICTURES
        ]
        if rare and len(group.files) >= 10 * _RARE_PICTURES:
            words = (
                f"{group.name}: {len(rare)} of {len(found)} label values are rare (below 1 in "
                f"10,000 pixels, or in one picture only): {', '.join(map(str, rare[:10]))}"
            )
            yield Finding("label_rare", LOOK, words, len(rare))
        for other, second in enumerate(groups):
            theirs = survey.labels[other]
            if second.phase == "test" and second.side == group.side and theirs is not None:
                new = sorted(theirs.pixels.keys() - counts.pixels.keys())
                if new:
                    words = (
                        f"{second.name}: label values that {group.name} lacks: "
                        f"{', '.join(map(str, new[:10]))}; nothing teaches what they look like"
                    )
                    yield Finding("label_untaught", HARMS, words, len(new))
