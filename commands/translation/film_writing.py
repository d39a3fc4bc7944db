"""Writes films frame by frame by PyAV, with their sound."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.video.reformatter import Colorspace
from PIL import Image

from commands.translation.film_kinds import Kind
from commands.translation.film_reading import Film, Frame
from errors import UserError

# Nearly lossless to the eye; FFmpeg's defaults are made for small files.
_QUALITY = {
    "libx264": {"crf": "18"},
    "libvpx-vp9": {"crf": "24", "b": "0", "row-mt": "1"},
    "libvpx": {"crf": "8", "b": "8M"},
    "mpeg4": {"qmin": "2", "qmax": "4", "b": "20M"},
    "libwebp_anim": {"quality": "90"},
}
_PIXELS = {"gif": "pal8", "libwebp_anim": "bgra"}  # yuv420p otherwise
_LOOPED = ("gif", "webp")  # containers
_TIME_BASES = {"gif": Fraction(1, 100), "libwebp_anim": Fraction(1, 1000)}
_MOST_TICKS = 65535  # in a second, of MPEG-4
_SOUND_RATE_HZ = 48000  # which every encoder of sound takes
_BT709, _LIMITED_RANGE = 1, 1


class FilmWriter:
    """An open output. Raises OSError where the file cannot be written."""

    def __init__(self, path: Path, kind: Kind, film: Film, size: tuple[int, int]):
        """path: of any name. size: width and height of the frames."""
        self.encoder = encoder_of(kind)
        self.pixels = _PIXELS.get(self.encoder, "yuv420p")
        even = self.pixels == "yuv420p"  # which has a colour for each 2 x 2 pixels
        self.padding = tuple(side % 2 if even else 0 for side in size)
        options = {"loop": "0"} if kind.format in _LOOPED else {}  # 0: for ever
        with as_os_errors():
            self.container = av.open(str(path), "w", format=kind.format, options=options)
        try:
            with as_os_errors():
                self._add_streams(film, kind, size)
        except BaseException:
            self.abandon()
            raise
        # Animations have no sound that the frames would have to meet.
        self.start = film.start if kind.format in _LOOPED else film.origin(film.time_base)
        self.time: int | None = None
        self.lost_sound = 0  # packets

    def _add_streams(self, film: Film, kind: Kind, size: tuple[int, int]) -> None:
        self.picture = self.container.add_stream(
            self.encoder, rate=film.rate, options=_QUALITY.get(self.encoder, {})
        )
        self._describe(film, size)
        self.sound, self.sound_is_copied = None, False
        if film.sound and kind.sound:
            self._add_sound_stream(film, kind)

    def _describe(self, film: Film, size: tuple[int, int]) -> None:
        context = self.picture.codec_context
        self.picture.width, self.picture.height = (
            side + more for side, more in zip(size, self.padding, strict=True)
        )
        self.picture.pix_fmt = self.pixels
        self.time_base = _TIME_BASES.get(self.encoder, film.time_base)
        if self.encoder == "mpeg4" and self.time_base.denominator > _MOST_TICKS:
            self.time_base = Fraction(1, 1000)
        context.time_base = self.time_base
        ratio = film.stream.sample_aspect_ratio
        if ratio and self.pixels == "yuv420p":  # width by height of a pixel
            context.sample_aspect_ratio = 1 / ratio if film.on_side else ratio
        if self.pixels == "yuv420p":
            context.colorspace = context.color_primaries = context.color_trc = _BT709
            context.color_range = _LIMITED_RANGE

    def _add_sound_stream(self, film: Film, kind: Kind) -> None:
        codec = film.sound.codec_context
        self.sound_start = film.origin(film.sound.time_base)
        self.sound_is_copied = codec.name in self.container.supported_codecs
        if self.sound_is_copied:
            self.sound = self.container.add_stream_from_template(film.sound)
        else:
            self.sound = self.container.add_stream(
                kind.sound, rate=_SOUND_RATE_HZ, layout=codec.layout
            )

    def add(self, frame: Frame, time_base: Fraction) -> None:
        """Encode a frame, whose times are in `time_base`."""
        right, below = self.padding
        levels = np.pad(frame.levels, ((0, below), (0, right), (0, 0)), mode="edge")
        picture = self._picture(levels)
        time = round((frame.time - self.start) * time_base / self.time_base)
        if self.time is not None:  # times that a coarser base makes equal
            time = max(time, self.time + 1)
        self.time = picture.pts = time
        picture.time_base = self.time_base
        picture.duration = round(frame.duration * time_base / self.time_base)
        with as_os_errors():
            self.container.mux(self.picture.encode(picture))

    def _picture(self, levels: np.ndarray) -> av.VideoFrame:
        if self.pixels == "pal8":
            image = Image.fromarray(levels).quantize(256)
            palette = np.full((256, 4), 255, np.uint8)  # alpha first
            colours = np.array(image.getpalette(), np.uint8).reshape(-1, 3)
            palette[: len(colours), 1:] = colours
            return av.VideoFrame.from_ndarray((np.array(image), palette), format="pal8")
        picture = av.VideoFrame.from_ndarray(levels, format="rgb24")
        return picture.reformat(format=self.pixels, dst_colorspace=Colorspace.ITU709)

    def add_sound(self, packet: av.Packet) -> None:
        """Copy a packet of the film's sound, or encode it anew."""
        if self.sound is None:
            return
        if not self.sound_is_copied:
            for part in self._decoded(packet):
                if part.pts is not None:
                    part.pts -= self.sound_start
                with as_os_errors():
                    self.container.mux(self.sound.encode(part))
        elif packet.dts is not None:  # the last one is empty
            packet.dts -= self.sound_start
            packet.pts = packet.dts if packet.pts is None else packet.pts - self.sound_start
            packet.stream = self.sound
            with as_os_errors():
                self.container.mux(packet)

    def _decoded(self, packet: av.Packet) -> list[av.AudioFrame]:
        try:
            return packet.decode()
        except av.FFmpegError:
            self.lost_sound += 1
            return []

    def close(self) -> None:
        """Write what the encoders still hold, and the end of the file."""
        with as_os_errors():
            self.container.mux(self.picture.encode())
            if self.sound and not self.sound_is_copied:
                self.container.mux(self.sound.encode())
            self.container.close()

    def abandon(self) -> None:
        """Close an output that is not to be kept, since an error is on its way already."""
        with suppress(av.FFmpegError, OSError):
            self.container.close()


def encoder_of(kind: Kind) -> str:
    """Return the best encoder that this build of FFmpeg has; raises UserError if it has none."""
    for name in kind.encoders:
        try:
            return av.codec.Codec(name, "w").name
        except av.codec.codec.UnknownCodecError:
            continue
    raise UserError(
        f"--output: this build of PyAV writes no {kind.format} ({', '.join(kind.encoders)}); give "
        "another ending"
    )


@contextmanager
def as_os_errors() -> Iterator[None]:
    """Raise FFmpeg's errors of writing as OSError."""
    try:
        yield
    except av.FFmpegError as error:
        raise OSError(error.errno, error.strerror) from error
