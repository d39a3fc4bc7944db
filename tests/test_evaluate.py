"""evaluate.py run for real: what it tells, what changes nothing, statistics, pictures, features."""

import hashlib
import json
import os
import shutil
from contextlib import redirect_stdout
from io import StringIO

import numpy as np
import pytest
import torch
from PIL import Image

import data
import evaluate
import models
import translate
from commands import evaluation
from tests.evaluating import arguments, measure, write_pictures
from tests.inception_weights import see_small_inputs
from tests.processes import run_together

pytestmark = pytest.mark.usefixtures("small_inputs")

COUNT = 12
ALL = "fid,kid,is,prdc,swd,ms_ssim,l1,psnr,ssim"
KEYS = {
    *("fid", "kid_mean", "kid_std", "is_mean", "is_std"),
    *("precision", "recall", "density", "coverage"),
    *("protocol", "layer", "n_real", "n_fake", "weights_sha256"),
}


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Two folders of a few pictures."""
    folder = tmp_path_factory.mktemp("few")
    return [write_pictures(folder / name, COUNT, seed) for seed, name in enumerate("ab")]


@pytest.fixture(scope="module")
def measured(folders, inception_file):
    """Every metric of the two folders, and how to ask for it."""
    real, fake = folders
    options = {"real": real, "fake": fake, "weights": inception_file, "metrics": ALL}
    return measure(**options), options


@pytest.fixture(scope="module")
def quick(folders, inception_file):
    """Options of a measurement that looks through the first blocks of the network only."""
    real, fake = folders
    return {"real": real, "fake": fake, "weights": inception_file, "layer": 64}


@pytest.fixture(scope="module")
def shallow(quick):
    """Every metric that the first blocks of the network are enough for, and how to ask for it."""
    options = {**quick, "metrics": ALL.replace("is,", "")}
    return measure(**options), options


@pytest.fixture(scope="module")
def quick_numbers(quick):
    return measure(**quick).numbers


def assert_close(numbers, others, rel=1e-9):
    """All numbers of a result, nested ones too."""
    assert numbers.keys() == others.keys()
    for name, value in numbers.items():
        if isinstance(value, dict):
            assert_close(value, others[name], rel)
        elif isinstance(value, float | list):
            assert value == pytest.approx(others[name], rel=rel), name
        else:
            assert value == others[name], name


# ---- What it tells ----


def test_the_last_line_is_the_json_that_the_file_holds(quick, quick_numbers, tmp_path):
    *table, last = measure(**quick, json=tmp_path / "numbers.json").out.splitlines()
    assert (tmp_path / "numbers.json").read_text() == last + "\n"
    assert json.loads(last) == quick_numbers
    assert any("fid" in line and f"{quick_numbers['fid']:.6g}" in line for line in table)


def test_the_keys_are_those_that_other_programs_read(measured, inception_file):
    numbers = measured[0].numbers
    assert numbers.keys() >= KEYS
    assert (numbers["n_real"], numbers["n_fake"]) == (COUNT, COUNT)
    assert (numbers["protocol"], numbers["layer"]) == ("clean", 2048)
    sha256 = hashlib.sha256(inception_file.read_bytes()).hexdigest()
    assert numbers["weights_sha256"] == sha256
    assert numbers["weights_published"] is False
    named = [line for line in measured[0].err.splitlines() if "not the published" in line]
    assert len(named) == 1 and sha256[:8] in named[0]


def test_a_hyphen_in_an_option_s_name_is_an_underscore(folders, capsys):
    options = {"real": folders[0], "fake": folders[1], "metrics": "swd", "metric_seed": 5}
    told = []
    for separator in "_-":
        given = arguments(options)
        evaluate.main([w.replace("_", separator) if w.startswith("--") else w for w in given])
        told.append(capsys.readouterr().out)
    other_seed = measure(**{**options, "metric_seed": 6}).numbers["swd"]
    assert told[0] == told[1] and json.loads(told[0].splitlines()[-1])["swd"] != other_seed


def test_few_pictures_are_told_with_the_bias_and_kid_beside_fid(quick):
    finished = measure(**quick, metrics="fid")
    numbers = finished.numbers
    assert numbers["kid_mean"] == measure(**quick, metrics="kid").numbers["kid_mean"]
    told = [line for line in finished.err.splitlines() if "biased upwards" in line]
    assert len(told) == 1
    assert f"{COUNT} pictures" in told[0] and "10000" in told[0] and "KID" in told[0]
    halves = numbers["fid_of_real_halves"]
    assert halves > 0 and f"{halves:.3g} (the value for two halves of the reals)" in told[0]


def test_equal_pictures_have_an_infinite_psnr_which_json_holds_as_null(folders, tmp_path):
    shutil.copytree(folders[0], tmp_path / "copy")
    numbers = measure(real=folders[0], fake=tmp_path / "copy", metrics="psnr,l1,ssim").numbers
    assert (numbers["psnr"], numbers["l1"], numbers["ssim"]) == (None, 0, 1)


def test_metrics_without_reals_need_none(folders, inception_file, measured):
    options = {"fake": folders[1], "weights": inception_file, "metrics": "is,ms_ssim"}
    numbers = measure(**options).numbers
    for name in ("is_mean", "is_std", "ms_ssim"):
        assert numbers[name] == pytest.approx(measured[0].numbers[name], rel=1e-12)
    assert numbers["n_real"] is None and "ms_ssim_real" not in numbers


def test_half_of_the_reals_against_the_other_half_are_the_noise_floor(quick):
    numbers = measure(**quick, metrics="fid,prdc", noise_floor=True).numbers
    floor = numbers["noise_floor"]
    assert 0 < floor["fid"] < numbers["fid"]
    assert floor["coverage"] > numbers["coverage"]


# ---- What changes nothing ----


@pytest.mark.parametrize(
    ("batch_size", "which"), [(1, "shallow"), (5, "measured"), (20, "shallow")]
)
def test_the_batch_size_changes_nothing(batch_size, which, request):
    finished, options = request.getfixturevalue(which)
    assert_close(measure(**options, batch_size=batch_size).numbers, finished.numbers)


def test_a_pass_that_is_not_full_gives_the_same_features(quick, quick_numbers, monkeypatch):
    """Nor do the pictures beside one in a pass, and where in it the picture lies."""
    whole = evaluation.Evaluator.__init__

    def unrounded(self, *arguments, **named):
        whole(self, *arguments, **named)
        self.batch_size = 5

    monkeypatch.setattr(evaluation.Evaluator, "__init__", unrounded)
    assert_close(measure(**quick).numbers, quick_numbers)


def test_reading_processes_change_nothing(shallow):
    finished, options = shallow
    assert_close(measure(**options, workers=3).numbers, finished.numbers)


def test_the_order_in_which_files_were_made_changes_nothing(quick, quick_numbers, tmp_path):
    for name in ("real", "fake"):
        (tmp_path / name).mkdir()
        for path in sorted(quick[name].iterdir(), reverse=True):
            shutil.copy(path, tmp_path / name)
    again = {**quick, "real": tmp_path / "real", "fake": tmp_path / "fake"}
    assert_close(measure(**again).numbers, quick_numbers)


def measure_together(folder, given):
    """Measure as one of several processes, and keep what it prints."""
    see_small_inputs()
    with redirect_stdout(StringIO()) as out:
        evaluate.main(given)
    (folder / os.environ["RANK"]).write_text(out.getvalue())


def in_two_processes(folder, options):
    """Return the numbers that the first of two processes prints last; the other prints nothing."""
    run_together(measure_together, folder, arguments(options))
    assert not (folder / "1").read_text()
    return json.loads((folder / "0").read_text().splitlines()[-1])


def test_two_processes_measure_what_one_does(measured, tmp_path):
    finished, options = measured
    assert_close(in_two_processes(tmp_path, options), finished.numbers)


def test_two_processes_add_up_more_pictures_than_channels(inception_file, tmp_path):
    """Of so many pictures moments are kept, where fewer are kept one by one."""
    real, fake = (
        write_pictures(tmp_path / name, count, seed, sizes_px=((32, 32),))
        for seed, (name, count) in enumerate((("a", 71), ("b", 66)))
    )
    options = {"real": real, "fake": fake, "weights": inception_file, "layer": 64}
    options["metrics"] = "fid,kid,prdc,swd,ms_ssim"
    assert_close(in_two_processes(tmp_path, options), measure(**options).numbers)


# ---- Statistics ----


def test_saved_statistics_stand_for_their_folder(quick, quick_numbers, tmp_path):
    saved = tmp_path / "real.npz"
    only_saved = {name: value for name, value in quick.items() if name != "fake"}
    assert measure(**only_saved, save_stats=saved).numbers["n_fake"] is None
    finished = measure(**{**quick, "real": saved})
    assert finished.numbers["fid"] == pytest.approx(quick_numbers["fid"], rel=1e-9)
    assert finished.numbers["n_real"] == COUNT
    assert "does not state" not in finished.err
    with np.load(saved) as file:
        assert file["mu"].dtype == file["sigma"].dtype == np.float64


def test_statistics_are_saved_beside_a_measurement(quick, quick_numbers, tmp_path):
    finished = measure(**quick, save_stats=tmp_path / "real.npz")
    assert finished.numbers["fid"] == pytest.approx(quick_numbers["fid"], rel=1e-9)
    again = measure(**{**quick, "real": tmp_path / "real.npz"})
    assert again.numbers["fid"] == pytest.approx(quick_numbers["fid"], rel=1e-9)


# ---- A translator instead of pictures ----


@pytest.fixture(scope="module")
def translator(tmp_path_factory):
    """The folder of a translator, its sources, and what it makes of them."""
    folder = tmp_path_factory.mktemp("translator")
    network = models.build_generator(
        *("resnet_6blocks",),
        base_channels=4,
        norm="instance",
        antialias=True,
        dropout=True,
        crop_px=64,
    )
    models.initialize(network, torch.Generator().manual_seed(1), "normal", 0.2)
    checkpoint = folder / "generator.safetensors"
    models.save_generator(checkpoint, network, {})
    source = write_pictures(folder / "in", 4, 5, sizes_px=((64, 48), (33, 70)))
    write_pictures(source / "deep", 7, 6)
    with Image.open(source / "deep" / "003.png") as picture:
        picture.putalpha(100)  # which a translator lays over white
        picture.save(source / "deep" / "003.png")
    out = folder / "out"
    translate.main(["--checkpoint", str(checkpoint), "--input", str(source), "--output", str(out)])
    return folder, source, out


@pytest.fixture(scope="module")
def numbers_of_translations(quick, translator):
    return measure(**{**quick, "fake": translator[2], "metrics": "fid,kid"}).numbers


@pytest.mark.parametrize("form", ["file", "run folder"])
def test_a_checkpoint_is_measured_as_the_pictures_it_translates(
    form, quick, translator, numbers_of_translations
):
    folder, source, _ = translator
    options = {name: value for name, value in quick.items() if name != "fake"}
    given = folder / "generator.safetensors" if form == "file" else folder
    translated = measure(**options, metrics="fid,kid", checkpoint=given, source=source)
    assert translated.numbers == numbers_of_translations
    assert translated.numbers["n_fake"] == 11


# ---- Pictures ----


def test_subfolders_and_endings_in_capitals_are_read(quick, quick_numbers, folders, tmp_path):
    nested = tmp_path / "nested"
    for number, path in enumerate(sorted(folders[1].iterdir())):
        target = nested / f"{number // 5}" / f"{path.stem}.PNG"
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, target)
    numbers = measure(**{**quick, "fake": nested}).numbers
    assert_close(numbers, quick_numbers)


def test_what_other_tools_drop_is_dropped_and_told(quick, quick_numbers, folders, tmp_path):
    transparent = tmp_path / "transparent"
    transparent.mkdir()
    for path in sorted(folders[1].iterdir()):
        with Image.open(path) as picture:
            picture.putalpha(Image.linear_gradient("L").resize(picture.size))
            picture.save(transparent / path.name)
    finished = measure(**{**quick, "fake": transparent})
    assert_close(finished.numbers, quick_numbers)
    told = [line for line in finished.err.splitlines() if "transparency" in line]
    assert len(told) == 1
    assert str(transparent) in told[0] and f"{COUNT} of {COUNT}" in told[0]


def test_unreadable_pictures_are_left_out_where_that_is_wanted(folders, inception_file, tmp_path):
    damaged = tmp_path / "damaged"
    shutil.copytree(folders[1], damaged)
    for name in ("011.png", "010.png"):  # a whole pair of MS-SSIM
        (damaged / name).write_bytes((damaged / name).read_bytes()[:200])
    without = tmp_path / "without"
    shutil.copytree(folders[1], without, ignore=shutil.ignore_patterns("011.png", "010.png"))
    options = {"real": folders[0], "weights": inception_file, "layer": 64, "is_splits": 1}
    options["metrics"] = "fid,kid,is,prdc,swd,ms_ssim"
    finished = measure(**options, fake=damaged, skip_unreadable=True)
    told = [line for line in finished.err.splitlines() if "skipped" in line]
    assert len(told) == 1
    assert f"2 of {COUNT}" in told[0] and "010" in told[0] and "011" in told[0]
    assert finished.numbers["n_fake"] == COUNT - 2
    assert_close(finished.numbers, measure(**options, fake=without).numbers)


# ---- Another network ----

OWN = """
import torch
from torch import nn


