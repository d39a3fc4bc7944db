"""What the files of one domain contain, and its conversion to tensors and back to pictures."""

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
    """Pictures of 1, 3 or 4 channels, or label maps with a number of classes.

    - `colour`, 3 channels: 8-bit RGB as `decode_image` reads it.
    - `colour`, 1 channel: grey; colours are converted to Pillow's mode L. With `bits` 16 all levels
      of 16-bit files are kept, and 8-bit levels are multiplied by 257; with 8, 16-bit levels are
      rounded to 8 bits.
    - `colour`, 4 channels: RGBA with the file's alpha, opaque where it has none.
    - `labels`: integers from 0 to classes - 1; in palette files the index, not the colour.

    Raises `UserError` for an unsupported kind or number of channels or bits, and for `classes`
    outside 2 to 65536 with labels or other than 0 without.
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
                f"channels {self.channels}: not supported; give 1 (grey), 3 (RGB) or 4 (RGBA)"
            )
        if self.bits not in (8, 16) or (self.bits == 16 and self._mode != "F"):
            raise UserError(
                f"bits {self.bits}: not supported; give 8, or 16 with pictures of 1 channel"
            )
        if self.kind == "labels" and not 2 <= self.classes <= MOST_CLASSES:
            raise UserError(f"classes {self.classes}: give 2 to {MOST_CLASSES} for label maps")
        if self.kind == "colour" and self.classes:
            raise UserError(f"classes {self.classes}: for label maps only; give 0 for pictures")

    @property
    def tensor_channels(self) -> int:
        """Channels of the tensors: for label maps, one per class."""
        return self.classes if self.kind == "labels" else self.channels

    @property
    def resampling(self) -> Image.Resampling:
        """The filter to resize with; for label maps one that does not mix labels."""
        if self.kind == "labels":
            return Image.Resampling.NEAREST
        return Image.Resampling.BICUBIC

    @property
    def plane_type(self) -> tuple[int, torch.dtype]:
        """Channels and type of the values that `planes` returns for a picture from `decode`."""
        if self.kind == "labels":
            return 1, torch.int32
        return self.channels, torch.float32 if self._mode == "F" else torch.uint8

    @property
    def _mode(self) -> str:
        if self.kind == "labels":
            return "I"
        return "F" if self.bits == 16 and self.channels == 1 else _MODES[self.channels]

    def decode(self, path: Path) -> Image.Image:
        """Read one image file, rotated as its EXIF orientation says.

        Returns mode RGB, L, RGBA, F (16-bit grey, 0 to 65535) or I (labels). Raises
        `UnreadableImageError` as `decode_image` does, and `UserError` for a file that is not a
        label map, or that contains a label of `classes` or more.
        """
        return self.interpret(path, open_upright(path))

    def interpret(self, path: Path, upright: Image.Image) -> Image.Image:
        """Convert a picture from `open_upright` as `decode` does, with the same errors."""
        if self.kind == "labels":
            return self._labels(path, upright)
        if self._mode == "F":
            return _wide_grey(path, upright)
        if self.channels == 4 and is_transparent(upright):
            return upright.convert("RGBA")
        rgb = to_rgb(path, upright)
        return rgb if self.channels == 3 else rgb.convert(self._mode)

    def to_tensor(self, image: Image.Image) -> Tensor:
        """A picture from `decode`, resized or not, as float32 [tensor_channels, H, W].

        Colour is in [-1, 1]: (v/255 - 1/2) * 2, with 65535 instead of 255 for 16 bits. Labels are
        one-hot, 0 or 1. Raises ValueError for another mode, and for labels outside the classes.
        """
        if image.mode != self._mode:
            raise ValueError(f"expected a picture of mode {self._mode}, got mode {image.mode}")
        return self.from_planes(planes(image))

    def from_planes(self, values: Tensor) -> Tensor:
        """Like `to_tensor`, from the picture's values [C, H, W] as `planes` returns them."""
        if self.kind == "labels":
            if values.min() < 0 or values.max() >= self.classes:
                raise ValueError(f"expected labels from 0 to {self.classes - 1}")
            one_hot = torch.zeros(self.classes, *values.shape[1:])
            return one_hot.scatter_(0, values.long(), 1.0)
        if self.bits == 16:
            values = values.clamp(0, 65535)  # Pillow does not clip floats where bicubic overshoots
        return from_levels(values, self.bits)

    def to_image(self, picture: Tensor) -> Image.Image:
        """A float [channels, H, W] in [-1, 1], on any device, as a picture to save, rounded.

        Grey is 8-bit, or 16-bit with `bits` 16; PNG stores both without loss. Raises ValueError for
        another shape, values that are not finite, and label maps, which generators do not produce.
        """
        if self.kind == "labels":
            raise ValueError("label maps can be sources only")
        return to_image(picture, self.channels, self.bits)

    def to_view(self, pictures: Tensor) -> Tensor:
        """Float [B, tensor_channels, H, W] as RGB for display: float32 [B, 3, H, W] in [-1, 1].

        Grey is repeated, alpha composited over white; labels get the colours of `label_colours`.
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
        """JSON values to save with a generator, for `from_description`."""
        return asdict(self)

    @classmethod
    def from_description(cls, description: Mapping[str, str | int]) -> "Content":
        """The content that `describe` described; missing values take their defaults.

        Raises `UserError` for unknown names and values of another type, and as `Content` does.
        """
        types = {field.name: str if field.name == "kind" else int for field in fields(cls)}
        for name, value in description.items():
            if type(value) is not types.get(name):
                raise UserError(
                    f"{name} {value!r}: not a description of pictures that this version knows; use "
                    "the version that wrote it"
                )
        return cls(**description)

    def _labels(self, path: Path, upright: Image.Image) -> Image.Image:
        remedy = "save label maps as palette or grey PNG whose values are the classes"
        if upright.format == "JPEG":
            raise UserError(f"{path}: JPEG files do not keep label values; {remedy}")
        if upright.mode not in _LABEL_MODES:
            raise UserError(f"{path}: mode {upright.mode} holds colours, not labels; {remedy}")
        values = np.asarray(upright).astype(np.int32)
        for label in (int(values.min()), int(values.max())):
            if not 0 <= label < self.classes:
                raise UserError(
                    f"{path}: has label {label}, and `source_classes` {self.classes} of the "
                    f"training allows 0 to {self.classes - 1}; fix the file"
                )
        return Image.fromarray(values)


RGB = Content()


def contents_of(
    description: Mapping, in_channels: int, out_channels: int, option: str
) -> tuple[Content, Content]:
    """Return a saved generator's source and target content: from its file, or from its channels.

    Raises `UserError`, which names `option`, for numbers of channels that pictures do not have,
    and if the file and the network disagree.
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
    next highest, and so on. Class 0 is black; all classes below 2^24 have different colours.
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
