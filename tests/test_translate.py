"""translate.py run for real: folders, names, sizes, colour modes, rounding, official files."""

import numpy as np
import pytest
import torch
from PIL import Image

import data
import models
import translate
from errors import UserError
from models.resnet_generator import ResnetGenerator, ResnetSizes
from models.stylegan2 import Stylegan2Generator, Stylegan2GeneratorSizes
from models.unet import UnetGenerator, UnetSizes


@pytest.fixture
def network():
    random = torch.Generator().manual_seed(0)
    return models.initialize(
        ResnetGenerator(ResnetSizes(base_channels=4, blocks=6)), random, "normal", 0.2
    ).eval()


@pytest.fixture
def checkpoint(network, tmp_path):
    models.save_generator(tmp_path / "generator.safetensors", network, {})
    return tmp_path / "generator.safetensors"


def picture(width, height, mode="RGB"):
    levels = np.random.default_rng(width).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(levels).convert(mode)


def run(*arguments):
    translate.main([str(argument) for argument in arguments])


def test_a_folder_keeps_its_names_and_every_picture_its_size(checkpoint, network, tmp_path):
    source = tmp_path / "in"
    (source / "deep" / "er").mkdir(parents=True)
    sizes = {"a.png": (33, 17), "deep/b.JPG": (8, 50), "deep/er/c.webp": (64, 64), "d.tif": (5, 1)}
    for name, size in sizes.items():
        picture(*size).save(source / name)
    run("--checkpoint", checkpoint, "--input", source, "--output", tmp_path / "out")
    found = {}
    for path in (tmp_path / "out").rglob("*"):
        if path.is_file():
            with Image.open(path) as image:
                assert (image.format, image.mode) == ("PNG", "RGB")
                found[str(path.relative_to(tmp_path / "out"))] = image.size
    assert found == {name.rsplit(".", 1)[0] + ".png": size for name, size in sizes.items()}
    with torch.no_grad():
        pixels = data.to_tensor(data.decode_image(source / "deep" / "er" / "c.webp"))
        exact = (network(pixels[None])[0].clamp(-1, 1) + 1) * 127.5
    written = np.asarray(Image.open(tmp_path / "out" / "deep" / "er" / "c.png"))
    difference = np.abs(written - exact.permute(1, 2, 0).numpy())
    assert difference.max() <= 0.5 + 1e-3  # rounded; truncation would reach 1


@pytest.mark.parametrize("batch_size", [1, 3])
def test_the_batch_size_changes_nothing(batch_size, checkpoint, tmp_path):
    source = tmp_path / "in"
    source.mkdir()
    for number in range(4):
        picture(16, 16 + 4 * (number == 2)).save(source / f"{number}.png")
    for size in (1, batch_size):
        out = tmp_path / f"out{size}"
        run(*("--checkpoint", checkpoint, "--input", source, "--output", out, "--batch_size", size))
    for number in range(4):
        a, b = (
            np.asarray(Image.open(tmp_path / f"out{s}" / f"{number}.png")).astype(int)
            for s in (1, batch_size)
        )
        assert np.abs(a - b).max() <= 1


@pytest.mark.parametrize("mode", ["L", "P", "CMYK", "RGBA", "I;16"])
def test_colour_modes_are_read(mode, checkpoint, tmp_path):
    if mode == "I;16":
        Image.fromarray(np.full((16, 16), 40000, np.uint16)).save(tmp_path / "in.png")
    else:
        picture(16, 16, mode).save(tmp_path / ("in.tif" if mode == "CMYK" else "in.png"))
    (source,) = tmp_path.glob("in.*")
    run("--checkpoint", checkpoint, "--input", source, "--output", tmp_path / "out.png")
    assert Image.open(tmp_path / "out.png").size == (16, 16)


def test_one_file_into_a_file_or_a_folder(checkpoint, tmp_path):
    picture(16, 16).save(tmp_path / "in.jpg")
    run("--checkpoint", checkpoint, "--input", tmp_path / "in.jpg", "--output", tmp_path / "x.png")
    run("--checkpoint", checkpoint, "--input", tmp_path / "in.jpg", "--output", tmp_path / "folder")
    assert (tmp_path / "folder" / "in.png").read_bytes() == (tmp_path / "x.png").read_bytes()


def test_official_files_need_no_option(network, checkpoint, tmp_path):
    wrapped = {f"module.{name}": value for name, value in network.state_dict().items()}
    torch.save(wrapped, tmp_path / "latest_net_G.pth")
    picture(20, 30).save(tmp_path / "in.png")
    for name, file in (("ours", checkpoint), ("official", tmp_path / "latest_net_G.pth")):
        out = tmp_path / f"{name}.png"
        run("--checkpoint", file, "--input", tmp_path / "in.png", "--output", out)
    assert (tmp_path / "ours.png").read_bytes() == (tmp_path / "official.png").read_bytes()


def test_a_generator_with_injected_noise_gives_the_same_picture_twice(tmp_path):
    network = Stylegan2Generator(Stylegan2GeneratorSizes(base_channels=2, size_px=32))
    for name, weight in network.named_parameters():
        if name.endswith("noise.weight"):
            torch.nn.init.ones_(weight)
    models.save_generator(tmp_path / "generator.safetensors", network, {})
    picture(18, 18).save(tmp_path / "in.png")
    for name in ("a.png", "b.png"):
        run(
            *("--checkpoint", tmp_path, "--input", tmp_path / "in.png"),
            *("--output", tmp_path / name),
        )
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()


