"""Translates picture files: reading, network and writing at the same time."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn

import data
import models
from commands import outputs
from commands.pages.gallery import Gallery
from commands.pictures import ReadPictures, file_pictures, translation_seed
from commands.translation.batching import Batch, plan_batches, read_batches
from commands.translation.threads import in_threads, shared_threads
from data.large import TIFF_ENDINGS, large_header_size
from errors import UserError

WRITING_THREADS = 4  # most of their time they compress, or wait until the disk has stored a file
PNG_END = b"\0\0\0\0IEND\xaeB`\x82"
_FEWEST_FOR_PROCESSES = 9  # fewer files are read before the reading processes have started


@dataclass(frozen=True)
class Translator:
    """A network and how it translates.

    side: which half of side-by-side files is the source; None for files of one picture.
    """

    network: nn.Module
    source: data.Content
    target: data.Content
    checkpoint: Path
    batch_size: int | str = 1
    batch_statistics: bool = False
    seed: int = 0
    side: Literal["A", "B"] | None = None

    @property
    def device(self) -> torch.device:
        """The device of the network."""
        return next(self.network.parameters()).device

    def check_instance_norms(self, option: str, dependents: str) -> None:
        """Raise UserError for an option that changes statistics which `dependents` do not have."""
        if not models.has_instance_norms(self.network):
            raise UserError(
                f"{option}: this generator has no instance norm, so that its {dependents} do not "
                "depend on statistics; leave it out"
            )


class Written(NamedTuple):
    """Pictures that were translated and written."""

    paths: list[Path]  # of the sources
    sources: Tensor  # [B, C, H, W], as the network takes them
    translations: Tensor  # [B, C', H, W] in [-1, 1]


def translate_files(
    translator: Translator,
    targets: dict[Path, Path],
    folder: Path | None,
    workers: int,
    unreadable: dict[Path, str],
) -> Iterator[Written]:
    """Translate files and write PNGs; yield what was written.

    targets: from the path of each source to that of its translation. folder: that of the sources,
    below which their names begin. Files that cannot be read are recorded in `unreadable`. Raises
    UserError where a file cannot be written, or a translation is not finite.
    """
    if not targets:
        return
    sources = open_sources([*targets], folder, workers, translator.source, translator.side)
    batch_size = 1 if translator.batch_statistics else translator.batch_size
    batching = plan_batches(
        sources.files, translator.network, batch_size, halves=translator.side is not None
    )
    passes = 1 if translator.batch_statistics else batching.passes
    skipped: dict[int, str] = {}
    write = partial(_write, translator, sources.files, targets)
    with (  # closed one after the other, so that an error in one ends the others at once
        shared_threads(passes),
        _translating(translator, sources.names) as translated,
        closing(read_batches(sources, batching, skipped)) as batches,
        closing(in_threads(translated, batches, passes)) as translations,
        closing(in_threads(write, translations, WRITING_THREADS)) as written,
    ):
        yield from written
    unreadable.update({sources.files[place]: reason for place, reason in skipped.items()})


def open_sources(
    files: Sequence[Path],
    folder: Path | None,
    workers: int,
    content: data.Content,
    side: Literal["A", "B"] | None = None,
) -> ReadPictures:
    """Return files, or one half of side-by-side files, as they are read for translation."""
    label = f"--input {folder}"
    workers = workers if len(files) >= _FEWEST_FOR_PROCESSES else 0
    if side is None:
        return file_pictures(label, files, folder, workers, content)
    pairs = [data.Pair(path, path, halves=True, swapped=side == "B") for path in files]
    decode = partial(data.source_of_pair, source=content, target=content)
    return ReadPictures(label, pairs, files, data.names_below(files, folder), decode, workers)


@contextmanager
def _translating(
    translator: Translator, names: Sequence[str]
) -> Iterator[Callable[[Batch], tuple[Batch, Tensor]]]:
    """Yield a function that translates a batch; unless by batch statistics, for several threads."""
    network, device = translator.network, translator.device
    with models.translating(network) as at_any_size:

        def translated(batch: Batch) -> tuple[Batch, Tensor]:
            pictures = batch.pictures.to(device)
            if not translator.batch_statistics:
                return batch, at_any_size(pictures).cpu()
            seed = translation_seed(translator.seed, names[batch.places[0]])
            pictures = models.translate(network, pictures, batch_statistics=True, seed=seed)
            return batch, pictures.cpu()

        yield translated


def _write(
    translator: Translator,
    files: Sequence[Path],
    targets: dict[Path, Path],
    translated: tuple[Batch, Tensor],
) -> Written:
    batch, pictures = translated
    paths = [files[place] for place in batch.places]
    for path, picture in zip(paths, pictures, strict=True):
        image = outputs.as_image(picture, translator.target, translator.checkpoint)
        outputs.write_png(targets[path], "--output", image)
    return Written(paths, batch.pictures, pictures)


def add_to_gallery(
    gallery: Gallery, translator: Translator, written: Written, targets: dict[Path, Path]
) -> None:
    """Add pictures with their sources to the page."""
    before = translator.source.to_view(written.sources)
    after = translator.target.to_view(written.translations)
    for path, *views in zip(written.paths, after, before, strict=True):
        gallery.add(targets[path], *map(data.RGB.to_image, views))


def add_written(
    gallery: Gallery, translator: Translator, paths: Sequence[Path], targets: dict[Path, Path]
) -> None:
    """Add pictures whose translations were there before, by --resume; unreadable ones are left."""
    if not paths:
        return
    sources = open_sources(paths, None, 0, translator.source, translator.side)
    for found in sources.read(range(len(paths))):
        if found.pixels is not None:
            path = paths[found.index]
            (before,) = translator.source.to_view(found.pixels[None])
            after = data.decode_image(targets[path])
            gallery.add(targets[path], after, data.RGB.to_image(before))


def already_written(targets: dict[Path, Path], side: Literal["A", "B"] | None) -> list[Path]:
    """Return the sources whose translations are there and whole, for --resume."""
    return [path for path, target in targets.items() if _is_whole(path, target, side)]


def _is_whole(source: Path, target: Path, side: Literal["A", "B"] | None) -> bool:
    """Return whether `target` is a PNG with its end, or a TIFF, of the size of its source."""
    try:
        with target.open("rb") as file:
            file.seek(-len(PNG_END), 2)
            ends = file.read() == PNG_END or target.suffix.lower() in TIFF_ENDINGS
    except OSError:  # not there, or shorter
        return False
    size = large_header_size(source)
    if side is not None and size is not None:
        size = (size[0] // 2, size[1])
    return ends and size is not None and large_header_size(target) == size
