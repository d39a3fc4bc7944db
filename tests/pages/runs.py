"""Run folders as a training leaves them, made in a moment."""

import json
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

import training
from commands.pages.previews import ROWS
from tests.data.inspection.folders import scene

OPTIONS = {
    "total_images": 4000,
    "save_every": 1000,
    "batch_size": 4,
    "crop_size": 64,
    "load_size": 70,
    "preprocess": "resize_and_crop",
    "dataroot": "/data/horses",
    "device": "cpu",
    "precision": "fp32",
    "learning_rate": 2e-4,
    "metrics": "fid",
}
DATA = {"source": "939 images, names 0a1b", "target": "1177 images, names 2c3d"}
NOISE = {"images": "2048 images, names 9f8e", "classes": "4 classes, 77aa"}


def run_folder(
    folder: Path,
    command: str = "train_cut.py",
    *,
    images: int = 4000,
    every: int = 40,
    previews: int = 5,
    columns: int = 6,
    rows: int = 5,
    warnings: Sequence[tuple[int, str]] = (),
    measured: bool = True,
    **options: object,
) -> Path:
    """Write config, logs and previews; rows: of a preview from noise."""
    (folder / "previews").mkdir(parents=True)
    is_gan = command == "train_gan.py"
    preset = command.removeprefix("train_").removesuffix(".py").replace("gan", "dcgan", is_gan)
    resolved = {"run_dir": str(folder), "preset": preset, **OPTIONS, **options}
    config = {
        "command": command,
        "given": ["--run_dir", str(folder), "--dataroot", str(resolved["dataroot"])],
        "options": resolved,
        "data": NOISE if is_gan else DATA,
        "versions": {"python": "3.11.7", "torch": "2.15.0"},
    }
    (folder / "config.json").write_text(json.dumps(config))
    told = dict(warnings)
    lines = [line(seen, is_gan, told.get(seen)) for seen in range(every, images + 1, every)]
    write_lines(folder / "log.jsonl", lines)
    if measured:
        steps = range(images // 4, images + 1, images // 4)
        floor = {"fid_of_real_halves": 31.5, "n_real": 120, "n_fake": 120, "protocol": "clean"}
        write_lines(
            folder / "metrics.jsonl",
            [{"images": s, "fid": 90 + 2e5 / s, "psnr": 10 + s / 900, **floor} for s in steps],
        )
    count = len(ROWS[command].names) if command in ROWS else rows
    for number in range(1, previews + 1):
        seen = images * number // previews
        path = folder / "previews" / f"{seen:09d}.png"
        training.save_sheet(path, sheet(count, columns, number / previews, is_gan))
    return folder


def line(images: int, is_gan: bool, warning: str | None) -> dict:
    """Return a line of a log."""
    share = images / 4000
    wave = 0.3 * math.sin(images / 55) + 0.2 * math.sin(images / 17)
    values = {"images": images, "discriminator": 0.5 - 0.2 * share + 0.2 * wave}
    values["generator"] = 5 - 3 * share**0.5 + wave
    if is_gan:
        values |= {"real_accuracy": 0.9 - wave / 9, "fake_accuracy": 0.95 - wave / 9}
    else:
        values |= {"nce": 4.5 - 3 * share**0.5 + wave, "nce_identity": 4.4 - 3 * share**0.5}
    values |= {"learning_rate": 2e-4, "images_per_second": 12 + wave, "peak_memory_gb": 0.8}
    return values | ({"warnings": [warning]} if warning else {})


def sheet(rows: int, columns: int, share: float, is_gan: bool) -> torch.Tensor:
    """Return a sheet whose rows change with time from the first row's pictures to others."""
    first = [pictures(columns, 0), pictures(columns, 100)]
    if is_gan:
        made = [pictures(columns, 200 + row) for row in range(rows - 1)]
        return training.sheet([first[0], *(share * row for row in made)])
    translated = (1 - share) * first[0] + share * first[1]
    return training.sheet([first[0], translated, first[1], first[1]] * 2)[:, : 2 + rows * 66]


def pictures(count: int, seed: int) -> torch.Tensor:
    """Return pictures [count, 3, 64, 64]."""
    levels = np.stack([np.asarray(scene(seed + number, 64)) for number in range(count)])
    return torch.from_numpy(levels).permute(0, 3, 1, 2) / 127.5 - 1


def write_lines(path: Path, lines: Sequence[dict]) -> None:
    path.write_text("".join(f"{json.dumps(one)}\n" for one in lines))
