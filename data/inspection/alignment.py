"""Whether the two pictures of a pair show the same outlines at the same places."""

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from data.content import label_colours
from data.decode import UnreadableImageError, open_upright
from data.finding import HARMS, STOPS, Finding, examples, plural
from data.inspection.picture import LUMA, cut, small_rgb
from data.inspection.survey import Survey
from data.inspection.work import in_processes

SIDE = 128  # cells that edges are compared in
MOST_SHIFT = 16  # of these cells, in each direction
_LEAST_SHIFT = 2
_BLUR = 3
_STRANGERS = 200  # pairs that do not belong together, to compare with
_LEAST_PAIRS = 8
_BETTER = 0.1  # correlation that a shift must add
_SPREADS = 3.0  # below the usual correlation
_NORMAL = 1.4826  # standard deviation of a normal distribution by its median deviation


class Fit(NamedTuple):
    """How well the edges of two pictures agree, as a correlation."""

    here: float  # as they lie
    best: float  # at the best shift
    shift: tuple[float, float]  # right and down, as a share of width and height


class PairFits(NamedTuple):
    """Fits of pairs, and of pictures that do not belong together."""

    fits: dict[tuple[int, int], Fit]
    strangers: list[Fit]

    @property
    def belong_together(self) -> bool:
        """Whether the usual pair fits better than 95 of 100 pairs of strangers do."""
        if len(self.fits) < _LEAST_PAIRS:
            return False
        here = np.median([fit.here for fit in self.fits.values()])
        best = np.median([fit.best for fit in self.fits.values()])
        strange = np.quantile([fit.here for fit in self.strangers], 0.95)
        strange_best = np.quantile([fit.best for fit in self.strangers], 0.95)
        return bool(here > strange or best > strange_best)


