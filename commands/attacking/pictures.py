"""The pictures that are attacked, their classes, and the pictures that are written."""

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

import data
from commands.attacking.options import AttackOptions
from commands.attacking.targets import Classifier
from commands.features.parts import prepared
from commands.outputs import write_png
from commands.translation.files import plan_outputs
from errors import UserError


class Labelled(NamedTuple):
    """Pictures with their classes, where folders tell them."""

    pictures: Tensor  # [N, C, H, W] in [-1, 1], of 8 bits
    labels: Tensor | None  # long [N]; None: the model's own predictions
    outputs: Sequence[Path]


def chosen_outputs(options: AttackOptions) -> dict[Path, Path]:
    """Return at most --num pictures of --input, evenly spread, with the files to write."""
    if options.input is None:
        raise UserError("--input is missing; give a picture or a folder of pictures")
    if options.output.resolve().is_relative_to(options.input.resolve()):
        raise UserError(f"--output {options.output}: is the input or inside it; give another")
    outputs = plan_outputs(options.input, options.output / "pictures")
    places = torch.linspace(0, len(outputs) - 1, min(options.num, len(outputs))).long().tolist()
    files = list(outputs)
    return {files[place]: outputs[files[place]] for place in places}


def read_labelled(options: AttackOptions, classifier: Classifier) -> Labelled:
    """Read the pictures as the classifier takes them; raises UserError for an unreadable one."""
    outputs = chosen_outputs(options)
    pictures = read(list(outputs), classifier.size_px, classifier.channels)
    folder = options.input if options.input.is_dir() else options.input.parent
    labels = labels_of(list(outputs), folder, classifier.class_names)
    if labels is None:
        print(
            f"--input {options.input}: no subfolders with names of classes; the labels are the "
            "model's own predictions, and every accuracy is the share of unchanged predictions",
            file=sys.stderr,
        )
    return Labelled(pictures, None if labels is None else torch.tensor(labels), [*outputs.values()])


def read(files: Sequence[Path], size_px: int, channels: int) -> Tensor:
    """Return pictures [N, C, H, W]: the short side resized to size_px, the centre cropped.

    size_px 0: as they are. Raises UserError for an unreadable one, and for several sizes.
    """
    content, found = data.Content("colour", channels), []
    for path in files:
        try:
            if size_px:
                picture, _ = prepared(path, size_px, channels)
            else:
                picture = content.to_tensor(content.decode(path))
        except data.UnreadableImageError as error:
            raise UserError(
                f"--input {path}: cannot be read ({error.reason}); repair or remove it"
            ) from error
        if found and picture.shape != found[0].shape:
            sizes = " and ".join(f"{x.shape[2]} x {x.shape[1]}" for x in (found[0], picture))
            raise UserError(f"--input {path}: pictures of {sizes} px; give --crop_size")
        found.append(picture)
    return torch.stack(found)


def labels_of(files: Sequence[Path], folder: Path, names: Sequence[str]) -> list[int] | None:
    """Return each file's class by its first-level folder; None where no folder names a class.

    Raises UserError where only some do.
    """
    numbers = {name: number for number, name in enumerate(names)}
    folders = [path.relative_to(folder).parts[:-1][:1] for path in files]
    known = [parts[0] in numbers if parts else False for parts in folders]
    if not any(known):
        return None
    if not all(known):
        file = files[known.index(False)]
        raise UserError(
            f"--input {file}: its first-level folder is no class of the classifier "
            f"({', '.join(names[:10])}{', ...' if len(names) > 10 else ''}); rename or remove it"
        )
    return [numbers[parts[0]] for parts in folders]


def write_all(pictures: Tensor, outputs: Sequence[Path], content: data.Content = data.RGB) -> None:
    """Write pictures [N, C, H, W] as PNG, each atomically."""
    for picture, path in zip(pictures, outputs, strict=True):
        write_png(path, "--output", content.to_image(picture))


def rounded(pictures: Tensor) -> Tensor:
    """Return pictures in [-1, 1] as their 8-bit files hold them."""
    return data.from_levels(data.to_levels(pictures))


def sizes(changes: Tensor) -> Mapping[str, Tensor]:
    """Return the norms of changes [B, C, H, W] in grey levels: linf and l2, each [B]."""
    levels = changes.flatten(1) * 127.5
    return {"linf": levels.abs().amax(1), "l2": levels.norm(dim=1)}
