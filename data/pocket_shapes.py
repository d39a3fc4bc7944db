"""Pocket shapes: small drawn pictures of one shape each, whose class is the shape."""

from pathlib import Path

import numpy as np
from PIL import Image

from data.pocket import SAMPLES, new_folder

SHAPES = ("circle", "ring", "square", "triangle")  # sorted, as classes by folder are
_ROOM = 1.3  # from its centre to each border, in radii; no point of a shape is beyond 1.2


def render_shape(seed: int, index: int, size_px: int) -> np.ndarray:
    """Draw picture `index`, whose shape is SHAPES[index % 4]: uint8 [size_px, size_px, 3].

    A pure function: what is drawn depends only on (`seed`, `index`) (ValueError if negative), the
    resolution on `size_px`. Position and size are random, as are the rotation (within 20 degrees of
    upright), both colours of the background, and the shape's colour, which is much brighter than
    they are. Edges are smooth: a pixel is the mean of 3 x 3 samples.
    """
    rng = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(index,)))
    steps = (np.arange(size_px * SAMPLES) + 0.5) / (size_px * SAMPLES)
    x, y = steps[None, :], steps[:, None]
    radius = rng.uniform(0.26, 0.38)
    centre_x, centre_y = rng.uniform(_ROOM * radius, 1 - _ROOM * radius, 2)
    turn = rng.uniform(-0.35, 0.35)
    across, down = (x - centre_x) / radius, (y - centre_y) / radius
    u = across * np.cos(turn) + down * np.sin(turn)
    v = down * np.cos(turn) - across * np.sin(turn)
    inside = _inside(SHAPES[index % len(SHAPES)], u, v)
    colour = _colour(rng.uniform(), rng.uniform(0.3, 0.8), rng.uniform(0.75, 1))
    value = rng.uniform(0.05, 0.35)
    start, end = (_colour(rng.uniform(), rng.uniform(0, 0.3), value) for _ in range(2))
    angle = rng.uniform(0, 2 * np.pi)
    fade = 0.5 + ((x - 0.5) * np.cos(angle) + (y - 0.5) * np.sin(angle)) / np.sqrt(2)
    ground = start + (end - start) * fade[..., None]
    samples = np.where(inside[..., None], colour, ground)
    pixels = samples.reshape(size_px, SAMPLES, size_px, SAMPLES, 3).mean((1, 3))
    return np.rint(pixels * 255).astype(np.uint8)


def write_shapes(folder: Path, count: int, size_px: int, seed: int) -> None:
    """Write `count` PNG files, cycling through `SHAPES`, into one new sub-folder per shape.

    Each is named by its index. All or nothing. Raises ValueError for a `count` that leaves a class
    empty, and UserError if `folder` exists and is not empty.
    """
    if count < len(SHAPES):
        raise ValueError(f"count {count}: leaves a class without pictures")
    with new_folder(folder, SHAPES) as whole:
        for index in range(count):
            picture = Image.fromarray(render_shape(seed, index, size_px))
            picture.save(whole / SHAPES[index % len(SHAPES)] / f"{index:06d}.png")


def _inside(shape: str, u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """Whether each point is inside the shape; u and v: offsets from its centre, in radii."""
    distance = np.hypot(u, v)
    if shape == "circle":
        return distance < 1
    if shape == "ring":
        return np.abs(distance - 0.75) < 0.25
    if shape == "square":
        return np.maximum(np.abs(u), np.abs(v)) < 0.84
    sides = [v * np.cos(angle) + u * np.sin(angle) for angle in 2 * np.pi / 3 * np.arange(3)]
    return np.max(sides, axis=0) < 0.6  # half of the corners' distance


def _colour(hue: float, saturation: float, value: float) -> np.ndarray:
    """RGB in [0, 1] of a colour by hue, saturation and value, each in [0, 1]."""
    sector = (np.array([5, 3, 1]) + 6 * hue) % 6
    return value * (1 - saturation * np.clip(np.minimum(sector, 4 - sector), 0, 1))