@pytest.fixture
def unet(tmp_path):
    """Return the official file of a small U-Net with batch norm and dropout."""
    random = torch.Generator().manual_seed(0)
    unet = UnetGenerator(UnetSizes(base_channels=2, halvings=6))
    models.initialize(unet, random, "normal", 0.2)
    models.save_official(tmp_path / "latest_net_G.pth", unet)
    return tmp_path / "latest_net_G.pth"


def translated(checkpoint, source, out, *more):
    run("--checkpoint", checkpoint, "--input", source, "--output", out, *more)
    paths = [path for path in out.rglob("*") if path.is_file()] if out.is_dir() else [out]
    return {path.stem: np.asarray(Image.open(path)) for path in paths}


def test_an_official_unet_translates_pictures_smaller_than_its_bottleneck(unet, tmp_path):
    picture(20, 30).save(tmp_path / "in.png")
    levels = translated(unet, tmp_path / "in.png", tmp_path / "out.png")["out"]
    network = models.load_generator(unet, "--checkpoint").network
    pixels = data.to_tensor(data.decode_image(tmp_path / "in.png"))
    exact = (models.translate(network, pixels[None])[0] + 1) * 127.5
    assert levels.shape == (30, 20, 3) and levels.std() > 1
    assert np.abs(levels - exact.permute(1, 2, 0).numpy()).max() <= 0.5 + 1e-3


def test_batch_statistics_of_a_picture_depend_on_nothing_but_it_its_name_and_the_seed(
    unet, tmp_path
):
    source = tmp_path / "in"
    source.mkdir()
    for number in range(3):
        picture(64, 48).save(source / f"{number}.png")  # the same picture under three names
    paper = "--batch_statistics"
    alone = translated(unet, source, tmp_path / "a", paper)
    together = translated(unet, source, tmp_path / "b", paper, "--batch_size", 3)
    reseeded = translated(unet, source, tmp_path / "c", paper, "--seed", 1)
    plain = translated(unet, source, tmp_path / "d")
    single = translated(unet, source / "1.png", tmp_path / "e.png", paper)["e"]
    assert all(np.array_equal(alone[name], together[name]) for name in ("0", "1", "2"))
    assert np.array_equal(alone["1"], single)  # whatever stands beside it
    assert not np.array_equal(alone["0"], alone["1"])  # each has its own dropout
    assert not np.array_equal(alone["1"], reseeded["1"])
    assert np.array_equal(plain["0"], plain["1"]) and not np.array_equal(plain["0"], alone["0"])


def test_a_run_that_learns_both_ways_translates_in_the_direction_asked_for(network, tmp_path):
    models.save_generator(tmp_path / "generator_a2b.safetensors", network, {})
    with torch.no_grad():
        next(reversed([*network.parameters()])).fill_(9)  # the last bias: all white
    models.save_generator(tmp_path / "generator_b2a.safetensors", network, {})
    picture(16, 16).save(tmp_path / "in.png")
    source, out = tmp_path / "in.png", tmp_path / "out.png"
    assert translated(tmp_path, source, out, "--direction", "b2a")["out"].min() == 255
    assert translated(tmp_path, source, out, "--direction", "a2b")["out"].min() < 255
    with pytest.raises(UserError, match="--checkpoint .*`direction` a2b or b2a"):
        translated(tmp_path, source, out)


def test_options_that_do_not_fit_are_named(checkpoint, tmp_path):
    picture(16, 16).save(tmp_path / "in.png")
    source, out = tmp_path / "in.png", tmp_path / "out.png"
    with pytest.raises(UserError, match="`direction` a2b: .*leave it out"):
        translated(checkpoint, source, out, "--direction", "a2b")
    with pytest.raises(UserError, match="--seed -1: below 0"):
        translated(checkpoint, source, out, "--batch_statistics", "--seed", "-1")
    unexplained = UnetGenerator(UnetSizes(in_channels=5, base_channels=1, halvings=5))
    models.save_official(tmp_path / "five.pth", unexplained)
    with pytest.raises(UserError, match="--checkpoint: its generator has 5 source channels"):
        translated(tmp_path / "five.pth", source, out)
    with pytest.raises(
        UserError, match="--output .*out.png: names a file, and --input is a folder"
    ):
        run("--checkpoint", checkpoint, "--input", tmp_path, "--output", out)
    assert not out.exists()


def test_translations_that_are_not_finite_are_refused(network, tmp_path):
    torch.nn.init.constant_(network.model[-2].bias, float("nan"))
    models.save_generator(tmp_path / "nan.safetensors", network, {})
    picture(16, 16).save(tmp_path / "in.png")
    with pytest.raises(
        UserError, match="--checkpoint .*nan.safetensors: .*not finite.*give another"
    ):
        translated(tmp_path / "nan.safetensors", tmp_path / "in.png", tmp_path / "out.png")
    assert not (tmp_path / "out.png").exists()
