"""Resize, crop, flip: the geometry of the official CUT code, and the centred crop of GANs."""

from dataclasses import dataclass
from typing import Literal, NamedTuple, get_args

import numpy as np
from PIL import Image
from torch import Tensor

from data.content import RGB, Content
from data.pixels import planes
from errors import UserError

Mode = Literal[
    "resize_and_crop",
    "crop",
    "scale_width",
    "scale_width_and_crop",
    "scale_shortside",
    "none",
    "centre_crop",
]
_CROPPING = ("resize_and_crop", "crop", "scale_width_and_crop", "centre_crop")


class Geometry(NamedTuple):
    """The random steps of one resized picture, or of both pictures of a pair."""

    window: tuple[int, int, int, int] | None  # left, top, right, bottom of the crop
    mirrored: bool

    def cut(self, picture: Image.Image | Tensor) -> Tensor:
        """Crop and mirror a picture that is already resized, a Pillow image or [C, H, W]."""
        if isinstance(picture, Image.Image):
            picture = planes(picture if self.window is None else picture.crop(self.window))
        elif self.window is not None:
            left, top, right, bottom = self.window
            picture = picture[:, top:bottom, left:right]
        return picture.flip(2) if self.mirrored else picture


@dataclass(frozen=True)
class Preprocessing:
    """How a decoded picture becomes a training image.

    In this order, with PIL's bicubic filter for every resize (label maps: nearest neighbour):

    1. `resize_and_crop`: to load_size x load_size. `scale_width*`: width = load_size and
       height = int(max(load_size * h / w, crop_size)). `scale_shortside`: both sides times
       load_size / short side, only if the short side is below load_size. `centre_crop`: the same,
       up or down. `crop`, `none`: nothing.
    2. the modes with `crop`: a random crop_size x crop_size window, every offset equally likely;
       `centre_crop`: the central window.
    3. both sides to the nearest multiple of `size_multiple` (halves to the even multiple, at
       least one multiple).
    4. `flip`: mirrored with probability 1/2.

    Sizes are in pixels. Raises `UserError` for an unknown mode, sizes below 1, and if the mode
    crops, for load_size < crop_size and a crop_size that is not a multiple of size_multiple.
    """

    mode: Mode
    load_size: int
    crop_size: int
    flip: bool
    size_multiple: int = 4

    def __post_init__(self) -> None:
        if self.mode not in get_args(Mode):
            modes = ", ".join(get_args(Mode))
            raise UserError(f"`preprocess` {self.mode}: not known; give one of {modes}")
        if self.load_size < 1:
            raise UserError(f"`load_size` {self.load_size}: below 1; give a size in pixels")
        check_crop_size(self.crop_size, self.size_multiple if self.mode in _CROPPING else 1)
        if (
            self.mode in ("resize_and_crop", "scale_width_and_crop", "centre_crop")
            and self.load_size < self.crop_size
        ):
            raise UserError(
                f"`load_size` {self.load_size}: smaller than `crop_size` {self.crop_size}, which "
                "is cut out of it; raise `load_size` or lower `crop_size`"
            )

    def __call__(
        self,
        image: Image.Image,
        randomness: np.random.Generator | None,
        jitter: bool = True,
        content: Content = RGB,
    ) -> Tensor:
        """A picture from `content.decode` as float32 [C, H, W]: in [-1, 1], or one-hot labels.

        `randomness`, `jitter` and errors are those of `draw`.
        """
        geometry = self.draw(image.size, randomness, jitter)
        for size in self.sizes(image.size, jitter):
            image = resized(image, size, content.resampling)
        return content.from_planes(geometry.cut(image))

    def draw(
        self, size: tuple[int, int], randomness: np.random.Generator | None, jitter: bool = True
    ) -> Geometry:
        """Draw the crop and the flip of a picture whose full width and height are `size`.

        `randomness` chooses the crop and the flip; with None, for previews and metrics, the crop is
        centred and nothing is flipped. `jitter=False` is for late training of CUT: crop_size
        replaces load_size, except in `centre_crop`, which has no jitter.

        Raises `UserError` for an image smaller than the crop; the caller prepends the file's name.
        """
        window = None
        if self.mode in _CROPPING:
            window = self._window(self.sizes(size, jitter)[-1], randomness)
        mirrored = self.flip and randomness is not None and bool(randomness.random() < 0.5)
        return Geometry(window, mirrored)

    def sizes(self, size: tuple[int, int], jitter: bool = True) -> list[tuple[int, int]]:
        """The two sizes that a picture is resized to in turn, before any random step.

        For modes that crop, the size to crop from, twice; for others, the scaled size and the
        rounded size.
        """
        scaled = self._size(size, jitter)
        last = scaled if self.mode in _CROPPING else rounded_size(scaled, self.size_multiple)
        return [scaled, last]

    def _size(self, size: tuple[int, int], jitter: bool) -> tuple[int, int]:
        load_size = self.load_size if jitter or self.mode == "centre_crop" else self.crop_size
        width, height = size
        if self.mode == "resize_and_crop":
            width = height = load_size
        elif self.mode in ("scale_width", "scale_width_and_crop"):
            height = int(max(load_size * height / width, self.crop_size))
            width = load_size
        elif self.mode == "scale_shortside":
            scale = max(1.0, load_size / min(width, height))
            width, height = round(width * scale), round(height * scale)
        elif self.mode == "centre_crop":
            short = min(width, height)  # divided by last, so that it becomes load_size exactly
            width, height = round(width * load_size / short), round(height * load_size / short)
        return width, height

    def _window(
        self, size: tuple[int, int], randomness: np.random.Generator | None
    ) -> tuple[int, int, int, int]:
        room_x, room_y = (side - self.crop_size for side in size)
        if room_x < 0 or room_y < 0:
            raise UserError(
                f"image of {size[0]}x{size[1]} px is smaller than `crop_size` "
                f"{self.crop_size}; use `preprocess` resize_and_crop or a smaller `crop_size`"
            )
        if randomness is None or self.mode == "centre_crop":
            left, top = room_x // 2, room_y // 2
        else:
            left = int(randomness.integers(room_x + 1))
            top = int(randomness.integers(room_y + 1))
        return left, top, left + self.crop_size, top + self.crop_size


def resized(image: Image.Image, size: tuple[int, int], resampling: Image.Resampling) -> Image.Image:
    """The picture at this width and height; itself if it has that size."""
    return image if image.size == size else image.resize(size, resampling)


def rounded_size(size: tuple[int, int], multiple: int) -> tuple[int, int]:
    """Both sides to the nearest multiple, never to 0."""
    width, height = (max(multiple, round(side / multiple) * multiple) for side in size)
    return width, height


def check_crop_size(crop_size: int, multiple: int) -> None:
    """Raise `UserError` unless crop_size is a multiple of `multiple` above 0."""
    if crop_size < 1:
        raise UserError(f"`crop_size` {crop_size}: below 1; give a size in pixels")
    below = crop_size // multiple * multiple
    if crop_size != below:
        fitting = f"{below} or {below + multiple}" if below else f"{multiple}"
        raise UserError(
            f"`crop_size` {crop_size}: not a multiple of {multiple}, which the network needs; "
            f"use {fitting}"
        )
