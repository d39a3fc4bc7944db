"""What several tests need: the reference numbers, tiny pictures, commands run for real."""

import json
import sys
from pathlib import Path

import hypothesis
import numpy as np
import pytest
import torch

import models
from commands import cli
from models import build, unet
from tests.inception_weights import (
    remember_inception_weights,
    see_small_inputs,
    write_inception_weights,
)
from tests.processes import ROOT, THREADS, run_script
from tests.recorded import let_steps_be_recorded

# Tiny tensors: more threads would only wait for one another, and badly so on a busy machine.
# Sums in another order differ by rounding: `make test-elsewhere` asks for other numbers.
torch.set_num_threads(THREADS)

# How long an example takes is no result, and a busy machine takes as long as it likes.
hypothesis.settings.register_profile("any machine", deadline=None)
hypothesis.settings.load_profile("any machine")

REFERENCE = Path(__file__).parent / "reference"

NUMERIC_FOLDERS = {"losses", "models", "metrics", "benchmarks", "training"}

# Files that take longest: they begin, so that no worker waits long for another one in the end.
LONGEST = [
    "test_accelerate",
    "test_train_cut",
    "test_export",
    "test_evaluate_peers",
    "test_launches",
]
LONGEST += ["test_evaluate", "test_train_gan", "test_inception", "test_weights", "test_resampling"]
LONGEST += ["test_triton_interpreted", "test_gaussian_mixture", "test_check_data"]


def pytest_collection_modifyitems(items):
    """Put the longest files first, and mark whole folders as numeric.

    Tests elsewhere carry the mark themselves.
    """
    place = {name: number for number, name in enumerate(LONGEST)}
    items.sort(key=lambda item: place.get(item.path.stem, len(place)))
    for item in items:
        if NUMERIC_FOLDERS & set(item.path.relative_to(ROOT / "tests").parts):
            item.add_marker(pytest.mark.numeric)


@pytest.fixture(scope="session")
def reference():
    """Return a function from a name to (state dict or None, dict of arrays)."""

    def load(name: str):
        weights = REFERENCE / f"{name}.pth"
        state = torch.load(weights, weights_only=True) if weights.exists() else None
        return state, reference_arrays(name)

    return load


def reference_arrays(name: str) -> dict[str, torch.Tensor]:
    """Return the numbers of an official program, pictures as float32 in [-1, 1]."""
    with np.load(REFERENCE / f"{name}.npz") as arrays:
        tensors = {key: torch.from_numpy(arrays[key]) for key in arrays.files}
    return {
        key: value.float() / 127.5 - 1 if value.dtype == torch.uint8 else value
        for key, value in tensors.items()
    }


@pytest.fixture(scope="session")
def inception_file(tmp_path_factory):
    """Return a file with random weights of FID's Inception network, 96 MB, that is read once."""
    file = tmp_path_factory.mktemp("inception") / "inception.pth"
    write_inception_weights(file)
    with pytest.MonkeyPatch.context() as patch:
        remember_inception_weights(file, patch.setattr)
        yield file
    file.unlink()


@pytest.fixture(scope="module")
def small_inputs():
    """Show FID's network smaller pictures than its 299 px, where it is not what is tested."""
    with pytest.MonkeyPatch.context() as patch:
        see_small_inputs(patch.setattr)
        yield


@pytest.fixture
def command(tmp_path_factory):
    """Return a function that runs a root script and returns the finished process."""
    folder = tmp_path_factory.mktemp("command")
    return lambda *arguments, **limits: run_script(folder, [*map(str, arguments)], **limits)


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


@pytest.fixture
def result_of(capsys):
    """Return a function that calls a command and returns its JSON object and its stderr."""

    def run(module, *arguments):
        capsys.readouterr()
        module.main([str(part) for part in arguments])
        told = capsys.readouterr()
        return json.loads(told.out.splitlines()[-1]), told.err

    return run


@pytest.fixture
def files_read(monkeypatch):
    """Return a list that grows by each generator file that is read."""
    read, paths = models.saved._load_safetensors, []

    def reads(path, option):
        paths.append(path)
        return read(path, option)

    monkeypatch.setattr(models.saved, "_load_safetensors", reads)
    return paths


@pytest.fixture
def recorded(monkeypatch):
    """Let steps be captured on the CPU; a list of the `StepCapture`s that are made."""
    return let_steps_be_recorded(monkeypatch.setattr)


@pytest.fixture
def shallow(monkeypatch):
    """Let networks have fewer layers, of every kind and with as many dropouts."""
    monkeypatch.setitem(build.RESNET_BLOCKS, "resnet_6blocks", 1)
    monkeypatch.setitem(build.UNET_HALVINGS, "unet_128", 5)
    monkeypatch.setattr(unet, "FIRST_LEVEL_WITH_DROPOUT", 2)
