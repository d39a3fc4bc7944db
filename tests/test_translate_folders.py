"""translate.py on folders: batches, reading and writing at the same time, --resume, --side."""

import re
import threading

import numpy as np
import pytest
import torch
from PIL import Image

import data
import evaluate
import models
import translate
from commands import pictures
from commands.translation import batching
from commands.translation.threads import in_threads
from errors import UserError
from models.resnet_generator import ResnetGenerator, ResnetSizes
from models.unet import UnetGenerator, UnetSizes

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def network():
    random = torch.Generator().manual_seed(0)
    network = ResnetGenerator(ResnetSizes(base_channels=2, blocks=1))
    return models.initialize(network, random, "normal", 0.2).eval()


@pytest.fixture(scope="module")
def checkpoint(network, tmp_path_factory):
    path = tmp_path_factory.mktemp("run") / "generator.safetensors"
    models.save_generator(path, network, {})
    return path


@pytest.fixture
def folder(tmp_path):
    """Twelve pictures of two sizes in turn, two of them in a subfolder."""
    (tmp_path / "in" / "deep").mkdir(parents=True)
    random = np.random.default_rng(0)
    for number in range(12):
        size = (16, 20 + 4 * (number % 2), 3)
        where = tmp_path / "in" / ("deep" if number > 9 else "")
        levels = random.integers(0, 256, size, dtype=np.uint8)
        Image.fromarray(levels).save(where / f"{number}.png")
    return tmp_path / "in"


@pytest.fixture
def two_threads():
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(threads)


def run(checkpoint, source, out, *more):
    translate.main(
        [
            str(argument)
            for argument in ("--checkpoint", checkpoint, "--input", source, "--output", out, *more)
        ]
    )
    return levels_in(out)


def levels_in(folder):
    return {
        path.relative_to(folder).as_posix(): np.asarray(Image.open(path)).astype(int)
        for path in sorted(folder.rglob("*.png"))
        if not path.relative_to(folder).parts[0].startswith(".")
    }


def page_of(folder):
    """The gallery's page without the numbers of its thumbnails."""
    return re.sub(r"\d{6}", "", (folder / "index.html").read_text())


def test_batches_and_threads_change_nothing(checkpoint, folder, two_threads, tmp_path):
    plain = run(checkpoint, folder, tmp_path / "plain", "--workers", 0)
    assert plain.keys() == levels_in(folder).keys()
    for number, more in enumerate([("--batch_size", "auto"), ("--batch_size", 3, "--workers", 0)]):
        found = run(checkpoint, folder, tmp_path / str(number), *more)
        assert found.keys() == plain.keys()
        for name, levels in found.items():
            assert np.abs(levels - plain[name]).max() <= 1
    assert torch.get_num_threads() == 2


def test_equal_sizes_are_batched_and_memory_limits_them(network, folder, monkeypatch, two_threads):
    files = data.list_images(folder, "--input")
    memory = models.PassMemory(network).bytes_of(24, 16)
    widths = [data.header_size(path)[0] for path in files]

    def planned(free, size="auto"):
        monkeypatch.setattr(batching, "free_bytes", lambda device: free)
        return batching.plan_batches(files, network, size, halves=False)

    ample = planned(1000 * memory)
    assert sorted(ample.order) == [*range(12)]
    assert [widths[place] for place in ample.order] == 6 * [widths[0]] + 6 * [widths[1]]
    assert (ample.passes, {*ample.most.values()}) == (2, {3})  # half of six pictures for each
    assert planned(9 * memory).most[24, 16] == 2
    scarce = planned(memory)
    assert (scarce.passes, {*scarce.most.values()}) == (1, {1})
    assert {*planned(1000 * memory, 5).most.values()} == {5}


def test_a_pass_takes_what_its_largest_layer_takes(network):
    memory = models.PassMemory(network)
    # the norm at full size with 4 channels in and out, and twice that
    assert memory.bytes_of(64, 64) == 2 * (4 + 4) * 4 * 64 * 64
    assert memory.bytes_of(128, 64) == 2 * memory.bytes_of(64, 64)
    assert memory.bytes_of(1, 1) == memory.bytes_of(16, 16)


def test_resume_leaves_out_what_is_there_and_whole(checkpoint, folder, tmp_path, capsys):
    out = tmp_path / "out"
    whole = run(checkpoint, folder, out, "--gallery")
    page = page_of(out)
    (out / "0.png").unlink()
    (out / "1.png").write_bytes((out / "1.png").read_bytes()[:-9])
    Image.new("RGB", (5, 5)).save(out / "2.png")
    Image.new("RGB", (24, 16)).save(out / "3.png")  # whole: kept, whatever it shows
    capsys.readouterr()
    resumed = run(checkpoint, folder, out, "--gallery", "--resume")
    assert "3 pictures written" in capsys.readouterr().err
    assert page_of(out) == page  # all pictures, in the same order
    assert resumed["3.png"].max() == 0
    for name, levels in resumed.items():
        assert name == "3.png" or np.array_equal(levels, whole[name])
    assert run(checkpoint, folder, out, "--resume").keys() == whole.keys()
    assert "0 pictures written" in capsys.readouterr().err


