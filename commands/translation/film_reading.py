"""Reads films frame by frame, and their sound packet by packet, by PyAV."""

import heapq
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

import av
import numpy as np
from av.stream import Disposition
from av.video.reformatter import Colorspace

from errors import UserError

_ROWS_OF_HD = 720  # from here on, films that do not name their colour space are in ITU-R BT.709
_UNNAMED_COLOURS = 2
_RATE = Fraction(25)  # of films that have neither time stamps nor a rate


class Frame(NamedTuple):
    """A frame as it is to be seen."""

    time: int  # in the film's time base
    duration: int  # the same; 0 if unknown
    levels: np.ndarray  # uint8 [H, W, 3]


class Film:
    """An open film. Frames are decoded one by one, in the order in which they are seen.

    Raises UserError, which names --input, for a file that is no film, or has no pictures.
    """

    def __init__(self, path: Path):
        self.path = path
        try:
            self.container = av.open(str(path), metadata_errors="replace")
        except (av.FFmpegError, OSError) as error:
            raise UserError(
                f"--input {path}: is no film that can be read ({error.strerror}); give another"
            ) from error
        films = [
            stream
            for stream in self.container.streams.video
            if not stream.disposition & Disposition.attached_pic
        ]
        self.sound = next(iter(self.container.streams.audio), None)
        if not films:
            self.container.close()
            what = "only sound" if self.sound else "no film"
            raise UserError(f"--input {path}: has no pictures, {what} is in it; give a film")
        self.stream = films[0]
        # A damaged frame is an error instead of a guess.
        self.stream.codec_context.options = {"err_detect": "explode"}
        self.time_base = self.stream.time_base
        self.rate = self.stream.average_rate or self.stream.guessed_rate or _RATE
        self.start = self.stream.start_time or 0
        self.on_side = False  # whether frames are turned by 90 degrees; known from the first one
        self.step = max(1, round(1 / (self.rate * self.time_base)))  # time of a frame
        self.broken: list[str] = []
        self._last: np.ndarray | None = None
        self._next_time = 0

    def __enter__(self) -> "Film":
        return self

    def __exit__(self, *_: object) -> None:
        self.container.close()

    def origin(self, time_base: Fraction) -> int:
        """Return when the film begins, picture or sound, in a stream's time base.

        Recordings often begin seconds or hours after 0; an encoder's delay before 0 is none.
        """
        microseconds = max(0, self.container.start_time or 0)
        return round(Fraction(microseconds, av.time_base) / time_base)

    @property
    def expected_frames(self) -> int:
        """The number of frames that the file promises; 0 if it does not say."""
        if self.stream.frames:
            return self.stream.frames
        seconds = (self.container.duration or 0) / av.time_base
        return round(seconds * self.rate)

    def frames(self, on_sound: Callable[[av.Packet], None]) -> Iterator[Frame]:
        """Yield all frames; hand each packet of sound that stands between them to `on_sound`.

        In the place of a frame that cannot be decoded stands the last one before it, and `broken`
        names it. Raises UserError where the file cannot be read on.
        """
        missing: list[int] = []  # times of packets without a frame, the earliest first
        for packet in self._packets():
            if packet.stream is not self.stream:
                on_sound(packet)
                continue
            try:
                decoded = packet.decode()
            except av.FFmpegError as error:
                time = self._next_time if packet.pts is None else packet.pts
                heapq.heappush(missing, time)
                self._name(time, error.strerror)
                continue
            for frame in decoded:
                time = self._next_time if frame.pts is None else frame.pts
                while missing and missing[0] < time:
                    yield from self._repeated(heapq.heappop(missing), 0)
                while missing and missing[0] == time:  # this frame is it
                    heapq.heappop(missing)
                if frame.is_corrupt:
                    self._name(time, "damaged")
                    yield from self._repeated(time, frame.duration)
                else:
                    self._last = upright(frame, self._last)
                    self.on_side = bool(_quarter_turns(frame) % 2)
                    self._next_time = time + self.step
                    yield Frame(time, frame.duration or 0, self._last)
        while missing:
            yield from self._repeated(heapq.heappop(missing), 0)

    def _packets(self) -> Iterator[av.Packet]:
        streams = [stream for stream in (self.stream, self.sound) if stream]
        try:
            yield from self.container.demux(streams)
        except av.FFmpegError as error:
            raise UserError(
                f"--input {self.path}: cannot be read after {self._seconds(self._next_time)} "
                f"({error.strerror}); repair it or give another"
            ) from error

    def _repeated(self, time: int, duration: int) -> Iterator[Frame]:
        self._next_time = time + self.step
        if self._last is not None:
            yield Frame(time, duration, self._last)

    def _name(self, time: int, reason: str) -> None:
        remedy = "left out" if self._last is None else "the one before it takes its place"
        self.broken.append(f"the frame at {self._seconds(time)} is broken ({reason}); {remedy}")

    def _seconds(self, time: int) -> str:
        return f"{float((time - self.start) * self.time_base):.3f} s"


def _quarter_turns(frame: av.VideoFrame) -> int:
    """Return how often a frame is to be turned by 90 degrees, counterclockwise."""
    return round(frame.rotation / 90) % 4


def upright(frame: av.VideoFrame, like: np.ndarray | None) -> np.ndarray:
    """Return a frame as RGB, turned as the film says, in the size of the frame before it."""
    colours = frame.colorspace
    if colours == _UNNAMED_COLOURS:
        colours = Colorspace.ITU709 if frame.height >= _ROWS_OF_HD else Colorspace.ITU601
    turns = _quarter_turns(frame)
    size = {}
    if like is not None:
        height, width = like.shape[:2] if turns % 2 == 0 else like.shape[1::-1]
        size = {"width": width, "height": height}
    rgb = frame.reformat(format="rgb24", src_colorspace=colours, **size).to_ndarray()
    return np.ascontiguousarray(np.rot90(rgb, turns))
