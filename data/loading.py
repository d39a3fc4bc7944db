"""Files -> decoded and resized pictures, optionally decoded faster or cached in memory."""

import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal, NamedTuple, get_args

from PIL import Image

from data.cache import PictureCache, Prepared
from data.content import RGB, Content
from data.decode import Opened, open_reduced
from data.pairs import odd_width
from data.reduced import largest_reduction, resized_once
from data.transforms import Preprocessing, resized
from errors import UserError

Decoding = Literal["exact", "fast"]


@dataclass(frozen=True)
class Loading:
    """How training pictures are read.

    - `decode` exact: Pillow decodes the whole file and resizes it with its bicubic filter, bit for
      bit as in the official programs.
    - `decode` fast: a JPEG is decoded at 1/2, 1/4 or 1/8 of its size if that is at least the size
      it is resized to, and 8-bit grey and RGB are resized by PyTorch's bicubic filter, which has
      Pillow's weights in 16 bits. Without a reduction, about one level in 300 of a photograph
      differs, by 1 or rarely 2; with one, photographs differ by less than 2 levels on average.
      Label maps, 16-bit grey and RGBA are resized by Pillow. Pictures for previews and metrics are
      always read exactly.
    - `cache_bytes`: the memory that resized pictures may take, shared by all worker processes; 0
      keeps none. Pictures are the same bit for bit with and without it.

    Raises `UserError` for an unknown `decode` and for `cache_bytes` below 0.
    """

    decode: Decoding = "exact"
    cache_bytes: int = 0

    def __post_init__(self) -> None:
        if self.decode not in get_args(Decoding):
            raise UserError(f"`decode` {self.decode}: not known; give exact or fast")
        if self.cache_bytes < 0:
            raise UserError(f"cache_bytes {self.cache_bytes}: below 0; give 0 to keep nothing")


EXACTLY = Loading()


class Picture(NamedTuple):
    """A file, or one half of a side-by-side file, and its content."""

    path: Path
    content: Content = RGB
    half: Literal["left", "right"] | None = None


class Loader:
    """Reads pictures up to the first random step: decoded and resized, not cropped.

    pictures: those that the cache may keep.
    """

    def __init__(
        self, preprocessing: Preprocessing, loading: Loading, pictures: Iterable[Picture] = ()
    ):
        self.preprocessing = preprocessing
        self.is_fast = loading.decode == "fast"
        self._numbers = {}
        self._cache = None
        if loading.cache_bytes:
            self._numbers = {p: number for number, p in enumerate(dict.fromkeys(pictures))}
            try:
                self._cache = PictureCache(len(self._numbers), loading.cache_bytes)
            except OSError as error:
                print(f"pictures are not cached: {error.strerror}", file=sys.stderr)
                self._numbers = {}

    def load(self, pictures: Sequence[Picture], jitter: bool = True) -> list[Prepared]:
        """Read some pictures; a file that several of them come from is decoded once.

        jitter: as in `Preprocessing.draw`. Raises `UnreadableImageError` and `UserError` as
        `Content.decode` does, and `UserError` for halves of a picture of odd width.
        """
        opened: dict[tuple[Path, Content], Opened] = {}
        loaded: dict[Picture, Prepared] = {}
        for picture in pictures:
            if picture not in loaded:
                loaded[picture] = self._kept(picture, jitter) or self._read(picture, jitter, opened)
        return [loaded[picture] for picture in pictures]

    def _kept(self, picture: Picture, jitter: bool) -> Prepared | None:
        if picture not in self._numbers:
            return None
        kept = self._cache.get(self._numbers[picture])
        if kept and kept.size == self.preprocessing.sizes(kept.full_size, jitter)[-1]:
            return kept
        return None

    def _read(
        self, picture: Picture, jitter: bool, opened: dict[tuple[Path, Content], Opened]
    ) -> Prepared:
        key = picture.path, picture.content
        if key not in opened:
            opened[key] = self._open(picture, jitter)
        prepared = self._prepared(picture, opened[key], jitter)
        if picture in self._numbers:
            self._cache.put(self._numbers[picture], prepared)
        return prepared

    def _open(self, picture: Picture, jitter: bool) -> Opened:
        path, content, half = picture
        if not self.is_fast or content.kind == "labels":
            image = content.decode(path)
            return Opened(image, image.size, 1)
        opened = open_reduced(
            path, partial(self._reduction, halves=half is not None, jitter=jitter)
        )
        return opened._replace(image=content.interpret(path, opened.image))

    def _prepared(self, picture: Picture, opened: Opened, jitter: bool) -> Prepared:
        image, (width, height), reduction = opened
        if picture.half is not None:
            if width % 2:
                raise UserError(odd_width(picture.path, width))
            width //= 2
            middle = image.width // 2
            left = middle if picture.half == "right" else 0
            image = image.crop((left, 0, left + middle, image.height))
        sizes = self.preprocessing.sizes((width, height), jitter)
        resampling = picture.content.resampling
        if not self.is_fast or resampling != Image.Resampling.BICUBIC:
            for size in sizes:
                image = resized(image, size, resampling)
            return Prepared((width, height), image)
        covered = width / reduction, height / reduction
        return Prepared((width, height), resized_once(image, sizes[-1], covered))

    def _reduction(self, full_size: tuple[int, int], *, halves: bool, jitter: bool) -> int:
        width, height = full_size[0] // (2 if halves else 1), full_size[1]
        least = self.preprocessing.sizes((width, height), jitter)[-1]
        return largest_reduction((width, height), least, divides_width=halves)
