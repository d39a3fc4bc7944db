"""Generators from noise for the page: a seed in, a sheet or an interpolation out."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor

import data
import models
import training
from commands import outputs
from commands.app.shown import address, inference, whole_number
from errors import UserError

MOST_PICTURES = 64
MOST_SEED = 2**32 - 1
FRAMES, FRAME_MILLISECONDS = 32, 60  # from one seed to the other


class Samplers:
    """One or more generators from noise with the same classes, or without classes."""

    kind = "samplers"

    def __init__(self, paths: Sequence[Path], device: torch.device):
        """Read the checkpoints, as generate.py does; raises UserError for others."""
        self.samplers = {
            str(path): models.load_sampler(path, "--checkpoint", "give checkpoints of one kind")
            for path in paths
        }
        (first, one), *others = self.samplers.items()
        for name, other in others:
            if other.class_names != one.class_names:
                raise UserError(
                    f"--checkpoint {name}: has other classes than {first}; give one, or two of a "
                    "kind"
                )
        for name, sampler in self.samplers.items():
            sampler.network.to(device)
            outputs.content_of(sampler, name)
        self.class_names = one.class_names

    def described(self) -> dict[str, object]:
        """Return what the page shows."""
        return {"names": list(self.samplers), "classes": list(self.class_names)}

    def sample(self, values: Mapping[str, str]) -> dict[str, object]:
        """Return a sheet of each generator: pictures 0, 1, ... of the seed, as generate.py's.

        values: seed, count, truncation, and label, a class or "" for the shares of the training.
        Raises UserError, to be shown in the page, for values out of range.
        """
        seed = whole_number(values, "seed", 0, MOST_SEED)
        count = whole_number(values, "count", 1, MOST_PICTURES)
        labels, truncation = self._labels(values, count), _truncation(values)
        pictures = []
        for name, sampler in self.samplers.items():
            with inference():
                made = sampler.sample(count, seed, labels=labels, truncation=truncation)
            pictures.append({"name": name, "picture": address(_sheet(name, sampler, made))})
        return {"pictures": pictures}

    def interpolate(self, values: Mapping[str, str]) -> dict[str, object]:
        """Return an animation of each generator: from picture 0 of a seed to that of another.

        values: as for `sample`, with `other_seed` and without count; the first class for label "".
        """
        seeds = [whole_number(values, name, 0, MOST_SEED) for name in ("seed", "other_seed")]
        labels, truncation = self._labels(values, FRAMES), _truncation(values)
        if self.class_names and labels is None:
            labels = torch.zeros(FRAMES, dtype=torch.long)
        pictures = []
        for name, sampler in self.samplers.items():
            channels = sampler.network.latent_channels
            keys = [
                models.gan.draw_latents(seed, 1, channels, truncation=truncation) for seed in seeds
            ]
            latents = models.gan.interpolate_spherically(torch.cat(keys), FRAMES - 1)
            with inference():
                made = sampler.pictures(latents, labels).cpu()
            views = outputs.content_of(sampler, name).to_view(made)
            there = [outputs.as_image(picture, data.RGB, name) for picture in views]
            frames = [*there[1:], *there[-2:0:-1]]  # and back
            gif = address(there[0], frames, duration=FRAME_MILLISECONDS)
            pictures.append({"name": name, "picture": gif})
        return {"pictures": pictures}

    def _labels(self, values: Mapping[str, str], count: int) -> Tensor | None:
        label = values.get("label", "")
        if not label:
            return None
        if label not in self.class_names:
            raise UserError(f"class {label[:40]}: not one of this checkpoint")
        return torch.full((count,), self.class_names.index(label))


def _truncation(values: Mapping[str, str]) -> float:
    text = values.get("truncation", "1")
    try:
        truncation = float(text)
    except ValueError:
        truncation = -1.0
    if not 0 <= truncation <= 1:
        raise UserError(f"truncation {text[:20]}: give a number from 0 to 1")
    return truncation


def _sheet(name: str, sampler: models.Sampler, pictures: Tensor) -> Image.Image:
    """Arrange pictures [B, C, S, S] in a square, in the order of their numbers."""
    columns = next(side for side in range(1, 9) if side**2 >= len(pictures))
    views = outputs.content_of(sampler, name).to_view(pictures)
    sheet = training.sheet(outputs.in_rows(views, columns))
    return outputs.as_image(sheet, data.RGB, name)
