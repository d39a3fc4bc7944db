"""Convolutions by Winograd's method against direct ones, and which are replaced."""

import pytest
import torch
from torch import nn

import models
from models import winograd
from models.resnet_generator import ResnetGenerator, ResnetSizes
from tests.training_runs import noise

LIMIT = 1e-4  # of the largest output; a float32 convolution of so few products errs by about 1e-6


@pytest.mark.parametrize("size", [(3, 3), (6, 6), (7, 12), (13, 5)])
@pytest.mark.parametrize("padding", [0, 1])
@pytest.mark.parametrize("bias", [False, True])
def test_is_a_convolution(size, padding, bias):
    torch.manual_seed(0)
    convolution = nn.Conv2d(5, 7, 3, padding=padding, bias=bias)
    x = noise(2, 5, *size)
    expected = convolution.double()(x.double())
    found = winograd.WinogradConvolution(convolution.float())(x)
    assert found.shape == expected.shape
    assert (found - expected).abs().max() <= LIMIT * expected.abs().max()


def test_replaces_wide_ones_and_the_network_translates_as_before(monkeypatch):
    network = ResnetGenerator(ResnetSizes(base_channels=4, blocks=2))
    models.initialize(network, torch.Generator().manual_seed(0), "normal", 0.2)
    pictures = noise(2, 3, 30, 18)
    before = models.translate(network, pictures)
    models.use_winograd(network)
    assert not replaced(network)
    monkeypatch.setattr(winograd, "FEWEST_CHANNELS", 8)
    models.use_winograd(network)
    # two in each block, 8 to 16 of the way down, 16 to 8 of the way up
    assert [tuple(one.weight.shape[:2]) for one in replaced(network)] == [
        (16, 8),
        *4 * [(16, 16)],
        (8, 16),
    ]
    after = models.translate(network, pictures)
    assert not torch.equal(before, after)
    assert (before - after).abs().max() <= 1e-3


def replaced(network):
    return [module for module in network.modules() if "forward" in vars(module)]


@pytest.mark.parametrize(
    "convolution",
    [
        nn.Conv2d(128, 128, 3, stride=2),
        nn.Conv2d(128, 128, 3, dilation=2),
        nn.Conv2d(128, 128, 3, groups=2),
        nn.Conv2d(128, 128, 5),
        nn.Conv2d(128, 128, 3, padding=2),
        nn.Conv2d(128, 128, 3, padding=1, padding_mode="reflect"),
        nn.Conv2d(128, 128, 3, dtype=torch.float64),
        nn.ConvTranspose2d(128, 128, 3),
    ],
    ids=str,
)
def test_leaves_other_convolutions_alone(convolution):
    models.use_winograd(convolution)
    assert not replaced(convolution)
