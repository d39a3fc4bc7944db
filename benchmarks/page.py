"""What a save of a training waits for its page.

  python benchmarks/page.py [--previews 40] [--size 256] [--saves 5]

Makes the folder of a long run of CUT (2,500 log lines; previews of 4 x 6 pictures of blobs and
noise), then writes its page after every five further previews, as at the defaults of `save_every`
and `preview_every`. Prints the processor seconds of each save and the last page's size as JSON.
"""

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import torch

import training
from commands.pages.saved import SavedPage
from tests.pages.runs import run_folder

NEW = 5  # previews between two saves
IMAGES = 1000  # between two previews


def draw(folder: Path, number: int, size: int) -> None:
    """Write a preview, of no two numbers alike."""
    random = torch.Generator().manual_seed(number)
    blobs = torch.rand(24, 3, 8, 8, generator=random) * 2 - 1
    pictures = torch.nn.functional.interpolate(blobs, size=size, mode="bicubic")
    pictures += 0.04 * torch.randn(pictures.shape, generator=random)
    path = folder / "previews" / f"{number * IMAGES:09d}.png"
    training.save_sheet(path, training.sheet(pictures.split(6)))


def main() -> None:
    """Make the run, write pages, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    for name, default in (("previews", 40), ("size", 256), ("saves", 5)):
        parser.add_argument(f"--{name}", type=int, default=default)
    options = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as place:
        long = {"images": 250_000, "every": 100, "total_images": 400_000}
        run = run_folder(Path(place) / "run", previews=0, **long)
        for number in range(options.previews):
            draw(run, number + 1, options.size)
        page, seconds, drawn = SavedPage(run, torch.device("cpu")), [], options.previews
        for _ in range(options.saves):
            started = time.process_time()
            page.write(going_on=True)
            seconds.append(round(time.process_time() - started, 2))
            for _ in range(NEW):
                drawn += 1
                draw(run, drawn, options.size)
        size_mb = round(page.path.stat().st_size / 1e6, 1)
    print(json.dumps({**vars(options), "seconds": seconds, "page_mb": size_mb}))


if __name__ == "__main__":
    main()
