"""Checks of the images by their headers, before the first one is decoded."""

from collections.abc import Sequence
from pathlib import Path

from data.decode import header_size
from data.paired import unequal_sizes
from data.pairs import Pair, odd_width
from data.transforms import Preprocessing
from errors import UserError

RESIZE = "use `preprocess` resize_and_crop or a smaller `crop_size`"


def check_sizes(files: Sequence[Path], preprocessing: Preprocessing, remedy: str = RESIZE) -> None:
    """Raise `UserError` if images are smaller than the crop, naming the first and their number.

    Only mode `crop` cannot use such images; for the other modes nothing is read. Reads headers, not
    pixels. Files whose header cannot be read are skipped: the training reports them when it reads
    them.
    """
    if preprocessing.mode != "crop":
        return
    small = []
    for path in files:
        size = header_size(path)
        if size is not None and min(size) < preprocessing.crop_size:
            small.append((path, min(size)))
    _refuse_small(small, len(files), preprocessing.crop_size, remedy)


def check_pairs(pairs: Sequence[Pair], preprocessing: Preprocessing) -> None:
    """Raise `UserError` for pairs that cannot be used, naming the first and their number.

    These are side-by-side pictures of odd width, pairs of unequal sizes, and with mode `crop`
    pictures smaller than the crop. Reads headers, not pixels; files whose header cannot be read are
    skipped, as in `check_sizes`.
    """
    odd, unequal, small = [], [], []
    for pair in pairs:
        source_size = header_size(pair.source)
        same = pair.source == pair.target
        target_size = source_size if same else header_size(pair.target)
        if source_size is None or target_size is None:
            continue
        if pair.halves:
            if source_size[0] % 2:
                odd.append(odd_width(pair.source, source_size[0]))
            source_size = target_size = (source_size[0] // 2, source_size[1])
        if source_size != target_size:
            unequal.append(unequal_sizes(pair, source_size, target_size))
        if min(source_size) < preprocessing.crop_size:
            small.append((pair.source, min(source_size)))
    for mistakes in (odd, unequal):
        if mistakes:
            count = f"{len(mistakes)} of {len(pairs)} pairs"
            raise UserError(f"{count} cannot be used, first {mistakes[0]}")
    if preprocessing.mode == "crop":
        _refuse_small(small, len(pairs), preprocessing.crop_size, RESIZE)


def _refuse_small(
    small: Sequence[tuple[Path, int]], count: int, crop_size: int, remedy: str
) -> None:
    if small:
        path, short_side_px = small[0]
        raise UserError(
            f"`crop_size` {crop_size}: larger than the short side of {len(small)} of {count} "
            f"images, first {path} ({short_side_px} px); {remedy}"
        )
