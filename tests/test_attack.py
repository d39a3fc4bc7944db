"""attack.py on a classifier: numbers against the attacks themselves, files, refusals."""

import json
import re
from functools import partial

import numpy as np
import pytest
import torch
from PIL import Image

import attack
import attacks
import data
import models
from commands.attacking import plots, sheets
from commands.attacking.counting import Counted
from commands.attacking.options import AttackOptions
from commands.attacking.targets import open_target
from models.encoders import build_encoder
from tests.attacks.classifiers import classifier, pictures_of
from tests.attacks.commanded import NAMES

TRAINED = "tests.attacks.commanded:trained"
NAMED = ("--class_names", *NAMES)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Pictures that the small classifier knows, in a folder for each class."""
    root = tmp_path_factory.mktemp("attacked")
    pictures, labels = pictures_of(24)
    for number, (picture, label) in enumerate(zip(pictures, labels.tolist(), strict=True)):
        path = root / NAMES[label] / f"{number:02d}.png"
        path.parent.mkdir(exist_ok=True)
        data.to_image(picture).save(path)
    return root


@pytest.fixture(autouse=True)
def short_search_for_masking(monkeypatch):
    """Two steps instead of 20, which would be most of the time of these tests."""
    monkeypatch.setattr("attacks.masking.STEPS", 2)


@pytest.fixture
def run(result_of):
    """Return a function that runs the command and returns its JSON object and its stderr."""
    return partial(result_of, attack)


def levels(path):
    return torch.from_numpy(np.asarray(Image.open(path)).astype(np.int64))


def given(folder):
    """The folder's pictures as floats, and their labels, in the order of the command."""
    files = data.list_images(folder, "folder")
    pictures = torch.stack([data.to_tensor(data.decode_image(path)) for path in files])
    return files, pictures, torch.tensor([NAMES.index(path.parent.name) for path in files])


def test_pgd_over_several_bounds(folder, run, tmp_path):
    out, file = tmp_path / "out", tmp_path / "result.json"
    found, _ = run(
        *("--checkpoint", TRAINED, "--input", folder, "--output", out, *NAMED, "--json", file),
        *("--epsilon", 16, 4, 32, "--steps", 5, "--batch_size", 10),
    )
    assert json.loads(file.read_text()) == found
    files, pictures, labels = given(folder)
    model = classifier().eval()
    try:
        clean = (model(pictures).argmax(1) == labels).double().mean().item()
        assert found["clean_accuracy"] == clean > 0.9
        lines = found["robust"]
        assert [line["epsilon"] for line in lines] == [4, 16, 32]
        kept = [clean, *(line["accuracy"] for line in lines)]
        assert kept == sorted(kept, reverse=True) and kept[-1] < 0.3
        for line in lines:
            assert line["forward_passes"] == 6 and line["backward_passes"] == 5
            if line["median_linf"] is not None:
                assert line["median_linf"] == pytest.approx(line["epsilon"], abs=1e-3)
        written = [levels(out / "pictures" / path.relative_to(folder)) for path in files]
        changes = [(x - levels(path)).abs().max() for x, path in zip(written, files, strict=True)]
        assert max(changes) == 32
        again = torch.stack([x.permute(2, 0, 1) for x in written]) / 127.5 - 1
        right = (model(again).argmax(1) == labels).double().mean().item()
        assert right == pytest.approx(lines[-1]["accuracy_of_files"])
    finally:
        model.train()
    for name in ("sheet.png", "robustness.png"):
        with Image.open(out / name) as image:
            assert image.width > 300 and len(image.getcolors(10**6)) > 20


