"""train_cut.py --evaluate_every: lines, the best network, resume, and no trace in the weights."""

import json
import shutil

import pytest
from safetensors import safe_open

import metrics
from commands import cli
from tests.evaluating import measure
from tests.test_train_cut import train
from tests.training_runs import folders
from training.log import log_lines

pytestmark = pytest.mark.usefixtures("small_inputs")

COUNT = 10  # KID needs as many
DECISIVE = ("--metrics", "ssim,fid,kid")  # the best of these runs is not their last
NAMES = {"ssim", "fid", "fid_of_real_halves", "kid_mean", "kid_std"}


@pytest.fixture(scope="module")
def dataroot(tmp_path_factory):
    return folders(tmp_path_factory.mktemp("training"), count=COUNT)


@pytest.fixture(scope="module")
def measuring(inception_file):
    """Options that measure after every 4 images, by the first blocks of the network."""
    return ("--evaluate_every", "4", "--layer", "64", "--weights", str(inception_file))


@pytest.fixture(scope="module")
def whole(dataroot, measuring, tmp_path_factory):
    """A run of 12 images with dropout and a moving average, measured at 4, 8 and 12."""
    run = tmp_path_factory.mktemp("runs") / "whole"
    train(dataroot, run, "cut-with-all", "--total_images", "12", *measuring, *DECISIVE)
    return run


def about(path):
    with safe_open(path, "pt") as file:
        return json.loads(file.metadata()["pairless"])


def test_each_measurement_is_a_line_with_every_number(whole):
    lines = log_lines(whole / "metrics.jsonl")
    assert [line["images"] for line in lines] == [4, 8, 12]
    for line in lines:
        assert line.keys() >= NAMES
        assert (line["protocol"], line["layer"], line["n_real"], line["n_fake"]) == (
            *("clean", 64),
            *(COUNT, COUNT),
        )
    assert len({line["fid"] for line in lines}) == 3


def test_the_best_network_is_kept_and_measures_what_its_line_says(whole, dataroot, inception_file):
    lines = log_lines(whole / "metrics.jsonl")
    best = max(lines, key=lambda line: line["ssim"])
    assert best is not lines[-1]
    assert about(whole / "best.safetensors")["images_seen"] == best["images"]
    found = measure(
        checkpoint=whole / "best.safetensors",
        source=dataroot / "testA",
        real=dataroot / "testB",
        weights=inception_file,
        layer=64,
        metrics="ssim,fid,kid",
    ).numbers
    for name in NAMES:
        assert found[name] == pytest.approx(best[name], rel=1e-9), name


@pytest.mark.parametrize("name", ["fid", "kid_mean", "l1", "swd", "lpips"])
def test_a_smaller_distance_is_better(name):
    assert metrics.is_better(name, 1.0, 2.0)
    assert not metrics.is_better(name, 2.0, 1.0) and not metrics.is_better(name, 1.0, 1.0)


@pytest.mark.parametrize("name", ["ssim", "psnr", "is_mean", "precision", "coverage"])
def test_a_larger_likeness_is_better(name):
    assert metrics.is_better(name, 2.0, 1.0)
    assert not metrics.is_better(name, 1.0, 2.0) and not metrics.is_better(name, 1.0, 1.0)


def test_measuring_changes_no_weight(whole, dataroot, tmp_path):
    train(dataroot, tmp_path / "run", "cut-with-all", "--total_images", "12")
    assert not (tmp_path / "run" / "metrics.jsonl").exists()
    generators = [run / "generator.safetensors" for run in (whole, tmp_path / "run")]
    assert generators[0].read_bytes() == generators[1].read_bytes()


def test_a_resumed_run_measures_as_the_one_that_was_never_stopped(
    whole, dataroot, measuring, tmp_path
):
    """The line after the last checkpoint, and one that was torn, are written anew."""
    run = tmp_path / "run"
    more = ("--save_every", "4", *measuring, *DECISIVE)
    train(dataroot, run, "cut-with-all", "--total_images", "8", *more)
    (newest,) = (run / "checkpoints").glob("*8.pt")
    newest.unlink()
    with open(run / "metrics.jsonl", "a") as file:
        file.write('{"images": 12, "ssim": 1.0}\n{"images": 1')
    train(dataroot, run, "cut-with-all", "--total_images", "12", *more)
    for name in ("metrics.jsonl", "best.safetensors"):
        assert (run / name).read_bytes() == (whole / name).read_bytes()


def refused(*more, lines_before, capsys):
    capsys.readouterr()
    with pytest.raises(SystemExit) as end:
        cli.run(lambda _: train(*more))
    printed = capsys.readouterr().err.splitlines()
    lines = [line for line in printed if not line.startswith("data: ")]  # of the glance at it
    assert end.value.code == 2
    assert len(lines) == 1 + lines_before and lines[-1].startswith("error: "), lines
    return lines[-1]


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (("--metrics", "fid,foo"), ("--metrics fid,foo", "'foo'")),
        (("--layer", "100"), ("--layer 100",)),
        (("--weights", "/nowhere.pth"), ("--weights /nowhere.pth", "--metrics swd,ms_ssim")),
        (("--metrics", "is"), ("--is_splits 10", "9 images")),
    ],
)
def test_what_cannot_be_measured_is_told_before_training(
    wrong, words, dataroot, measuring, tmp_path, capsys
):
    if wrong[1] == "is":
        shutil.copytree(dataroot, tmp_path / "data")
        dataroot = tmp_path / "data"
        (dataroot / "testA" / "0.png").unlink()
    run = tmp_path / "run"
    more = ("--total_images", "8", *measuring, *wrong)
    line = refused(dataroot, run, "cut", *more, lines_before=0, capsys=capsys)
    assert all(word in line for word in words), line
    assert not (run / "log.jsonl").exists()


def test_too_few_test_pictures_for_a_metric_are_told_before_training(measuring, tmp_path, capsys):
    dataroot = folders(tmp_path, count=5)
    more = ("--total_images", "8", "--metrics", "fid,kid", *measuring)
    line = refused(dataroot, tmp_path / "run", "cut", *more, lines_before=0, capsys=capsys)
    assert "--metrics kid: 5 " in line
    assert not (tmp_path / "run" / "log.jsonl").exists()


def test_the_options_of_measuring_may_change_when_a_run_goes_on(dataroot, measuring, tmp_path):
    run = tmp_path / "run"
    train(dataroot, run, "cut", "--total_images", "4", *measuring, "--metrics", "fid")
    assert about(run / "best.safetensors")["images_seen"] == 4
    train(dataroot, run, "cut", "--total_images", "8", *measuring, "--metrics", "l1,fid")
    assert [set(line) & {"fid", "l1"} for line in log_lines(run / "metrics.jsonl")] == [
        {"fid"},
        {"fid", "l1"},
    ]
    assert about(run / "best.safetensors")["images_seen"] == 8  # the only one with an l1
