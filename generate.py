"""Generate pictures from noise with a trained generator.

Reads a run folder of train_gan.py or its generator.safetensors. Picture number k of a seed is
always the same, in every folder, sheet and evaluation and for any number of pictures.
"""

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from PIL import Image
from torch import Tensor

import data
import models
import training
from commands import cli, outputs
from commands.options import check_least
from commands.pages.gallery import Gallery
from errors import UserError

GRID_PICTURES = 64
GRID_COLUMNS = 8
FRAME_MILLISECONDS = 40
WEBP_QUALITY = 85  # of 100
ANIMATIONS = {".gif": "GIF", ".webp": "WEBP"}
WALKS = (*ANIMATIONS, ".png")
SHOWN_CLASSES = 10


@dataclass(frozen=True)
class Options:
    """Every option of this command."""

    checkpoint: Path
    """Run folder, or .safetensors file."""
    output: Path | None = None
    """Folder for the pictures: 000000.png and so on; with classes, in one subfolder per class.
    Without it only --grid and --interpolate are written."""
    gallery: bool = False
    """Write index.html into the folder of --output, a page that shows the pictures."""
    num: int = 64
    """Number of pictures."""
    seed: int = 0
    """Seed of all latents, and of the classes unless --labels gives them."""
    labels: tuple[str, ...] = ()
    """Classes of the pictures, by name or number (names take precedence), repeated in turn; by
    default drawn as frequently as in the training data."""
    grid: Path | None = None
    """Write a sheet (.png) of the first 64 pictures; with classes, a row per class and a column per
    latent."""
    interpolate: Path | None = None
    """Write an interpolation through latents of the seed and back to the first: as an animation
    (.webp or .gif) with the classes in --labels side by side, or as a sheet (.png) with a row per
    latent, of the first class in --labels. Without --labels, class 0 is shown."""
    keys: int = 8
    """Number of latents for --interpolate."""
    frames: int = 24
    """Number of pictures from one latent to the next."""
    truncation: float = 1.0
    """Truncation of the latents' distribution: 1 for none; below 1 only its central part is used,
    which gives less diverse and often better pictures."""
    weights: Literal["ema", "raw"] = "ema"
    """ema: the weights in generator.safetensors; raw: those of a run's newest checkpoint, without
    moving average."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """auto: a GPU if there is one."""
    batch_size: int = 64
    """Number of pictures generated together, rounded up to whole batches of the network; does not
    change the pictures."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Write the requested pictures, sheet and interpolation."""
    options = cli.parse(Options, arguments)
    check(options)
    device = training.choose_device(options.device, training.Processes())
    sampler = open_sampler(options)
    sampler.network.to(device)
    content = outputs.content_of(sampler, options.checkpoint)
    classes = [class_of(text, sampler, options) for text in options.labels]
    if options.grid:
        outputs.write_png(options.grid, "--grid", grid(sampler, content, classes, options))
        print(f"sheet written to {options.grid}", file=sys.stderr)
    if options.interpolate:
        write_walk(sampler, content, classes, options)
        print(f"interpolation written to {options.interpolate}", file=sys.stderr)
    if options.output:
        write_pictures(options.output, sampler, content, classes, options)
        written = data.plural(options.num, "picture")
        print(f"{written} written to {options.output}", file=sys.stderr)


def check(options: Options) -> None:
    """Raise UserError for invalid options."""
    check_least(options, num=1, seed=0, keys=2, frames=1, batch_size=1)
    if not 0 <= options.truncation <= 1:
        raise UserError(f"--truncation {options.truncation}: outside 0 to 1; give 1 for no change")
    if not (options.output or options.grid or options.interpolate):
        raise UserError("--output is missing; give a folder (or a file for --grid, --interpolate)")
    if options.gallery and not options.output:
        raise UserError("--gallery: shows the pictures of --output; give that folder too")
    if options.output and options.output.exists() and not options.output.is_dir():
        raise UserError(f"--output {options.output}: is a file; give a folder")
    for name, path, endings in (
        ("grid", options.grid, (".png",)),
        ("interpolate", options.interpolate, WALKS),
    ):
        if path and path.suffix.lower() not in endings:
            raise UserError(f"--{name} {path}: end it with {' or '.join(endings)}")
        if path and path.is_dir():
            raise UserError(f"--{name} {path}: is a folder; give a file")
    if (
        options.grid
        and options.interpolate
        and options.grid.resolve() == options.interpolate.resolve()
    ):
        raise UserError(f"--interpolate {options.interpolate}: same as --grid; give another file")
    if options.weights == "raw" and options.checkpoint.is_file():
        raise UserError(
            f"--weights raw: --checkpoint {options.checkpoint} is one network; give a run folder, "
            "or leave --weights out"
        )


