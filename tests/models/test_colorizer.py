"""Colours from lightness: the conversion against CIE's formulas; our files and official ones."""

import json

import numpy as np
import pytest
import torch
from safetensors import safe_open

import export
from models import (
    initialize,
    join_lab,
    load_generator,
    save_generator,
    save_official,
    split_lab,
    translate,
)
from models.colorizer import Colorizer
from models.unet import UnetGenerator, UnetSizes

SIZES = UnetSizes(in_channels=1, out_channels=2, base_channels=2, halvings=5)


def drawn(kind, sizes=SIZES, gain=0.2):
    random = torch.Generator().manual_seed(0)
    return initialize(kind(sizes), random, "normal", gain).eval()


def all_colours(steps=18):
    """A grid over all RGB colours with both ends, as a picture in [-1, 1]."""
    levels = torch.linspace(-1, 1, steps)
    return torch.cartesian_prod(levels, levels, levels).T.reshape(1, 3, steps, steps * steps)


def lab_as_cie_writes_it(pictures):
    """IEC 61966-2-1 to linear light and XYZ (D65), CIE 15:2004 to Lab; float64."""
    rgb = (pictures.double().numpy() + 1) / 2
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    to_xyz = np.array(
        [
            [0.4124564, 0.3575761, 0.1804375],
            [0.2126729, 0.7151522, 0.0721750],
            [0.0193339, 0.1191920, 0.9503041],
        ]
    )
    white = np.array([0.95047, 1.0, 1.08883]).reshape(1, 3, 1, 1)
    ratio = np.einsum("ij,bjhw->bihw", to_xyz, linear) / white
    delta = 6 / 29
    f = np.where(ratio > delta**3, np.cbrt(ratio), ratio / (3 * delta**2) + 4 / 29)
    x, y, z = f[:, 0], f[:, 1], f[:, 2]
    return np.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], axis=1)


def test_lightness_and_colours_are_those_of_cie_in_the_official_scale():
    pictures = all_colours()
    lightness, colours = split_lab(pictures)
    lab = lab_as_cie_writes_it(pictures)
    found = torch.cat([(lightness + 1) * 50, colours * 110], dim=1).numpy()
    assert lightness.shape[1] == 1 and colours.shape[1] == 2
    assert np.abs(found - lab).max() < 0.02
    assert np.abs(lab[:, 1:]).max() > 100  # the grid has strong colours
    assert -1 <= lightness.min() < -0.999 and 0.999 < lightness.max() <= 1.0001
    assert colours.abs().max() < 1  # what a tanh can reach


@pytest.mark.parametrize(
    ("colour", "lab"),
    [  # published values of sRGB's corners under D65
        ((1, 1, 1), (100, 0, 0)),
        ((-1, -1, -1), (0, 0, 0)),
        ((1, -1, -1), (53.24, 80.09, 67.20)),
        ((-1, 1, -1), (87.73, -86.18, 83.18)),
        ((-1, -1, 1), (32.30, 79.19, -107.86)),
    ],
)
def test_the_corners_of_rgb_have_their_published_places(colour, lab):
    lightness, colours = split_lab(torch.tensor(colour).float().view(1, 3, 1, 1))
    found = [(lightness.item() + 1) * 50, *(colours.flatten() * 110).tolist()]
    assert found == pytest.approx(lab, abs=0.05)


def test_split_and_joined_a_picture_is_what_it_was():
    pictures = all_colours()
    error = (join_lab(*split_lab(pictures)) - pictures).abs() / 2
    assert error.max() < 1 / 255


def test_half_precision_loses_nothing_in_the_conversion():
    pictures = all_colours(6).bfloat16()
    lightness, colours = split_lab(pictures)
    assert lightness.dtype == colours.dtype == torch.float32
    assert join_lab(lightness.bfloat16(), colours.bfloat16()).dtype == torch.float32
    error = (join_lab(lightness, colours) - pictures.float()).abs() / 2
    assert error.max() < 1 / 255


