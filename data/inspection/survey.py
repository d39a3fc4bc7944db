"""All pictures of a layout, measured once."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np

from data.inspection.layout import Layout
from data.inspection.picture import LUMA, ROW, Measured, measure
from data.inspection.work import in_processes


class LabelCounts(NamedTuple):
    """The values of a group whose pictures are all label maps."""

    pixels: Counter[int]  # value -> pixels
    pictures: Counter[int]  # value -> pictures that hold it


class Survey(NamedTuple):
    """What is known of all pictures, in the order of `layout.files`."""

    layout: Layout
    rows: np.ndarray  # of ROW
    group: np.ndarray  # int, the group of each picture
    reasons: dict[Path, str]  # of the files that cannot be read
    labels: list[LabelCounts | None]  # of each group; None: not label maps

    def members(self, group: int) -> np.ndarray:
        """Return the numbers of a group's readable pictures."""
        return np.flatnonzero(self.rows["readable"] & (self.group == group))

    def path(self, number: int) -> Path:
        """Return the file of a picture."""
        group = int(self.group[number])
        return self.layout.groups[group].files[int(number) - self.layout.starts[group]]

    @property
    def brightness(self) -> np.ndarray:
        """Mean grey level of each picture, 0 to 255."""
        return self.rows["colour"] @ LUMA


def survey(
    layout: Layout, workers: int, progress: Callable[[int, int], None] | None = None
) -> Survey:
    """Measure all pictures in `workers` processes (0: in this one).

    progress: called with the files done and the number of files, now and then. Memory grows by
    about 0.7 kB a picture; no pixels are kept but 16 x 16 grey levels.
    """
    items = _items(layout)
    rows = np.zeros(layout.starts[-1], dtype=ROW)
    reasons: dict[Path, str] = {}
    counts = [LabelCounts(Counter(), Counter()) for _ in layout.groups]
    could_be_labels = [True] * len(layout.groups)
    group = np.repeat(np.arange(len(layout.groups)), np.diff(layout.starts))
    measured = in_processes(_measure, items, workers)
    for done, (item, found) in enumerate(zip(items, measured, strict=True), 1):
        path, places, _ = item
        rows[list(places)] = found.rows
        if found.reason:
            reasons[path] = found.reason
        for place, labels in zip(places, found.labels, strict=True):
            at = group[place]
            if labels is not None:
                counts[at].pixels.update(labels)
                counts[at].pictures.update(labels.keys())
            elif not found.reason:
                could_be_labels[at] = False
        if progress and (done % 100 == 0 or done == len(items)):
            progress(done, len(items))
    labels = [
        found if is_labels and found.pixels else None
        for found, is_labels in zip(counts, could_be_labels, strict=True)
    ]
    return Survey(layout, rows, group, reasons, labels)


Item = tuple[Path, tuple[int, ...], tuple[str | None, ...]]


def _items(layout: Layout) -> list[Item]:
    """Each file once, with the numbers of its pictures; of pictures side by side it holds two."""
    starts = layout.starts
    items = []
    number = 0
    while number < len(layout.groups):
        group = layout.groups[number]
        if group.half == "left":  # the next group has the right halves of the same files
            for place, path in enumerate(group.files):
                places = (starts[number] + place, starts[number + 1] + place)
                items.append((path, places, ("left", "right")))
            number += 2
            continue
        items += [(path, (starts[number] + at,), (None,)) for at, path in enumerate(group.files)]
        number += 1
    return items


def _measure(item: Item) -> Measured:
    path, _, halves = item
    return measure(path, halves)