@pytest.mark.parametrize(
    ("name", "more", "expected"),
    [
        ("fgsm", (), lambda m, x, y: attacks.fgsm(m, x, y, epsilon=16 * attacks.LEVEL)),
        (
            "iterative_fgsm",
            ("--steps", 3, "--step", 6),
            lambda m, x, y: attacks.iterative_fgsm(
                m, x, y, epsilon=16 * attacks.LEVEL, step=6 * attacks.LEVEL, steps=3
            ),
        ),
        (
            "least_likely",
            ("--steps", 3),
            lambda m, x, y: attacks.least_likely(
                m, x, epsilon=16 * attacks.LEVEL, step=2.5 * 16 / 3 * attacks.LEVEL, steps=3
            ),
        ),
        (
            "momentum",
            ("--steps", 3),
            lambda m, x, y: attacks.momentum(
                m, x, y, epsilon=16 * attacks.LEVEL, step=2.5 * 16 / 3 * attacks.LEVEL, steps=3
            ),
        ),
    ],
)
def test_the_command_calls_the_attack(name, more, expected, folder, run, tmp_path):
    out = tmp_path / "out"
    run(
        *("--checkpoint", TRAINED, "--input", folder, "--output", out, *NAMED),
        *("--attack", name, "--epsilon", 16, *more),
    )
    files, pictures, labels = given(folder)
    found = data.to_levels(expected(classifier(), pictures, labels))
    for path, picture in zip(files, found, strict=True):
        written = levels(out / "pictures" / path.relative_to(folder)).permute(2, 0, 1)
        # A gradient's sign may differ where it is nearly zero; a step is then another.
        assert ((written - picture.long()).abs() <= 1).double().mean() > 0.97


def test_deepfool_is_counted_within_bounds(folder, run, tmp_path):
    found, _ = run(
        *("--checkpoint", TRAINED, "--input", folder, "--output", tmp_path / "out", *NAMED),
        *("--attack", "deepfool", "--norm", "l2", "--epsilon", 20, 100, 4000),
    )
    kept = [found["clean_accuracy"], *(line["accuracy"] for line in found["robust"])]
    assert kept == sorted(kept, reverse=True) and kept[-1] == found["unbounded"]["accuracy"] == 0
    _, pictures, labels = given(folder)
    moved = attacks.deepfool(classifier(), pictures, labels, steps=20)
    sizes = (moved - pictures).flatten(1).norm(dim=1) / attacks.LEVEL
    median = sizes[sizes > 0].median().item()
    assert found["unbounded"]["median_l2"] == pytest.approx(median, rel=1e-3)


@pytest.mark.parametrize(
    ("name", "more"),
    [
        ("one_pixel", ("--steps", 3, "--population", 20, "--pixels", 2, "--num", 6)),
        ("universal", ("--steps", 3, "--epsilon", 64, "--num", 8)),
    ],
)
def test_attacks_of_other_kinds(name, more, folder, run, tmp_path):
    out = tmp_path / "out"
    found, _ = run(
        *("--checkpoint", TRAINED, "--input", folder, "--output", out, *NAMED),
        *("--attack", name, *more),
    )
    (line,) = found["robust"]
    assert line["accuracy"] <= found["clean_accuracy"]
    files = data.list_images(out / "pictures", "out")
    changes = [levels(path) - levels(folder / path.relative_to(out / "pictures")) for path in files]
    if name == "one_pixel":
        assert len(files) == 6 and line["epsilon"] is None and line["backward_passes"] == 0
        assert max((x != 0).any(2).sum() for x in changes) in (1, 2)
        assert not (out / "robustness.png").exists()
    else:
        assert len(files) == 8 and 0 < max(x.abs().max() for x in changes) <= 64


def test_towards_a_class(folder, run, tmp_path):
    three = tmp_path / "three"
    three.mkdir()
    for name in NAMES[:3]:
        (three / name).symlink_to(folder / name)
    for target, attack_name in ((NAMES[3], "pgd"), ("3", "fgsm")):
        found, _ = run(
            *("--checkpoint", TRAINED, "--input", three, "--output", tmp_path / "out", *NAMED),
            *("--target", target, "--epsilon", 64, "--steps", 5, "--attack", attack_name),
        )
        assert found["target"] == NAMES[3] and found["robust"][0]["target_rate"] > 0.8