def test_colours_that_rgb_does_not_have_are_cut_off():
    joined = join_lab(torch.full((1, 1, 2, 2), 0.9), torch.full((1, 2, 2, 2), 0.99))
    assert joined.min() >= -1 and joined.max() <= 1


@torch.no_grad()
def test_only_the_lightness_of_the_input_is_looked_at():
    network = drawn(Colorizer)
    pictures = torch.rand(2, 3, 32, 64, generator=torch.Generator().manual_seed(1)) * 2 - 1
    lightness, colours = split_lab(pictures)
    output = network(pictures)
    assert output.shape == pictures.shape
    expected = join_lab(lightness, network.colours(lightness))
    assert torch.equal(output, expected)
    grey = join_lab(lightness, torch.zeros_like(colours))
    assert torch.allclose(network(grey), output, atol=0.02)
    assert network.colours(lightness).std() > 0.01
    assert not torch.allclose(output, grey, atol=0.02)


@torch.no_grad()
def test_the_colours_are_those_of_the_official_unet_of_one_channel_to_two():
    unet, lightness = drawn(UnetGenerator), torch.rand(1, 1, 32, 32) * 2 - 1
    colorizer = Colorizer(SIZES)
    colorizer.load_state_dict(unet.state_dict())
    assert torch.equal(colorizer.eval().colours(lightness), unet(lightness))


def test_an_official_file_of_one_channel_to_two_is_read_as_a_colorizer(tmp_path):
    unet = drawn(UnetGenerator)
    save_official(tmp_path / "latest_net_G.pth", unet)
    loaded, description = load_generator(tmp_path / "latest_net_G.pth", "`checkpoint`")
    assert type(loaded) is Colorizer and loaded.sizes == SIZES and description == {}
    assert (loaded.in_channels, loaded.out_channels) == (3, 3)
    for name, value in unet.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], value)
    pictures = torch.rand(1, 3, 20, 50, generator=torch.Generator().manual_seed(2)) * 2 - 1
    translated = translate(loaded, pictures)
    difference = split_lab(translated)[0] - split_lab(pictures)[0]
    assert translated.shape == pictures.shape and difference.abs().median() < 1e-3


def test_any_other_unet_stays_a_unet(tmp_path):
    for channels in ((3, 3), (2, 1), (1, 3), (1, 1)):
        sizes = UnetSizes(*channels, base_channels=1, halvings=5)
        save_official(tmp_path / "g.pth", UnetGenerator(sizes))
        assert type(load_generator(tmp_path / "g.pth", "`checkpoint`").network) is UnetGenerator


def test_saved_and_loaded_it_colours_as_before(tmp_path):
    network = drawn(Colorizer)
    save_generator(tmp_path / "generator.safetensors", network, {"images_seen": 3})
    loaded, description = load_generator(tmp_path, "`checkpoint`")
    assert type(loaded) is Colorizer and loaded.sizes == SIZES
    assert description["images_seen"] == 3
    with safe_open(tmp_path / "generator.safetensors", "pt") as file:
        assert json.loads(file.metadata()["pairless"])["architecture"] == "colorizer"
    pictures = torch.rand(1, 3, 40, 30, generator=torch.Generator().manual_seed(3)) * 2 - 1
    assert torch.equal(translate(loaded, pictures), translate(network, pictures))


def test_exported_it_is_the_official_network(tmp_path):
    network = drawn(Colorizer)
    save_generator(tmp_path / "generator.safetensors", network, {})
    output = tmp_path / "latest_net_G.pth"
    export.main(["--format", "official", "--checkpoint", str(tmp_path), "--output", str(output)])
    written = torch.load(output, weights_only=True)
    official = UnetGenerator(SIZES)
    assert written.keys() == official.state_dict().keys()
    official.load_state_dict(written)
    assert official.model.model[0].in_channels == 1
    assert all(torch.equal(value, network.state_dict()[name]) for name, value in written.items())
