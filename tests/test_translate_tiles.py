"""translate.py --tile: large pictures read in parts, translated in tiles, written band by band."""

import shutil
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import tifffile
import torch
from PIL import Image

import data
import models
import training
import translate
from commands import cli
from models.resnet_generator import ResnetGenerator, ResnetSizes
from models.unet import UnetGenerator, UnetSizes


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    network = ResnetGenerator(ResnetSizes(base_channels=4, blocks=2))
    models.initialize(network, torch.Generator().manual_seed(0), "normal", 0.2)
    path = tmp_path_factory.mktemp("run") / "generator.safetensors"
    models.save_generator(path, network, {})
    return path


@pytest.fixture
def source(tmp_path):
    """Return a TIFF in strips of 16 rows."""
    levels = np.random.default_rng(0).integers(0, 256, (83, 131, 3), dtype=np.uint8)
    tifffile.imwrite(tmp_path / "in.tif", levels, photometric="rgb", rowsperstrip=16)
    return tmp_path / "in.tif"


def run(checkpoint, source, out, *more):
    arguments = ("--checkpoint", checkpoint, "--input", source, "--output", out, *more)
    translate.main([str(argument) for argument in arguments])
    return np.asarray(Image.open(out)) if out.is_file() else None


@pytest.mark.numeric
@pytest.mark.parametrize("memory_gb", [4, 1e-5])
def test_tiles_give_the_picture_that_the_whole_gives(memory_gb, checkpoint, source, tmp_path):
    whole = run(checkpoint, source, tmp_path / "whole.png")
    for ending in ("png", "tif"):
        out = tmp_path / f"{memory_gb}.{ending}"
        tiled = run(checkpoint, source, out, "--tile", 40, "--memory_gb", memory_gb)
        difference = np.abs(tiled.astype(int) - whole)
        assert difference.max() <= 1 and difference.mean() < 0.01
    with tifffile.TiffFile(out) as file:
        assert file.is_bigtiff and file.pages[0].is_tiled and file.pages[0].photometric == 2


@pytest.mark.numeric
def test_channels_and_bits_are_kept(tmp_path):
    for channels, bits, mode in ((1, 8, "L"), (1, 16, "I;16"), (4, 8, "RGBA")):
        network = UnetGenerator(UnetSizes(channels, channels, base_channels=2, halvings=5))
        models.initialize(network, torch.Generator().manual_seed(0), "normal", 0.2)
        content = data.Content(channels=channels, bits=bits).describe()
        run_dir = tmp_path / mode.replace(";", "")
        run_dir.mkdir()
        about = {"source": content, "target": content}
        models.save_generator(run_dir / "generator.safetensors", network, about)
        levels = np.random.default_rng(0).integers(0, 2**bits, (50, 40, channels))
        levels = levels.astype(f"uint{bits}").squeeze()
        Image.fromarray(levels).save(run_dir / "in.png")
        whole = run(run_dir, run_dir / "in.png", run_dir / "whole.png")
        for ending in ("png", "tif"):
            tiled = run(run_dir, run_dir / "in.png", run_dir / f"out.{ending}", "--tile", 32)
            assert Image.open(run_dir / f"out.{ending}").mode == mode
            assert np.abs(tiled.astype(int) - whole).max() <= 1


def test_a_folder_is_translated_and_the_size_of_what_waits_told(
    checkpoint, source, tmp_path, capsys, fails
):
    folder = tmp_path / "folder"
    (folder / "deep").mkdir(parents=True)
    shutil.move(source, folder / "deep" / "a.tif")
    Image.new("RGB", (20, 30)).save(folder / "b.jpg")
    (folder / "c.png").write_bytes(b"no picture")
    arguments = ("--checkpoint", checkpoint, "--input", folder, "--output", tmp_path / "out")
    line = fails(translate, [*arguments, "--tile", 32, "--statistics", "thumbnail"])
    assert "1 of 3 pictures cannot be read" in line and "c.png (not an image" in line
    written = sorted(path for path in (tmp_path / "out").rglob("*") if path.is_file())
    assert [path.name for path in written] == ["b.png", "a.png"]
    run(checkpoint, folder / "b.jpg", tmp_path / "b.png", "--tile", 32)
    told = capsys.readouterr().err
    assert "b.jpg: 20 x 30 px; 12 tiles in" in told and "GB of temporary files in" in told


BAD = {
    "--tile 15: ResnetGenerator needs tiles of at least 16 px; give 16 or more": ("--tile", 15),
    "--tile -1: below 0": ("--tile", -1),
    "--statistics thumbnail: has no effect without --tile": ("--statistics", "thumbnail"),
    "--memory_gb 1.0: has no effect without --tile": ("--memory_gb", 1),
    "--memory_gb nan: give a number 0 or more": ("--tile", 32, "--memory_gb", "nan"),
    "--memory_gb 1e+09: more than this machine's": ("--tile", 32, "--memory_gb", 1e9),
    "--tile 32: not together with --batch_statistics": ("--tile", 32, "--batch_statistics"),
    "--tile 32: not together with --gallery": ("--tile", 32, "--gallery"),
    "--tile 32: not together with --side": ("--tile", 32, "--side", "A"),
    "--tile 32: not together with --batch_size": ("--tile", 32, "--batch_size", "auto"),
}


