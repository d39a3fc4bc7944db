"""Pictures of embeddings: their principal components, and nearest neighbours."""

import colorsys
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from PIL import Image, ImageDraw
from torch import Tensor

import training

SIDE_PX, LEGEND_PX, LINE_PX, RADIUS_PX = 640, 150, 18, 3
MOST_NAMES = 20  # that colours can tell apart


@torch.no_grad()
def principal_components(features: Tensor, count: int = 2) -> Tensor:
    """Return the coordinates [N, count] of normalised features [N, D] along their widest axes.

    Each axis points to where its largest entry is positive, so that the picture does not depend on
    the solver's choice of sign.
    """
    units = F.normalize(features.double(), dim=1)
    centred = units - units.mean(0)
    axes = torch.linalg.eigh(centred.T @ centred).eigenvectors.flip(1)[:, :count]  # [D, count]
    signs = axes.gather(0, axes.abs().argmax(0, keepdim=True)).sign()
    return centred @ (axes * signs)


def scatter(features: Tensor, names: Sequence[str]) -> Image.Image:
    """Draw features [N, D] along their first two principal components, a colour for each name."""
    places = principal_components(features)
    reach = places.abs().amax().clamp(min=1e-12)
    pixels = (SIDE_PX / 2 * (1 + 0.95 * places / reach)).tolist()
    kinds = sorted(set(names))
    if len(kinds) > MOST_NAMES:
        kinds, names = ["all"], ["all"] * len(names)
    colours = dict(zip(kinds, _colours(len(kinds)), strict=True))
    image = Image.new("RGB", (SIDE_PX + LEGEND_PX, SIDE_PX), "white")
    canvas = ImageDraw.Draw(image)
    for (x, y), name in zip(pixels, names, strict=True):
        box = (x - RADIUS_PX, SIDE_PX - y - RADIUS_PX, x + RADIUS_PX, SIDE_PX - y + RADIUS_PX)
        canvas.ellipse(box, fill=colours[name])
    for number, name in enumerate(kinds):
        y = 20 + number * LINE_PX
        canvas.ellipse((SIDE_PX, y - 4, SIDE_PX + 8, y + 4), fill=colours[name])
        canvas.text((SIDE_PX + 16, y), name[:20], fill="black", anchor="lm")
    return image


def neighbour_sheet(rows: Sequence[Sequence[Tensor]]) -> Tensor:
    """Return a sheet: in each row a picture [C, H, W] in [-1, 1], a gap, and its neighbours."""
    lines = []
    for query, *near in rows:
        gap = torch.ones_like(query)
        lines.append(torch.stack([query, gap, *near]).expand(-1, 3, -1, -1))
    return training.sheet(lines)


def _colours(count: int) -> list[tuple[int, int, int]]:
    """Return distinct colours: hues around the circle, every other one darker."""
    found = []
    for number in range(count):
        value = 0.9 if number % 2 == 0 else 0.6
        rgb = colorsys.hsv_to_rgb(number / count, 0.85, value)
        found.append(tuple(round(255 * part) for part in rgb))
    return found
