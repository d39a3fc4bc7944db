"""Each mistake that a user of train_gan.py can make: one line, exit code 2, nothing touched."""

import json
import shutil

import pytest

import train_gan
from tests.test_train_gan import arguments, pictures, train


@pytest.mark.parametrize(
    ("name", "options", "words"),
    [
        ("dcgan", ("--dataroot", "/nowhere"), ("--dataroot /nowhere", "no such folder")),
        ("dcgan", ("--crop_size", "24"), ("--crop_size 24", "power of two")),
        ("dcgan", ("--load_size", "8"), ("--load_size 8", "--crop_size 16")),
        ("dcgan", ("--batch_size", "13"), ("--batch_size 13", "12 images")),
        ("dcgan", ("--batch_size", "0"), ("--batch_size 0", "1 or more")),
        ("dcgan", ("--total_images", "0"), ("--total_images 0",)),
        ("dcgan", ("--r1", "1"), ("--r1 1", "batch norm", "--discriminator_norm instance")),
        ("dcgan", ("--r2", "1"), ("--r2 1", "batch norm")),
        ("dcgan", ("--gradient_penalty", "10"), ("--gradient_penalty 10", "batch norm")),
        ("dcgan", ("--objective", "wgan"), ("--objective wgan", "--gradient_penalty 10")),
        ("dcgan", ("--r1", "-1"), ("--r1 -1", "0 or more")),
        ("dcgan", ("--learning_rate", "nan"), ("--learning_rate nan",)),
        ("dcgan", ("--betas", "0", "1"), ("--betas 1",)),
        ("dcgan", ("--schedule", "cosine"), ("--schedule cosine", "--schedule_images")),
        ("dcgan", ("--ema_decay", "0.9"), ("--ema_decay 0.9", "half-life")),
        ("dcgan", ("--ema_decay", "1"), ("--ema_decay 1", "below 1")),
        ("dcgan", ("--augment", "colour,mixup"), ("no mixup", "colour,translation,cutout")),
        ("dcgan", ("--augment_probability", "1.5"), ("--augment_probability 1.5", "0 to 1")),
        ("dcgan", ("--ada_target", "0.6"), ("--ada_target 0.6", "--augment")),
        ("r3gan", ("--ada_target", "0.6"), ("--ada_target 0.6", "relativistic")),
        ("dcgan", ("--batch_size_at", "8", "4"), ("--batch_size_at", "progressive")),
        ("dcgan", ("--discriminator", "progressive"), ("progressive", "both or neither")),
        ("dcgan", ("--base_channels", "0"), ("--base_channels 0", "above 0")),
        ("dcgan", ("--evaluate_every", "4", "--evaluate_images", "1"), ("--evaluate_images 1",)),
        ("progressive", ("--crop_size", "24"), ("--crop_size 24", "4, 8, 16, 32")),
        ("progressive", ("--first_px", "5"), ("--first_px 5", "4, 8, 16, 32")),
        ("progressive", ("--first_px", "32"), ("--first_px 32", "--crop_size 16")),
        ("progressive", ("--batch_size_at", "4", "7"), ("--batch_size_at 4 7", "group 2")),
        ("progressive", ("--batch_size_at", "4", "60"), ("--batch_size_at 4 60", "12 images")),
        (
            "progressive",
            ("--batch_size", "12", "--batch_size_at", "4", "8", "8", "8", "16", "8"),
            ("--batch_size 12", "--batch_size_at names every resolution"),
        ),
        ("progressive", ("--learning_rate_at", "4", "nan"), ("--learning_rate_at 4 nan",)),
        ("dcgan", ("--learning_rate_end", "0"), ("--learning_rate_end 0", "constant")),
        ("dcgan", ("--schedule_images", "10"), ("--schedule_images 10", "constant")),
        ("dcgan", ("--gradient_target", "7"), ("--gradient_target 7", "--gradient_penalty")),
        ("dcgan", ("--class_weight", "2"), ("--class_weight 2", "--labels")),
        ("dcgan", ("--augment_probability", "0.3"), ("--augment_probability 0.3", "--augment")),
        ("dcgan-ada", ("--augment_probability", "0.3"), ("--augment_probability 0.3", "leave")),
        ("progressive", ("--batch_size_at", "9", "8"), ("--batch_size_at 9 8", "power of two")),
        ("progressive", ("--stable_images", "0"), ("--stable_images 0",)),
        ("r3gan", ("--group_channels", "7"), ("r3gan", "7")),
        ("dcgan", ("--labels", "/nowhere.json"), ("--labels /nowhere.json",)),
        ("dcgan", ("--device", "cuda"), ("--device cuda", "GPU")),
        ("dcgan", ("--init_from", "/nowhere"), ("--init_from /nowhere",)),
    ],
)
def test_options_that_cannot_train(name, options, words, fails, tmp_path):
    dataroot, run = pictures(tmp_path / "data"), tmp_path / "run"
    line = fails(train_gan, arguments(dataroot, run, name, "--total_images", 8, *options))
    assert all(word in line for word in words), line
    assert not (run / "log.jsonl").exists()


