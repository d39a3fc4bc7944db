"""Writes a drawn film with its sound, to try translations of films on."""

from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

import data
import training
from commands.translation.film_kinds import kind_of
from commands.translation.film_writing import as_os_errors, encoder_of

_SAMPLES_A_PACKET = 1024


def write_film(
    path: Path,
    frames: Iterable[np.ndarray],
    *,
    rate: int,
    times_ms: Iterable[int] | None = None,
    sound: np.ndarray | None = None,
) -> None:
    """Write frames, uint8 [H, W, 3] with even sides, and a sound, int16 [samples] at 8 kHz.

    times_ms: when each frame is seen; by default at an even rate. Raises UserError for an ending
    that is no film's, and where the file cannot be written.
    """
    kind = kind_of(path)
    frames = iter(frames)
    first = next(frames)
    height, width = first.shape[:2]

    def write(temporary: Path) -> None:
        with as_os_errors(), av.open(str(temporary), "w", format=kind.format) as container:
            picture = container.add_stream(encoder_of(kind), rate=rate, options={"crf": "18"})
            picture.width, picture.height, picture.pix_fmt = width, height, "yuv420p"
            picture.codec_context.time_base = Fraction(1, 1000)
            voice = None
            if sound is not None:
                voice = container.add_stream(kind.sound, rate=data.SOUND_RATE_HZ, layout="mono")
            times = iter(times_ms) if times_ms else None
            for number, levels in enumerate([first, *frames]):
                frame = av.VideoFrame.from_ndarray(levels, format="rgb24")
                frame.pts = next(times) if times else round(1000 * number / rate)
                frame.time_base = Fraction(1, 1000)
                container.mux(picture.encode(frame))
            container.mux(picture.encode())
            if voice:
                for frame in _sound_frames(sound):
                    container.mux(voice.encode(frame))
                container.mux(voice.encode())

    training.write_output(path, "--output", write)


def _sound_frames(sound: np.ndarray) -> Iterable[av.AudioFrame]:
    for start in range(0, len(sound), _SAMPLES_A_PACKET):
        part = sound[None, start : start + _SAMPLES_A_PACKET]
        frame = av.AudioFrame.from_ndarray(part, format="s16", layout="mono")
        frame.sample_rate, frame.pts = data.SOUND_RATE_HZ, start
        frame.time_base = Fraction(1, data.SOUND_RATE_HZ)
        yield frame