def open_sampler(options: Options) -> models.Sampler:
    """Read the generator, with the weights that --weights selects."""
    if options.checkpoint.suffix == ".pt":
        raise UserError(
            f"--checkpoint {options.checkpoint}: is for resuming a training; give its run folder, "
            "or the generator.safetensors in it"
        )
    sampler = models.load_sampler(options.checkpoint, "--checkpoint", "use translate.py")
    if options.weights == "ema":
        return sampler
    option = f"--checkpoint {options.checkpoint}"
    checkpoint = training.read_weights(options.checkpoint, "--checkpoint")
    images_seen = sampler.description.get("images_seen")
    if sampler.level is not None and images_seen != checkpoint.images_seen:
        raise UserError(
            f"{option}: its checkpoint at {checkpoint.images_seen} images differs in level from "
            "generator.safetensors; let the training save again, or leave --weights out"
        )
    states = {name: state for name, state in checkpoint.states.items() if name == "generator"}
    training.restore({"generator": sampler.network}, states, option)
    return sampler


def class_of(text: str, sampler: models.Sampler, options: Options) -> int:
    """Return the class index for a word of --labels."""
    if not sampler.classes:
        raise UserError(
            f"--labels {text}: the generator of --checkpoint {options.checkpoint} has no classes; "
            "leave --labels out"
        )
    if text in sampler.class_names:
        return sampler.class_names.index(text)
    if text.isdecimal() and int(text) < sampler.classes:
        return int(text)
    known = ", ".join(sampler.class_names[:SHOWN_CLASSES])
    more = ", ..." if sampler.classes > SHOWN_CLASSES else ""
    raise UserError(
        f"--labels {text}: not a class of --checkpoint {options.checkpoint}; give some of {known}"
        f"{more}, or 0 to {sampler.classes - 1}"
    )


def labels_of(
    first: int, count: int, sampler: models.Sampler, classes: Sequence[int], options: Options
) -> Tensor | None:
    """Return the labels of pictures from `first` on: --labels in turn, or drawn from the seed."""
    if not classes:
        return sampler.draw_labels(count, options.seed, first=first)
    return torch.tensor([classes[number % len(classes)] for number in range(first, first + count)])