def test_without_folders_the_models_own_predictions_are_the_labels(folder, run, tmp_path):
    found, told = run(
        *("--checkpoint", TRAINED, "--input", folder / NAMES[0], "--output", tmp_path / "out"),
        *("--steps", 3, "--norm", "l2", "--restarts", 2),
    )
    assert found["labels"] == "predictions" and found["clean_accuracy"] == 1
    assert "no subfolders with names of classes" in told
    assert found["robust"][0]["epsilon"] == 128 and found["robust"][0]["forward_passes"] == 9
    assert (tmp_path / "out" / "pictures").is_dir()


def test_masked_gradients_are_told(folder, run, tmp_path):
    found, told = run(
        *("--checkpoint", "tests.attacks.commanded:saturated", "--input", folder, *NAMED),
        *("--output", tmp_path / "out", "--steps", 2),
    )
    assert found["masked_gradients"] and "the gradient is zero" in found["masked_gradients"][0]
    assert "warning: sign of masked gradients: the gradient is zero" in told


@pytest.fixture
def own_run(tmp_path):
    """A run folder with a classifier of ours, of two classes and grey pictures of 8 px."""
    run = tmp_path / "run"
    run.mkdir()
    torch.manual_seed(0)
    encoder = build_encoder("resnet18", 8, in_channels=1, base_channels=2)
    network = models.classifier_of(encoder, torch.nn.Linear(16, 2))
    about = {"class_names": NAMES[:2], "preprocessing": {"size_px": 8, "channels": 1}}
    models.save_classifier(run / "classifier.safetensors", network, about)
    models.save_encoder(run / "encoder.safetensors", encoder, {})
    return run


def test_a_run_of_train_features(own_run, run, tmp_path):
    source = tmp_path / "in"
    for number in range(2):
        (source / NAMES[number]).mkdir(parents=True)
        levels_of = np.random.default_rng(number).integers(0, 256, (12, 10, 3), dtype=np.uint8)
        Image.fromarray(levels_of).save(source / NAMES[number] / "x.JPG")
    found, _ = run(
        *("--checkpoint", own_run, "--input", source, "--output", tmp_path / "out"),
        *("--steps", 1),
    )
    assert found["n"] == 2 and found["labels"] == "folders"
    with Image.open(tmp_path / "out" / "pictures" / NAMES[1] / "x.png") as image:
        assert image.size == (8, 8) and image.mode == "L"
    file = AttackOptions(str(own_run / "classifier.safetensors"), tmp_path)
    assert open_target(file, torch.device("cpu")).class_names == (NAMES[0], NAMES[1])


@pytest.mark.parametrize(
    ("more", "told"),
    [
        (["--epsilon", "-1"], "--epsilon -1: outside 0 to 255"),
        (["--epsilon", "8", "256"], "--epsilon 256: outside 0 to 255"),
        (["--epsilon", "nan"], "--epsilon nan: outside 0 to 255"),
        (["--steps", "0"], "--steps 0: below 1"),
        (["--step", "-1"], "--step -1: give 0 or more"),
        (["--target", NAMES[0]], f"--target {NAMES[0]}: is the label of .* pictures"),
        (["--target", "9"], "--target 9: no class; give one of kind0"),
        (["--target", "1", "--attack", "deepfool"], "--target 1: --attack deepfool takes no"),
        (["--objective", "content"], "--objective content: .* is a classifier"),
        (["--norm", "l2", "--attack", "fgsm"], "--norm l2: --attack fgsm bounds each value"),
        (["--restarts", "2", "--attack", "fgsm"], "--restarts 2: --attack fgsm has no random"),
        (["--epsilon", "8", "--attack", "one_pixel"], "--epsilon 8: .*give --pixels"),
        (["--class_names", "a", "b"], "--class_names a b: 2 names for the 4 classes"),
        (["--checkpoint", "/nowhere"], "--checkpoint /nowhere: no such file"),
        (["--checkpoint", "tests.attacks.commanded:gone"], "--checkpoint tests.*imported"),
        (["--checkpoint", "tests.attacks.commanded:one_class"], "--checkpoint .*has one class"),
        (["--crop_size", "4"], "--checkpoint .*does not map float .*3, 4, 4"),
        (["--input", "/nowhere"], "--input /nowhere: no such file"),
        (["--json", "/nowhere/x.json"], "--json /nowhere/x.json: its folder does not exist"),
    ],
)
def test_bad_input(more, told, folder, tmp_path, fails):
    out = tmp_path / "out"
    line = fails(
        attack, ["--checkpoint", TRAINED, "--input", folder, "--output", out, *NAMED, *more]
    )
    assert re.search(told, line), line
    assert not out.exists()


