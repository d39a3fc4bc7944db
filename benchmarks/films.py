"""How much a translated film flickers, with and without --steady.

  python benchmarks/films.py --checkpoint RUN [--size 64] [--frames 48] [--steady 1 2 4 8 16]

A drawn camera pans over drawn horses by whole pixels (pocket.py film), so that each frame, moved
back, would equal the one before it. For the film and for its translations this prints the
mean absolute difference of neighbouring frames, the later one moved back by the known motion, in
grey levels, without a border of 16 px, which the network sees differently. Four films: even
daylight at 1 and at 4 px a frame, 4 px with daylight that wobbles by 3 percent, and a camera that
stands still in wobbling daylight.
The second number is how far the translation lies from the one without --steady, on average. Frames
are compared before they are encoded. Prints JSON.
"""

import argparse
import json
import sys
from itertools import pairwise
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import numpy as np

import data
import models
from commands.translation.film_reading import Frame
from commands.translation.films import translated_frames
from commands.translation.folders import Translator

BORDER_PX = 16
FILMS = {  # pixels by which the picture moves, and the wobble of the daylight
    "pan_by_1": (1, 0.0),
    "pan_by_4": (4, 0.0),
    "pan_by_4_wobbling": (4, 0.03),
    "standing_wobbling": (0, 0.03),
}


def flicker(frames: list[np.ndarray], step_px: int) -> float:
    """Return the mean absolute difference of neighbouring frames, moved back by `step_px`."""
    inner = slice(BORDER_PX, -BORDER_PX)
    differences = []
    for one, following in pairwise(frames):
        width = one.shape[1] - step_px
        moved = following[:, :width].astype(int) - one[:, step_px:]
        differences.append(np.abs(moved[inner, inner]).mean())
    return float(np.mean(differences))


def measure(translator: Translator, drawn: data.DrawnFilm, steady: list[int]) -> dict[str, object]:
    """Return the flicker of a film and of its translations."""
    frames = [*drawn.frames()]
    film = [Frame(number, 0, levels) for number, levels in enumerate(frames)]
    plain = [one.levels for one in translated_frames(translator, film)]
    found: dict[str, object] = {"source": round(flicker(frames, drawn.step_px), 3)}
    for count in steady:
        made = [one.levels for one in translated_frames(translator, film, count)]
        away = np.mean([np.abs(a.astype(int) - b).mean() for a, b in zip(made, plain, strict=True)])
        found[f"steady_{count}"] = [round(flicker(made, drawn.step_px), 3), round(float(away), 2)]
    return found


def main() -> None:
    """Parse, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--checkpoint", type=Path, required=True)
    parser.add_argument("--direction", choices=("a2b", "b2a"))
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--frames", type=int, default=48)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--steady", type=int, nargs="+", default=[1, 2, 4, 8, 16])
    options = parser.parse_args()
    saved = models.load_generator(options.checkpoint, "--checkpoint", options.direction)
    contents = data.contents_of(
        saved.description, saved.network.in_channels, saved.network.out_channels, "--checkpoint"
    )
    translator = Translator(saved.network, *contents, options.checkpoint)
    for name, (step, wobble) in FILMS.items():
        drawn = data.draw_film(options.seed, options.size, options.frames, step, wobble)
        print(json.dumps({name: measure(translator, drawn, options.steady)}))


if __name__ == "__main__":
    main()
