"""A drawn film: the camera pans over meadows with horses, and a tone sounds."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from data.pocket import render_scene

SOUND_RATE_HZ = 8000
_TONE_HZ = 440
_DAYLIGHT_FRAMES = 7  # a period of the daylight's wobble


class DrawnFilm(NamedTuple):
    """The frames of a film whose camera moves by whole pixels, and what is known of them.

    The picture moves to the left by `step_px` from each frame to the next, and is multiplied by
    1 + wobble * sin(2 pi t / 7).
    """

    panorama: np.ndarray  # uint8 [size, width, 3]
    size_px: int
    count: int
    step_px: int
    wobble: float

    def frames(self) -> Iterator[np.ndarray]:
        """Yield each frame, uint8 [size, size, 3]."""
        for number in range(self.count):
            left = number * self.step_px
            light = 1 + self.wobble * np.sin(2 * np.pi * number / _DAYLIGHT_FRAMES)
            seen = self.panorama[:, left : left + self.size_px].astype(np.float32) * light
            yield np.clip(seen + 0.5, 0, 255).astype(np.uint8)


def draw_film(
    seed: int, size_px: int, count: int, step_px: int = 1, wobble: float = 0.0
) -> DrawnFilm:
    """Draw a film of square frames; scenes as those of `render_scene` stand side by side."""
    width = size_px + (count - 1) * step_px
    scenes = [render_scene(seed, number, size_px).horse for number in range(-(-width // size_px))]
    return DrawnFilm(np.concatenate(scenes, 1), size_px, count, step_px, wobble)


def tone(seconds: float) -> np.ndarray:
    """Return a tone of 440 Hz, int16 [samples], 8000 a second."""
    times = np.arange(round(seconds * SOUND_RATE_HZ)) / SOUND_RATE_HZ
    return (np.sin(2 * np.pi * _TONE_HZ * times) * 8000).astype(np.int16)
