"""Mistakes with CycleGAN and pix2pix: one line that names option, value and remedy; exit code 2."""

import numpy as np
import pytest
from PIL import Image

import evaluate
import export
import models
import train_cyclegan
import train_pix2pix
import translate
from models.unet import UnetGenerator, UnetSizes
from tests.test_train_cyclegan import KINDS
from tests.test_train_pix2pix import RESNET, UNET, label_maps, side_by_side, two_folders
from tests.training_runs import folders


@pytest.fixture(scope="module")
def unpaired(tmp_path_factory):
    return folders(tmp_path_factory.mktemp("unpaired"))


@pytest.fixture
def pairs(tmp_path):
    return two_folders(tmp_path / "data")


@pytest.fixture
def refuses(fails, tmp_path):
    """Return a function that trains pix2pix, which must end with a line of these words."""

    def run(dataroot, *more, words):
        run_dir = tmp_path / "run"
        given = ["--run_dir", run_dir, "--total_images", 4, *more]
        given += ["--dataroot", dataroot] if dataroot else []
        line = fails(train_pix2pix, given)
        assert all(word in line for word in words), line
        assert not (run_dir / "checkpoints").exists() or not any(
            (run_dir / "checkpoints").iterdir()
        )
        return line

    return run


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--cycle_weight", "-1"), ("--cycle_weight -1", "0 or more")),
        (("--identity_weight", "-0.5"), ("--identity_weight -0.5", "0 or more")),
        (("--identity_weight", "nan"), ("--identity_weight nan", "0 or more")),
        (("--history_size", "-1"), ("--history_size -1", "0 or more")),
        (("--learning_rate", "-1"), ("--learning_rate -1", "0 or more")),
        (("--base_channels", "0"), ("--base_channels 0", "below 1")),
        (("--discriminator_layers", "9"), ("--discriminator_layers 9", "1 to 6")),
        (("--crop_size", "30"), ("--crop_size 30", "multiple of 4")),
        (("--load_size", "16", "--crop_size", "16"), ("--crop_size 16", "at least 32 px")),
        (("--generator", "unet_128"), ("--crop_size 32", "128")),
        (
            ("--generator", "unet_128", "--load_size", "200", "--crop_size", "192"),
            ("--crop_size 192", "multiple of 128", "128 or 256"),
        ),
        (("--metrics", "foo"), ("--metrics foo",)),
        (("--source_dir", "/tmp"), ("--source_dir", "--dataroot")),
    ],
)
def test_options_that_cannot_train_cyclegan(options, words, fails, unpaired, tmp_path):
    given = ["--dataroot", unpaired, "--run_dir", tmp_path / "run", *KINDS["plain"], *options]
    line = fails(train_cyclegan, given)
    assert all(word in line for word in words), line
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--l1_weight", "-1"), ("--l1_weight -1", "0 or more")),
        (("--adversarial_weight", "inf"), ("--adversarial_weight inf", "0 or more")),
        (("--source_classes", "1"), ("--source_classes 1", "2 or more")),
        (("--source_classes", "-3"), ("--source_classes -3", "2 or more")),
        (("--source_bits", "16"), ("--source_bits 16", "--source_channels 1")),
        (("--target_bits", "16"), ("--target_bits 16", "--target_channels 1")),
        (
            ("--target_bits", "16", "--target_channels", "4"),
            ("--target_bits 16", "--target_channels 1"),
        ),
        (("--lab",), ("--generator resnet_6blocks", "--lab", "unet_256 or unet_128")),
        (("--lab", "--source_channels", "1"), ("--lab", "channels")),
        (("--lab", "--target_channels", "4"), ("--lab", "channels")),
        (("--lab", "--source_classes", "4"), ("--lab", "--source_classes")),
        (("--crop_size", "30"), ("--crop_size 30", "multiple of 4", "28 or 32")),
        (("--load_size", "16", "--crop_size", "16"), ("--crop_size 16", "at least 32 px")),
        (("--generator", "unet_128"), ("--crop_size 32", "128")),
        (("--generator", "unet_256", "--crop_size", "128"), ("--crop_size 128", "256")),
        (
            ("--generator", "unet_128", "--load_size", "200", "--crop_size", "192"),
            ("--crop_size 192", "multiple of 128", "128 or 256"),
        ),
        (("--metrics", "l1,foo"), ("--metrics l1,foo", "'foo'")),
    ],
)
def test_options_that_cannot_train_pix2pix(options, words, refuses, pairs, tmp_path):
    refuses(pairs, *RESNET, *options, words=words)
    assert not (tmp_path / "run").exists()


