"""Which class each picture belongs to: by its folder, or by a JSON file."""

import json
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from errors import UserError

_FORMS = 'give {"name": class, ...} or {"labels": [["name", class], ...]}'
_LONGEST_NAME_BYTES = 255
_CLASSES = "give each picture one class, an integer from 0 or a name"


class Labels(NamedTuple):
    """The class of each file."""

    names: list[str]  # of the classes, by class index; empty without classes
    of_files: list[int]  # the class index of each file; all 0 without classes

    @property
    def counts(self) -> list[int]:
        """The number of files of each class; empty where there are no classes."""
        counted = Counter(self.of_files)
        return [counted[label] for label in range(len(self.names))]


def read_labels(source: str | None, folder: Path, files: Sequence[Path]) -> Labels:
    """The classes of files that `list_images` found in `folder`.

    source is one of:

    - None: no classes.
    - "folders": the class is the first sub-folder below `folder`; classes are sorted by name.
    - a JSON file: {"name": class, ...} or StyleGAN's {"labels": [["name", class], ...]}. A name is
      a file's posix path below `folder`, with or without its ending. The classes are all integers
      from 0 on, whose digits are their names, or all strings, which are sorted. Names without a
      file are reported on stderr.

    Raises `UserError` for a file without a class, a class without a file, fewer than two classes,
    classes of other types, class names that no folder can have, and a JSON file that cannot be read
    or gives a picture two classes.
    """
    if source is None:
        return Labels([], [0] * len(files))
    option = f"`labels` {source}"
    if source == "folders":
        classes = _classes_by_folder(option, folder, files)
        named = [*_sub_folders(folder), *classes]
    else:
        table = _read_table(option, Path(source))
        classes = _classes_by_table(option, table, folder, files)
        named = list(table.values())
    return _numbered(option, classes, named)


def _classes_by_folder(option: str, folder: Path, files: Sequence[Path]) -> list[str]:
    places = [path.relative_to(folder).parts for path in files]
    loose = [path for path, parts in zip(files, places, strict=True) if len(parts) == 1]
    if loose:
        raise UserError(
            f"{option}: {len(loose)} of {len(files)} images are in no sub-folder of {folder}, "
            f"first {loose[0]}; move each into the folder of its class"
        )
    return [parts[0] for parts in places]


def _sub_folders(folder: Path) -> list[str]:
    return [at.name for at in folder.iterdir() if at.is_dir() and not at.name.startswith(".")]


def _read_table(option: str, path: Path) -> dict[str, int | str]:
    """From names to classes, checked for their types."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"), object_pairs_hook=_Pairs)
    except OSError as error:
        raise UserError(
            f"{option}: cannot be read ({error.strerror}); give a JSON file, or folders"
        ) from error
    except (ValueError, RecursionError) as error:
        reason = " ".join(str(error).split())[:120]
        raise UserError(f"{option}: not JSON ({reason}); {_FORMS}") from error
    if not isinstance(content, _Pairs):
        raise UserError(f"{option}: holds no names with classes; {_FORMS}")
    pairs = list(content)
    for key, value in content:
        if key == "labels" and isinstance(value, list) and not isinstance(value, _Pairs):
            pairs = value  # StyleGAN's form
    return _table_of(option, pairs)


class _Pairs(list):
    """A JSON object as (name, value) pairs: a dict would drop all but the last of equal names."""


def _table_of(option: str, pairs: list) -> dict[str, int | str]:
    table: dict[str, int | str] = {}
    for pair in pairs:
        if not (isinstance(pair, list | tuple) and len(pair) == 2 and isinstance(pair[0], str)):
            raise UserError(f"{option}: {_shown(pair)} is not a name with a class; {_FORMS}")
        name, label = pair
        if type(label) not in (int, str):
            raise UserError(
                f"{option}: {_shown(name)} has {_shown(label)}, which is not a class; "
                f"{_CLASSES} (no one-hot lists, no fractions)"
            )
        if table.setdefault(name, label) != label:
            raise UserError(f"{option}: {_shown(name)} has two classes; {_CLASSES}")
    if not table:
        raise UserError(f"{option}: names no picture; {_FORMS}")
    if len({type(label) for label in table.values()}) > 1:
        raise UserError(
            f"{option}: some classes are integers and some are names; make all of one kind"
        )
    return table


def _shown(value: object) -> str:
    """A value of the file on one line, shortened if it is long."""
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 80 else f"{text[:80]}..."


def _classes_by_table(
    option: str, table: dict[str, int | str], folder: Path, files: Sequence[Path]
) -> list[int | str]:
    classes, missing, used = [], [], set()
    for path in files:
        place = path.relative_to(folder)
        names = {place.as_posix(), place.with_suffix("").as_posix()} & table.keys()
        if len({table[name] for name in names}) > 1:
            raise UserError(f"{option}: {' and '.join(sorted(names))} have two classes; {_CLASSES}")
        used |= names
        if names:
            classes.append(table[names.pop()])
        else:
            missing.append(place.as_posix())
    if not used:
        raise UserError(
            f"{option}: none of its {len(table)} names, first "
            f"{_shown(next(iter(table)))}, is an image in {folder}; give names such as {missing[0]}"
        )
    if missing:
        raise UserError(
            f"{option}: {len(missing)} of {len(files)} images have no class, first {missing[0]}; "
            "add them to the file or remove them"
        )
    unused = [name for name in table if name not in used]
    if unused:
        print(
            f"{option}: {len(unused)} of its {len(table)} names have no image in {folder}, first "
            f"{_shown(unused[0])}",
            file=sys.stderr,
        )
    return classes


def _numbered(option: str, classes: list, named: list) -> Labels:
    """The classes of all files as indices; `named`: every class that is mentioned anywhere."""
    ordered = sorted(set(named))
    _check_gaps(option, ordered, set(classes))
    if len(ordered) < 2:
        raise UserError(
            f"{option}: all images are of one class, {_shown(ordered[0])}; leave `labels` out to "
            "train without classes"
        )
    names = [str(label) for label in ordered]
    for name in names:
        _check_name(option, name)
    number = {label: at for at, label in enumerate(ordered)}
    return Labels(names, [number[label] for label in classes])


def _check_gaps(option: str, ordered: list, present: set) -> None:
    """Raise `UserError` for a class with no image, and for integers below 0."""
    empty = [label for label in ordered if label not in present]
    if type(ordered[0]) is int:
        if ordered[0] < 0:
            raise UserError(f"{option}: class {ordered[0]} is below 0; count classes from 0")
        gap = next((at for at, label in enumerate(ordered) if at != label), None)
        empty = sorted([*empty, *([] if gap is None else [gap])])
    if empty:
        raise UserError(
            f"{option}: class {_shown(empty[0])} has no image; add images of it or remove it "
            "(integer classes count from 0 without gaps)"
        )


def _check_name(option: str, name: str) -> None:
    """Raise `UserError` for a name that no folder of generated pictures could have."""
    length = len(name.encode(errors="surrogatepass"))
    bad = any(sign in "/\\" or ord(sign) < 32 or "\ud800" <= sign <= "\udfff" for sign in name)
    if bad or name.startswith(".") or not 1 <= length <= _LONGEST_NAME_BYTES:
        raise UserError(
            f"{option}: class {_shown(name)} cannot be the name of a folder for its pictures; "
            "rename it, with 1 to 255 bytes, no leading dot, no /, no \\ and no line breaks"
        )
