"""The curves of a run: numbers of its logs, grouped into charts."""

import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from commands.pages.record import Record, numbers

# Of one curve, and of a chart's curves together; more are averaged in groups of equal size.
MOST_POINTS, POINTS_OF_ALL = 1000, 6000
OF_THE_MACHINE = ("learning_rate", "images_per_second", "peak_memory_gb", "batch_size")
# For a measurement, its name when both sets are real pictures: the best value to expect.
FLOORS = {
    "fid": "fid_of_real_halves",
    "frechet_distance": "frechet_distance_of_real_halves",
    "ms_ssim": "ms_ssim_real",
}
_DIRECTION = re.compile(r"_(a2b|b2a)$")  # of a number of CycleGAN
# Numbers that say how another one was measured; a deviation has no best value.
_NOT_MEASURED = re.compile(r"n_|layer|.*_subset_size|.*_std(_a2b|_b2a)?$")
_SIDES = re.compile(r"_at_equilibrium$|^(real|fake)_|_(real|fake|a|b|a2b|b2a)$")

CAPTIONS = {
    "discriminator": "Loss of the discriminator, which classifies pictures as real or generated.",
    "generator": "Loss of the generator, all of its terms together.",
    "adversarial": "The generator's loss against the discriminator.",
    "nce": "Patch loss: each patch must match the source patch at its place.",
    "nce_identity": "The patch loss on target pictures, which should stay as they are.",
    "identity": "Change of pictures that should stay as they are.",
    "semantic_relation": "Difference of the relations among patches.",
    "self_regularization": "Distance between source and translation.",
    "cycle": "Distance between a picture and its translation there and back.",
    "l1": "Distance to the target, in L1.",
    "r1": "Penalty on the discriminator's gradient at real pictures.",
    "r2": "Penalty on the discriminator's gradient at generated pictures.",
    "gradient_penalty": "Penalty on the critic's gradient.",
    "accuracy": "Share that the discriminator classifies correctly; both near 1: it has won.",
    "distance": "Difference between pictures of a batch; fakes near 0: the generator collapsed.",
    "game_value": "Value of the two-player game.",
    "implied_jensen_shannon": "Divergence that the value of the game implies; 0: alike.",
    "skipped_updates": "Share of updates skipped because a loss or gradient was not finite.",
    "augment_probability": "How often pictures are augmented for the discriminator.",
    "learning_rate": "Step size of the optimizer.",
    "images_per_second": "Speed of the training.",
    "peak_memory_gb": "Largest amount of memory used so far.",
    "level": "Resolution of a growing network, as a power of two.",
    "fid": "Frechet Inception distance to the real pictures; lower is better.",
    "kid_mean": "Kernel Inception distance; lower is better.",
    "swd": "Sliced Wasserstein distance; lower is better.",
    "psnr": "Peak signal-to-noise ratio, in dB; higher is better.",
    "ssim": "Structural similarity; higher is better.",
    "frechet_distance": "Frechet distance of other features than FID's; lower is better.",
    "loss": "Loss of the encoder.",
    "spread": "Deviation of the embeddings, relative to an even spread; near 0: collapse.",
    "alignment": "Squared distance between two views of a picture.",
    "uniformity": "How evenly embeddings cover the sphere; lower is more even.",
    "knn_accuracy": "Share of held-out pictures classified correctly by their neighbours.",
    "knn_accuracy_of_pixels": "The same by the pixels themselves.",
    "precision": "Share of generated pictures that look real.",
    "recall": "Share of real pictures that the generator could make.",
}


class Curve(NamedTuple):
    """Values by images seen."""

    name: str
    images: list[float]
    values: list[float]
    colour: int  # place in the page's palette


class Chart(NamedTuple):
    """Curves that share an axis."""

    kind: str  # losses, measurements or machine
    title: str
    caption: str
    curves: list[Curve]
    floors: list[tuple[str, float]]  # horizontal lines


