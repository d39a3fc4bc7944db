"""Translates films: frames are read, translated and written one by one, the sound is kept."""

import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, closing, contextmanager
from itertools import chain
from pathlib import Path

import numpy as np
import torch
from PIL import Image

import data
import models
import training
from commands import outputs
from commands.translation.batching import Room
from commands.translation.film_kinds import Kind, kind_of
from commands.translation.film_reading import Film, Frame
from commands.translation.film_writing import FilmWriter, encoder_of
from commands.translation.folders import Translator
from commands.translation.threads import in_threads, shared_threads
from errors import UserError

_MOST_NAMED = 10


def translate_film(translator: Translator, source: Path, target: Path, steady: int) -> None:
    """Translate a film and print on stderr what was written.

    steady: the number of frames over which the statistics of instance norms are averaged. Raises
    UserError for a file that is no film, for an ending that is not written, and where the file
    cannot be written; nothing is then left under its name.
    """
    kind = kind_of(target)
    encoder_of(kind)
    if steady > 1:
        translator.check_instance_norms(f"--steady {steady}", "frames")
    summaries: list[str] = []
    with Film(source) as film:
        training.write_output(
            target,
            "--output",
            lambda temporary: summaries.append(_write(translator, film, temporary, kind, steady)),
        )
    for words in film.broken[:_MOST_NAMED]:
        print(f"{source}: {words}", file=sys.stderr)
    if len(film.broken) > _MOST_NAMED:
        print(f"{source}: {len(film.broken)} frames are broken in all", file=sys.stderr)
    print(f"{target}: {summaries[0]}", file=sys.stderr)


def _write(translator: Translator, film: Film, path: Path, kind: Kind, steady: int) -> str:
    """Write the whole film to `path`; return a few words about it."""
    output: FilmWriter | None = None
    sound_before_pictures = []

    def on_sound(packet) -> None:
        if output is None:
            sound_before_pictures.append(packet)
        else:
            output.add_sound(packet)

    count = 0
    with ExitStack() as on_failure:
        with (
            training.LiveLine(film.expected_frames, label="translating", unit="frames") as line,
            closing(translated_frames(translator, film.frames(on_sound), steady)) as frames,
        ):
            for frame in frames:
                if output is None:
                    output = FilmWriter(path, kind, film, frame.levels.shape[1::-1])
                    on_failure.callback(output.abandon)
                    for packet in sound_before_pictures:
                        output.add_sound(packet)
                output.add(frame, film.time_base)
                count += 1
                line.total = max(line.total, count)
                line.advance(1)
        if output is None:
            raise UserError(
                f"--input {film.path}: no frame of it can be decoded; repair it or give another"
            )
        output.close()
        on_failure.pop_all()
    return _summary(count, output, film)


def translated_frames(
    translator: Translator, frames: Iterable[Frame], steady: int = 1
) -> Iterator[Frame]:
    """Translate frames in order, several at the same time where they do not depend on others."""
    frames = iter(frames)
    first = next(frames, None)
    if first is None:
        return
    height, width = first.levels.shape[:2]
    passes, batch_size = 1, 1
    if steady == 1 and not translator.batch_statistics:
        room = Room(translator.network)
        passes = room.passes([(width, height)], translator.batch_size)
        batch_size = room.batch_size((width, height), translator.batch_size, passes)
    batches = _batches(chain([first], frames), batch_size)
    with (
        shared_threads(passes),
        _pass(translator, steady) as translated,
        closing(in_threads(translated, batches, passes)) as translations,
    ):
        for done in translations:
            yield from done


@contextmanager
def _pass(translator: Translator, steady: int) -> Iterator[Callable[[list[Frame]], list[Frame]]]:
    """Yield a function that translates a few frames."""
    network, source = translator.network, translator.source
    with models.translating(network) as at_any_size, models.steady_norms(network, steady):

        def translated(frames: list[Frame]) -> list[Frame]:
            pictures = [
                source.to_tensor(source.interpret(Path("a frame"), Image.fromarray(frame.levels)))
                for frame in frames
            ]
            batch = torch.stack(pictures).to(translator.device)
            if translator.batch_statistics:  # the same dropout in all frames: it does not flicker
                made = models.translate(network, batch, batch_statistics=True, seed=translator.seed)
            else:
                made = at_any_size(batch)
            views = translator.target.to_view(made)
            images = (outputs.as_image(view, data.RGB, translator.checkpoint) for view in views)
            return [
                frame._replace(levels=np.asarray(image))
                for frame, image in zip(frames, images, strict=True)
            ]

        yield translated


def _batches(frames: Iterable[Frame], size: int) -> Iterator[list[Frame]]:
    held: list[Frame] = []
    for frame in frames:
        held.append(frame)
        if len(held) == size:
            yield held
            held = []
    if held:
        yield held


def _summary(count: int, output: FilmWriter, film: Film) -> str:
    """Say what was written, and what of the film was changed."""
    words = [f"{count} frames written by {output.encoder}"]
    if any(output.padding):
        width, height = output.picture.width, output.picture.height
        words.append(
            f"sides are even in this format, so the last row or column is repeated: {width} x "
            f"{height} px"
        )
    if film.sound and output.sound is None:
        words.append("without the sound, which this format does not have")
    elif film.sound:
        was = "copied" if output.sound_is_copied else f"encoded anew ({output.sound.name})"
        words.append(f"sound {was}")
    if output.lost_sound:
        words.append(f"{output.lost_sound} packets of sound cannot be decoded and are left out")
    return "; ".join(words)
