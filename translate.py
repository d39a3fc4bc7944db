"""Translate a picture, a folder of pictures or a film with a trained generator.

Reads a run folder, a .safetensors file of a run, or a .pth state dict of the official CycleGAN,
pix2pix and CUT programs, whose architecture is inferred from the file. All pictures of a folder are
translated at their own size and written as PNG, with subfolders and names kept. A film keeps its
sound and the times of its frames.
"""

import sys
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import data
import training
from commands import cli, translators
from commands.options import check_least
from commands.pages.gallery import Gallery
from commands.translation import film_kinds
from commands.translation.files import plan_outputs
from commands.translation.folders import (
    Translator,
    add_to_gallery,
    add_written,
    already_written,
    translate_files,
)
from commands.translation.tiling import check_tile_options, translate_in_tiles
from data.bands import BAND_ENDINGS
from errors import UserError

ENDINGS = ((".png",), BAND_ENDINGS)  # of --output, without and with --tile


@dataclass(frozen=True)
class Options:
    """Every option of this command."""

    checkpoint: Path
    """Run folder, .safetensors file, or official .pth."""
    input: Path
    """Picture, folder of pictures, or film."""
    output: Path
    """Picture (.png; with --tile also .tif) to write, or folder; for a film .mp4, .mov, .mkv,
    .webm, .gif or .webp."""
    direction: Literal["a2b", "b2a"] | None = None
    """For a CycleGAN run: which of its generators, from A to B or from B to A."""
    batch_statistics: bool = False
    """Inference as in the pix2pix paper: batch norm with each picture's own statistics, and dropout
    on. Pictures are then translated one by one, with dropout drawn from --seed and their name."""
    seed: int = 0
    """Seed of the dropout for --batch_statistics."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """auto: a GPU if there is one."""
    gallery: bool = False
    """Write index.html into the folder of --output, a page with each translation over its source,
    with a slider between them."""
    side: Literal["A", "B"] | None = None
    """The inputs are side-by-side pictures, as in pix2pix's data sets: translate the left half (A)
    or the right half (B)."""
    resume: bool = False
    """Leave out pictures whose translation is in --output already, whole and of the right size."""
    batch_size: int | Literal["auto"] = 1
    """Maximum batch size of pictures of equal size; auto: what half of the free memory holds, up to
    16 on a GPU and, on a CPU, 4 small ones in each of the passes that run at the same time."""
    workers: int = 2
    """Worker processes for reading a folder; 0 reads in the main process."""
    steady: int = 1
    """For a film: average the statistics of instance norms over so many frames, against flicker."""
    tile: int = 0
    """Side in pixels of the tiles in which large pictures are translated, such as 512, with the
    result that the whole picture at once would have; 0: no tiles. --output may then end with .tif,
    and pictures may have more pixels than are read without it."""
    statistics: Literal["exact", "thumbnail", "interpolated"] = "exact"
    """For --tile, what instance norms subtract and divide by. exact: mean and deviation of the
    whole picture, as without tiles; thumbnail: those of the picture reduced to the size of a tile;
    interpolated: those of each tile, interpolated to every pixel."""
    memory_gb: float = 4.0
    """For --tile, memory in GB (1e9 bytes) for feature maps that wait until a layer has seen all
    tiles; what does not fit waits in temporary files in the folder of --output."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Translate pictures or a film."""
    options = cli.parse(Options, arguments)
    check_least(options, seed=0, workers=0, steady=1)
    if options.batch_size != "auto":
        check_least(options, batch_size=1)
    check_tile_options(
        options,
        batch_statistics=options.batch_statistics,
        gallery=options.gallery,
        side=options.side is not None,
        batch_size=options.batch_size != 1,
    )
    if film_kinds.is_film(options.input, options.output):
        translate_a_film(options)
    else:
        translate_pictures(options)


