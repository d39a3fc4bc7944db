"""Each mistake that a user can make, given to the command: one line, the right exit code."""

import pickle
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import train_cut
import training
import translate
from commands import cli
from tests.test_train_cut import PRESETS, train
from tests.training_runs import folders, states
from training.checkpoint import first_not_finite


def arguments(dataroot, run_dir, *more):
    return ["--dataroot", dataroot, "--run_dir", run_dir, *PRESETS["cut"], *more]


def empty(folder):
    shutil.rmtree(folder / "trainA")
    (folder / "trainA").mkdir()


def missing(folder):
    shutil.rmtree(folder / "trainA")


def no_image(folder):
    empty(folder)
    (folder / "trainA" / "notes.txt").write_text("hello")


def truncated_jpeg(folder):
    path = folder / "trainA" / "9.jpg"
    Image.fromarray(np.full((64, 64, 3), 9, np.uint8)).save(path)
    path.write_bytes(path.read_bytes()[:300])


def text_as_png(folder):
    (folder / "trainB" / "9.png").write_text("hello")


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (empty, ("--dataroot", "trainA")),
        (missing, ("--dataroot", "trainA")),
        (no_image, ("--dataroot", "trainA")),
        (truncated_jpeg, ("9.jpg", "cannot be read")),
        (text_as_png, ("9.png", "cannot be read")),
    ],
)
def test_data_that_cannot_train(damage, words, fails, tmp_path):
    dataroot = folders(tmp_path)
    damage(dataroot)
    line = fails(train_cut, arguments(dataroot, tmp_path / "run", "--total_images", 40))
    assert all(word in line for word in words), line


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--dataroot", "/nowhere"), ("--dataroot /nowhere", "no such folder")),
        (("--preprocess", "crop", "--crop_size", "48"), ("--crop_size 48", "resize_and_crop")),
        (("--crop_size", "30"), ("--crop_size 30", "multiple of 4", "28 or 32")),
        (("--crop_size", "64"), ("--load_size 40", "--crop_size 64")),
        (("--load_size", "16", "--crop_size", "16"), ("--crop_size 16", "at least 32 px")),
        (("--discriminator", "stylegan2", "--crop_size", "24"), ("--crop_size 24", "power of two")),
        (("--batch_size", "0"), ("--batch_size 0", "below 1")),
        (("--nce_layers", "0", "99"), ("--nce_layers 0 99", "0 to")),
        (("--nce_layers", "4", "0"), ("--nce_layers 4 0", "increasing")),
        (("--nce_patches", "1"), ("--nce_patches 1", "negatives")),
        (("--nce_temperature", "0"), ("--nce_temperature 0", "above 0")),
        (("--base_channels", "0"), ("--base_channels 0", "below 1")),
        (("--history_size", "4"), ("--batch_size 1", "even")),
        (("--device", "cuda"), ("--device cuda", "0 GPUs", "--device cpu")),
        (("--run_dir", "/dev/null/run"), ("--run_dir /dev/null/run", "another folder")),
        (("--init_from", "/nowhere.pt"), ("--init_from /nowhere.pt", "no such file")),
        (("--init_from", "/dev/null"), ("--init_from /dev/null",)),
        (("--source_dir", "/tmp"), ("--source_dir", "--dataroot")),
        (("--workers", "-1"), ("--workers -1", "below 0")),
        (("--preprocess", "zoom_and_patch"), ("5 source images", "leave one")),
        (("--log_every", "0"), ("--log_every 0", "below 1")),
        (("--betas", "2", "0.9"), ("--betas (2.0, 0.9)", "[0, 1)")),
        (("--learning_rate", "-1"), ("--learning_rate -1", "0 or more")),
        (("--learning_rate", "nan"), ("--learning_rate nan", "0 or more")),
        (("--constant_epochs", "nan"), ("--constant_epochs nan",)),
        (("--nce_channels", "0"), ("--nce_channels 0", "above 0")),
        (("--nce_weight", "-1"), ("--nce_weight -1", "0 or more")),
        (("--ema_halflife_images", "-5"), ("--ema_halflife_images -5", "0 or more")),
        (("--initialization_gain", "0"), ("--initialization_gain 0", "above 0")),
        (("--constant_epochs", "0", "--decay_epochs", "0"), ("--total_images 0", "no epochs")),
        (
            ("--preprocess", "none", "--discriminator", "stylegan2"),
            ("--preprocess none", "a mode that crops"),
        ),
        (("--run_dir", "/proc/run"), ("--run_dir /proc/run", "another folder")),
        (("--run_dir", "/tmp/" + 300 * "x"), ("--run_dir", "another folder")),
    ],
)
def test_options_that_cannot_train(options, words, fails, tmp_path):
    if options[:2] == ("--device", "cuda") and torch.cuda.is_available():
        pytest.skip("there is a GPU")
    line = fails(train_cut, arguments(folders(tmp_path), tmp_path / "run", *options))
    assert all(word in line for word in words), line
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    "options", [("--preset", "cutt"), ("--batch_size", "x"), ("--no_such", "1")]
)
def test_what_the_parser_does_not_know(options, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["train_cut.py", *options])
    with pytest.raises(SystemExit) as end:
        cli.run(train_cut.main)
    assert end.value.code == 2
    assert options[0].lstrip("-").replace("_", "-") in capsys.readouterr().err.replace("_", "-")


