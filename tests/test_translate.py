"""translate.py run for real: folders, names, sizes, colour modes, rounding, official files."""

import numpy as np
import pytest
import torch
from PIL import Image

import data
import models
import translate
from models.resnet_generator import ResnetGenerator, ResnetSizes
from models.stylegan2 import Stylegan2Generator, Stylegan2GeneratorSizes


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
