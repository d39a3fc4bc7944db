"""The page of an inspection: one HTML file that holds its thumbnails."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

import data
from commands.inspection.result import (
    SEVERITIES,
    Result,
    advice_values,
    cost_in_words,
    group_values,
    in_words,
)
from commands.pages import pictures
from commands.pages.rendering import render
from data import inspection

THUMBNAIL_PX = 112
_GROUPS_SHOWN = 12  # of a finding
_SAMPLE = 24  # pictures of a group
_HEADINGS = {
    "stops": "Stops a training or spoils its numbers",
    "harms": "Harms the result",
    "look": "Worth a look",
}


class Thumbnails:
    """Small pictures as data, each made once; None for files that cannot be read."""

    def __init__(self) -> None:
        self._made: dict[tuple[Path, str | None, bool], str | None] = {}

    def of(self, path: Path, half: str | None = None, is_labels: bool = False) -> str | None:
        """Return a picture as the address of an <img>."""
        key = path, half, is_labels
        if key not in self._made:
            self._made[key] = self._make(*key)
        return self._made[key]

    def _make(self, path: Path, half: str | None, is_labels: bool) -> str | None:
        try:
            image = inspection.small_rgb(path, half, THUMBNAIL_PX)
            if is_labels:
                image = inspection.coloured_labels(path, half)
        except data.UnreadableImageError:
            return None
        resampling = Image.Resampling.NEAREST if is_labels else Image.Resampling.BICUBIC
        image.thumbnail((THUMBNAIL_PX, THUMBNAIL_PX), resampling)
        return pictures.address(pictures.encoded(image, pictures.JPEG), pictures.JPEG)


def page(result: Result) -> str:
    """Return the page as HTML that needs no other file; all names in it are escaped."""
    survey, thumbnails = result.survey, Thumbnails()
    layout = survey.layout
    groups = [group_values(survey, at) for at in range(len(layout.groups))]
    return render(
        "data.html",
        folder=inspection.printable(str(layout.folder or " and ".join(_folders(result)))),
        kind=layout.kind.replace("_", " "),
        counts=", ".join(f"{group['name']} {group['files']:,}" for group in groups),
        groups=groups,
        measures=_measures(groups),
        findings=_findings(result, thumbnails),
        headings=_HEADINGS,
        advice=advice_values(result),
        cost=cost_in_words(result),
        labels=_labels(result),
        samples=[
            (group["name"], _sample(result, at, thumbnails)) for at, group in enumerate(groups)
        ],
    )


def _folders(result: Result) -> list[str]:
    return [group.name for group in result.survey.layout.groups]


def _findings(result: Result, thumbnails: Thumbnails) -> list[dict[str, object]]:
    """Severity, words and thumbnails of each."""
    folder = result.survey.layout.folder
    return [
        {
            "severity": SEVERITIES[finding.severity],
            "words": in_words(finding.words),
            "examples": [
                [
                    _picture(thumbnails.of(path), path, folder, result)
                    for path in dict.fromkeys(group)
                ]
                for group in finding.examples[:_GROUPS_SHOWN]
            ],
        }
        for finding in result.findings
    ]


def _picture(
    source: str | None, path: Path, folder: Path | None, result: Result
) -> dict[str, str | None]:
    return {
        "source": source,
        "name": inspection.shown_name(path, folder),
        "reason": inspection.printable(result.survey.reasons.get(path, "")),
    }


def _sample(result: Result, at: int, thumbnails: Thumbnails) -> list[dict[str, str | None]]:
    """Some pictures of a group, evenly from its whole list."""
    survey = result.survey
    group, is_labels = survey.layout.groups[at], survey.labels[at] is not None
    members = survey.members(at)
    count = min(_SAMPLE, len(members))
    shown = [survey.path(members[number * len(members) // count]) for number in range(count)]
    return [
        _picture(thumbnails.of(path, group.half, is_labels), path, survey.layout.folder, result)
        for path in shown
    ]


def _measures(groups: Sequence[dict]) -> list[dict[str, object]]:
    """Rows of a table: a measure, its unit, and mean and spread in each group."""
    return [
        {
            "name": name,
            "unit": unit,
            "values": [group.get(name) for group in groups],
            "most": max((group[name]["mean"] for group in groups if name in group), default=0),
        }
        for name, unit in inspection.MEASURES.items()
    ]


def _labels(result: Result) -> list[tuple[str, list[dict[str, object]]]]:
    """The classes of each group of label maps, with their colours."""
    found = []
    for group, counts in zip(result.survey.layout.groups, result.survey.labels, strict=True):
        if counts is not None:
            classes = inspection.classes(counts)
            colours = data.label_colours(max(one.value for one in classes) + 1)
            found.append((group.name, [_label(one, colours) for one in classes]))
    return found


def _label(one: inspection.LabelClass, colours: np.ndarray) -> dict[str, object]:
    red, green, blue = colours[one.value].tolist()
    return {**one._asdict(), "colour": f"#{red:02x}{green:02x}{blue:02x}"}
