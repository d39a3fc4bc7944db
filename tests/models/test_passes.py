"""Two inputs in one pass: the same as two passes, and one pass only where that is so."""

import pytest
import torch
from torch import nn

from models import initialize, run_together
from models.passes import couples_a_batch
from models.patchgan import PatchGAN, PatchGANSizes
from models.resnet_generator import ResnetGenerator, ResnetSizes
from models.unet import UnetGenerator, UnetSizes


def networks(norm):
    built = (
        ResnetGenerator(ResnetSizes(base_channels=2, blocks=1, norm=norm)),
        UnetGenerator(UnetSizes(base_channels=2, halvings=5, norm=norm, dropout=False)),
        PatchGAN(PatchGANSizes(base_channels=2, norm=norm)),
    )
    random = torch.Generator().manual_seed(0)
    return [initialize(network, random, "normal", 0.2).double() for network in built]


def pictures(batch, height=32, width=32):
    random = torch.Generator().manual_seed(batch)
    return torch.rand(batch, 3, height, width, generator=random).double() * 2 - 1


def passes(network):
    """A list that grows by the shape of each input of the network."""
    seen = []
    network.register_forward_pre_hook(lambda _, inputs: seen.append(tuple(inputs[0].shape)))
    return seen


def statistics(network):
    return [buffer.clone() for buffer in network.buffers()]


@pytest.mark.parametrize("norm", ["instance", "none"])
def test_without_batch_norm_one_pass_gives_what_two_give(norm):
    first, second = pictures(1), pictures(2)
    for network in networks(norm):
        apart = network(first), network(second)
        seen = passes(network)
        together = run_together(network, first, second)
        assert seen == [(3, 3, 32, 32)]
        for one, other in zip(together, apart, strict=True):
            assert one.shape == other.shape and torch.allclose(one, other, rtol=0, atol=1e-12)


def test_in_training_batch_norm_sees_each_batch_alone():
    first, second = pictures(1), pictures(2)
    for network, twin in zip(networks("batch"), networks("batch"), strict=True):
        apart = twin(first), twin(second)
        seen = passes(network)
        together = run_together(network, first, second)
        assert seen == [(1, 3, 32, 32), (2, 3, 32, 32)]
        assert all(torch.equal(*pair) for pair in zip(together, apart, strict=True))
        both = torch.cat([first, second])
        assert not torch.allclose(network(both)[:1], together[0], atol=1e-3)  # it would matter
        twin(both)
        for one, other in zip(statistics(network), statistics(twin), strict=True):
            assert torch.equal(one, other)


def test_in_eval_mode_batch_norm_couples_nothing():
    for network in networks("batch"):
        assert couples_a_batch(network) and not couples_a_batch(network.eval())
        seen = passes(network)
        run_together(network, pictures(1), pictures(1))
        assert len(seen) == 1


@pytest.mark.parametrize("size", [(32, 64), (64, 32)])
def test_pictures_of_different_sizes_go_one_after_the_other(size):
    for network in networks("instance"):
        seen = passes(network)
        one, other = run_together(network, pictures(1), pictures(1, *size))
        assert seen == [(1, 3, 32, 32), (1, 3, *size)]
        assert torch.equal(one, network(pictures(1)))
        assert torch.equal(other, network(pictures(1, *size)))


def test_the_gradients_are_those_of_two_passes():
    for network in networks("instance"):
        trained = [p for p in network.parameters() if p.requires_grad]
        found = []
        for way in (run_together, lambda net, *inputs: tuple(map(net, inputs))):
            one, other = way(network, pictures(1), pictures(2))
            found.append(torch.autograd.grad(one.square().sum() + other.sum(), trained))
        assert len(trained) > 5
        for together, apart in zip(*found, strict=True):
            assert torch.allclose(together, apart, rtol=1e-9, atol=1e-9 * apart.abs().max().item())


def test_a_norm_of_another_kind_is_no_batch_norm():
    assert not couples_a_batch(nn.Sequential(nn.Conv2d(3, 3, 1), nn.GroupNorm(1, 3)))