def test_pictures_too_small_for_the_networks(fails, tmp_path):
    dataroot = folders(tmp_path, size=20)
    line = fails(train_cut, arguments(dataroot, tmp_path / "run", "--preprocess", "none"))
    assert "short side of 20 px" in line and "PatchGAN needs at least 32 px" in line


def test_ctrl_c_before_the_training_starts(monkeypatch, capsys):
    def interrupted(_):
        raise KeyboardInterrupt

    with pytest.raises(SystemExit) as end:
        cli.run(interrupted)
    assert end.value.code == 130 and capsys.readouterr().err == "interrupted\n"


def test_no_run_dir(fails, tmp_path):
    assert "--run_dir is missing" in fails(train_cut, ["--dataroot", folders(tmp_path)])


@pytest.fixture(scope="module")
def run_of_four(tmp_path_factory):
    folder = tmp_path_factory.mktemp("finished")
    train(folders(folder), folder / "run", "cut", "--total_images", "4", "--save_every", "2")
    return folder


@pytest.fixture
def finished_run(run_of_four, tmp_path):
    """The folder of the data, and that of a run, which a test may change."""
    shutil.copytree(run_of_four / "run", tmp_path / "run")
    shutil.rmtree(run_of_four / "data")  # of the test before; its place is part of the run
    return folders(run_of_four), tmp_path / "run"


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--base_channels", "8"), ("--base_channels", "4", "8")),
        (("--generator", "resnet_9blocks"), ("--generator", "resnet_6blocks", "resnet_9blocks")),
        (("--nce_weight", "2"), ("--nce_weight", "1.0", "2.0")),
        (("--seed", "1"), ("--seed",)),
    ],
)
def test_a_run_does_not_go_on_under_other_options(options, words, fails, finished_run):
    line = fails(train_cut, arguments(*finished_run, "--total_images", 8, *options))
    assert all(word in line for word in (*words, "--run_dir", "started with")), line
    assert states(finished_run[1], 4)


def test_a_run_does_not_go_on_with_other_data(fails, tmp_path):
    dataroot, run = folders(tmp_path), tmp_path / "run"
    train(dataroot, run, "cut", "--total_images", "4")
    other = tmp_path / "other"
    shutil.copytree(dataroot, other)
    line = fails(train_cut, arguments(other, run, "--total_images", 8))
    assert "--dataroot" in line and str(other) in line and str(dataroot) in line
    (dataroot / "trainA" / "0.png").rename(dataroot / "trainA" / "new.png")
    assert "the data (source)" in fails(train_cut, arguments(dataroot, run, "--total_images", 8))


def test_a_run_that_never_saved_takes_the_remedy(fails, tmp_path):
    dataroot, run = folders(tmp_path), tmp_path / "run"
    Image.new("RGB", (64, 32)).save(dataroot / "trainA" / "wide.png")
    more = ("--preprocess", "none", "--batch_size", 4, "--total_images", 8)
    assert "--batch_size 1" in fails(train_cut, arguments(dataroot, run, *more))
    more = ("--preprocess", "none", "--total_images", "2")
    train(dataroot, run, "cut", *more)
    assert states(run, 2)


HOLD_LOCK = """
import fcntl, sys
held = open(sys.argv[1], "w")
fcntl.lockf(held, fcntl.LOCK_EX)
print("held", flush=True)
sys.stdin.read()
"""


def test_two_processes_do_not_train_in_one_folder(fails, finished_run):
    dataroot, run = finished_run
    command = [sys.executable, "-c", HOLD_LOCK, str(run / ".lock")]
    holder = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert holder.stdout.readline() == "held\n"
    line = fails(train_cut, arguments(dataroot, run, "--total_images", 8))
    holder.communicate()
    assert "another process is training there" in line
    train(dataroot, run, "cut", "--total_images", "6")
    assert states(run, 6)


