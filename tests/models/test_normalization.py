"""Layers against a literal second opinion, and their gradients against float64."""

import copy

import pytest
import torch
import torch.nn.functional as F

from models import stylegan2
from models.noise import Dropout, NoiseSource
from models.normalization import InstanceNorm
from models.patch_projector import gather_positions
from models.resampling import BlurDownsample, BlurUpsample
from models.resnet_generator import ResnetBlock
from models.stylegan2 import NoiseInjection, fixed_noise, use_noise_table

LAYOUTS = {"nchw": torch.contiguous_format, "nhwc": torch.channels_last}


def relative_error(ours, truth):
    return ((ours.double() - truth).norm() / truth.norm()).item()


@pytest.mark.parametrize("batch", [1, 2])
@pytest.mark.parametrize("input_layout", LAYOUTS)
@pytest.mark.parametrize("gradient_layout", LAYOUTS)
def test_instance_norm_and_its_gradient_in_every_layout(batch, input_layout, gradient_layout):
    """PyTorch's own instance norm fails this for one picture and a channels-last gradient."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(batch, 6, 8, 10, generator=generator)
    upstream = torch.randn(batch, 6, 8, 10, generator=generator)
    exact = x.double().requires_grad_()
    mean = exact.mean((2, 3), keepdim=True)
    variance = (exact - mean).square().mean((2, 3), keepdim=True)
    expected = (exact - mean) / (variance + 1e-5).sqrt()
    expected.backward(upstream.double())

    ours = x.contiguous(memory_format=LAYOUTS[input_layout]).requires_grad_()
    output = InstanceNorm(6)(ours)
    output.backward(upstream.contiguous(memory_format=LAYOUTS[gradient_layout]))
    assert relative_error(output, expected) < 1e-6
    assert relative_error(ours.grad, exact.grad) < 1e-5


@pytest.mark.parametrize("batch", [1, 2])
def test_gradient_through_sampled_features_behind_an_instance_norm(batch):
    """The place where the official program goes wrong on the CPU."""
    block = ResnetBlock(4, "instance", dropout=False, noise=NoiseSource())
    exact_block = copy.deepcopy(block).double()
    x = torch.randn(batch, 4, 8, 8, generator=torch.Generator().manual_seed(1))
    positions = torch.tensor([3, 60, 17])
    gradients = []
    for layer, pictures in ((block, x), (exact_block, x.double())):
        pictures = pictures.clone().requires_grad_()
        vectors = gather_positions(layer(pictures), positions)
        (vectors * torch.arange(12.0).view(3, 4)).sum().backward()
        gradients.append(pictures.grad)
    assert relative_error(*gradients) < 1e-5


@pytest.mark.parametrize("size", [(8, 8), (7, 9), (255, 4)])
def test_downsampling_is_the_official_filter(size):
    x = torch.rand(2, 3, *size, dtype=torch.double)
    taps = torch.tensor([1.0, 2.0, 1.0], dtype=torch.double)
    kernel = (taps[:, None] * taps / 16).expand(3, 1, 3, 3)
    expected = F.conv2d(F.pad(x, (1, 1, 1, 1), "reflect"), kernel, stride=2, groups=3)
    output = BlurDownsample(3).double()(x)
    assert torch.allclose(output, expected, atol=1e-12)
    assert output.shape[2:] == tuple((side + 1) // 2 for side in size)


def test_upsampling_is_the_official_filter():
    """Replicated border, transposed convolution with [1, 3, 3, 1]^2 / 16, border cut off."""
    x = torch.rand(2, 3, 5, 7, dtype=torch.double)
    taps = torch.tensor([1.0, 3.0, 3.0, 1.0], dtype=torch.double)
    kernel = (taps[:, None] * taps / 16).expand(3, 1, 4, 4)
    padded = F.pad(x, (1, 1, 1, 1), "replicate")
    expected = F.conv_transpose2d(padded, kernel, stride=2, padding=2, groups=3)[:, :, 1:-1, 1:-1]
    assert torch.allclose(BlurUpsample(3).double()(x), expected, atol=1e-12)


def test_dropout_is_seeded_scaled_and_off_in_eval_mode():
    noise = NoiseSource()
    layer, x = Dropout(noise), torch.ones(4, 8, 16, 16)
    noise.reseed(3, rows=4)
    first = layer(x)
    second = layer(x)
    noise.reseed(3, rows=4)
    assert torch.equal(layer(x), first) and not torch.equal(first, second)
    assert set(first.unique().tolist()) == {0.0, 2.0}
    assert first.mean().item() == pytest.approx(1, abs=0.05)
    assert torch.equal(layer.eval()(x), x)


@pytest.mark.parametrize("batches", [1, 2])
def test_two_processes_draw_the_noise_of_one(batches):
    shape = (4, 2, 3, 3)
    whole = NoiseSource()
    whole.reseed(7, rows=4)
    expected = whole.normal((batches * 4, *shape[1:]), torch.device("cpu")).view(batches, *shape)
    for rank in (0, 1):
        part = NoiseSource()
        part.reseed(7, rows=2, rank=rank, world_size=2)
        drawn = part.normal((batches * 2, *shape[1:]), torch.device("cpu"))
        rows = slice(2 * rank, 2 * rank + 2)
        assert torch.equal(drawn.view(batches, 2, *shape[1:]), expected[:, rows])


def test_injected_noise_is_fixed_in_eval_mode_and_fresh_in_training():
    layer = NoiseInjection(NoiseSource())
    torch.nn.init.ones_(layer.weight)
    x = torch.zeros(2, 3, 4, 4)
    assert not torch.equal(layer(x)[0], layer(x)[1])
    fixed = layer.eval()(x)
    assert torch.equal(fixed, layer(x)) and torch.equal(fixed[0], fixed[1])
    assert fixed.std() > 0.5


def test_fixed_noise_is_one_sequence_for_all_sizes(monkeypatch):
    long = fixed_noise(20, 30).flatten()
    for height, width in ((1, 3), (2, 8), (5, 7), (17, 33)):
        noise = fixed_noise(height, width)
        assert noise.shape == (1, 1, height, width)
        count = min(height * width, 600)
        assert torch.equal(noise.flatten()[:count], long[:count])
    monkeypatch.setattr(stylegan2, "NOISE_PERIOD", 48)
    assert torch.equal(fixed_noise(3, 50).flatten(), long[torch.arange(150) % 48])


def test_noise_from_a_table_is_the_fixed_noise():
    network = torch.nn.Sequential(NoiseInjection(NoiseSource())).eval()
    torch.nn.init.ones_(network[0].weight)
    table = copy.deepcopy(network)
    use_noise_table(table)
    assert not isinstance(table[0], NoiseInjection)
    x = torch.randn(2, 3, 5, 7, generator=torch.Generator().manual_seed(0))
    assert torch.equal(table(x), network(x))
