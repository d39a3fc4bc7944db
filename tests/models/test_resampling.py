"""Linear maps: equal to PyTorch's, right to the second derivative, and they keep nothing."""

import pytest
import torch
import torch.nn.functional as F

from models.normalization import NormReLU
from models.resampling import blur_and_halve, reflection_pad

TAPS = torch.tensor([1.0, 2.0, 1.0], dtype=torch.double) / 4
KERNEL = TAPS[:, None] * TAPS
SIZES = [(6, 7), (7, 6), (5, 5), (8, 4)]


def picture(*shape):
    random = torch.Generator().manual_seed(0)
    return torch.randn(*shape, generator=random, dtype=torch.double, requires_grad=True)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(
    "linear_map", [lambda x: reflection_pad(x, 3), lambda x: blur_and_halve(x, KERNEL)]
)
def test_first_and_second_derivatives(linear_map, size):
    x = picture(1, 2, *size)
    assert torch.autograd.gradcheck(linear_map, x)
    assert torch.autograd.gradgradcheck(linear_map, x)


@pytest.mark.parametrize("pixels", [1, 3])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_padding_and_its_gradient_equal_those_of_pytorch(pixels, layout):
    x = picture(2, 3, 6, 5)
    upstream = torch.randn(2, 3, 6 + 2 * pixels, 5 + 2 * pixels, dtype=torch.double)
    gradients = []
    for pad in (lambda y: reflection_pad(y, pixels), lambda y: F.pad(y, (pixels,) * 4, "reflect")):
        output = pad(x.contiguous(memory_format=layout))
        gradients.append(torch.autograd.grad(output, x, upstream)[0])
        assert torch.equal(output, F.pad(x, (pixels,) * 4, "reflect"))
    assert torch.allclose(*gradients, atol=1e-12)


def test_they_keep_no_input():
    x = picture(1, 2, 8, 8)
    kept = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t) or t, lambda t: t):
        reflection_pad(x * 1, 1)
        blur_and_halve(x * 1, KERNEL)
    assert not [tensor for tensor in kept if tensor.numel() > 1]


@pytest.mark.parametrize("batch", [1, 2])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_norm_and_relu_equal_the_two_written_out_and_keep_one_picture(batch, layout):
    x = picture(batch, 3, 5, 6)
    upstream = torch.randn(batch, 3, 5, 6, dtype=torch.double).contiguous(memory_format=layout)
    mean = x.mean((2, 3), keepdim=True)
    variance = (x - mean).square().mean((2, 3), keepdim=True)
    expected = F.relu((x - mean) / (variance + 1e-5).sqrt())
    kept = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t) or t, lambda t: t):
        output = NormReLU.apply(x.contiguous(memory_format=layout))
    assert sum(tensor.numel() == x.numel() for tensor in kept) == 1
    assert torch.allclose(output, expected, atol=1e-12)
    ours, theirs = (torch.autograd.grad(y, x, upstream)[0] for y in (output, expected))
    assert torch.allclose(ours, theirs, atol=1e-12)
