"""Resize, crop, flip: the geometry of the official CUT code."""

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from PIL import Image
from torch import Tensor

from data.pixels import to_tensor
from errors import UserError

Mode = Literal[
    "resize_and_crop", "crop", "scale_width", "scale_width_and_crop", "scale_shortside", "none"
]
_CROPPING = ("resize_and_crop", "crop", "scale_width_and_crop")


@dataclass(frozen=True)
class Preprocessing:
    """How a decoded picture becomes a training image.

    In this order, every resize being PIL's bicubic:

    1. `resize_and_crop`: to load_size x load_size. `scale_width*`: width = load_size and
       height = int(max(load_size * h / w, crop_size)). `scale_shortside`: both sides times
       load_size / short side, only if the short side is below load_size. `crop`, `none`: nothing.
    2. the modes with `crop`: a random crop_size x crop_size window, every offset equally likely.
    3. both sides to the nearest multiple of `size_multiple` (halves to the even multiple, at
       least one multiple).
    4. `flip`: mirrored with probability 1/2.

    Sizes are in pixels. Raises `UserError` for an unknown mode, sizes below 1, and where the mode
    crops, for load_size < crop_size and a crop_size that is no multiple of size_multiple.
    """

    mode: Mode
    load_size: int
    crop_size: int
    flip: bool
    size_multiple: int = 4

    def __post_init__(self) -> None:
        if self.mode not in get_args(Mode):
            modes = ", ".join(get_args(Mode))
            raise UserError(f"--preprocess {self.mode}: not known; give one of {modes}")
        if self.load_size < 1:
            raise UserError(f"--load_size {self.load_size}: below 1; give a size in pixels")
        check_crop_size(self.crop_size, self.size_multiple if self.mode in _CROPPING else 1)
        if (
            self.mode in ("resize_and_crop", "scale_width_and_crop")
            and self.load_size < self.crop_size
        ):
            raise UserError(
                f"--load_size {self.load_size}: smaller than --crop_size {self.crop_size}, which "
                "is cut out of it; raise --load_size or lower --crop_size"
            )

    def __call__(
        self, image: Image.Image, randomness: np.random.Generator | None, jitter: bool = True
    ) -> Tensor:
        """An RGB picture as float32 [3, H, W] in [-1, 1].

        `randomness` places the crop and tosses the flip's coin; None is for looking at the same
        thing every time: the crop is centred and nothing is flipped. `jitter=False` is CUT's
        switch for late training: crop_size takes the place of load_size.

        Raises `UserError` for an image smaller than the crop; the caller puts the file's name
        before the message.
        """
        image = self._resized(image, self.load_size if jitter else self.crop_size)
        if self.mode in _CROPPING:
            image = self._cropped(image, randomness)
        image = round_sizes(image, self.size_multiple)
        if self.flip and randomness is not None and randomness.random() < 0.5:
            image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        return to_tensor(image)

    def _resized(self, image: Image.Image, load_size: int) -> Image.Image:
        width, height = image.size
        if self.mode == "resize_and_crop":
            width = height = load_size
        elif self.mode in ("scale_width", "scale_width_and_crop"):
            height = int(max(load_size * height / width, self.crop_size))
            width = load_size
        elif self.mode == "scale_shortside":
            scale = max(1.0, load_size / min(width, height))
            width, height = round(width * scale), round(height * scale)
        return resized(image, width, height)

    def _cropped(self, image: Image.Image, randomness: np.random.Generator | None) -> Image.Image:
        room_x, room_y = (side - self.crop_size for side in image.size)
        if room_x < 0 or room_y < 0:
            raise UserError(
                f"image of {image.width}x{image.height} px is smaller than --crop_size "
                f"{self.crop_size}; use --preprocess resize_and_crop or a smaller --crop_size"
            )
        if randomness is None:
            left, top = room_x // 2, room_y // 2
        else:
            left = int(randomness.integers(room_x + 1))
            top = int(randomness.integers(room_y + 1))
        return image.crop((left, top, left + self.crop_size, top + self.crop_size))


def resized(image: Image.Image, width: int, height: int) -> Image.Image:
    """The picture at width x height pixels by PIL's bicubic filter; itself if it has that size."""
    if image.size == (width, height):
        return image
    return image.resize((width, height), Image.Resampling.BICUBIC)


def round_sizes(image: Image.Image, multiple: int) -> Image.Image:
    """The picture with both sides resized to the nearest multiple, never to 0."""
    width, height = (max(multiple, round(side / multiple) * multiple) for side in image.size)
    return resized(image, width, height)


def check_crop_size(crop_size: int, multiple: int) -> None:
    """Raise `UserError` unless crop_size is a multiple of `multiple` above 0."""
    if crop_size < 1:
        raise UserError(f"--crop_size {crop_size}: below 1; give a size in pixels")
    below = crop_size // multiple * multiple
    if crop_size != below:
        fitting = f"{below} or {below + multiple}" if below else f"{multiple}"
        raise UserError(
            f"--crop_size {crop_size}: not a multiple of {multiple}, which the network needs; "
            f"use {fitting}"
        )
