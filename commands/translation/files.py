"""The pictures that a command reads one by one, and the paths of what it writes for them."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
from torch import Tensor

import data
from errors import UserError


def plan_outputs(
    source: Path, target: Path, endings: Sequence[str] = (".png",)
) -> dict[Path, Path]:
    """Return the output path of each picture; raises UserError if paths conflict.

    endings: those that a single picture's output may have.
    """
    if not source.exists():
        raise UserError(f"--input {source}: no such file or folder; give a picture or a folder")
    if source.is_file():
        is_folder = target.is_dir() or not target.suffix
        output = target / f"{source.stem}.png" if is_folder else target
        if output.suffix.lower() not in endings:
            kinds = "PNG or, with --tile, TIFF" if len(endings) == 1 else "PNG or TIFF"
            raise UserError(
                f"--output {target}: pictures are written as {kinds}; end it with "
                f"{' or '.join(endings)}"
            )
        if output.resolve() == source.resolve():
            raise UserError(f"--output {target}: would replace the input; give another path")
        return {source: output}
    names_a_picture = target.suffix[1:].lower() in data.IMAGE_EXTENSIONS
    if target.is_file() or (names_a_picture and not target.exists()):
        raise UserError(f"--output {target}: names a file, and --input is a folder; give a folder")
    if target.resolve().is_relative_to(source.resolve()):
        raise UserError(f"--output {target}: is the input folder or inside it; give another")
    inputs = data.list_images(source, "--input")
    outputs = {path: (target / path.relative_to(source)).with_suffix(".png") for path in inputs}
    taken: dict[Path, Path] = {}
    for path, output in outputs.items():
        if output in taken:
            raise UserError(
                f"--input {source}: {taken[output].name} and {path.name} would both become "
                f"{output}; rename one"
            )
        taken[output] = path
    return outputs


def batches(
    paths: Sequence[Path], content: data.Content, batch_size: int, unreadable: dict[Path, str]
) -> Iterator[tuple[list[Path], Tensor]]:
    """Yield batches [B, C, H, W] of consecutive pictures of equal size; record unreadable ones."""
    held: list[Path] = []
    pictures: list[Tensor] = []
    for path in paths:
        try:
            picture = content.to_tensor(content.decode(path))
        except data.UnreadableImageError as error:
            unreadable[path] = error.reason
            continue
        if pictures and (len(held) == batch_size or picture.shape != pictures[0].shape):
            yield held, torch.stack(pictures)
            held, pictures = [], []
        held.append(path)
        pictures.append(picture)
    if held:
        yield held, torch.stack(pictures)
