"""Translation of large pictures in tiles: seams, error, time and memory by size and statistics.

Draws a picture of many scenes under light that changes slowly, then translates it by `translate.py
--tile`, each time in a process of its own, whose peak memory (ru_maxrss) and processor time are
measured.

  python benchmarks/tiles.py --checkpoint RUN --output DIR [--megapixels 1 4 16 64] [--tile 512]
      [--memory_gb 0] [--statistics exact thumbnail interpolated apart whole]

`apart` stands for tiles that are translated as pictures of their own, `whole` for the whole picture
without tiles. Finished translations are not repeated. Seams: the mean step between neighbouring
pixels across tile borders over that elsewhere, divided by the same of the exact translation, which
has none.
"""

import argparse
import json
import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import numpy as np
import tifffile
import torch
from PIL import Image

import data
import models
import translate
from data.bands import write_bands

SCENE_PX, SHIFT_PX, SCENES = 64, 24, 256
BAND_PX = 512


def main() -> None:
    """Measure what is not finished, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--checkpoint", type=Path, required=True)
    parser.add_argument(
        "--output", type=Path, required=True, help="folder for pictures and results"
    )
    parser.add_argument("--megapixels", type=int, nargs="+", default=[1, 4, 16, 64])
    parser.add_argument("--tile", type=int, default=512)
    parser.add_argument("--memory_gb", type=float, default=0.0)
    parser.add_argument(
        "--statistics", nargs="+", default=["exact", "thumbnail", "interpolated", "apart"]
    )
    arguments = parser.parse_args()
    arguments.output.mkdir(parents=True, exist_ok=True)
    for megapixels in arguments.megapixels:
        side = round(megapixels**0.5 * 1024)
        picture = arguments.output / f"{megapixels}.tif"
        if not picture.exists():
            draw(picture, side)
        exact = arguments.output / f"{megapixels}_exact.tif"
        for statistics in dict.fromkeys(("exact", *arguments.statistics)):
            ending = "png" if statistics == "whole" else "tif"
            translated = arguments.output / f"{megapixels}_{statistics}.{ending}"
            result = translated.with_suffix(".json")
            if not result.exists():
                measured = in_own_process(arguments, statistics, picture, translated)
                result.write_text(json.dumps(measured))
            measured = json.loads(result.read_text())
            seams, error, worst = compared(translated, exact, arguments.tile)
            print(
                f"| {megapixels} | {statistics} | {measured['seconds']:.0f} | "
                f"{measured['memory_mb']:.0f} | {seams:.3f} | {error:.2f} | {worst} |",
                flush=True,
            )


def draw(path: Path, side: int) -> None:
    """Write a square TIFF of drawn scenes in random order, lit differently from place to place."""
    scenes = [data.render_scene(1, number, SCENE_PX)[0] for number in range(SCENES)]
    scenes = np.stack(scenes).astype(np.float32)
    places = np.arange(side) + SHIFT_PX  # no border of a scene lies on that of a tile
    order = np.random.default_rng(0).integers(0, SCENES, (places[-1] // SCENE_PX + 1,) * 2)
    columns = np.arange(side) / side

    def bands():
        for rows in np.split(places, range(BAND_PX, side, BAND_PX)):
            numbers = order[rows // SCENE_PX][:, places // SCENE_PX]
            band = scenes[numbers, (rows % SCENE_PX)[:, None], places % SCENE_PX]
            down = rows[:, None] / side
            light = 0.75 + 0.25 * np.sin(5 * columns + 3 * down) * np.cos(4 * down - columns)
            yield np.rint(band * light[..., None]).astype(np.uint8)

    write_bands(path, ".tif", (side, side), bands())


def in_own_process(
    arguments: argparse.Namespace, statistics: str, picture: Path, translated: Path
) -> dict[str, float]:
    """Translate in a forked process; return its processor seconds and its peak memory in MB."""
    child = os.fork()
    if not child:
        if statistics == "apart":
            translate_apart(arguments, picture, translated)
        else:
            options = ["--checkpoint", arguments.checkpoint, "--input", picture]
            options += ["--output", translated]
            if statistics != "whole":
                options += ["--tile", arguments.tile, "--statistics", statistics]
                options += ["--memory_gb", arguments.memory_gb]
            translate.main([str(option) for option in options])
        os._exit(0)
    _, status, used = os.wait4(child, 0)
    if status:
        sys.exit(f"{translated}: not translated")
    return {"seconds": used.ru_utime + used.ru_stime, "memory_mb": used.ru_maxrss / 1024}


def translate_apart(arguments: argparse.Namespace, picture: Path, translated: Path) -> None:
    """Translate each tile as a picture of its own, all of them in memory."""
    network = models.load_generator(arguments.checkpoint).network
    levels = torch.from_numpy(tifffile.imread(picture)).permute(2, 0, 1)

    def bands():
        for rows in levels.split(arguments.tile, 1):
            tiles = (data.from_levels(tile)[None] for tile in rows.split(arguments.tile, 2))
            band = torch.cat([models.translate(network, tile)[0] for tile in tiles], 2)
            yield data.to_levels(band).permute(1, 2, 0).numpy()

    write_bands(translated, ".tif", tuple(levels.shape[1:]), bands())


def compared(translated: Path, exact: Path, tile_px: int) -> tuple[float, float, int]:
    """Return the seams, and the mean and largest difference to the exact translation in levels."""
    picture, true_picture = (
        np.asarray(Image.open(path)).astype(np.int16) for path in (translated, exact)
    )
    seams = steps_at_borders(picture, tile_px) / steps_at_borders(true_picture, tile_px)
    difference = np.abs(picture - true_picture)
    return seams, difference.mean(), difference.max()


def steps_at_borders(picture: np.ndarray, tile_px: int) -> float:
    """Return the mean step between neighbouring pixels across tile borders over that elsewhere."""
    across, inside = [], []
    for turned in (picture, picture.transpose(1, 0, 2)):
        steps = np.abs(np.diff(turned, axis=0)).mean((1, 2))
        at_border = np.arange(1, len(turned)) % tile_px == 0
        across.append(steps[at_border])
        inside.append(steps[~at_border])
    return np.concatenate(across).mean() / np.concatenate(inside).mean()


if __name__ == "__main__":
    main()
