"""Pictures that stand apart from all others of their group."""

from collections.abc import Iterator

import numpy as np

from data.finding import LOOK, Finding, examples, plural
from data.inspection.survey import Survey

LEAST_PICTURES = 50
_NEIGHBOUR = 3  # the distance to the third nearest: a few odd ones do not hide each other
_FACTOR = 3.0  # times the distance that 99 of 100 pictures stay below
_REFERENCES = 2000
_AT_ONCE = 500
# Least scale of each feature, so that a group of almost equal pictures has no outliers by noise.
_LEAST_SCALES = {
    "brightness": 8.0,
    "contrast": 5.0,
    "saturation": 5.0,
    "red against green": 5.0,
    "blue against yellow": 5.0,
    "detail": 2.0,
    "shape": 0.1,
}


def outlier_findings(survey: Survey) -> Iterator[Finding]:
    """Yield the pictures of each group that stand apart, the farthest first.

    Features: `_LEAST_SCALES`, each divided by half the distance between its 16th and 84th
    percentile. A picture stands apart where its third nearest neighbour among up to 2,000 others is
    more than three times as far as for 99 of 100 pictures.
    """
    for number, group in enumerate(survey.layout.groups):
        members = survey.members(number)
        if len(members) < LEAST_PICTURES or survey.labels[number] is not None:
            continue
        values = features(survey, members)
        apart = standing_apart(values)
        if len(apart):
            names = list(_LEAST_SCALES)
            strongest = np.abs(values[apart] - np.median(values, axis=0)).argmax(1)
            why = ", ".join(dict.fromkeys(names[at] for at in strongest))
            words = (
                f"{group.name}: {plural(len(apart), 'picture')} apart from all others (by {why}); "
                "see whether they belong here"
            )
            shown = examples((survey.path(number),) for number in members[apart])
            yield Finding("apart", LOOK, words, len(apart), shown)


def features(survey: Survey, members: np.ndarray) -> np.ndarray:
    """Return float [N, F]: brightness, contrast, ... of pictures, in units of their spread."""
    rows = survey.rows[members]
    red, green, blue = rows["colour"].astype(float).T
    columns = {
        "brightness": survey.brightness[members].astype(float),
        "contrast": rows["contrast"].astype(float),
        "saturation": rows["saturation"].astype(float),
        "red against green": red - green,
        "blue against yellow": blue - (red + green) / 2,
        "detail": rows["detail"].astype(float),
        "shape": np.log(rows["width"] / rows["height"]),
    }
    values = np.stack([columns[name] for name in _LEAST_SCALES], axis=1)
    low, high = np.quantile(values, (0.16, 0.84), axis=0)
    return values / np.maximum((high - low) / 2, list(_LEAST_SCALES.values()))


def standing_apart(values: np.ndarray) -> np.ndarray:
    """Return the places of the rows [N, F] that stand apart, the farthest first."""
    count = len(values)
    places = np.unique(np.linspace(0, count - 1, min(count, _REFERENCES)).astype(int))
    references = values[places]
    squares = (references**2).sum(1)
    distances = np.empty(count)
    for at in range(0, count, _AT_ONCE):
        some = values[at : at + _AT_ONCE]
        apart = (some**2).sum(1)[:, None] + squares - 2 * some @ references.T
        itself = places[None] == np.arange(at, at + len(some))[:, None]
        apart[itself] = np.inf
        distances[at : at + len(some)] = np.partition(apart, _NEIGHBOUR - 1)[:, _NEIGHBOUR - 1]
    distances = np.sqrt(np.maximum(distances, 0))
    # Lower than the largest even of 50 pictures.
    limit = _FACTOR * max(np.quantile(distances, min(0.99, 1 - 2 / count)), 0.5)
    found = np.flatnonzero(distances > limit)
    return found[np.argsort(-distances[found], kind="stable")]
