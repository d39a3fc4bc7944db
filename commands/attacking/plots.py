"""Line plots as pictures."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from PIL import Image, ImageDraw, ImageFont

import training

WIDTH_PX, HEIGHT_PX = 640, 400
FINE = 2  # lines are drawn this many times larger, then reduced
LEFT, RIGHT, TOP, BOTTOM = 64, 24, 64, 56  # margins, in pixels
COLOURS = ("#1f6fb4", "#d1661c", "#2c8c4f", "#8a4fb0")
INK, FAINT, GRID = "#222222", "#666666", "#e2e2e2"
TICKS = 5  # about, on an axis


class Curve(NamedTuple):
    """Points joined by lines."""

    name: str
    x: Sequence[float]
    y: Sequence[float]
    is_dashed: bool = False  # a reference, without points


def plot(
    path: Path,
    curves: Sequence[Curve],
    *,
    x_name: str,
    y_name: str,
    highest: float | None = None,
) -> None:
    """Write a plot of the curves as PNG, atomically; both axes begin at 0.

    highest: end of the y axis; None: as the values need.
    """
    most_x = _end(max(value for curve in curves for value in curve.x))
    most_y = highest or _end(max(value for curve in curves for value in curve.y))
    image = Image.new("RGB", (WIDTH_PX * FINE, HEIGHT_PX * FINE), "white")
    canvas = ImageDraw.Draw(image)
    fonts = {size: ImageFont.load_default(size * FINE) for size in (12, 13)}

    def place(x: float, y: float) -> tuple[float, float]:
        across = LEFT + x / most_x * (WIDTH_PX - LEFT - RIGHT)
        up = HEIGHT_PX - BOTTOM - y / most_y * (HEIGHT_PX - TOP - BOTTOM)
        return across * FINE, up * FINE

    for value in _ticks(most_y):
        canvas.line([place(0, value), place(most_x, value)], fill=GRID, width=FINE)
        x, y = place(0, value)
        canvas.text((x - 8 * FINE, y), f"{value:g}", fill=FAINT, font=fonts[12], anchor="rm")
    for value in _ticks(most_x):
        x, y = place(value, 0)
        canvas.line([(x, y), (x, y + 5 * FINE)], fill=FAINT, width=FINE)
        canvas.text((x, y + 10 * FINE), f"{value:g}", fill=FAINT, font=fonts[12], anchor="mt")
    canvas.line([place(0, 0), place(most_x, 0)], fill=FAINT, width=FINE)
    for number, curve in enumerate(curves):
        points = [place(x, min(y, most_y)) for x, y in zip(curve.x, curve.y, strict=True)]
        _draw(canvas, points, COLOURS[number % len(COLOURS)], curve.is_dashed)
    middle = (LEFT + WIDTH_PX - RIGHT) / 2 * FINE
    canvas.text((middle, (HEIGHT_PX - 10) * FINE), x_name, fill=INK, font=fonts[13], anchor="ms")
    canvas.text((10 * FINE, 12 * FINE), y_name, fill=INK, font=fonts[13], anchor="lt")
    _legend(canvas, curves, fonts[12])
    small = image.resize((WIDTH_PX, HEIGHT_PX), Image.Resampling.LANCZOS)
    training.write_output(path, "--output", lambda temporary: small.save(temporary, "PNG"))


def _draw(
    canvas: ImageDraw.ImageDraw,
    points: Sequence[tuple[float, float]],
    colour: str,
    is_dashed: bool,
) -> None:
    if not is_dashed:
        canvas.line(points, fill=colour, width=2 * FINE, joint="curve")
        for x, y in points:
            reach = 4 * FINE
            canvas.ellipse((x - reach, y - reach, x + reach, y + reach), fill=colour)
        return
    for (x0, y0), (x1, y1) in zip(points, points[1:], strict=False):
        length = math.hypot(x1 - x0, y1 - y0)
        dashes = max(1, round(length / (12 * FINE)))
        for dash in range(dashes):
            at, end = dash / dashes, (dash + 0.5) / dashes
            ends = [(x0 + t * (x1 - x0), y0 + t * (y1 - y0)) for t in (at, end)]
            canvas.line(ends, fill=colour, width=2 * FINE)


def _legend(
    canvas: ImageDraw.ImageDraw, curves: Sequence[Curve], font: ImageFont.FreeTypeFont
) -> None:
    """Name the curves along the top, from the right."""
    x, y = (WIDTH_PX - RIGHT) * FINE, 42 * FINE
    for number, curve in reversed(list(enumerate(curves))):
        canvas.text((x, y), curve.name, fill=INK, font=font, anchor="rm")
        x -= canvas.textlength(curve.name, font=font) + 8 * FINE
        points = [(x - 20 * FINE, y), (x, y)]
        _draw(canvas, points, COLOURS[number % len(COLOURS)], curve.is_dashed)
        x -= 40 * FINE


def _step(most: float) -> float:
    """Return a distance between ticks: 1, 2 or 5 times a power of ten."""
    rough = most / TICKS
    power = 10 ** math.floor(math.log10(rough))
    return next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough * 0.999)


def _end(most: float) -> float:
    """Return the end of an axis that holds values up to `most`: a whole number of steps."""
    if most <= 0:
        return 1.0
    step = _step(most)
    return math.ceil(most / step - 1e-9) * step


def _ticks(most: float) -> list[float]:
    step = _step(most)
    return [number * step for number in range(round(most / step) + 1)]
