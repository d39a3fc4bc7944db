"""The pairs that a run reads: from folders on disk to lists of pairs."""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal, NamedTuple, get_args

from data.files import find_folders, folder_options, list_images, names_below
from errors import UserError

Direction = Literal["a2b", "b2a", "AtoB", "BtoA"]  # the latter as in the official programs
_LAYOUTS = (
    "give a folder with train (pictures side by side), or with trainA and trainB, or `source_dir` "
    "and `target_dir`"
)


class Pair(NamedTuple):
    """A source and its target: two files, the two halves of one file, or one picture twice."""

    source: Path
    target: Path
    halves: bool = False
    swapped: bool = False  # the source is the right half


class Pairs(NamedTuple):
    """Pairs for training and for previews, sorted by the source's relative path."""

    train: list[Pair]
    test: list[Pair]


def find_pairs(
    dataroot: Path | None,
    source_dir: Path | None,
    target_dir: Path | None,
    direction: Direction = "a2b",
) -> Pairs:
    """The pairs of one `dataroot`, or of two folders.

    `dataroot` holds either `train`, with pictures side by side (left half A, right half B), or
    trainA and trainB. Files of two folders, also of `source_dir` and `target_dir`, are paired by
    their relative paths without extension. The test pairs are those of test, else val (testA and
    testB, else valA and valB), else the training pairs. A is the source and B the target; with
    `direction` b2a, B is the source.

    Raises `UserError` as `find_folders` and `list_images` do, and for files without a partner,
    two files of the same name, a `dataroot` with both layouts, an unknown direction, and b2a with
    `source_dir` and `target_dir`.
    """
    if direction not in get_args(Direction):
        raise UserError(f"`direction` {direction}: not known; give a2b or b2a")
    swapped = direction in ("b2a", "BtoA")
    if source_dir is None and target_dir is None:
        if dataroot is None:
            raise UserError(f"`dataroot` is missing; {_LAYOUTS}")
        if not _has_two_folders(dataroot):
            return _one_file_each(dataroot, _LAYOUTS, halves=True, swapped=swapped)
    elif swapped:
        raise UserError(
            f"`direction` {direction}: needs `dataroot`; exchange `source_dir` and `target_dir` "
            "instead"
        )
    folders = find_folders(dataroot, source_dir, target_dir)
    options = folder_options(dataroot)
    train = _partners(folders[:2], options, swapped)
    if folders.test_source == folders.source:
        return Pairs(train, train)
    return Pairs(train, _partners(folders[2:], options, swapped))


def find_pictures(dataroot: Path | None) -> Pairs:
    """The pictures of one `dataroot`, each paired with itself, for colorization.

    The training pictures are those of its folder train; the test pictures are those of test, else
    of val, else the training pictures. Raises `UserError` for no `dataroot`, for one without a
    folder train, and as `list_images` does.
    """
    remedy = "give a folder with train (pictures) and, for previews, test or val"
    if dataroot is None:
        raise UserError(f"`dataroot` is missing; {remedy}")
    return _one_file_each(dataroot, remedy, halves=False, swapped=False)


def odd_width(path: Path, width: int) -> str:
    """The message about a side-by-side picture of this width."""
    return (
        f"{path}: width {width} px is odd, so it has no two equal halves; give pictures side by "
        "side, or folders trainA and trainB"
    )


def _has_two_folders(dataroot: Path) -> bool:
    two = any((dataroot / name).is_dir() for name in ("trainA", "trainB"))
    if two and (dataroot / "train").is_dir():
        raise UserError(
            f"`dataroot` {dataroot}: has train as well as trainA or trainB; remove either, or "
            "give `source_dir` and `target_dir`"
        )
    return two


def _one_file_each(dataroot: Path, remedy: str, *, halves: bool, swapped: bool) -> Pairs:
    if not dataroot.is_dir():
        raise UserError(f"`dataroot` {dataroot}: no such folder; {remedy}")
    if not (dataroot / "train").is_dir():
        raise UserError(f"`dataroot` {dataroot}: no folder train in it; {remedy}")
    train, test = (
        [Pair(path, path, halves, swapped) for path in list_images(folder, "`dataroot`")]
        for folder in (dataroot / "train", _test_folder(dataroot))
    )
    return Pairs(train, test)


def _test_folder(dataroot: Path) -> Path:
    names = ("test", "val", "train")
    return next(dataroot / name for name in names if (dataroot / name).is_dir())


def _partners(folders: Sequence[Path], options: Sequence[str], swapped: bool) -> list[Pair]:
    sources, targets = (
        _by_name(folder, option) for folder, option in zip(folders, options, strict=True)
    )
    for own, other, at in ((sources, targets, 0), (targets, sources, 1)):
        alone = [path for name, path in own.items() if name not in other]
        if alone:
            raise UserError(
                f"{options[at]} {folders[at]}: {len(alone)} of {len(own)} images have no partner "
                f"of their name in {folders[1 - at]}, first {alone[0]}; add partners or remove "
                "these"
            )
    pairs = [Pair(path, targets[name]) for name, path in sources.items()]
    return [Pair(pair.target, pair.source) for pair in pairs] if swapped else pairs


def _by_name(folder: Path, option: str) -> dict[str, Path]:
    files = list_images(folder, option)
    named: dict[str, Path] = {}
    for name, path in zip(names_below(files, folder), files, strict=True):
        if name in named:
            raise UserError(
                f"{option} {folder}: {named[name]} and {path} differ only in their extension, so "
                "their partner is ambiguous; rename or remove one"
            )
        named[name] = path
    return named