def test_lab_with_two_folders(refuses, pairs):
    own = ("--source_dir", pairs / "trainA", "--target_dir", pairs / "trainB")
    refuses(None, *UNET, "--lab", *own, words=("--lab", "single pictures", "--dataroot"))
    refuses(pairs, *UNET, "--lab", words=("--dataroot", "no folder train"))


def test_what_the_parser_does_not_know(pairs, monkeypatch, capsys):
    for options in (["--direction", "a2c"], ["--source_channels", "2"], ["--preset", "p2p"]):
        with pytest.raises(SystemExit) as end:
            train_pix2pix.main([*options, "--dataroot", str(pairs)])
        told = capsys.readouterr().err.replace("_", "-")
        assert end.value.code == 2 and options[0].replace("_", "-") in told


def test_a_side_by_side_picture_of_odd_width(refuses, pairs, tmp_path):
    halves = side_by_side(tmp_path / "halves", pairs)
    Image.new("RGB", (87, 44)).save(halves / "train" / "odd.png")
    line = refuses(halves, *RESNET, words=("odd.png", "87 px is odd", "trainA and trainB"))
    assert "1 of 9" in line


@pytest.mark.parametrize("side", ["trainA", "trainB", "testA", "testB"])
def test_a_file_that_is_missing_on_one_side(side, refuses, pairs):
    (pairs / side / "2.png").unlink()
    other = side[:-1] + {"A": "B", "B": "A"}[side[-1]]
    partner = str(pairs / other / "2.png")
    refuses(pairs, *RESNET, words=("--dataroot", "no partner", partner, "add partners or remove"))


def test_a_pair_of_unequal_sizes(refuses, pairs):
    Image.new("RGB", (48, 40)).save(pairs / "trainB" / "1.png")
    words = ("trainA/1.png (44x44 px)", "trainB/1.png (48x40 px)", "unequal sizes")
    refuses(pairs, *RESNET, words=words)


@pytest.mark.parametrize("split", ["train", "test"])
def test_a_label_beyond_the_classes(split, refuses, tmp_path):
    dataroot = label_maps(tmp_path / "data")
    bad = np.full((44, 44), 2, np.uint8)
    bad[3, 5] = 7
    for number in range(4):  # whichever comes first
        Image.fromarray(bad).save(dataroot / f"{split}A" / f"{number}.png")
    words = (f"{split}A/", "label 7", "--source_classes 5", "0 to 4")
    refuses(dataroot, *RESNET, "--source_classes", 5, words=words)


@pytest.mark.parametrize("workers", [0, 1])
def test_a_label_beyond_the_classes_is_found_before_training(workers, refuses, tmp_path):
    dataroot = label_maps(tmp_path / "data")
    Image.fromarray(np.full((44, 44), 9, np.uint8)).save(dataroot / "trainA" / "3.png")
    words = ("1 of 8 label maps", "trainA/3.png", "label 9", "--source_classes 5")
    refuses(dataroot, *RESNET, "--source_classes", 5, "--workers", workers, words=words)
    assert not (tmp_path / "run").exists()


def test_pictures_given_as_label_maps(refuses, pairs):
    words = ("mode RGB holds colours", "palette or grey PNG")
    refuses(pairs, *RESNET, "--source_classes", 5, words=words)


def test_pictures_smaller_than_the_networks_without_a_crop(refuses, tmp_path):
    small = two_folders(tmp_path / "data", size=20)
    words = ("short side of 20 px", "at least 32 px")
    refuses(small, *RESNET, "--preprocess", "none", words=words)