def test_files_of_other_kinds(own_run, folder, tmp_path, fails):
    rest = ["--input", folder, "--output", tmp_path / "out"]
    line = fails(attack, ["--checkpoint", own_run / "encoder.safetensors", *rest])
    assert "encoder.safetensors: an encoder; give a classifier" in line
    (own_run / "classifier.safetensors").unlink()
    assert "run: an encoder; give a classifier" in fails(attack, ["--checkpoint", own_run, *rest])
    broken = tmp_path / "x.safetensors"
    broken.write_bytes(b"{}")
    assert "not a complete safetensors" in fails(attack, ["--checkpoint", broken, *rest])
    (tmp_path / "x.pt").touch()
    line = fails(attack, ["--checkpoint", tmp_path / "x.pt", *rest])
    assert "x.pt: is for resuming a training" in line
    (tmp_path / "empty").mkdir()
    line = fails(attack, ["--checkpoint", tmp_path / "empty", *rest])
    assert "empty: no network of ours" in line


def test_folders_that_are_no_classes(folder, tmp_path, fails):
    source = tmp_path / "in"
    (source / "other").mkdir(parents=True)
    (source / NAMES[0]).symlink_to(folder / NAMES[0])
    data.to_image(pictures_of(1)[0][0]).save(source / "other" / "x.png")
    rest = ["--checkpoint", TRAINED, "--input", source, *NAMED, "--output"]
    line = fails(attack, [*rest, tmp_path / "out"])
    assert re.search("other/x.png: its first-level folder is no class .*kind0, kind1", line)
    assert "is the input or inside it" in fails(attack, [*rest, source / "out"])
    (source / "other" / "x.png").write_bytes(b"no picture")
    (source / "other").rename(source / NAMES[1])
    assert "x.png: cannot be read" in fails(attack, [*rest, tmp_path / "out"])
    data.to_image(torch.zeros(3, 9, 8)).save(source / NAMES[1] / "x.png")
    line = fails(attack, [*rest, tmp_path / "out"])
    assert "pictures of 8 x 8 and 8 x 9 px; give --crop_size" in line


def test_a_model_counts_what_passes_through_it():
    model = Counted(classifier())
    pictures, labels = pictures_of(3)
    attacks.deepfool(model, pictures, labels, steps=1)
    right = int((attacks.fgsm(classifier(), pictures, labels, epsilon=0) == pictures).all())
    assert right and model.forwards >= 6 and model.backwards % 4 == 0 and model.backwards > 0


def test_axes_end_at_whole_steps_and_changes_are_magnified():
    for most, end in ((0.97, 1.0), (8, 8), (33, 40), (255, 300), (1e-3, 1e-3)):
        assert plots._end(most) == pytest.approx(end)
    small = torch.full((3, 2, 2), 0.01)
    row = sheets.change_row([small, -small / 2])
    assert row.name == "change, 100 times" and row.pictures[0].max() == pytest.approx(1, abs=0.01)