def no_image(folder):
    for path in folder.rglob("*.png"):
        path.unlink()


def empty_class(folder):
    (folder / "class9").mkdir()


def loose(folder):
    shutil.copy(folder / "class0" / "0.png", folder / "0.png")


def broken(folder):
    (folder / "class1" / "1.png").write_text("hello")


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (no_image, ("--dataroot", "no image")),
        (empty_class, ("--labels folders", "class9", "no image")),
        (loose, ("--labels folders", "0.png", "sub-folder")),
        (broken, ("1.png", "cannot be read")),
    ],
)
def test_data_that_cannot_train(damage, words, fails, tmp_path):
    dataroot = pictures(tmp_path / "data")
    damage(dataroot)
    more = ["--labels", "folders", "--total_images", 40]
    line = fails(train_gan, arguments(dataroot, tmp_path / "run", "dcgan", *more))
    assert all(word in line for word in words), line


def test_a_class_without_a_picture_in_the_json(fails, tmp_path):
    dataroot = pictures(tmp_path / "data")
    table = {path.relative_to(dataroot).as_posix(): 0 for path in dataroot.rglob("*.png")}
    table[next(iter(table))] = 2
    (tmp_path / "labels.json").write_text(json.dumps(table))
    more = ["--labels", tmp_path / "labels.json", "--total_images", 4]
    line = fails(train_gan, arguments(dataroot, tmp_path / "run", "dcgan", *more))
    assert "labels.json" in line and "class 1 has no image" in line


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        (("--r1", "0.5"), ("--r1", "0.5")),
        (("--batch_size", "2"), ("--batch_size", "2")),
        (("--labels", "folders"), ("--classes", "--labels")),
        (("--seed", "7"), ("--seed", "7")),
    ],
)
def test_a_run_does_not_go_on_with_other_options(changed, words, fails, tmp_path):
    dataroot, run = pictures(tmp_path / "data"), tmp_path / "run"
    train(dataroot, run, "sngan", "--total_images", 8)
    line = fails(train_gan, arguments(dataroot, run, "sngan", "--total_images", 16, *changed))
    assert "this run was started with" in line and any(word in line for word in words)


def test_weights_of_another_network_are_refused(fails, tmp_path):
    dataroot = pictures(tmp_path / "data")
    train(dataroot, tmp_path / "first", "sngan", "--total_images", 8)
    more = ["--total_images", 8, "--init_from", tmp_path / "first"]
    line = fails(train_gan, arguments(dataroot, tmp_path / "run", "r3gan", *more))
    assert "differs from this command's network" in line and "--init_from" in line


def test_a_run_of_another_command_is_refused(fails, tmp_path):
    dataroot, run = pictures(tmp_path / "data"), tmp_path / "run"
    train(dataroot, run, "sngan", "--total_images", 8)
    config = json.loads((run / "config.json").read_text())
    (run / "config.json").write_text(json.dumps(config | {"command": "train_cut.py"}))
    line = fails(train_gan, arguments(dataroot, run, "sngan", "--total_images", 16))
    assert "is a run of train_cut.py" in line


def test_classes_are_found_and_not_given(fails, tmp_path):
    dataroot = pictures(tmp_path / "data")
    with pytest.raises(SystemExit) as end:
        train(dataroot, tmp_path / "run", "dcgan", "--classes", "3")
    assert end.value.code == 2