@pytest.mark.parametrize("side", ["A", "B"])
def test_a_half_of_side_by_side_pictures(side, checkpoint, folder, tmp_path):
    joined, halves = tmp_path / "joined", tmp_path / "halves"
    joined.mkdir()
    halves.mkdir()
    paths = [folder / "0.png", folder / "2.png"]
    left, right = (np.asarray(Image.open(path)) for path in paths)
    Image.fromarray(np.concatenate([left, right], 1)).save(joined / "x.png")
    Image.fromarray(left if side == "A" else right).save(halves / "x.png")
    found = run(checkpoint, joined, tmp_path / "out", "--side", side)
    expected = run(checkpoint, halves, tmp_path / "expected")
    assert found.keys() == {"x.png"} and np.array_equal(found["x.png"], expected["x.png"])
    before = (tmp_path / "out" / "x.png").stat().st_mtime_ns
    run(checkpoint, joined, tmp_path / "out", "--side", side, "--resume")
    assert (tmp_path / "out" / "x.png").stat().st_mtime_ns == before


@pytest.mark.parametrize(("width", "notes"), [(24, 1), (32, 1), (36, 0)])
def test_a_note_tells_of_pictures_that_do_not_look_like_two(
    width, notes, checkpoint, tmp_path, capsys
):
    (tmp_path / "in").mkdir()
    for number in range(2):
        Image.new("RGB", (width, 24)).save(tmp_path / "in" / f"{number}.png")
    run(checkpoint, tmp_path / "in", tmp_path / "out", "--side", "B")
    assert capsys.readouterr().err.count("note: --side B: only the right half of each") == notes


def test_what_cannot_be_read_or_written_is_named(checkpoint, folder, fails, tmp_path):
    (folder / "4.png").write_bytes((folder / "4.png").read_bytes()[:90])
    out = tmp_path / "out"
    arguments = ["--checkpoint", checkpoint, "--input", folder, "--output", out]
    line = fails(translate, [*arguments, "--batch_size", "auto"])
    assert "1 of 12 pictures cannot be read" in line and "4.png" in line
    assert len(levels_in(out)) == 11
    line = fails(translate, [*arguments, "--side", "A", "--input", folder])
    assert "4.png" in line
    (out / "5.png").unlink()
    (out / "5.png").mkdir()
    line = fails(translate, arguments)
    assert "--output" in line and "5.png: cannot be written" in line
    for option in ("--batch_size", "--workers"):
        assert f"{option} -1" in fails(translate, [*arguments, option, -1])


def test_a_side_by_side_picture_of_odd_width(checkpoint, fails, tmp_path):
    Image.new("RGB", (33, 16)).save(tmp_path / "in.png")
    arguments = ("--input", tmp_path / "in.png", "--output", tmp_path / "out.png", "--side", "A")
    line = fails(translate, ["--checkpoint", checkpoint, *arguments])
    assert "in.png" in line and "width 33 px is odd" in line


def test_evaluate_measures_the_pictures_of_batch_statistics(folder, tmp_path, result_of):
    random = torch.Generator().manual_seed(0)
    unet = models.initialize(UnetGenerator(UnetSizes(base_channels=2, halvings=5)), random)
    path = tmp_path / "latest_net_G.pth"
    models.save_official(path, unet)
    paper = ("--batch_statistics", "--seed", 3)
    written = run(path, folder, tmp_path / "out", *paper)
    files = pictures.file_pictures("these", data.list_images(folder, ""), folder, 0, data.RGB)
    network = models.load_generator(path).network
    made = pictures.TranslatedPictures("", files, network, CPU, batch_statistics=True, seed=3)
    for found in made.read(range(12)):
        levels = written[f"{files.names[found.index]}.png"]
        assert np.array_equal(found.pixels.permute(1, 2, 0).numpy(), levels)
    measured = ("--real", folder, "--metrics", "l1", "--workers", 0)
    result, _ = result_of(evaluate, *measured, "--checkpoint", path, "--source", folder, *paper)
    assert (result["batch_statistics"], result["seed"], result["n_fake"]) == (True, 3, 12)


def test_evaluate_has_batch_statistics_for_translations_only(folder, fails, tmp_path):
    arguments = ["--real", folder, "--fake", tmp_path, "--metrics", "swd", "--batch_statistics"]
    assert "--batch_statistics: is for the translations of --source" in fails(evaluate, arguments)


def test_threads_keep_the_order_and_end_with_the_first_error():
    taken, both = [], threading.Barrier(2, timeout=60)

    def items():
        for number in range(100):
            taken.append(number)
            yield number

    def worked(number):
        if number < 2:
            both.wait()  # passes only if two run at the same time
        if number == 5:
            raise ValueError("five")
        return 10 * number

    results = in_threads(worked, items(), 2)
    assert [next(results) for _ in range(5)] == [0, 10, 20, 30, 40]
    with pytest.raises(ValueError, match="five"):
        next(results)
    assert len(taken) <= 10


def test_an_error_in_writing_ends_the_passes_too(
    checkpoint, folder, two_threads, tmp_path, monkeypatch
):
    threads_before = threading.active_count()
    monkeypatch.setattr(batching, "free_bytes", lambda device: 2**40)  # enough for two passes
    (tmp_path / "out" / "0.png").mkdir(parents=True)
    with pytest.raises(UserError, match=r"0\.png: cannot be written") as held:
        run(checkpoint, folder, tmp_path / "out", "--workers", 0)
    assert threading.active_count() == threads_before  # although the error holds every frame
    assert held.value.__traceback__
