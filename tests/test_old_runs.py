"""Runs trained before the shared modules moved to commands/ resume and are used as ever."""

import json
import math
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import generate
import train_cut
import train_gan
import training
import translate
from tests.fixtures.draw_old_runs import IMAGES, OLD_PLACE, OLD_RUNS, TRAIN, USE
from training.log import log_lines

METHODS = {"cut": (train_cut, train_cut.Cut), "gan": (train_gan, train_gan.Gan)}
RUN = Path("run")  # below the working folder of a test
FIRST_STEP_TOLERANCE = 1e-3  # float32 sums in another order, far below what wrong weights do


@pytest.fixture(params=list(METHODS))
def old(request, tmp_path, monkeypatch):
    """Return the name of an old run that lies, with its data, in the working folder."""
    shutil.copytree(OLD_RUNS / request.param, tmp_path, dirs_exist_ok=True)
    config = tmp_path / "run" / "config.json"
    # All that is changed: the place of the data, which a resume compares, is now another.
    config.write_text(config.read_text().replace(OLD_PLACE, str(tmp_path.resolve())))
    monkeypatch.chdir(tmp_path)
    return request.param


def run(module, arguments, monkeypatch):
    monkeypatch.setattr(sys, "argv", [module.__name__, *arguments])
    module.main()


def recorded_step(method_class, seen):
    """Return a step that, before the first one, keeps the weights and the images seen."""
    plain = method_class.step

    def step(self, batch, images_seen):
        if not seen:
            networks = {
                name: {key: value.clone() for key, value in network.state_dict().items()}
                for name, network in self.trained.networks.items()
            }
            seen.append((images_seen, networks))
        return plain(self, batch, images_seen)

    return step


def test_an_old_run_resumes(old, monkeypatch):
    module, method_class = METHODS[old]
    saved = training.read_checkpoint(training.list_checkpoints(RUN / "checkpoints")[0])
    before = log_lines(RUN / "log.jsonl")
    assert saved.images_seen == before[-1]["images"] == IMAGES
    seen = []
    monkeypatch.setattr(method_class, "step", recorded_step(method_class, seen))
    run(module, [*TRAIN[old][1:], "--total_images", str(IMAGES + 4)], monkeypatch)
    images_seen, networks = seen[0]
    assert images_seen == IMAGES and len(networks) >= 2
    for name, weights in networks.items():
        assert weights.keys() == saved.states[name].keys()
        assert all(torch.equal(value, saved.states[name][key]) for key, value in weights.items())
    lines = log_lines(RUN / "log.jsonl")
    assert lines[: len(before)] == before
    assert [line["images"] for line in lines[len(before) :]] == [IMAGES + 2, IMAGES + 4]
    numbers = [value for line in lines for value in line.values() if isinstance(value, float)]
    assert len(numbers) > 40 and all(map(math.isfinite, numbers))
    continued = json.loads((OLD_RUNS / old / "continued.jsonl").read_text())
    for name in continued.keys() - {"images_per_second", "peak_memory_gb", "warnings"}:
        expected = pytest.approx(continued[name], rel=FIRST_STEP_TOLERANCE, abs=1e-6)
        assert lines[len(before)][name] == expected, name
    last = training.read_checkpoint(training.list_checkpoints(RUN / "checkpoints")[0])
    assert last.images_seen == IMAGES + 4
    for name, weights in networks.items():
        new = last.states[name]
        assert any(not torch.equal(value, new[key]) for key, value in weights.items()), name


def test_the_generator_of_an_old_run_gives_the_pictures_that_it_gave(old, monkeypatch):
    module = {"cut": translate, "gan": generate}[old]
    checkpoint = ["--checkpoint", "run/generator.safetensors", "--device", "cpu"]
    run(module, [*USE[old][1:], *checkpoint, "--output", "again"], monkeypatch)
    expected = sorted((OLD_RUNS / old / "made").iterdir())
    assert expected
    for path in expected:
        levels = [np.asarray(Image.open(p)).astype(int) for p in (path, f"again/{path.name}")]
        assert levels[0].std() > 1  # of a picture, not of a grey field
        assert np.abs(levels[0] - levels[1]).max() <= 1
