"""Training pictures that one process reads per second, against torchvision's transforms.

  OMP_NUM_THREADS=1 python benchmarks/data.py [--sizes 512 1024] [--rounds 7] [--pictures 48]

Drawn JPEGs of each size are resized to 286 px and cropped to 256 px: as in the official programs
(Pillow, then torchvision's Resize, RandomCrop, flip, ToTensor, Normalize), and by our
`UnpairedFolders` and `Stream`, with exact and fast decoding, and from the cache after the first
epochs. All run in one process without workers, on one thread, in alternating rounds, and stack
batches of 16. Prints medians in pictures per second, and ratios to torchvision's, as JSON.
"""

import argparse
import contextlib
import json
import sys
import tempfile
from collections.abc import Callable, Sequence
from functools import partial
from itertools import islice
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import numpy as np
import torch
import torchvision.transforms as official
from PIL import Image

import data
from benchmarks.alternating import alternate, compared

LOAD_SIZE, CROP_SIZE, BATCH = 286, 256, 16
CACHE_BYTES = 10**9
SCALES = ((8, 0.6), (64, 0.3), (256, 0.1))  # cells per side, and their weight


def draw(folder: Path, count: int, size: int) -> list[Path]:
    """Draw JPEGs with shapes, texture and noise; about 70 KB each at 512 px, like photographs."""
    folder.mkdir()
    random = np.random.default_rng(size)
    for number in range(count):
        levels = random.normal(0, 4, (size, size, 3))
        for cells, weight in SCALES:
            colours = random.integers(0, 256, (cells, cells, 3), dtype=np.uint8)
            coarse = Image.fromarray(colours).resize((size, size), Image.Resampling.BICUBIC)
            levels += weight * np.asarray(coarse)
        picture = Image.fromarray(levels.clip(0, 255).astype(np.uint8))
        picture.save(folder / f"{number:04}.jpg", quality=90)
    return sorted(folder.iterdir())


def torchvisions(files: Sequence[Path]) -> Callable[[int], None]:
    """Return an action that reads every file once by torchvision's transforms."""
    transform = official.Compose(
        [
            official.Resize([LOAD_SIZE, LOAD_SIZE], official.InterpolationMode.BICUBIC),
            official.RandomCrop(CROP_SIZE),
            official.RandomHorizontalFlip(),
            official.ToTensor(),
            official.Normalize((0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
        ]
    )

    def read(_round: int) -> None:
        for first in range(0, len(files), BATCH):
            pictures = [Image.open(path).convert("RGB") for path in files[first : first + BATCH]]
            torch.stack([transform(picture) for picture in pictures])

    return read


def ours(files: Sequence[Path], decode: str, cache_bytes: int) -> Callable[[int], None]:
    """Return an action that reads as many pictures by our stream, whose items have two pictures."""
    half = len(files) // 2
    dataset = data.UnpairedFolders(
        files[:half],
        files[half:],
        data.Preprocessing("resize_and_crop", LOAD_SIZE, CROP_SIZE, flip=True),
        seed=0,
        loading=data.Loading(decode, cache_bytes),
    )
    stream = data.Stream(dataset, batch_size=BATCH // 2, workers=0)

    def read(number: int) -> None:
        with contextlib.closing(stream.batches(number * half)) as batches:
            for _ in islice(batches, half * 2 // BATCH):
                pass

    if cache_bytes:  # targets are drawn at random, so several epochs are needed to fill the cache
        for number in range(10):
            read(number)
    return read


def measure(size: int, pictures: int, rounds: int) -> dict[str, float | list[float]]:
    """Return the pictures per second of each variant, and their ratio to torchvision's."""
    with tempfile.TemporaryDirectory() as folder:
        files = draw(Path(folder) / "pictures", pictures, size)
        kilobytes = sum(path.stat().st_size for path in files) / pictures / 1000
        variants = {
            "torchvision": torchvisions(files),
            "exact": ours(files, "exact", 0),
            "fast": ours(files, "fast", 0),
            "exact_cached": ours(files, "exact", CACHE_BYTES),
            "fast_cached": ours(files, "fast", CACHE_BYTES),
        }
        seconds = alternate(variants, rounds, warm_ups=1)
    found: dict[str, float | list[float]] = {"kilobytes_a_file": round(kilobytes, 1)}
    for name in variants:
        pair = compared({name: seconds[name], "torchvision": seconds["torchvision"]}, name)
        found[f"{name}_pictures_per_second"] = round(pictures / pair[f"{name}_seconds"], 1)
        if name != "torchvision":
            found[f"{name}_ratio"] = round(pair["torchvision_ratio"], 2)
            found[f"{name}_ratio_range"] = [round(r, 2) for r in pair["torchvision_ratio_range"]]
    return found


def main() -> None:
    """Parse, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    add = partial(parser.add_argument, type=int)
    add("--sizes", nargs="+", default=[512, 1024], help="pixels of the files' sides")
    add("--pictures", default=48, help="files, a multiple of 16")
    add("--rounds", default=7)
    arguments = parser.parse_args()
    if arguments.pictures < BATCH or arguments.pictures % BATCH:
        parser.error(f"--pictures {arguments.pictures}: give a multiple of {BATCH}")
    torch.set_num_threads(1)
    for size in arguments.sizes:
        print(json.dumps({"size_px": size, **measure(size, arguments.pictures, arguments.rounds)}))


if __name__ == "__main__":
    main()
