"""What several tests need: the reference numbers, tiny pictures, commands run for real."""

import os
import subprocess
import sys
from pathlib import Path

import hypothesis
import numpy as np
import pytest
import torch

from commands import cli
from tests.inception_weights import write_inception_weights

# Tiny tensors: more threads would only wait for one another, and badly so on a busy machine.
# Sums in another order differ by rounding: `make test-elsewhere` asks for other numbers.
torch.set_num_threads(int(os.environ.get("PAIRLESS_TEST_THREADS", "1")))

# How long an example takes is no result, and a busy machine takes as long as it likes.
hypothesis.settings.register_profile("any machine", deadline=None)
hypothesis.settings.load_profile("any machine")

ROOT = Path(__file__).parents[1]
REFERENCE = ROOT.parent / "shared" / "reference"

NUMERIC_FOLDERS = {"losses", "models", "metrics", "benchmarks", "training"}


def pytest_collection_modifyitems(items):
    """Mark whole folders as numeric; tests elsewhere carry the mark themselves."""
    for item in items:
        if NUMERIC_FOLDERS & set(item.path.relative_to(ROOT / "tests").parts):
            item.add_marker(pytest.mark.numeric)


@pytest.fixture(scope="session")
def reference():
    """Return a function from a name to (state dict or None, dict of arrays)."""
    if not REFERENCE.is_dir():
        pytest.skip(f"{REFERENCE} with the official numbers is not there")

    def load(name: str):
        arrays = np.load(REFERENCE / f"{name}.npz")
        weights = REFERENCE / f"{name}.pth"
        state = torch.load(weights, weights_only=True) if weights.exists() else None
        return state, {key: torch.from_numpy(arrays[key]) for key in arrays.files}

    return load


@pytest.fixture(scope="session")
def inception_file(tmp_path_factory):
    """Return a file with random weights of FID's Inception network, 96 MB."""
    file = tmp_path_factory.mktemp("inception") / "inception.pth"
    write_inception_weights(file)
    yield file
    file.unlink()


@pytest.fixture
def command():
    """Return a function that runs a root script and returns the finished process."""

    def run(*arguments, **options):
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "200"}
        return subprocess.run(
            [sys.executable, *map(str, arguments)],
            cwd=ROOT,
            env=environment,
            capture_output=True,
            text=True,
            timeout=240,
            **options,
        )

    return run


@pytest.fixture
def fails(monkeypatch, capsys):
    """Return a function that runs a command as its script does and returns its one line."""

    def run(module, arguments, code=2, before=0):
        monkeypatch.setattr(sys, "argv", [module.__name__, *map(str, arguments)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as end:
            cli.run(module.main)
        lines = capsys.readouterr().err.strip().splitlines()
        assert end.value.code == code, lines
        assert lines[-1].startswith("error: ")
        assert not any("Traceback" in line for line in lines)
        return lines[-1]

    return run
