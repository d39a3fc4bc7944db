"""The pictures to train an encoder on and to measure it on, found and checked."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from torch import Tensor

import data
from commands.features.options import FeatureOptions
from errors import UserError


class Part(NamedTuple):
    """Files with their classes."""

    files: Sequence[Path]
    labels: data.Labels


class Parts(NamedTuple):
    """The pictures to train on, and those to measure on, of which there may be none."""

    train: Part
    test: Part


def open_parts(options: FeatureOptions) -> Parts:
    """Find the pictures and their classes.

    Raises UserError for fewer pictures than a batch, pictures smaller than the crop, classes that
    differ between train and test, and no pictures to measure on where they are asked for.
    """
    root = options.dataroot
    if (root / "train").is_dir() and (root / "test").is_dir():
        if options.held_out:
            raise UserError(
                f"--held_out {options.held_out:g}: --dataroot {root} has a folder test to measure "
                "on; leave it out"
            )
        parts = Parts(*(_part(options, root / name) for name in ("train", "test")))
        names = [part.labels.names for part in parts]
        if names[0] != names[1]:
            differ = ", ".join(sorted(set(names[0]) ^ set(names[1])))
            raise UserError(
                f"--dataroot {root}: the classes of train and test differ ({differ}); give both "
                "the same subfolders"
            )
    else:
        parts = _shared(_part(options, root), options.held_out)
    count = len(parts.train.files)
    if count < options.batch_size:
        raise UserError(
            f"--batch_size {options.batch_size}: --dataroot {root} has only {count} images to "
            "train on; give a smaller batch or more images"
        )
    if (options.evaluate_every or options.probe) and not parts.test.files:
        raise UserError(
            f"--dataroot {root}: no pictures to measure on; give a folder with train and test, or "
            "--held_out 0.1"
        )
    if not options.load_size:
        cropped = data.Preprocessing("crop", options.crop_size, options.crop_size, False, 1)
        remedy = "give a smaller `crop_size`, or `load_size` to enlarge the pictures"
        data.check_sizes([*parts.train.files, *parts.test.files], cropped, remedy)
    return parts


def prepared(path: Path, size_px: int, channels: int) -> tuple[Tensor, str]:
    """Decode a picture, resize its short side and crop the centre: float [C, S, S] in [-1, 1]."""
    preprocessing = data.Preprocessing("centre_crop", size_px, size_px, False, size_multiple=1)
    content = data.Content("colour", channels)
    return preprocessing(content.decode(path), None, content=content), ""


def _part(options: FeatureOptions, folder: Path) -> Part:
    files = data.list_images(folder, "--dataroot")
    return Part(files, data.read_labels(options.labels, folder, files))


def _shared(whole: Part, share: float) -> Parts:
    """Hold out every 1 / share-th picture of each class."""
    seen = [0] * max(1, len(whole.labels.names))
    is_test = []
    for label in whole.labels.of_files:
        number = seen[label]
        seen[label] += 1
        is_test.append(int((number + 1) * share) > int(number * share))

    def chosen(wanted: bool) -> Part:
        kept = [at for at, held in enumerate(is_test) if held == wanted]
        labels = [whole.labels.of_files[at] for at in kept]
        return Part([whole.files[at] for at in kept], data.Labels(whole.labels.names, labels))

    return Parts(chosen(False), chosen(True))