def write_pictures(
    folder: Path,
    sampler: models.Sampler,
    content: data.Content,
    classes: Sequence[int],
    options: Options,
) -> None:
    """Write the pictures of the seed, each atomically."""
    folders = class_folders(folder, sampler, options)
    earlier = sum(1 for _ in folder.rglob("*.png"))
    if earlier:
        print(
            f"--output {folder}: already holds {earlier} pictures; those that are not overwritten "
            "stay among the new ones",
            file=sys.stderr,
        )
    gallery = Gallery(folder, "--output") if options.gallery else None
    size = -(-options.batch_size // sampler.pictures_a_pass) * sampler.pictures_a_pass
    with training.LiveLine(options.num, label="generating", unit="pictures") as line:
        for first in range(0, options.num, size):
            count = min(size, options.num - first)
            labels = labels_of(first, count, sampler, classes, options)
            pictures = sampler.sample(
                count, options.seed, labels=labels, first=first, truncation=options.truncation
            )
            for place, picture in enumerate(pictures):
                below = folder if labels is None else folders[labels[place]]
                image = outputs.as_image(picture, content, options.checkpoint)
                path = below / f"{first + place:06d}.png"
                outputs.write_png(path, "--output", image)
                if gallery:
                    name = "" if labels is None else sampler.class_names[labels[place]]
                    gallery.add(path, image, group=name)
            line.advance(count)
    if gallery:
        words = f"{options.num} pictures of {options.checkpoint}, seed {options.seed}"
        print(f"gallery: {gallery.write(folder.resolve().name, words)}", file=sys.stderr)


def class_folders(folder: Path, sampler: models.Sampler, options: Options) -> list[Path]:
    """Return each class's subfolder; class names from the file must not lead out of the folder."""
    for name in sampler.class_names:
        if name in ("", ".", "..") or any(mark in name for mark in "/\\\0"):
            raise UserError(
                f"--checkpoint {options.checkpoint}: its class {name!r} cannot name a folder; "
                "leave --output out, or give another"
            )
    return [folder / name for name in sampler.class_names]


def grid(
    sampler: models.Sampler, content: data.Content, classes: Sequence[int], options: Options
) -> Image.Image:
    """Return a sheet of the first pictures, or of the first latents for each class."""
    if not sampler.classes:
        count = min(options.num, GRID_PICTURES)
        columns = min(count, GRID_COLUMNS)
        pictures = sampler.sample(count, options.seed, truncation=options.truncation)
        return sheet(outputs.in_rows(pictures, columns), content, options)
    shown = list(dict.fromkeys(classes)) or list(range(sampler.classes))
    if len(shown) > GRID_PICTURES:
        print(
            f"--grid: shows {GRID_PICTURES} of {len(shown)} classes; choose them with --labels",
            file=sys.stderr,
        )
        shown = shown[:GRID_PICTURES]
    columns = min(GRID_COLUMNS, GRID_PICTURES // len(shown))
    latents = latents_of(columns, sampler, options).repeat(len(shown), 1)
    labels = torch.tensor(shown).repeat_interleave(columns)
    return sheet(sampler.pictures(latents, labels).cpu().split(columns), content, options)


def write_walk(
    sampler: models.Sampler, content: data.Content, classes: Sequence[int], options: Options
) -> None:
    """Write the interpolation as an animation or as a sheet."""
    ending = options.interpolate.suffix.lower()
    classes = list(dict.fromkeys(classes))[:SHOWN_CLASSES] or [0]
    if ending == ".png":
        rows = list(walk(sampler, classes[0], options))
        outputs.write_png(options.interpolate, "--interpolate", sheet(rows, content, options))
        return
    walks = [torch.cat(list(walk(sampler, label, options))) for label in classes]
    frames = (frame(pictures, content, options) for pictures in torch.stack(walks, 1))
    first, *others = frames
    settings = {"save_all": True, "duration": FRAME_MILLISECONDS, "loop": 0}
    if ending == ".webp":
        settings |= {"quality": WEBP_QUALITY, "method": 6}
    training.write_output(
        options.interpolate,
        "--interpolate",
        lambda path: first.save(path, ANIMATIONS[ending], append_images=others, **settings),
    )


def frame(pictures: Tensor, content: data.Content, options: Options) -> Image.Image:
    """Return one picture of an animation from pictures [K, C, S, S], several as a sheet."""
    if len(pictures) > 1:
        return sheet([pictures], content, options)
    return outputs.as_image(content.to_view(pictures)[0], data.RGB, options.checkpoint)


def walk(sampler: models.Sampler, label: int, options: Options) -> Iterator[Tensor]:
    """Yield for each latent the pictures [frames, C, S, S] from it up to the next."""
    keys = latents_of(options.keys, sampler, options)
    latents = models.gan.interpolate_spherically(keys, options.frames, closed=True)
    labels = torch.full((options.frames,), label) if sampler.classes else None
    for part in latents.split(options.frames):
        yield sampler.pictures(part, labels).cpu()


def latents_of(count: int, sampler: models.Sampler, options: Options) -> Tensor:
    """Return the first latents of the seed [count, latent_channels]."""
    channels = sampler.network.latent_channels
    return models.gan.draw_latents(options.seed, count, channels, truncation=options.truncation)


def sheet(rows: Sequence[Tensor], content: data.Content, options: Options) -> Image.Image:
    """Arrange rows of pictures [B, C, S, S] below one another."""
    picture = training.sheet([content.to_view(row) for row in rows])
    return outputs.as_image(picture, data.RGB, options.checkpoint)


if __name__ == "__main__":
    cli.run(main)
