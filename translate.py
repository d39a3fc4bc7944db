"""Translate a picture or a folder of pictures with a trained generator.

Reads a run folder, a .safetensors file of a run, or a .pth state dict of the official CycleGAN,
pix2pix and CUT programs, whose architecture is inferred from the file. All pictures of a folder are
translated at their own size and written as PNG, with subfolders and names kept.
"""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import data
import models
import training
from commands import cli, outputs
from commands.options import check_least
from commands.pages.gallery import Gallery
from commands.translation.files import batches, plan_outputs
from commands.translation.tiling import Translator, check_tile_options, translate_in_tiles
from data.bands import BAND_ENDINGS
from errors import UserError

ENDINGS = ((".png",), BAND_ENDINGS)  # of --output, without and with --tile


@dataclass(frozen=True)
class Options:
    """Every option of this command."""

    checkpoint: Path
    """Run folder, .safetensors file, or official .pth."""
    input: Path
    """Picture, or folder of pictures."""
    output: Path
    """Picture (.png; with --tile also .tif) to write, or folder."""
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
    batch_size: int = 1
    """Maximum batch size; only consecutive files of equal size are batched."""
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
    """Translate all pictures; at the end raise UserError that names the unreadable ones."""
    options = cli.parse(Options, arguments)
    check_least(options, batch_size=1, seed=0)
    check_tile_options(options, batch_statistics=options.batch_statistics, gallery=options.gallery)
    device = training.choose_device(options.device, training.Processes())
    targets = plan_outputs(options.input, options.output, ENDINGS[options.tile > 0])
    gallery = open_gallery(options, targets)
    saved = models.load_generator(
        options.checkpoint, "--checkpoint", options.direction, "use generate.py"
    )
    network = saved.network.to(device)
    source, target = data.contents_of(
        saved.description, network.in_channels, network.out_channels, "--checkpoint"
    )
    if options.tile:
        translator = Translator(network, source, target, options.checkpoint)
        tell_written(options, targets, translate_in_tiles(translator, targets, options))
        return
    batch_size = 1 if options.batch_statistics else options.batch_size
    unreadable: dict[Path, str] = {}
    with training.LiveLine(len(targets), label="translating", unit="pictures") as line:
        for paths, pictures in batches(list(targets), source, batch_size, unreadable):
            translated = models.translate(
                network,
                pictures.to(device),
                batch_statistics=options.batch_statistics,
                seed=seed_of(paths[0], options),
            ).cpu()
            for path, picture, view in zip(
                paths, translated, source.to_view(pictures), strict=True
            ):
                image = outputs.as_image(picture, target, options.checkpoint)
                outputs.write_png(targets[path], "--output", image)
                if gallery:
                    shown = data.RGB.to_image(target.to_view(picture[None])[0])
                    gallery.add(targets[path], shown, data.RGB.to_image(view))
            line.advance(len(paths))
    if gallery:
        written = len(targets) - len(unreadable)
        words = f"{written} pictures of {options.input}, translated by {options.checkpoint}"
        print(f"gallery: {gallery.write(options.output.resolve().name, words)}", file=sys.stderr)
    tell_written(options, targets, unreadable)


def tell_written(options: Options, targets: dict[Path, Path], unreadable: dict[Path, str]) -> None:
    """Print how many pictures were written; raise UserError that names the unreadable ones."""
    written = len(targets) - len(unreadable)
    print(f"{written} pictures written to {options.output}", file=sys.stderr)
    if unreadable:
        names = "; ".join(f"{path} ({reason})" for path, reason in unreadable.items())
        raise UserError(
            f"--input {options.input}: {len(unreadable)} of {len(targets)} pictures cannot be "
            f"read, repair or remove them: {names}"
        )


def open_gallery(options: Options, targets: dict[Path, Path]) -> Gallery | None:
    """Return the gallery for --gallery; raises UserError if --output is no folder."""
    if not options.gallery:
        return None
    if options.output in targets.values():
        raise UserError(f"--gallery: --output {options.output} is one picture; give a folder")
    return Gallery(options.output, "--output")


def seed_of(path: Path, options: Options) -> int:
    """Return the seed of a picture's dropout, which depends only on --seed and its name."""
    folder = options.input if options.input.is_dir() else path.parent
    (name,) = data.names_below([path], folder)
    return training.seed_for(options.seed, 0, f"translate {name}")


if __name__ == "__main__":
    cli.run(main)
