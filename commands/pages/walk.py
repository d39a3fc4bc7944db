"""A walk between latents of a generator, as the frames of an animation."""

from pathlib import Path
from typing import NamedTuple

import torch
from PIL import Image

import data
import models
from commands.pages import pictures

KEYS, STEPS = 6, 8  # latents, and pictures from one to the next
FRAMES = KEYS * STEPS
_COLUMNS = 8
_MOST_PX = 192  # of a frame
_TOGETHER_PX = 256  # walks side by side, as many as fit into this width, at most four
_SEED = 0


class Walk(NamedTuple):
    """Frames in rows of `columns`, of several walks that are shown side by side."""

    sheets: list[bytes]  # one picture for each walk
    names: list[str]  # of classes, or empty
    columns: int
    frames: int
    images: int  # seen by the generator


def walk(generator: Path, device: torch.device) -> Walk:
    """Generate closed walks from a generator's file, one for each of the first classes.

    Raises UserError for a file that holds no generator of pictures from noise, and ValueError for
    pictures that are not finite.
    """
    sampler = models.load_sampler(generator, "the generator")
    sampler.network.to(device)
    content = data.Content("colour", sampler.out_channels)
    side_by_side = max(1, min(4, _TOGETHER_PX // sampler.size_px))
    if sampler.classes:
        side_by_side = min(side_by_side, sampler.classes)
    images_seen = int(sampler.description.get("images_seen", 0))
    sheets = [_sheet(sampler, content, _frames(sampler, number)) for number in range(side_by_side)]
    return Walk(sheets, list(sampler.class_names[:side_by_side]), _COLUMNS, FRAMES, images_seen)


def _frames(sampler: models.Sampler, number: int) -> torch.Tensor:
    """Return the pictures of a walk; with classes each of the same latents, of its own class."""
    channels = sampler.network.latent_channels
    first = 0 if sampler.classes else number * KEYS
    keys = models.gan.draw_latents(_SEED, KEYS, channels, first=first)
    latents = models.gan.interpolate_spherically(keys, STEPS, closed=True)
    labels = torch.full((FRAMES,), number) if sampler.classes else None
    return sampler.pictures(latents, labels).cpu()


def _sheet(sampler: models.Sampler, content: data.Content, frames: torch.Tensor) -> bytes:
    """Return the frames [FRAMES, C, S, S] below one another in rows, as one small picture."""
    side = min(_MOST_PX, sampler.size_px)
    sheet = Image.new("RGB", (_COLUMNS * side, -(-FRAMES // _COLUMNS) * side))
    for number, frame in enumerate(content.to_view(frames)):
        image = data.RGB.to_image(frame)
        if side < sampler.size_px:
            image = image.resize((side, side), Image.Resampling.LANCZOS)
        sheet.paste(image, (number % _COLUMNS * side, number // _COLUMNS * side))
    return pictures.encoded(sheet)
