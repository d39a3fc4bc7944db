"""The files that a run reads: from folders on disk to sorted lists of images."""

import hashlib
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from errors import UserError

IMAGE_EXTENSIONS = frozenset({"jpg", "jpeg", "png", "webp", "bmp", "ppm", "tif", "tiff"})


class Domains(NamedTuple):
    """The sorted image files of both domains, for training and for previews."""

    source: list[Path]
    target: list[Path]
    test_source: list[Path]
    test_target: list[Path]


def list_images(folder: Path, option: str) -> list[Path]:
    """All images in a folder and its subfolders, sorted by their relative posix path.

    A file is an image when its extension is in `IMAGE_EXTENSIONS`, in any case. Linked folders
    are followed, except a link back to a folder above it. Files and folders whose name begins
    with a dot are skipped: file managers and notebooks keep copies and notes in them. A broken
    link is listed, so that the decoder can report it.

    option: the name of the option that gave the folder, for messages. Raises `UserError` for a
    missing folder, a path that is not a folder, a folder that cannot be listed, or one without
    images.
    """
    if not folder.exists():
        raise UserError(f"{option} {folder}: no such folder; give an existing folder of images")
    if not folder.is_dir():
        raise UserError(f"{option} {folder}: not a folder; give a folder of images")
    files = sorted(
        _walk(folder, frozenset(), option), key=lambda path: path.relative_to(folder).as_posix()
    )
    if not files:
        kinds = " ".join(sorted(IMAGE_EXTENSIONS))
        raise UserError(
            f"{option} {folder}: no image in it; give a folder with images (extensions: {kinds})"
        )
    return files


class DomainFolders(NamedTuple):
    """The folders of both domains; the test folders may be the training folders."""

    source: Path
    target: Path
    test_source: Path
    test_target: Path


def find_domains(
    dataroot: Path | None, source_dir: Path | None, target_dir: Path | None
) -> Domains:
    """The files of both domains, from one `dataroot` or from two folders.

    The folders are those of `find_folders`. Raises `UserError` as it does, and for a folder
    without images.
    """
    folders = find_folders(dataroot, source_dir, target_dir)
    options = folder_options(dataroot)
    source, target = (list_images(*side) for side in zip(folders[:2], options, strict=True))
    if folders.test_source == folders.source:
        return Domains(source, target, source, target)
    return Domains(source, target, *(list_images(folder, "`dataroot`") for folder in folders[2:]))


def folder_options(dataroot: Path | None) -> tuple[str, str]:
    """The options that gave the source and the target folder, for messages."""
    return ("`source_dir`", "`target_dir`") if dataroot is None else ("`dataroot`", "`dataroot`")


def find_folders(
    dataroot: Path | None, source_dir: Path | None, target_dir: Path | None
) -> DomainFolders:
    """The folders of both domains, from one `dataroot` or from two folders.

    `dataroot` holds trainA (source) and trainB (target). The test folders are testA and testB,
    else valA and valB, else the training folders. With `source_dir` and `target_dir` the test
    folders are the training folders. Raises `UserError` if neither or both are given or one of the
    two is missing, for a missing folder below `dataroot`, and for only one of two test folders.
    """
    if dataroot is not None:
        if source_dir is not None or target_dir is not None:
            raise UserError(
                f"`dataroot` {dataroot}: given together with `source_dir` or `target_dir`; "
                "give either `dataroot` or the other two"
            )
        return _folders_below(dataroot)
    if source_dir is not None and target_dir is not None:
        return DomainFolders(source_dir, target_dir, source_dir, target_dir)
    if source_dir is not None:
        raise UserError(f"`source_dir` {source_dir}: `target_dir` is missing; give it too")
    if target_dir is not None:
        raise UserError(f"`target_dir` {target_dir}: `source_dir` is missing; give it too")
    raise UserError(
        "`dataroot` is missing; give a folder with trainA and trainB, or `source_dir` and "
        "`target_dir`"
    )


def _folders_below(dataroot: Path) -> DomainFolders:
    if not dataroot.is_dir():
        raise UserError(
            f"`dataroot` {dataroot}: no such folder; give a folder with trainA and trainB, or "
            "`source_dir` and `target_dir`"
        )
    source, target = dataroot / "trainA", dataroot / "trainB"
    for folder in (source, target):
        if not folder.is_dir():
            raise UserError(
                f"`dataroot` {dataroot}: no folder {folder.name} in it; give a folder with trainA "
                "and trainB, or `source_dir` and `target_dir`"
            )
    for phase in ("test", "val"):
        folders = [dataroot / f"{phase}{side}" for side in "AB"]
        found = [folder for folder in folders if folder.is_dir()]
        if len(found) == 1:
            # Otherwise metrics would silently use the training images.
            raise UserError(
                f"`dataroot` {dataroot}: {found[0].name} without its partner; have both "
                f"{phase}A and {phase}B in it, or neither"
            )
        if found:
            return DomainFolders(source, target, *folders)
    return DomainFolders(source, target, source, target)


def _walk(folder: Path, above: frozenset[str], option: str) -> Iterator[Path]:
    """Images below `folder`; `above` holds the real paths of the folders that lead to it."""
    real = os.path.realpath(folder)
    if real in above:  # a link back to one of its parents
        return
    try:
        with os.scandir(folder) as listing:
            entries = [entry for entry in listing if not entry.name.startswith(".")]
    except OSError as error:
        raise UserError(
            f"{option} {folder}: cannot be listed ({error.strerror}); make it readable or move it"
        ) from error
    for entry in entries:
        # Only links need a second look on disk, which matters for a million files.
        is_link = entry.is_symlink()
        if os.path.isdir(entry.path) if is_link else entry.is_dir(follow_symlinks=False):
            yield from _walk(Path(entry.path), above | {real}, option)
        elif Path(entry.name).suffix[1:].lower() in IMAGE_EXTENSIONS and (
            is_link or entry.is_file(follow_symlinks=False)
        ):
            yield Path(entry.path)


def fingerprint(files: Sequence[Path]) -> str:
    """Return the number of files and a hash of their names in order, which a resumed run compares.

    Names are relative to the files' common folder.
    """
    folder = _common_folder(files)
    names = "\n".join(path.relative_to(folder).as_posix() for path in files)
    digest = hashlib.sha256(names.encode()).hexdigest()
    return f"{len(files)} images, names {digest[:16]}"


def names_below(files: Sequence[Path], folder: Path | None = None) -> list[str]:
    """Return the names by which files of two folders are paired: relative paths, no extension.

    folder: the folder that they were listed from; by default their common folder.
    """
    folder = folder or _common_folder(files)
    return [path.relative_to(folder).with_suffix("").as_posix() for path in files]


def _common_folder(files: Sequence[Path]) -> Path:
    return Path(os.path.commonpath([path.parent for path in files]))