def translate_pictures(options: Options) -> None:
    """Translate all pictures; at the end raise UserError that names the unreadable ones."""
    if options.steady > 1:
        raise UserError(f"--steady {options.steady}: is for films; leave it out")
    targets = plan_outputs(options.input, options.output, ENDINGS[options.tile > 0])
    gallery = open_gallery(options, targets)
    if options.side and not data.are_side_by_side([*targets]):
        half = "left" if options.side == "A" else "right"
        print(
            f"note: --side {options.side}: only the {half} half of each picture is translated, and "
            f"those of {options.input} do not look like two pictures side by side",
            file=sys.stderr,
        )
    translator = open_translator(options)
    unreadable: dict[Path, str] = {}
    written = already_written(targets, options.side) if options.resume else []
    if gallery:
        add_written(gallery, translator, written, targets)
    done_before = {*written}
    left = {path: target for path, target in targets.items() if path not in done_before}
    if options.tile:
        translate_in_tiles(translator, left, options, unreadable)
        report(options, len(targets), len(written), unreadable, gallery)
        return
    folder = options.input if options.input.is_dir() else None
    with (
        training.LiveLine(
            len(targets), done=len(written), label="translating", unit="pictures"
        ) as line,
        closing(
            translate_files(translator, left, folder, options.workers, unreadable)
        ) as translations,
    ):
        for done in translations:
            if gallery:
                add_to_gallery(gallery, translator, done, targets)
            line.advance(len(done.paths))
    report(options, len(targets), len(written), unreadable, gallery)


def translate_a_film(options: Options) -> None:
    """Translate a film, frame by frame."""
    for name, value in (
        ("gallery", options.gallery),
        ("resume", options.resume),
        ("side", options.side),
        ("tile", options.tile),
    ):
        if value:
            raise UserError(f"--{name}: is for pictures, and --input is a film; leave it out")
    if options.steady > 1 and options.batch_statistics:
        raise UserError(f"--steady {options.steady}: not with --batch_statistics; leave one out")
    film_kinds.kind_of(options.output)
    if options.output.resolve() == options.input.resolve():
        raise UserError(f"--output {options.output}: would replace the input; give another path")
    film_kinds.check_installed("--input", options.input)
    from commands.translation.films import translate_film  # needs PyAV

    translate_film(open_translator(options), options.input, options.output, options.steady)


def open_translator(options: Options) -> Translator:
    """Read the checkpoint, and prepare its network for the device."""
    device = training.choose_device(options.device, training.Processes())
    opened = translators.open_translator(
        options.checkpoint, options.direction, device, "use generate.py"
    )
    return Translator(
        *opened,
        options.checkpoint,
        batch_size=options.batch_size,
        batch_statistics=options.batch_statistics,
        seed=options.seed,
        side=options.side,
    )


def report(
    options: Options, total: int, before: int, unreadable: dict[Path, str], gallery: Gallery | None
) -> None:
    """Say what was written; raise UserError that names the pictures that cannot be read."""
    written = data.plural(total - before - len(unreadable), "picture")
    there = f", {data.plural(before, 'picture')} already there" if options.resume else ""
    print(f"{written} written to {options.output}{there}", file=sys.stderr)
    if gallery:
        count = total - len(unreadable)
        pictures = data.plural(count, "picture")
        words = f"{pictures} of {options.input}, translated by {options.checkpoint}"
        print(f"gallery: {gallery.write(options.output.resolve().name, words)}", file=sys.stderr)
    if unreadable:
        names = "; ".join(f"{path} ({reason})" for path, reason in unreadable.items())
        raise UserError(
            f"--input {options.input}: {len(unreadable)} of {total} pictures cannot be "
            f"read, repair or remove them: {names}"
        )


def open_gallery(options: Options, targets: dict[Path, Path]) -> Gallery | None:
    """Return the gallery for --gallery; raises UserError if --output is no folder."""
    if not options.gallery:
        return None
    if options.output in targets.values():
        raise UserError(f"--gallery: --output {options.output} is one picture; give a folder")
    return Gallery(options.output, "--output")


if __name__ == "__main__":
    cli.run(main)
