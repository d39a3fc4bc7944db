"""Sheets of pictures with words below them."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import torch
import torch.nn.functional as F
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

import data
import training

CELL_PX, GAP_PX, LINE_PX, TEXT_PX = 112, 6, 18, 12
INK = "#222222"


class Row(NamedTuple):
    """Pictures side by side, of one or three channels, a name, and words below each picture."""

    name: str
    pictures: Sequence[Tensor]  # each [C, H, W] in [-1, 1]
    captions: Sequence[str] = ()


def change_row(changes: Sequence[Tensor], name: str = "change") -> Row:
    """Return changes magnified around grey, by one whole factor by which the largest just fits."""
    largest = max(float(change.abs().max()) for change in changes)
    factor = max(1, int(1 / largest)) if largest > 0 else 1
    return Row(f"{name}, {factor} times", [(factor * one).clamp(-1, 1) for one in changes])


def write_sheet(path: Path, rows: Sequence[Row]) -> None:
    """Write rows below one another as PNG, atomically; all have equally many pictures."""
    font = ImageFont.load_default(TEXT_PX)
    cells = [[_cell(picture) for picture in row.pictures] for row in rows]
    width = max(CELL_PX, *(image.width for images in cells for image in images)) + GAP_PX
    heights = [
        max(image.height for image in images) + LINE_PX * (1 + bool(row.captions)) + GAP_PX
        for row, images in zip(rows, cells, strict=True)
    ]
    columns = max(len(row.pictures) for row in rows)
    names_px = max(int(font.getlength(row.name)) for row in rows) + 2 * GAP_PX
    sheet = Image.new("RGB", (max(columns * width, names_px) + GAP_PX, sum(heights)), "white")
    canvas, y = ImageDraw.Draw(sheet), 0
    for row, images, height in zip(rows, cells, heights, strict=True):
        canvas.text((GAP_PX, y + LINE_PX / 2), row.name, fill=INK, font=font, anchor="lm")
        for column, image in enumerate(images):
            x = GAP_PX + column * width
            sheet.paste(image, (x, y + LINE_PX))
            if row.captions:
                words = _fitted(row.captions[column], font, width - GAP_PX)
                below = y + LINE_PX + image.height + LINE_PX / 2
                canvas.text((x, below), words, fill=INK, font=font, anchor="lm")
        y += height
    training.write_output(path, "--output", lambda temporary: sheet.save(temporary, "PNG"))


def _cell(picture: Tensor) -> Image.Image:
    """Return a picture at least CELL_PX wide or high: small ones enlarged by a whole factor."""
    factor = max(1, CELL_PX // max(picture.shape[1:]))
    colours = picture.detach().float().cpu().expand(3, -1, -1)[None]
    enlarged = F.interpolate(colours, scale_factor=factor) if factor > 1 else colours
    return data.RGB.to_image(torch.nan_to_num(enlarged[0]).clamp(-1, 1))


def _fitted(text: str, font: ImageFont.FreeTypeFont, width: float) -> str:
    """Return the text, its end replaced by dots where it is too long."""
    if font.getlength(text) <= width:
        return text
    while text and font.getlength(text + "...") > width:
        text = text[:-1]
    return text + "..."
