"""Instance norms with statistics averaged over frames, against the formula written out."""

import pytest
import torch
from torch import nn

import models
from models.normalization import InstanceNorm, InstanceNormReLU
from models.resnet_generator import ResnetGenerator, ResnetSizes
from tests.training_runs import noise


def by_the_formula(frames, count, relu):
    for number, frame in enumerate(frames):
        window = torch.stack(frames[max(0, number + 1 - count) : number + 1]).double()
        mean = window.mean((2, 3)).mean(0)[:, None, None]
        variance = window.var((2, 3), correction=0).mean(0)[:, None, None]
        y = (frame.double() - mean) / (variance + 1e-5).sqrt()
        yield y.relu() if relu else y


@pytest.mark.parametrize("few", [False, True])
@pytest.mark.parametrize("kind", [InstanceNorm, InstanceNormReLU])
def test_is_the_formula(kind, few):
    norm = nn.Sequential(kind(3))
    light = torch.tensor([1, 3, 0.5, 2, 1])
    frames = [*(noise(5, 3, 6, 4) * light[:, None, None, None] + light[:, None, None, None])]
    with models.forced_few_launches(few), models.steady_norms(norm, 3):
        found = [norm(frame[None])[0] for frame in frames]
        with pytest.raises(ValueError, match="one frame at a time"):
            norm(torch.zeros(2, 3, 6, 4))
    for one, expected in zip(
        found, by_the_formula(frames, 3, kind is InstanceNormReLU), strict=True
    ):
        assert (one - expected).abs().max() <= 1e-5 * expected.abs().max()


def test_one_frame_is_the_plain_result_bit_for_bit_and_all_is_as_before_afterwards():
    network = ResnetGenerator(ResnetSizes(base_channels=2, blocks=2)).eval()
    frames = [noise(1, 3, 16, 16, seed=seed) for seed in range(3)]
    plain = [models.translate(network, frame) for frame in frames]
    with models.steady_norms(network, 1):
        assert all(map(torch.equal, plain, [models.translate(network, one) for one in frames]))
    with models.steady_norms(network, 2):
        steady = [models.translate(network, frame) for frame in frames]
    assert (steady[0] - plain[0]).abs().max() <= 1e-4
    assert not torch.allclose(steady[1], plain[1], atol=1e-3)
    assert all(map(torch.equal, plain, [models.translate(network, one) for one in frames]))
    still = [frames[0]] * 3
    with models.steady_norms(network, 3):  # a still film has the statistics of its frame
        for frame in still:
            assert (models.translate(network, frame) - plain[0]).abs().max() <= 1e-4
    with pytest.raises(ValueError, match="frames 0"), models.steady_norms(network, 0):
        pass


def test_networks_without_instance_norms_are_known():
    assert models.has_instance_norms(ResnetGenerator(ResnetSizes(base_channels=1, blocks=1)))
    batch = ResnetGenerator(ResnetSizes(base_channels=1, blocks=1, norm="batch"))
    assert not models.has_instance_norms(batch)
