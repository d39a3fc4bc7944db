"""Translators for the page: a picture from the browser in, its translations out."""

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from PIL import Image
from torch import nn

import data
import models
from commands import outputs
from commands.app.shown import address, inference
from commands.translators import open_translator
from data.decode import header_size
from errors import UserError
from models.saved import DIRECTIONS


class Translator(NamedTuple):
    """A generator, and what its pictures are."""

    name: str
    direction: str  # a2b, b2a, or "" for a checkpoint that holds one generator
    network: nn.Module
    source: data.Content
    target: data.Content


class Translators:
    """One or more translators of the same kind of pictures.

    longest_side: larger pictures are shrunk to it first; 0: never. most_megapixels: of a file.
    """

    kind = "translators"

    def __init__(
        self,
        paths: Sequence[Path],
        direction: str | None,
        device: torch.device,
        *,
        longest_side: int,
        most_megapixels: float,
    ):
        """Read the checkpoints, as translate.py does; raises UserError for others."""
        self.device, self.longest_side = device, longest_side
        self.most_megapixels = most_megapixels
        self.translators = [
            _read(path, one, device) for path in paths for one in _directions(path, direction)
        ]
        first, *others = self.translators
        for other in others:
            if (first.source, first.direction != "") != (other.source, other.direction != ""):
                raise UserError(
                    f"--checkpoint {other.name}: translates other pictures than {first.name} "
                    "(label maps, channels or directions differ); give one, or two of a kind"
                )

    def described(self) -> dict[str, object]:
        """Return what the page shows."""
        source = self.translators[0].source
        what = {1: "grey pictures", 3: "pictures", 4: "pictures with transparency"}
        kind = f"label maps of {source.classes} classes"
        return {
            "names": list(dict.fromkeys(one.name for one in self.translators)),
            "directions": sorted({one.direction for one in self.translators} - {""}),
            "takes": kind if source.kind == "labels" else what[source.channels],
        }

    def translate(self, content: bytes, direction: str) -> dict[str, object]:
        """Return the source and its translations, as data: addresses.

        content: an image file. direction: a2b, b2a or "". Raises UserError, to be shown in the
        page, for a picture that cannot be read or is too large.
        """
        chosen = [one for one in self.translators if one.direction == direction]
        if not chosen:
            raise UserError(f"direction {direction}: not one of this checkpoint")
        image, full_size = self._decoded(content, chosen[0].source)
        pixels = chosen[0].source.to_tensor(image)[None]
        with inference():
            made = [models.translate(one.network, pixels.to(self.device))[0] for one in chosen]
        source = data.RGB.to_image(chosen[0].source.to_view(pixels)[0])
        return {
            "size": image.size,
            "full_size": full_size,
            "pictures": [{"name": "input", "picture": address(source)}]
            + [
                {
                    "name": one.name,
                    "picture": address(outputs.as_image(picture, one.target, one.name)),
                }
                for one, picture in zip(chosen, made, strict=True)
            ],
        }

    def _decoded(self, content: bytes, source: data.Content) -> tuple[Image.Image, tuple[int, int]]:
        """Return the upright picture, shrunk if it is large, and its full size."""
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "picture"
            path.write_bytes(content)
            width, height = header_size(path) or (0, 0)
            if width * height > self.most_megapixels * 1e6:
                raise UserError(
                    f"the picture has {width} x {height} pixels, which is "
                    f"{width * height / 1e6:.0f} megapixels; at most {self.most_megapixels:g} are "
                    "accepted (`most_megapixels`)"
                )
            try:
                image = source.decode(path)
            except data.UnreadableImageError as error:
                raise UserError(f"the picture cannot be read: {error.reason}") from error
            except UserError as error:  # not a label map
                raise UserError(str(error).replace(str(path), "the picture")) from error
        full_size, side = image.size, max(image.size)
        if 0 < self.longest_side < side:
            smaller = [max(1, round(part * self.longest_side / side)) for part in full_size]
            image = image.resize(tuple(smaller), source.resampling)
        return image, full_size


def _directions(path: Path, direction: str | None) -> Sequence[str | None]:
    """Return the directions to read: both of a run that has both, unless one is chosen."""
    if direction is not None:
        return [direction]
    both = [one for one in DIRECTIONS if (path / f"generator_{one}.safetensors").exists()]
    return both or [None]


def _read(path: Path, direction: str | None, device: torch.device) -> Translator:
    opened = open_translator(
        path, direction, device, "give checkpoints of one kind", f"--checkpoint {path}"
    )
    return Translator(str(path), direction or "", *opened)