def charts(records: Sequence[Record]) -> list[Chart]:
    """Return the charts of a run, or of several over one another.

    Of one run, curves of two sides share a chart (real and fake, A and B); of several each name has
    a chart of its own, with a curve for each run that has it.
    """
    measured = _curves(records, [record.measured for record in records])
    logged = _curves(records, [record.lines for record in records])
    found = [
        Chart("measurements", _title(name), _caption(name), curves, _floors(name, records))
        for name, curves in measured.items()
    ]
    for name, curves in logged.items():
        kind = "machine" if name in OF_THE_MACHINE else "losses"
        found.append(Chart(kind, _title(name), _caption(name), curves, []))
    return found


def _curves(
    records: Sequence[Record], logs: Sequence[Sequence[Mapping[str, object]]]
) -> dict[str, list[Curve]]:
    """Return the curves of each chart, by the name of what it shows."""
    several = len(records) > 1
    found: dict[str, list[Curve]] = {}
    for place, (record, lines) in enumerate(zip(records, logs, strict=True)):
        for name, (images, values) in _columns(lines).items():
            if _is_floor(name):
                continue
            curves = found.setdefault(name if several else _SIDES.sub("", name) or name, [])
            shown = record.name if several else _title(name)
            colour = place if several else len(curves)
            most = min(MOST_POINTS, POINTS_OF_ALL // len(records) + 1)
            curves.append(Curve(shown, *_thinned(images, values, most), colour))
    return found


def measured_names(record: Record) -> list[str]:
    """Return the names of the numbers that were measured, floors left out."""
    return [name for name in _columns(record.measured) if not _is_floor(name)]


def floor_of(name: str, line: Mapping[str, object]) -> float | None:
    """Return how good a number of this line can be, where that was measured too."""
    floors = line.get("noise_floor")
    if isinstance(floors, dict) and name in numbers(floors):
        return floors[name]
    plain = _DIRECTION.sub("", name)
    return numbers(line).get(FLOORS.get(plain, "") + name.removeprefix(plain))


def _is_floor(name: str) -> bool:
    return _DIRECTION.sub("", name) in FLOORS.values()


def _title(name: str) -> str:
    return name.replace("_", " ").replace(" gb", " in GB").replace("fid", "FID")


def _caption(name: str) -> str:
    return CAPTIONS.get(name) or CAPTIONS.get(_SIDES.sub("", name), "")


def _floors(name: str, records: Sequence[Record]) -> list[tuple[str, float]]:
    """Return the values between real pictures of the numbers that a chart shows."""
    found = [
        floor_of(one, line)
        for record in records
        for line in record.measured[-1:]
        for one in line
        if one == name or (len(records) == 1 and _SIDES.sub("", one) == name)
    ]
    return [("between real pictures", floor) for floor in dict.fromkeys(found) if floor is not None]


def _columns(lines: Sequence[Mapping[str, object]]) -> dict[str, tuple[list[float], list[float]]]:
    """Return images and finite values of each name, without what says how it was measured."""
    found: dict[str, tuple[list[float], list[float]]] = {}
    for line in lines:
        for name, value in numbers(line).items():
            if name != "images" and not _NOT_MEASURED.match(name):
                images, values = found.setdefault(name, ([], []))
                images.append(line["images"])
                values.append(value)
    return found


def _thinned(
    images: list[float], values: list[float], most: int
) -> tuple[list[float], list[float]]:
    """Return at most `most` points, means of equally many neighbours."""
    size = -(-len(images) // most)
    if size < 2:
        return images, [_rounded(value) for value in values]
    means = [
        [sum(part) / len(part) for part in (row[at : at + size] for at in range(0, len(row), size))]
        for row in (images, values)
    ]
    return [round(image) for image in means[0]], [_rounded(value) for value in means[1]]


def _rounded(value: float) -> float:
    return float(f"{value:.5g}")