def test_a_folder_that_is_no_run_is_left_alone(fails, tmp_path):
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "letter.txt").write_text("dear")
    line = fails(train_cut, arguments(folders(tmp_path), tmp_path / "home"))
    assert "holds files but no run" in line
    assert [path.name for path in (tmp_path / "home").iterdir()] == ["letter.txt"]


def test_a_start_that_was_killed_at_once_does_not_lock_its_folder(tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / ".config.json.77.tmp").write_text("{")
    train(folders(tmp_path), tmp_path / "run", "cut", "--total_images", "2")
    assert states(tmp_path / "run", 2)
    assert not list((tmp_path / "run").rglob(".*.tmp"))


class RunsCode:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (open, (str(self.path), "w"))


def truncate(path):
    path.write_bytes(path.read_bytes()[:1000])


def randomise(path):
    path.write_bytes(bytes(range(256)) * 9)


def run_code(path):
    path.write_bytes(pickle.dumps(RunsCode(path.with_name("code-was-run"))))


@pytest.mark.parametrize("damage", [truncate, randomise, run_code])
def test_damaged_checkpoints(damage, fails, finished_run, capsys):
    dataroot, run = finished_run
    checkpoints = sorted((run / "checkpoints").iterdir())
    damage(checkpoints[-1])
    train(dataroot, run, "cut", "--total_images", "6")  # from the one before
    told = capsys.readouterr().err
    assert str(checkpoints[-1]) in told and "resumed at 2 images" in told
    assert {path.name for path in (run / "checkpoints").iterdir()} == {
        *("000000000002.pt", "000000000004.damaged", "000000000006.pt")
    }
    for path in (run / "checkpoints").glob("*.pt"):
        damage(path)
    line = fails(train_cut, arguments(dataroot, run, "--total_images", 8))
    assert "none of its" in line and str(run) in line
    assert not list(run.rglob("code-was-run"))


def test_a_full_disk_keeps_the_older_checkpoint(finished_run, command):
    dataroot, run = finished_run
    before = {path: path.read_bytes() for path in (run / "checkpoints").iterdir()}
    room = max(len(content) for content in before.values()) // 2
    finished = command(
        "train_cut.py", *arguments(dataroot, run, "--total_images", 8), file_bytes=room
    )
    line = finished.stderr.strip().splitlines()[-1]
    assert finished.returncode == 2, finished.stderr
    assert line.startswith("error: --run_dir") and "previous checkpoint is intact" in line
    assert {path: path.read_bytes() for path in (run / "checkpoints").iterdir()} == before
    assert command("train_cut.py", *arguments(dataroot, run, "--total_images", 8)).returncode == 0


def break_at(monkeypatch, images_seen, breakage):
    """Let `breakage(method, losses)` happen in the step that begins at `images_seen`."""
    step = train_cut.Cut.step

    def broken(method, batch, seen):
        losses = step(method, batch, seen)
        return breakage(method, losses) if seen == images_seen else losses

    monkeypatch.setattr(train_cut.Cut, "step", broken)


def nan_loss(_, losses):
    return losses | {"nce": torch.tensor(float("nan"))}


def nan_weight(method, losses):
    with torch.no_grad():
        next(method.generator.parameters()).view(-1)[0] = float("nan")
    return losses


@pytest.mark.parametrize(
    ("breakage", "words"),
    [
        (nan_loss, ("nce is not finite in the step after 3 images", "trainA", "trainB")),
        (nan_weight, ("generator.model.1.weight is not finite at 4 images",)),
    ],
)
def test_nan_stops_the_run_and_no_checkpoint_holds_it(
    breakage, words, fails, tmp_path, monkeypatch
):
    dataroot, run = folders(tmp_path), tmp_path / "run"
    break_at(monkeypatch, 3, breakage)
    options = ("--total_images", 20, "--save_every", 1, "--log_every", 50)
    line = fails(train_cut, arguments(dataroot, run, *options), code=1)
    assert all(word in line for word in words), line
    good = run / "checkpoints" / "000000000003.pt"
    assert f"the last good checkpoint is {good}" in line
    assert first_not_finite(training.read_checkpoint(good).states) is None
    monkeypatch.undo()
    train(dataroot, run, "cut", "--total_images", "5")  # and it goes on from there
    assert states(run, 5)


def out_of_memory(_method, _losses):
    raise torch.OutOfMemoryError(
        "CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of 8 GiB of "
        "which 1 GiB is free. Of the allocated memory 6 GiB is allocated by PyTorch"
    )


