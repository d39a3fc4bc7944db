"""How long check_data.py takes for many small JPEGs, and how much memory.

  python benchmarks/check_data.py [--count 100000] [--size 256] [--workers 2]

Draws the pictures into a temporary folder, which takes longer than checking them. Prints seconds of
the survey and of the search for copies, and the peak resident set of the main process before and
after, as JSON.
"""

import argparse
import json
import resource
import sys
import tempfile
import time
from functools import partial
from multiprocessing import Pool
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import numpy as np
from PIL import Image

from data import inspection

CELLS = 12


def draw(number: int, folder: Path, size: int) -> None:
    """Draw a JPEG of blobs and noise, of no two numbers alike."""
    random = np.random.default_rng(number)
    coarse = Image.fromarray(random.integers(0, 256, (CELLS, CELLS, 3), dtype=np.uint8))
    levels = np.asarray(coarse.resize((size, size), Image.Resampling.BICUBIC))
    levels = levels + random.integers(-6, 7, (size, size, 1))
    picture = Image.fromarray(levels.clip(0, 255).astype(np.uint8))
    picture.save(folder / f"train{'AB'[number % 2]}" / f"{number:07}.jpg", quality=90)


def peak_mb() -> float:
    """Return the most memory that this process held so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3


def main() -> None:
    """Draw, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    for name, default in (("count", 100_000), ("size", 256), ("workers", 2)):
        parser.add_argument(f"--{name}", type=int, default=default)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        for side in "AB":
            (folder / f"train{side}").mkdir()
        with Pool() as pool:
            one = partial(draw, folder=folder, size=options.size)
            pool.map(one, range(options.count), chunksize=200)
        bytes_each = sum(path.stat().st_size for path in folder.rglob("*.jpg")) / options.count
        before, started = peak_mb(), time.perf_counter()
        survey = inspection.survey(inspection.find_layout(folder), options.workers)
        surveyed = time.perf_counter()
        inspection.duplicates(survey)
        ended = time.perf_counter()
    print(
        json.dumps(
            {
                **vars(options),
                "bytes_each": round(bytes_each),
                "survey_seconds": round(surveyed - started, 1),
                "copies_seconds": round(ended - surveyed, 1),
                "peak_mb_before": round(before),
                "peak_mb": round(peak_mb()),
            }
        )
    )


if __name__ == "__main__":
    main()