@pytest.mark.parametrize("message", BAD)
def test_options_that_do_not_fit_are_named(message, checkpoint, source, tmp_path, fails):
    arguments = ("--checkpoint", checkpoint, "--input", source, "--output", tmp_path / "out")
    assert message in fails(translate, [*arguments, *BAD[message]])
    assert not (tmp_path / "out").exists()


def test_other_statistics_want_a_generator_with_instance_norm(source, tmp_path, fails):
    network = ResnetGenerator(ResnetSizes(base_channels=1, blocks=1, norm="none"))
    models.save_generator(tmp_path / "plain.safetensors", network, {})
    arguments = ("--checkpoint", tmp_path / "plain.safetensors", "--input", source, "--tile", 32)
    out = tmp_path / "out.png"
    line = fails(translate, [*arguments, "--output", out, "--statistics", "interpolated"])
    assert "--statistics interpolated: this generator has no instance norm" in line
    assert not out.exists()
    translate.main([str(argument) for argument in (*arguments, "--output", out)])
    assert Image.open(out).size == (131, 83)


def test_endings_that_no_encoder_serves_are_named(checkpoint, source, tmp_path, fails):
    arguments = ["--checkpoint", checkpoint, "--input", source, "--output"]
    for ending, more, remedy in (
        (".tif", (), "PNG or, with --tile, TIFF; end it with .png"),
        (".jpg", ("--tile", 32), "PNG or TIFF; end it with .png or .tif or .tiff"),
    ):
        out = tmp_path / f"out{ending}"
        assert f"--output {out}: pictures are written as {remedy}" in fails(
            translate, [*arguments, out, *more]
        )


def test_only_tiles_open_more_pixels_than_pillow_does(
    checkpoint, source, tmp_path, fails, monkeypatch
):
    picture, out = tmp_path / "in.png", tmp_path / "out.png"
    Image.open(source).save(picture)
    arguments = ["--checkpoint", checkpoint, "--input", picture, "--output", out]
    with monkeypatch.context() as limited:
        limited.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
        assert "decompression bomb" in fails(translate, arguments) and not out.exists()
        translate.main([str(argument) for argument in [*arguments, "--tile", 64]])
    assert Image.open(out).size == (131, 83)
    monkeypatch.setattr(data.large, "MOST_PIXELS_AT_ONCE", 10_000)
    line = fails(translate, [*arguments, "--tile", 64])
    assert "131 x 83 px to be decoded at once" in line and "save it as a tiled TIFF" in line
    assert run(checkpoint, source, out, "--tile", 64).shape[0] == 83  # in strips


def test_a_disk_without_room_is_told_before_anything_is_computed(
    checkpoint, source, tmp_path, fails, monkeypatch
):
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=50_000))
    out = tmp_path / "out.png"
    arguments = ("--checkpoint", checkpoint, "--input", source, "--output", out, "--tile", 32)
    line = fails(translate, [*arguments, "--memory_gb", 0])
    assert f"--output {out}: translating {source} needs 0.00 GB for the output" in line
    assert [path.name for path in tmp_path.iterdir()] == ["in.tif"]


@pytest.mark.parametrize("file_bytes", [20_000, 60_000])
def test_a_disk_that_fills_up_leaves_nothing(file_bytes, command, checkpoint, source, tmp_path):
    """At first with the picture's own levels, then with the first map that waits."""
    arguments = ("--checkpoint", checkpoint, "--input", source, "--output", tmp_path / "out.tif")
    done = command(
        "translate.py", *arguments, "--tile", 32, "--memory_gb", 0, file_bytes=file_bytes
    )
    assert done.returncode == 2, done.stderr
    assert "out.tif: cannot be written (File too large)" in done.stderr.splitlines()[-1]
    assert [path.name for path in tmp_path.iterdir()] == ["in.tif"]


@pytest.mark.parametrize("tiles", [3, 71])  # in the first pass, and in the last, of 72 tiles
def test_an_interrupt_leaves_nothing(tiles, checkpoint, source, tmp_path, monkeypatch, capsys):
    advance, done = training.LiveLine.advance, []

    def interrupted(line, count):
        done.append(count)
        if len(done) == tiles:
            raise KeyboardInterrupt
        advance(line, count)

    monkeypatch.setattr(training.LiveLine, "advance", interrupted)
    out = tmp_path / "out.png"
    arguments = ("--checkpoint", checkpoint, "--input", source, "--output", out, "--tile", 64)
    monkeypatch.setattr(sys, "argv", ["translate.py", *map(str, arguments), "--memory_gb", "0"])
    with pytest.raises(SystemExit) as end:
        cli.run(translate.main)
    assert end.value.code == 130 and "interrupted" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["in.tif"]


@pytest.mark.parametrize("ending", ["png", "tif"])
def test_resume_leaves_out_what_is_there(ending, checkpoint, source, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    out = tmp_path / f"out.{ending}"
    arguments = ("--checkpoint", checkpoint, "--input", source, "--output", out, "--tile", 64)
    for told in ("1 picture written", "0 pictures written"):
        translate.main([str(argument) for argument in (*arguments, "--resume")])
        assert told in capsys.readouterr().err
    Image.new("RGB", (131, 82)).save(out)
    translate.main([str(argument) for argument in (*arguments, "--resume")])
    assert "1 picture written" in capsys.readouterr().err
