"""What generators make, as pictures to save or to show; used by the commands that make pictures."""

from pathlib import Path

import torch
from PIL import Image
from torch import Tensor

import data
import models
import training
from errors import UserError


def content_of(sampler: models.Sampler, checkpoint: Path | str) -> data.Content:
    """Return the content of a sampler's pictures; UserError for channels that PNG does not have."""
    try:
        return data.Content("colour", sampler.out_channels)
    except UserError as error:
        raise UserError(
            f"--checkpoint {checkpoint}: its pictures cannot be written ({error})"
        ) from error


def as_image(picture: Tensor, content: data.Content, checkpoint: Path | str) -> Image.Image:
    """Round to 8 bits, or 16 if `content` has them; UserError for values that are not finite."""
    try:
        return content.to_image(picture)
    except ValueError as error:
        raise UserError(f"--checkpoint {checkpoint}: {error}; give another") from error


def in_rows(pictures: Tensor, columns: int) -> tuple[Tensor, ...]:
    """Split pictures [B, C, H, W] into rows of `columns`, the last one filled up with white."""
    white = pictures.new_ones(-len(pictures) % columns, *pictures.shape[1:])
    return torch.cat([pictures, white]).split(columns)


def write_png(path: Path, option: str, image: Image.Image) -> None:
    """Write a picture as PNG, atomically; raises UserError, which names `option`, on failure."""
    training.write_output(path, option, lambda temporary: image.save(temporary, "PNG"))