def measure_fits(survey: Survey, pairs: Sequence[tuple[int, int]], workers: int) -> PairFits:
    """Compare the edges of pairs of pictures, and of enough unrelated pictures to measure chance.

    Pictures that cannot be read are left out.
    """
    readable = survey.rows["readable"]
    good = [pair for pair in pairs if readable[list(pair)].all()]
    count = min(_STRANGERS, len(good))
    chosen = [good[number * len(good) // count] for number in range(count)]
    # Half of the list away, since neighbours may be frames of one film.
    turned = chosen[count // 2 :] + chosen[: count // 2]
    strangers = [(one[0], other[1]) for one, other in zip(chosen, turned, strict=True)]
    strangers = [pair for pair in strangers if pair not in set(good)]
    files = survey.layout.files
    items = [
        tuple(_picture(survey, files, number) for number in pair) for pair in [*good, *strangers]
    ]
    found = list(in_processes(_fit_files, items, workers))
    fits = {pair: fit for pair, fit in zip(good, found, strict=False) if fit is not None}
    return PairFits(fits, [fit for fit in found[len(good) :] if fit is not None])


def alignment_findings(survey: Survey, measured: PairFits) -> Iterator[Finding]:
    """Yield pairs of unequal sizes, shifted pairs, and pairs that fit no better than strangers."""
    layout, rows = survey.layout, survey.rows
    unequal = [
        pair
        for pair in layout.pairs
        if rows["readable"][list(pair)].all()
        and (rows["width"][pair[0]], rows["height"][pair[0]])
        != (rows["width"][pair[1]], rows["height"][pair[1]])
    ]
    if unequal:
        words = (
            f"unequal sizes: {len(unequal):,} of {plural(len(layout.pairs), 'pair')}; "
            "training on pairs refuses that, so resize one or remove both"
        )
        yield Finding("unequal_sizes", STOPS, words, len(unequal), _shown(survey, unequal))
    fits, strangers = measured
    if len(fits) < _LEAST_PAIRS or not strangers:
        return
    if not measured.belong_together:
        words = (
            "the edges of partners fit no better than those of strangers: if A and B do not show "
            "the same scene at the same place, train without pairs (train_cut.py)"
        )
        some = list(fits)[:: max(1, len(fits) // 8)]
        yield Finding("edges_unlike", HARMS, words, len(fits), _shown(survey, some))
        return
    chance = float(np.quantile([fit.best for fit in strangers], 0.95))
    shifted = {
        pair: fit
        for pair, fit in fits.items()
        if max(map(abs, fit.shift)) * SIDE >= _LEAST_SHIFT
        and fit.best > max(chance, fit.here + _BETTER)
    }
    if shifted:
        x, y = np.median([fit.shift for fit in shifted.values()], axis=0)
        words = (
            f"edges that fit better when B is moved: {len(shifted):,} of "
            f"{plural(len(fits), 'pair')}, usually by {x:+.1%} of the width and {y:+.1%} of the "
            "height; pix2pix learns blur from that, so align them"
        )
        yield Finding("shifted", HARMS, words, len(shifted), _shown(survey, shifted))
    strange = {pair: fit for pair, fit in fits.items() if pair not in shifted}
    strange_here = float(np.median([fit.here for fit in strangers]))
    here = np.array([fit.here for fit in fits.values()])
    usual = float(np.median(here))
    limit = min(
        (usual + strange_here) / 2,
        usual - _SPREADS * _NORMAL * float(np.median(np.abs(here - usual))),
    )
    wrong = [
        pair
        for pair, fit in sorted(strange.items(), key=lambda item: item[1].here)
        if fit.here <= limit
    ]
    if wrong:
        words = (
            f"edges that fit far worse than usual: {len(wrong):,} of {plural(len(fits), 'pair')}; "
            "see whether they are partners"
        )
        yield Finding("wrong_partner", HARMS, words, len(wrong), _shown(survey, wrong))


def fit(first: np.ndarray, second: np.ndarray) -> Fit:
    """Compare two edge maps, float [SIDE, SIDE], at all shifts up to MOST_SHIFT.

    The correlation of maps of mean 0 and norm 1 at shift s is sum_p first(p) second(p + s), going
    round the border, by Fourier transforms.
    """
    spectra = [np.fft.rfft2(_normalized(edges)) for edges in (first, second)]
    correlation = np.fft.irfft2(spectra[0].conj() * spectra[1], s=(SIDE, SIDE))
    shifts = np.r_[0 : MOST_SHIFT + 1, -MOST_SHIFT:0]
    near = correlation[np.ix_(shifts, shifts)]
    down, right = np.unravel_index(near.argmax(), near.shape)
    # The second one lies `shift` too far, so it has to move back.
    shift = (-float(shifts[right]) / SIDE, -float(shifts[down]) / SIDE)
    return Fit(float(near[0, 0]), float(near.max()), shift)


def edges_of(path: Path, half: str | None, is_labels: bool) -> np.ndarray:
    """Return how much grey levels change at each place: float [SIDE, SIDE], blurred a little.

    Of label maps the classes' colours are taken. Raises `UnreadableImageError`.
    """
    image = coloured_labels(path, half) if is_labels else small_rgb(path, half, SIDE)
    square = image.resize((SIDE + 1, SIDE + 1), Image.Resampling.BOX if is_labels else None)
    grey = np.asarray(square, dtype=np.float32) @ LUMA
    strength = np.hypot(np.diff(grey, axis=1)[:-1], np.diff(grey, axis=0)[:, :-1])
    return _blurred(np.sqrt(strength))  # the root: a few strong edges must not decide alone


def coloured_labels(path: Path, half: str | None) -> Image.Image:
    """Return a label map in the colours of its classes. Raises `UnreadableImageError`."""
    values = np.asarray(cut(open_upright(path), half)).astype(np.int64)
    return Image.fromarray(label_colours(int(values.max()) + 1)[values])


Place = tuple[Path, str | None, bool]


def _picture(survey: Survey, files: list[Path], number: int) -> Place:
    group = int(survey.group[number])
    return (
        files[number],
        survey.layout.groups[group].half,
        survey.labels[group] is not None,
    )


def _fit_files(item: tuple[Place, Place]) -> Fit | None:
    try:
        return fit(*(edges_of(*place) for place in item))
    except UnreadableImageError:
        return None  # reported by the survey, which read the file before


def _normalized(edges: np.ndarray) -> np.ndarray:
    edges = edges - edges.mean()
    return edges / max(float(np.linalg.norm(edges)), 1e-6)


def _blurred(values: np.ndarray) -> np.ndarray:
    for axis in (0, 1):
        roll = partial(np.roll, values, axis=axis)
        values = sum(roll(step) for step in range(-(_BLUR // 2), _BLUR // 2 + 1)) / _BLUR
    return values


def _shown(survey: Survey, pairs: Sequence[tuple[int, int]]) -> tuple[tuple[Path, ...], ...]:
    return examples([survey.path(number) for number in pair] for pair in pairs)
