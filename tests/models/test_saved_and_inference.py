"""The file that explains itself, and translation of any size."""

import json

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors import safe_open

from models import load_generator, save_generator, translate
from models.inference import _reflected
from models.resnet_generator import ResnetGenerator, ResnetSizes
from models.stylegan2 import Stylegan2Generator, Stylegan2GeneratorSizes


@pytest.mark.parametrize(
    "network",
    [
        ResnetGenerator(ResnetSizes(base_channels=4, blocks=6, norm="batch", dropout=True)),
        Stylegan2Generator(Stylegan2GeneratorSizes(base_channels=2, size_px=32)),
    ],
)
@torch.no_grad()
def test_a_saved_generator_comes_back_with_its_description(network, tmp_path):
    save_generator(tmp_path / "generator.safetensors", network, {"images_seen": 7})
    loaded, description = load_generator(tmp_path, "--checkpoint")
    assert loaded.sizes == network.sizes and description["images_seen"] == 7
    pictures = torch.rand(1, 3, 16, 16) * 2 - 1
    assert torch.equal(translate(loaded, pictures), translate(network, pictures))
    with safe_open(tmp_path / "generator.safetensors", "pt") as file:
        text = json.loads(file.metadata()["pairless"])
    assert text["value_range"] == [-1, 1] and text["architecture"] in ("resnet", "stylegan2")


class Identity(torch.nn.Module):
    """Stands for a generator that needs multiples of 4 and at least 16 px."""

    size_multiple, smallest_size_px = 4, 16

    def forward(self, x):
        assert x.shape[2] % 4 == 0 and x.shape[3] % 4 == 0 and min(x.shape[2:]) >= 16
        assert not self.training
        return x * 3


@settings(deadline=None)
@given(height=st.integers(1, 40), width=st.integers(1, 40))
def test_any_size_comes_out_as_it_went_in(height, width):
    pictures = torch.rand(2, 3, height, width) * 0.6 - 0.3
    assert torch.allclose(translate(Identity(), pictures), pictures * 3)


def test_values_are_clamped_and_the_mode_is_put_back():
    network = Identity().train()
    assert translate(network, torch.ones(1, 3, 16, 16)).max() == 1
    assert network.training


def test_borders_are_mirrored_without_repeating_the_border():
    assert _reflected(4, 8, torch.device("cpu")).tolist() == [2, 1, 0, 1, 2, 3, 2, 1]
    assert _reflected(2, 6, torch.device("cpu")).tolist() == [0, 1, 0, 1, 0, 1]
    assert _reflected(1, 4, torch.device("cpu")).tolist() == [0, 0, 0, 0]
