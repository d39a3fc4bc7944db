"""What is a film, by the names of its files; importing this needs no PyAV."""

from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

import data
from errors import UserError


class Kind(NamedTuple):
    """How films of one ending are written."""

    format: str  # FFmpeg's name of the container
    encoders: tuple[str, ...]  # FFmpeg's names, the best first; builds have different ones
    sound: str  # the encoder for sound that the container does not take as it is; "": no sound


_H264 = ("libx264", "libopenh264", "mpeg4")
KINDS = {
    ".mp4": Kind("mp4", _H264, "aac"),
    ".m4v": Kind("mp4", _H264, "aac"),
    ".mov": Kind("mov", _H264, "aac"),
    ".mkv": Kind("matroska", _H264, "aac"),
    ".webm": Kind("webm", ("libvpx-vp9", "libvpx"), "libopus"),
    ".gif": Kind("gif", ("gif",), ""),
    ".webp": Kind("webp", ("libwebp_anim",), ""),
}
_ONLY_READ = {".avi", ".flv", ".mpeg", ".mpg", ".mts", ".ogv", ".ts", ".wmv"}


def is_film(source: Path, target: Path) -> bool:
    """Return whether the file `source` is to be translated as a film.

    It is if it does not end like a picture, and it or `target` ends like a film.
    """
    ending = source.suffix.lower()
    if source.is_dir() or ending[1:] in data.IMAGE_EXTENSIONS:
        return False
    return ending in {*KINDS, *_ONLY_READ} - {".gif"} or target.suffix.lower() in KINDS


def kind_of(target: Path) -> Kind:
    """Return how a film is written; raises UserError for an ending that is no film's."""
    kind = KINDS.get(target.suffix.lower())
    if kind is None or target.is_dir():
        raise UserError(
            f"--output {target}: a film is written to one file; end it with one of "
            f"{' '.join(KINDS)}"
        )
    return kind


def check_installed(option: str, path: Path) -> None:
    """Raise UserError without PyAV."""
    if find_spec("av") is None:
        raise UserError(
            f"{option} {path}: films need PyAV, which is not installed; install it: "
            "pip install -c constraints.txt -e '.[film]'"
        )
