"""A translator as a program: pictures of any height and width in, their translations out."""

from functools import partial

import torch
from torch import Tensor, nn
from torch.export import Dim

import data
import models
from commands.exporting.programs import BATCH, LEVELS, Program, as_bytes, for_inference
from errors import UserError

MOST_BYTE_CLASSES = 256


def translator_program(
    saved: models.SavedGenerator, *, uint8: bool, fp16: bool, side_px: int
) -> Program:
    """Return the program of a translator, the function of `models.translate`.

    uint8: pictures are bytes [B, H, W, C]; those of label maps are classes, C = 1. side_px: the
    sizes at which it is compared lie around this one.
    Raises UserError for `uint8` with pictures that bytes do not hold.
    """
    network = saved.network
    content = _byte_content(saved) if uint8 else None
    channels = content.stored if content else network.in_channels
    multiple, smallest = network.size_multiple, padded(1, network)
    sides = {2: Dim("height", min=1), 3: Dim("width", min=1)}
    if uint8:
        sides = {axis - 1: side for axis, side in sides.items()}
    numbers = _numbers_for(channels, content.levels if content else 0)
    return Program(
        module=TranslatorModule(for_inference(network, fp16), content),
        inputs=("pictures",),
        output="translated",
        example=(numbers(2, 2 * smallest - 1, 3 * smallest - 1),),
        dynamic=({0: BATCH, **sides},),
        ours=partial(_ours, network, content),
        cases=lambda batch: {
            f"{height}x{width}": (numbers(batch, height, width),)
            for height, width in sizes_around(side_px, multiple)
        },
        varied="height x width",
        about={"size_multiple": multiple, "smallest_size_px": smallest},
        words=_words(network, channels, uint8),
    )


class TranslatorModule(nn.Module):
    """A translator between padding and cropping, and between conversions of bytes if asked for."""

    def __init__(self, network: nn.Module, content: "ByteContent | None"):
        super().__init__()
        models.use_noise_table(network)
        self.network, self.content = network, content
        self.dtype = next(network.parameters()).dtype

    def forward(self, pictures: Tensor) -> Tensor:
        """Translate float [B, C, H, W] in [-1, 1], or bytes [B, H, W, C]."""
        x = self.content.to_float(pictures) if self.content else pictures
        height, width = x.shape[2:]
        rows, columns = padded(height, self.network), padded(width, self.network)
        x = x.index_select(2, _reflected(height, rows)).index_select(3, _reflected(width, columns))
        y = self.network(x.to(self.dtype))
        top, left = (rows - height) // 2, (columns - width) // 2
        y = y[:, :, top : top + height, left : left + width].float().clamp(-1, 1)
        return as_bytes(y) if self.content else y


class ByteContent:
    """Source pictures as bytes: colours of 1, 3 or 4 channels, or classes of a label map."""

    def __init__(self, content: data.Content):
        self.classes = content.classes
        self.stored = 1 if self.classes else content.channels
        self.levels = self.classes or LEVELS + 1

    def to_float(self, pictures: Tensor) -> Tensor:
        """Return uint8 [B, H, W, C] as the network takes it: float [B, C', H, W]."""
        if self.classes:
            batch, height, width, _ = pictures.shape
            rows = torch.eye(self.classes).index_select(0, pictures.flatten().long())
            return rows.view(batch, height, width, self.classes).permute(0, 3, 1, 2)
        return (pictures.permute(0, 3, 1, 2).float() / LEVELS - 0.5) * 2


def padded(side: int, network: nn.Module) -> int:
    """Return the side to which a network's pictures are padded; `side` may be symbolic."""
    multiple = network.size_multiple
    least, wholes = -(-network.smallest_size_px // multiple), (side + multiple - 1) // multiple
    return multiple * (wholes if least == 1 else torch.sym_max(wholes, least))


def _reflected(side: int, wanted: int) -> Tensor:
    """Return which of `side` rows stand where, reflected at both ends as often as needed."""
    places = torch.arange(wanted) - (wanted - side) // 2
    period = torch.sym_max(2 * (side - 1), 1)
    places = places.remainder(torch.full((1,), period))  # ONNX has no remainder by a symbol
    return torch.where(places < side, places, period - places)


def sizes_around(side_px: int, multiple: int) -> list[tuple[int, int]]:
    """Return ten heights and widths: square, oblong, odd, and one smaller than networks take."""
    side = -(-side_px // multiple) * multiple
    half, twice = side // 2, 2 * side
    return [
        (side, side), (side, twice), (twice, side), (twice, twice), (side + 1, side + 1),
        (side - 1, side), (half + 3, twice - 5), (twice - 3, half + 1), (side + half, side),
        (7, 11),
    ]  # fmt: skip


def _numbers_for(channels: int, levels: int):
    """Return a function of batch, height and width to seeded noise: floats if `levels` is 0."""

    def numbers(batch: int, height: int, width: int) -> Tensor:
        seeded = torch.Generator().manual_seed(height * width + batch)
        if levels:
            shape = (batch, height, width, channels)
            return torch.randint(levels, shape, generator=seeded).to(torch.uint8)
        return torch.rand(batch, channels, height, width, generator=seeded) * 2 - 1

    return numbers


def _ours(network: nn.Module, content: ByteContent | None, pictures: Tensor) -> Tensor:
    if not content:
        return models.translate(network, pictures)
    translated = models.translate(network, content.to_float(pictures))
    return data.to_levels(translated).permute(0, 2, 3, 1)


def _byte_content(saved: models.SavedGenerator) -> ByteContent:
    network = saved.network
    source, target = data.contents_of(
        saved.description, network.in_channels, network.out_channels, "--checkpoint"
    )
    for side, content in (("source", source), ("target", target)):
        if content.bits == 16:
            raise UserError(f"--uint8: the {side} pictures have 16 bits; leave it out")
    if source.classes > MOST_BYTE_CLASSES:
        raise UserError(f"--uint8: {source.classes} classes do not fit a byte; leave it out")
    return ByteContent(source)


def _words(network: nn.Module, channels: int, uint8: bool) -> list[str]:
    def shape(count: int) -> str:
        if uint8:
            return f"uint8 [batch, height, width, {count}]"
        return f"float32 [batch, {count}, height, width] in [-1, 1]"

    multiple, smallest = network.size_multiple, padded(1, network)
    return [
        f"input pictures: {shape(channels)}",
        f"output translated: {shape(network.out_channels)}",
        f"height and width: any; the network takes multiples of {multiple} from {smallest} px, and "
        "the program pads other sizes by reflection and crops the result, as translate.py does",
    ]