def test_pictures_smaller_than_a_unet_are_resized_to_what_it_takes(tmp_path):
    """Mode none rounds both sides to the nearest multiple, here the first one."""
    small = two_folders(tmp_path / "data", size=44)
    given = ["--dataroot", small, "--run_dir", tmp_path / "run", *UNET]
    given += ["--preprocess", "none", "--total_images", 2]
    train_pix2pix.main([str(part) for part in given])
    given = ["--dataroot", small, "--run_dir", tmp_path / "both", *KINDS["plain"], *given[4:]]
    given += ["--generator", "unet_128"]
    train_cyclegan.main([str(part) for part in given])
    for run, network in (("run", "generator"), ("both", "generator_b2a")):
        assert (tmp_path / run / f"{network}.safetensors").exists()


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Tiny saved generators of each kind, as run folders."""
    root = tmp_path_factory.mktemp("saved")
    kinds = {
        "grey": ((1, 3), {}),
        "wide": ((5, 3), {}),
        "lies": ((3, 3), {"source": {"kind": "colour", "channels": 1}}),
        "labels": ((5, 3), {"source": {"kind": "labels", "classes": 5}}),
        "plain": ((3, 3), {}),
    }
    for name, (channels, about) in kinds.items():
        network = UnetGenerator(UnetSizes(*channels, base_channels=1, halvings=5))
        (root / name).mkdir()
        models.save_generator(root / name / "generator.safetensors", network, about)
    (root / "both").mkdir()
    for way in ("a2b", "b2a"):
        network = UnetGenerator(UnetSizes(base_channels=1, halvings=5))
        models.save_generator(root / "both" / f"generator_{way}.safetensors", network, {})
    return root


@pytest.mark.parametrize(
    ("checkpoint", "more", "words"),
    [
        ("both", (), ("--checkpoint", "both directions", "--direction a2b or b2a")),
        ("plain", ("--direction", "a2b"), ("--direction a2b", "leave it out")),
        ("wide", (), ("--checkpoint", "5 source channels", "1, 3 or 4")),
        ("lies", (), ("--checkpoint", "3 source channels")),
    ],
)
def test_checkpoints_that_do_not_tell_what_to_do(
    checkpoint, more, words, fails, runs, pairs, tmp_path
):
    given = ["--checkpoint", runs / checkpoint, *more]
    place = ["--input", pairs / "testA", "--output", tmp_path / "out"]
    assert all(word in fails(translate, [*given, *place]) for word in words)
    place = ["--source", pairs / "testA", "--real", pairs / "testB", "--metrics", "l1"]
    assert all(word in fails(evaluate, [*given, *place]) for word in words)
    if more or checkpoint == "both":
        place = ["--format", "official", "--output", tmp_path / "out.pth"]
        assert all(word in fails(export, [*given, *place]) for word in words)
    assert not (tmp_path / "out").exists() and not (tmp_path / "out.pth").exists()


def test_pictures_for_a_translator_of_label_maps(fails, runs, pairs, tmp_path):
    place = ["--input", pairs / "testA", "--output", tmp_path / "out"]
    line = fails(translate, ["--checkpoint", runs / "labels", *place])
    assert "mode RGB holds colours" in line and "testA/0.png" in line
    too_high = label_maps(tmp_path / "labels", classes=9) / "testA"
    place = ["--input", too_high, "--output", tmp_path / "out"]
    line = fails(translate, ["--checkpoint", runs / "labels", *place])
    assert "has label" in line and "0 to 4" in line


@pytest.mark.parametrize(
    "options",
    [("--source_channels", 1), ("--target_channels", 4), ("--source_classes", 3)],
)
def test_weights_of_other_channels_cannot_start_a_run(options, refuses, runs, tmp_path):
    modes = {"--source_channels": ("L", "RGB"), "--target_channels": ("RGB", "RGBA")}
    if options[0] == "--source_classes":
        dataroot = label_maps(tmp_path / "data", classes=3)
    else:
        dataroot = two_folders(tmp_path / "data", modes=modes[options[0]])
    weights = runs / "plain" / "generator.safetensors"
    words = (f"--init_from {weights}",)
    refuses(dataroot, *UNET, *options, "--init_from", weights, words=words)


def test_one_generator_cannot_start_a_cyclegan(fails, runs, unpaired, tmp_path):
    weights = runs / "both" / "generator_a2b.safetensors"
    given = ["--dataroot", unpaired, "--run_dir", tmp_path / "run", *KINDS["plain"]]
    line = fails(train_cyclegan, [*given, "--init_from", weights])
    assert f"--init_from {weights}" in line and "has two; give a run" in line
    assert not (tmp_path / "run").exists()


def test_the_commands_end_with_exit_code_2(command, pairs, tmp_path):
    """The scripts themselves, without a traceback."""
    (pairs / "trainA" / "2.png").unlink()
    for script, more, words in (
        ("train_pix2pix.py", RESNET, "no partner"),
        ("train_cyclegan.py", [*KINDS["plain"], "--cycle_weight", "-1"], "--cycle_weight"),
    ):
        finished = command(script, "--dataroot", pairs, "--run_dir", tmp_path / "run", *more)
        (line,) = finished.stderr.strip().splitlines()
        assert finished.returncode == 2 and line.startswith("error: ") and words in line
    assert not (tmp_path / "run").exists()
