"""What the files of one domain contain, and the conversion to tensors and back to pictures."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from data.decode import WIDE_MODES, is_transparent, open_upright, to_rgb, wide_levels
from data.pixels import from_levels, planes, to_image
from errors import UserError

_MODES = {1: "L", 3: "RGB", 4: "RGBA"}
_LABEL_MODES = {"1", "L", "P"} | WIDE_MODES
MOST_CLASSES = 65536


@dataclass(frozen=True)
class Content:
    """Pictures of 1, 3 or 4 channels, or label maps of so many classes.

    - `colour`, 3 channels: 8-bit RGB as `decode_image` reads it.
    - `colour`, 1 channel: grey; of a coloured file Pillow's L. With `bits` 16 the levels of 16-bit
      files are kept, and 8-bit files have every 257th of them; with 8 they are rounded.
    - `colour`, 4 channels: RGBA with the file's alpha, opaque where it has none.
    - `labels`: integers from 0 to classes - 1, of palette files the index, not the colour.

    Raises `UserError` for an unknown kind, number of channels or bits, and for `classes` outside
    2 to 65536 with labels or other than 0 without.
    """

    kind: Literal["colour", "labels"] = "colour"
    channels: Literal[1, 3, 4] = 3
    classes: int = 0
    bits: Literal[8, 16] = 8

    def __post_init__(self) -> None:
        if self.kind not in ("colour", "labels"):
            raise UserError(f"kind {self.kind}: not known; give colour or labels")
        if self.channels not in _MODES:
            raise UserError(
                f"channels {self.channels}: not read; give 1 (grey), 3 (RGB) or 4 (RGBA)"
            )
        if self.bits not in (8, 16) or (self.bits == 16 and self._mode != "F"):
            raise UserError(f"bits {self.bits}: not read; give 8, or 16 with pictures of 1 channel")
        if self.kind == "labels" and not 2 <= self.classes <= MOST_CLASSES:
            raise UserError(f"classes {self.classes}: give 2 to {MOST_CLASSES} for label maps")
        if self.kind == "colour" and self.classes:
            raise UserError(f"classes {self.classes}: for label maps only; give 0 for pictures")

    @property
    def tensor_channels(self) -> int:
        """Channels of the tensors: one for each class of label maps."""
        return self.classes if self.kind == "labels" else self.channels

    @property
    def resampling(self) -> Image.Resampling:
        """The filter to resize with: nearest for label maps, which invents no labels."""
        if self.kind == "labels":
            return Image.Resampling.NEAREST
        return Image.Resampling.BICUBIC

    @property
    def _mode(self) -> str:
        if self.kind == "labels":
            return "I"
        return "F" if self.bits == 16 and self.channels == 1 else _MODES[self.channels]

    def decode(self, path: Path) -> Image.Image:
        """Read one image file, turned as its EXIF orientation says.

        Returns mode RGB, L, RGBA, F (16-bit grey, 0 to 65535) or I (labels). Raises
        `UnreadableImageError` as `decode_image` does, and `UserError` for a file that holds no
        label map, or a label of `classes` or more.
        """
        return self.interpret(path, open_upright(path))

    def interpret(self, path: Path, upright: Image.Image) -> Image.Image:
        """What `decode` does with the picture that `open_upright` read; raises as it does."""
        if self.kind == "labels":
            return self._labels(path, upright)
        if self._mode == "F":
            return _wide_grey(path, upright)
        if self.channels == 4 and is_transparent(upright):
            return upright.convert("RGBA")
        rgb = to_rgb(path, upright)
        return rgb if self.channels == 3 else rgb.convert(self._mode)

    def to_tensor(self, image: Image.Image) -> Tensor:
        """A picture that `decode` read, resized or not, as float32 [tensor_channels, H, W].

        Colour is in [-1, 1]: v/255 or, of 16 bits, v/65535, minus 1/2, times 2. Labels are one-hot,
        0 or 1. Raises ValueError for another mode, and for labels outside the classes.
        """
        if image.mode != self._mode:
            raise ValueError(f"expected a picture of mode {self._mode}, got mode {image.mode}")
        return self.from_planes(planes(image))

    def from_planes(self, values: Tensor) -> Tensor:
        """What `to_tensor` does with the picture's values [C, H, W], which `planes` gives."""
        if self.kind == "labels":
            if values.min() < 0 or values.max() >= self.classes:
                raise ValueError(f"expected labels from 0 to {self.classes - 1}")
            one_hot = torch.zeros(self.classes, *values.shape[1:])
            return one_hot.scatter_(0, values.long(), 1.0)
        if self.bits == 16:
            values = values.clamp(0, 65535)  # floats are not cut off where bicubic overshoots
        return from_levels(values, self.bits)

    def to_image(self, picture: Tensor) -> Image.Image:
        """A float [channels, H, W] in [-1, 1] of any device as a picture to save, rounded.

        Grey is 8-bit or, with `bits` 16, 16-bit; a PNG file keeps all of them. Raises ValueError
        for another shape, values that are not finite, and labels, which no generator makes.
        """
        if self.kind == "labels":
            raise ValueError("label maps are read, not made")
        return to_image(picture, self.channels, self.bits)

    def to_view(self, pictures: Tensor) -> Tensor:
        """Float [B, tensor_channels, H, W] as RGB to look at: float32 [B, 3, H, W] in [-1, 1].

        Grey is repeated, alpha laid over white; labels get the colours of `label_colours`.
        """
        pictures = pictures.float()
        if self.kind == "labels":
            colours = from_levels(torch.from_numpy(label_colours(self.classes)))
            return colours.to(pictures.device)[pictures.argmax(1)].permute(0, 3, 1, 2)
        if self.channels == 4:
            alpha = (pictures[:, 3:] + 1) / 2
            return (pictures[:, :3] - 1) * alpha + 1
        return pictures.expand(-1, 3, -1, -1)

    def describe(self) -> dict[str, str | int]:
        """What a saved generator keeps of it: JSON values for `from_description`."""
        return asdict(self)

    @classmethod
    def from_description(cls, description: Mapping[str, str | int]) -> "Content":
        """What `describe` described; absent values are the defaults.

        Raises `UserError` for unknown names, values of another type, and what `Content` raises.
        """
        types = {field.name: str if field.name == "kind" else int for field in fields(cls)}
        for name, value in description.items():
            if type(value) is not types.get(name):
                raise UserError(
                    f"{name} {value!r}: describes no pictures that are known here; use the version "
                    "that wrote it"
                )
        return cls(**description)

    def _labels(self, path: Path, upright: Image.Image) -> Image.Image:
        remedy = "save label maps as palette or grey PNG whose values are the classes"
        if upright.format == "JPEG":
            raise UserError(f"{path}: JPEG files do not keep label values; {remedy}")
        if upright.mode not in _LABEL_MODES:
            raise UserError(f"{path}: mode {upright.mode} holds colours and no labels; {remedy}")
        values = np.asarray(upright).astype(np.int32)
        for label in (int(values.min()), int(values.max())):
            if not 0 <= label < self.classes:
                raise UserError(
                    f"{path}: has label {label}, and `source_classes` {self.classes} of the "
                    f"training allows 0 to {self.classes - 1}; mend the file"
                )
        return Image.fromarray(values)


