"""Pocket label maps: maps of a zebra's parts and of its meadow, with the matching pictures."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from data.content import label_colours
from data.pocket import REGIONS, SAMPLES, new_folder, render_samples


class LabelledScene(NamedTuple):
    """A zebra, in the same light and colours as in every other scene, and its label map."""

    labels: np.ndarray  # [size, size] uint8, indices into REGIONS
    zebra: np.ndarray  # [size, size, 3] uint8


def render_labelled_scene(seed: int, index: int, size_px: int) -> LabelledScene:
    """Draw a scene's zebra and its label map, in which a pixel has the label of its centre.

    A pure function like `render_scene`, with the same animals in the same places. Sky, hills and
    grass have the same colours and the same light in all scenes, so the map nearly determines the
    picture: only the tufts of grass, the position of the sun and the stripes' wobble are open.
    """
    _, zebra, parts, ground = render_samples(seed, index, size_px, even=True)
    centre = slice(SAMPLES // 2, None, SAMPLES)
    return LabelledScene(np.where(parts > 0, parts, ground)[centre, centre], zebra)


def write_pocket_pairs(folder: Path, *, seed: int, size_px: int, train: int, test: int) -> None:
    """Write pairs of PNG files, each named by its scene's index, into four new folders in `folder`.

    trainA: label maps of scenes 0 to train - 1, palette files of indices into `REGIONS`; trainB:
    their zebras. testA, testB: those of the `test` scenes after them. All or nothing.
    UserError if `folder` exists and is not empty.
    """
    with new_folder(folder, ("trainA", "trainB", "testA", "testB")) as whole:
        for index in range(train + test):
            labels, zebra = render_labelled_scene(seed, index, size_px)
            phase, name = "train" if index < train else "test", f"{index:06d}.png"
            label_map = Image.fromarray(labels)
            label_map.putpalette(label_colours(len(REGIONS)).tobytes())
            label_map.save(whole / f"{phase}A" / name)
            Image.fromarray(zebra).save(whole / f"{phase}B" / name)
