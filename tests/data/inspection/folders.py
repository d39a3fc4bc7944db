"""Small drawn folders to inspect."""

import io
from functools import cache
from pathlib import Path

import numpy as np
from PIL import Image

from data import inspection
from data.inspection import Finding, Survey


def scene(seed: int, size: int = 48, brightness: float = 128) -> Image.Image:
    """Blobs of colour, of no two seeds alike, with edges."""
    random = np.random.default_rng(seed)
    coarse = random.integers(0, 256, (6, 6, 3)).astype(np.float32)
    coarse += brightness - coarse.mean()
    image = Image.fromarray(coarse.clip(0, 255).astype(np.uint8))
    return image.resize((size, size), Image.Resampling.BICUBIC)


@cache
def _png_of_scene(seed: int, size: int) -> bytes:
    file = io.BytesIO()
    scene(seed, size).save(file, "PNG")
    return file.getvalue()


def clean(folder: Path, train: int = 120, test: int = 24, size: int = 48) -> Path:
    """Two unpaired domains with nothing wrong."""
    seed = 0
    for phase, count in (("train", train), ("test", test)):
        for side in "AB":
            place = folder / f"{phase}{side}"
            place.mkdir(parents=True)
            for number in range(count):
                (place / f"{phase}{side}{number}.png").write_bytes(_png_of_scene(seed, size))
                seed += 1
    return folder


def label_map(seed: int, size: int = 64, classes: int = 4) -> np.ndarray:
    """Rectangles of classes 1, 2, ... on class 0: uint8 [size, size]."""
    random = np.random.default_rng(seed)
    values = np.zeros((size, size), np.uint8)
    for value in range(1, classes):
        top, left = random.integers(2, size // 2, 2)
        height, width = random.integers(size // 6, size // 3, 2)
        values[top : top + height, left : left + width] = value
    return values


def pairs(folder: Path, count: int = 30, size: int = 64) -> Path:
    """Label maps in trainA, pictures with the same outlines in trainB."""
    for side in "AB":
        (folder / f"train{side}").mkdir(parents=True)
    for seed in range(count):
        values = label_map(seed, size)
        save_labels(folder / "trainA" / f"{seed}.png", values)
        painted(values, seed).save(folder / "trainB" / f"{seed}.png")
    return folder


def save_labels(path: Path, values: np.ndarray) -> None:
    image = Image.fromarray(values, "P")
    image.putpalette(np.random.default_rng(0).integers(0, 256, 768, dtype=np.uint8).tobytes())
    image.save(path)


def painted(values: np.ndarray, seed: int) -> Image.Image:
    """A picture whose regions have colours of their own, with a little noise."""
    random = np.random.default_rng(seed)
    colours = np.array([[40, 60, 90], [200, 80, 60], [90, 200, 120], [220, 210, 90]])
    levels = colours[values] + random.integers(-12, 13, (*values.shape, 3))
    return Image.fromarray(levels.clip(0, 255).astype(np.uint8))


def inspected(folder: Path, **how: object) -> Survey:
    return inspection.survey(inspection.find_layout(folder, **how), workers=0)


def findings(folder: Path, **how: object) -> dict[str, Finding]:
    """Return what is found without looking at pairs, by kind; of several of a kind the first."""
    survey = inspected(folder, **how)
    found = [
        *inspection.file_findings(survey),
        *inspection.duplicates(survey),
        *inspection.domain_findings(survey),
        *inspection.outlier_findings(survey),
        *inspection.label_findings(survey),
    ]
    by_kind: dict[str, Finding] = {}
    for one in found:
        by_kind.setdefault(one.kind, one)
    return by_kind


def names(finding: Finding) -> set[str]:
    """Return the names of the files that a finding shows."""
    return {path.name for group in finding.examples for path in group}
