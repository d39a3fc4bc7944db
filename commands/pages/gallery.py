"""The gallery of a folder of pictures: index.html beside them."""

import os
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote

from PIL import Image

import training
from commands.pages import pictures
from commands.pages.rendering import render, write
from data import inspection

FILE = "index.html"
THUMBNAILS = ".gallery"  # a name with a dot: no command takes it for pictures to measure or learn
THUMBNAIL_PX = 320
MOST_PICTURES = 2000


class _Shown(NamedTuple):
    name: str
    address: str  # of the picture's file
    after: str  # of what the page shows
    before: str | None
    width: int
    height: int


class Gallery:
    """Collects pictures that a command writes below a folder; `write` writes the page."""

    def __init__(self, folder: Path, option: str):
        """option: the one that named the folder, for messages."""
        self.folder, self.option = folder, option
        self.groups: dict[str, list[_Shown]] = {}
        self.count = 0

    def add(
        self, path: Path, after: Image.Image, before: Image.Image | None = None, group: str = ""
    ) -> None:
        """Add the picture written to `path`, with the picture that it was made from.

        Thumbnails are written of `before`, and of `after` where it is large. Raises UserError if
        that fails.
        """
        number, self.count = self.count, self.count + 1
        if number >= MOST_PICTURES:
            return
        address = _address(path, self.folder)
        is_small = max(after.size) <= THUMBNAIL_PX
        shown = address if is_small else self._thumbnail(after, f"{number:06d}.jpg")
        source = None if before is None else self._thumbnail(before, f"{number:06d}_source.jpg")
        name = inspection.shown_name(path, self.folder)
        self.groups.setdefault(group, []).append(_Shown(name, address, shown, source, *after.size))

    def write(self, title: str, words: str) -> Path:
        """Write the page; raises UserError if that fails."""
        path = self.folder / FILE
        text = render(
            "gallery.html",
            title=title,
            words=words,
            groups=[
                (inspection.printable(name), sorted(shown, key=lambda one: one.name))
                for name, shown in sorted(self.groups.items())
            ],
            count=self.count,
            most=MOST_PICTURES,
            kind="Translations" if self._has_sources() else "Generated pictures",
            has_sources=self._has_sources(),
        )
        write(path, self.option, text)
        return path

    def _has_sources(self) -> bool:
        return any(one.before for shown in self.groups.values() for one in shown)

    def _thumbnail(self, image: Image.Image, name: str) -> str:
        path = self.folder / THUMBNAILS / name
        file = pictures.encoded(pictures.fitted(image.convert("RGB"), THUMBNAIL_PX), pictures.JPEG)
        training.write_output(path, self.option, lambda temporary: temporary.write_bytes(file))
        return _address(path, self.folder)


def _address(path: Path, folder: Path) -> str:
    """Return where a file is from its folder, as an address; every sign but letters is quoted."""
    return quote(os.fsencode(path.relative_to(folder).as_posix()))