@pytest.mark.parametrize(("batch_size", "remedy"), [(1, "a smaller --crop_size"), (4, "size 2")])
def test_a_gpu_without_enough_memory_leaves_the_run_whole(
    batch_size, remedy, fails, tmp_path, monkeypatch
):
    dataroot, run = folders(tmp_path), tmp_path / "run"
    seen, total = 3 * batch_size, 5 * batch_size
    break_at(monkeypatch, seen, out_of_memory)
    options = ("--batch_size", batch_size, "--total_images", total, "--save_every", 1)
    line = fails(train_cut, arguments(dataroot, run, *options))
    words = [f"--batch_size: {batch_size} pictures", "Tried to allocate 2.00 GiB", remedy]
    words += [f"after {seen} images", "--precision bf16", "--accelerate off", f"{seen:012d}.pt"]
    assert all(word in line for word in words), line
    assert "Of the allocated" not in line
    monkeypatch.undo()
    train(dataroot, run, "cut", "--batch_size", str(batch_size), "--total_images", str(total))


def test_a_rate_that_explodes_ends_with_one_line(fails, tmp_path):
    options = ("--learning_rate", "1e20", "--total_images", 20, "--save_every", 1)
    line = fails(train_cut, arguments(folders(tmp_path), tmp_path / "run", *options), code=1)
    assert "is not finite" in line and "no checkpoint was saved before" in line


def test_one_unreadable_image_among_many_is_named_and_skipped(tmp_path, capsys):
    dataroot = folders(tmp_path, count=60, size=32)
    (dataroot / "trainA" / "7.png").write_text("hello")
    rarely = ("--nce_weight", "0", "--log_every", "30", "--preview_every", "60")
    train(dataroot, tmp_path / "run", "cut", "--total_images", "60", *rarely)
    told = capsys.readouterr().err.strip().splitlines()
    assert sum("7.png" in line for line in told) == 2  # when it is met, and at the end
    assert "skipped" in told[-1] and "7.png" in told[-1]
    assert states(tmp_path / "run", 60)


TRANSLATE = [
    (("--checkpoint", "/nowhere"), ("--checkpoint /nowhere", "no such file")),
    (("--input", "/nowhere"), ("--input /nowhere", "no such file or folder")),
    (("--output", "/dev/null/out"), ("--output /dev/null/out",)),
    (("--batch_size", "0"), ("--batch_size 0", "below 1")),
    (("--device", "cuda"), ("--device cuda", "0 GPUs")),
]


@pytest.mark.parametrize(("options", "words"), TRANSLATE)
def test_translations_that_cannot_be_made(options, words, fails, finished_run, tmp_path):
    if options[:2] == ("--device", "cuda") and torch.cuda.is_available():
        pytest.skip("there is a GPU")
    dataroot, run = finished_run
    given = {"--checkpoint": run, "--input": dataroot / "testA", "--output": tmp_path / "out"}
    given |= dict([options])
    line = fails(translate, [str(part) for pair in given.items() for part in pair])
    assert all(word in line for word in words), line
    assert not (tmp_path / "out").exists()


def test_translate_never_replaces_its_input(fails, finished_run):
    dataroot, run = finished_run
    picture = dataroot / "testA" / "0.png"
    before = picture.read_bytes()
    for output in (picture, picture.parent):
        line = fails(translate, ["--checkpoint", run, "--input", picture, "--output", output])
        assert "would replace the input" in line
    inside = dataroot / "testA" / "out"
    line = fails(translate, ["--checkpoint", run, "--input", dataroot, "--output", inside])
    assert "inside it" in line and picture.read_bytes() == before


def test_translating_into_the_input_folder_or_two_into_one_file(fails, finished_run):
    dataroot, run = finished_run
    folder = dataroot / "testA"
    line = fails(translate, ["--checkpoint", run, "--input", folder, "--output", folder])
    assert "is the input folder" in line
    Image.open(folder / "0.png").save(folder / "0.bmp")
    out = Path(folder.parent / "out")
    line = fails(translate, ["--checkpoint", run, "--input", folder, "--output", out])
    assert "0.bmp" in line and "0.png" in line and "rename" in line and not out.exists()


def test_unreadable_pictures_are_named_and_the_others_translated(fails, finished_run, tmp_path):
    dataroot, run = finished_run
    (dataroot / "testA" / "2.png").write_text("hello")
    out = tmp_path / "out"
    line = fails(translate, ["--checkpoint", run, "--input", dataroot / "testA", "--output", out])
    assert "1 of 5 pictures cannot be read" in line and "2.png" in line
    assert sorted(path.name for path in out.iterdir()) == ["0.png", "1.png", "3.png", "4.png"]