RGB = Content()


def contents_of(
    description: Mapping, in_channels: int, out_channels: int, option: str
) -> tuple[Content, Content]:
    """Return what a saved generator reads and makes: as its file says, or else by its channels.

    Raises `UserError`, which names `option`, for channels that no file has, and where file and
    network do not agree.
    """
    sides = []
    for side, channels in (("source", in_channels), ("target", out_channels)):
        if side in description:
            content = Content.from_description(description[side])
        elif channels in _MODES:
            content = Content(channels=channels)
        else:
            content = None
        if content is None or content.tensor_channels != channels:
            raise UserError(
                f"{option}: its generator has {channels} {side} channels, which its file does not "
                "explain; name one for pictures of 1, 3 or 4 channels, or a run with label maps"
            )
        sides.append(content)
    return sides[0], sides[1]


def label_colours(classes: int) -> np.ndarray:
    """Return a colour for each class, uint8 [classes, 3]: those of PASCAL VOC's label maps.

    The lowest three bits of a class are the highest of its red, green and blue, the next three the
    next highest, and so on. Class 0 is black; no two classes below 2^24 are alike.
    """
    numbers = np.arange(classes)
    colours = np.zeros((classes, 3), dtype=np.uint8)
    for bit in range(24):
        colours[:, bit % 3] |= ((numbers >> bit & 1) << (7 - bit // 3)).astype(np.uint8)
    return colours


def _wide_grey(path: Path, upright: Image.Image) -> Image.Image:
    if upright.mode in WIDE_MODES:
        levels = wide_levels(path, upright)
    else:
        levels = np.asarray(to_rgb(path, upright).convert("L")).astype(np.int64) * 257
    return Image.fromarray(levels.astype(np.float32))
