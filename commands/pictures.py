"""Sets of pictures to evaluate: from files, translated, generated, or saved statistics."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from itertools import groupby
from pathlib import Path
from typing import Protocol

import torch
from torch import nn

import data
import metrics
import models
import training
from commands.options import RunOptions
from errors import UserError


def loading(options: RunOptions) -> data.Loading:
    """Return how training pictures are loaded according to the options."""
    return data.Loading(options.decode, round(options.cache_gb * 1e9))


class Pictures(Protocol):
    """A set of pictures that is read once, in order."""

    label: str  # its name in messages
    files: Sequence[Path]
    names: Sequence[str]  # the files' paths in their folder, without the ending

    def read(self, indices: Sequence[int]) -> Iterator[data.ReadImage]:
        """Yield the pictures with these indices."""


@dataclass(frozen=True)
class ReadPictures:
    """Pictures from files, or from pairs of files."""

    label: str
    items: Sequence[object]
    files: Sequence[Path]
    names: Sequence[str]
    decode: data.Decode
    workers: int

    def read(self, indices: Sequence[int]) -> Iterator[data.ReadImage]:
        """Decode in worker processes."""
        return data.read_images(self.items, indices, self.decode, workers=self.workers)


def file_pictures(
    label: str,
    files: Sequence[Path],
    folder: Path | None,
    workers: int,
    content: data.Content | None = None,
) -> ReadPictures:
    """Return files read as in training and translation for this content; None: as FID tools do."""
    decode = partial(data.content_pixels, content=content) if content else data.plain_levels
    return ReadPictures(label, files, files, data.names_below(files, folder), decode, workers)


@dataclass(frozen=True)
class TranslatedPictures:
    """A generator's translations, those of the PNG files that translate.py writes.

    target: the content of the generator's outputs. batch_statistics, seed: as in translate.py.
    """

    label: str
    sources: ReadPictures
    generator: nn.Module
    device: torch.device
    target: data.Content = data.RGB
    batch_statistics: bool = False
    seed: int = 0

    @property
    def files(self) -> Sequence[Path]:
        """The files of the sources."""
        return self.sources.files

    @property
    def names(self) -> Sequence[str]:
        """The names of the sources."""
        return self.sources.names

    def read(self, indices: Sequence[int]) -> Iterator[data.ReadImage]:
        """Translate pictures one by one, as translate.py does."""
        for found in self.sources.read(indices):
            pixels = found.pixels
            if pixels is not None:
                translated = models.translate(
                    self.generator,
                    pixels[None].to(self.device),
                    batch_statistics=self.batch_statistics,
                    seed=translation_seed(self.seed, self.names[found.index]),
                )
                found = found._replace(
                    pixels=data.to_levels(self.target.to_view(translated)[0]).cpu()
                )
            yield found


def translation_seed(seed: int, name: str) -> int:
    """Return the seed of a picture's dropout: a function of the command's seed and its name."""
    return training.seed_for(seed, 0, f"translate {name}")


@dataclass(frozen=True)
class SampledPictures:
    """A generator's samples, identical to the PNG files that generate.py writes.

    Without --labels, so that classes are as frequent as in the training data. They are read in
    order of their numbers; a folder of them is read class by class, which changes metrics that
    depend on the order (is, swd, ms_ssim).
    """

    label: str
    sampler: models.Sampler
    count: int
    seed: int
    truncation: float = 1.0

    @cached_property
    def names(self) -> Sequence[str]:
        """The pictures' numbers, as generate.py names its files."""
        return [f"{number:06d}" for number in range(self.count)]

    @cached_property
    def files(self) -> Sequence[Path]:
        """The files that generate.py would write, in its folder."""
        return [Path(f"{name}.png") for name in self.names]

    def read(self, indices: Sequence[int]) -> Iterator[data.ReadImage]:
        """Generate the pictures with these numbers, running only batches that contain one.

        Raises UserError for a generator whose outputs are not finite.
        """
        size = self.sampler.pictures_a_pass
        content = data.Content("colour", self.sampler.out_channels)
        for number, of_pass in groupby(indices, lambda index: index // size):
            pictures = self.sampler.sample(
                min(size, self.count - number * size),
                self.seed,
                first=number * size,
                truncation=self.truncation,
            )
            try:
                levels = data.to_levels(content.to_view(pictures))
            except ValueError as error:
                raise UserError(f"{self.label}: {error}; give another") from error
            for index in of_pass:
                yield data.ReadImage(index, levels[index - number * size], "", "")


Set = Pictures | metrics.SavedStatistics | None


def size(found: Set) -> int | None:
    """Return the number of pictures in a set, None if it is unknown."""
    if found is None:
        return None
    return found.count if isinstance(found, metrics.SavedStatistics) else len(found.names)
