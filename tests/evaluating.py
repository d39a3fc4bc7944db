"""evaluate.py run inside the test's process, on folders of smooth pictures."""

import json
import subprocess
from collections.abc import Sequence
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from PIL import Image

import evaluate
from commands import cli


class Finished(NamedTuple):
    numbers: dict  # the last line of stdout
    out: str
    err: str


def write_pictures(
    folder: Path,
    count: int,
    seed: int,
    *,
    sizes_px: Sequence[tuple[int, int]] = ((64, 64),),
    names: str = "{:03d}.png",
) -> Path:
    """Write smooth random pictures, brighter for odd seeds, of these (width, height) in turn."""
    random = np.random.default_rng(seed)
    for number in range(count):
        levels = random.random((6, 6, 3)) * 200 + 12 * (seed % 2)
        picture = Image.fromarray(levels.astype(np.uint8))
        path = folder / names.format(number)
        path.parent.mkdir(parents=True, exist_ok=True)
        size_px = sizes_px[number % len(sizes_px)]
        picture.resize(size_px, Image.Resampling.BICUBIC).save(path)
    return folder


def arguments(options: dict) -> list[str]:
    """`name=True` is a switch; the command measures on the CPU and reads in its own process."""
    found = []
    for name, value in {"device": "cpu", "workers": 0, **options}.items():
        found += [f"--{name}"] if value is True else [f"--{name}", str(value)]
    return found


def measure(**options) -> Finished:
    out, err = StringIO(), StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        evaluate.main(arguments(options))
    return Finished(json.loads(out.getvalue().splitlines()[-1]), out.getvalue(), err.getvalue())


def refused(*, lines_before: int = 0, **options) -> str:
    """Return the one line that the command ends with, after so many other lines on stderr."""
    out, err = StringIO(), StringIO()
    with redirect_stdout(out), redirect_stderr(err), pytest.raises(SystemExit) as end:
        cli.run(lambda _: evaluate.main(arguments(options)))
    lines = err.getvalue().splitlines()
    assert end.value.code == 2, lines
    assert len(lines) == lines_before + 1, lines
    assert lines[-1].startswith("error: ")
    assert not out.getvalue()
    return lines[-1]


def ok(finished: subprocess.CompletedProcess) -> str:
    assert finished.returncode == 0, finished.stderr
    return finished.stdout