class Means(nn.Module):
    def forward(self, images):
        assert images.dtype == torch.uint8
        return torch.cat([images.float().mean((2, 3)), images.float().std((2, 3))], dim=1)


def means():
    return Means()
"""
OTHER_NAMES = {
    *("frechet_distance", "frechet_distance_bias", "kernel_distance_mean", "kernel_distance_std"),
    *("kernel_distance_interval", "kernel_distance_subset_size"),
}


class Means(torch.nn.Module):
    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return torch.cat([images.float().mean((2, 3)), images.float().std((2, 3))], dim=1)


def features(folder):
    pictures = [data.decode_plainly(path).picture for path in sorted(folder.iterdir())]
    levels = np.stack([np.asarray(picture, np.float64) for picture in pictures])
    return np.concatenate([levels.mean((1, 2)), levels.std((1, 2), ddof=1)], 1)


@pytest.mark.parametrize("form", ["module:function", "TorchScript"])
def test_another_network_s_numbers_have_other_names(form, folders, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    real, fake = folders
    if form == "TorchScript":
        torch.jit.script(Means()).save(tmp_path / "own.pt")
        name, shown = tmp_path / "own.pt", "own.pt"
    else:
        (tmp_path / "own_features.py").write_text(OWN)
        name = shown = "own_features:means"
    finished = measure(real=real, fake=fake, features=name, metrics="fid,kid,prdc")
    numbers = finished.numbers
    assert numbers["features"] == shown
    assert numbers["protocol"] is None and numbers["layer"] is None
    assert numbers.keys() >= OTHER_NAMES
    assert not any("fid" in name or "kid" in name for name in numbers)
    expected = exact_frechet_distance(features(real), features(fake))
    assert numbers["frechet_distance"] == pytest.approx(expected, rel=1e-5)


def exact_frechet_distance(a, b):
    """By the eigenvalues of the product, which are real and positive."""
    covariances = [np.cov(side, rowvar=False) for side in (a, b)]
    roots = np.sqrt(np.linalg.eigvals(covariances[0] @ covariances[1]).real.clip(0))
    traces = sum(covariance.trace() for covariance in covariances)
    return ((a.mean(0) - b.mean(0)) ** 2).sum() + traces - 2 * roots.sum()
