"""Grouped convolutions: PyTorch's numbers to the second derivative, and no loop over groups."""

import pytest
import torch
import torch.nn.functional as F

from benchmarks.counted import counted
from models.gan.grouped import GroupedConv2d


def double(*shape, seed):
    random = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=random, dtype=torch.double, requires_grad=True)


# channels, kernel, groups, padding, pixels
CASES = [(6, 3, 3, 1, (4, 5)), (4, 3, 1, 1, (3, 3)), (5, 4, 5, 0, (4, 4))]


def convolution(channels, kernel, groups, padding):
    return GroupedConv2d(channels, kernel, groups=groups, padding=padding).double()


@pytest.mark.parametrize(("channels", "kernel", "groups", "padding", "pixels"), CASES)
def test_equals_pytorch_s_to_the_second_derivative(channels, kernel, groups, padding, pixels):
    layer = convolution(channels, kernel, groups, padding)
    x = double(2, channels, *pixels, seed=0)
    found = []
    for function in (
        layer,
        lambda x: F.conv2d(x, layer.weight, padding=padding, groups=groups),
    ):
        y = function(x)
        inputs = (x, layer.weight)
        first = torch.autograd.grad(y.pow(3).sum(), inputs, create_graph=True)
        penalty = sum(gradient.pow(2).sum() for gradient in first)
        found.append((y, *first, *torch.autograd.grad(penalty, inputs)))
    for ours, theirs in zip(*found, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize(("channels", "kernel", "groups", "padding", "pixels"), CASES)
@pytest.mark.slow
def test_derivatives_against_differences(channels, kernel, groups, padding, pixels):
    layer = convolution(channels, kernel, groups, padding)

    def function(x, weight):
        return torch.func.functional_call(layer, {"weight": weight}, x)

    inputs = (double(2, channels, *pixels, seed=0), layer.weight)
    assert torch.autograd.gradcheck(function, inputs)
    assert torch.autograd.gradgradcheck(function, inputs)


def test_a_penalty_launches_the_same_for_any_number_of_groups():
    def launches(groups):
        layer = convolution(16, 3, groups, 1)
        x = double(1, 16, 4, 4, seed=0)

        def penalty():
            (gradient,) = torch.autograd.grad(layer(x).pow(2).sum(), x, create_graph=True)
            gradient.pow(2).sum().backward()

        return counted(penalty).launches

    assert launches(16) == launches(1) and launches(16)["convolution"] <= 3


def test_under_autocast_it_is_the_usual_convolution():
    layer = GroupedConv2d(4, 3, groups=2, padding=1)
    x = torch.randn(1, 4, 5, 5)
    with torch.autocast("cpu", torch.bfloat16):
        y = layer(x)
        expected = F.conv2d(x, layer.weight, padding=1, groups=2)
    assert y.dtype == torch.bfloat16 and torch.equal(y, expected)
    y.float().sum().backward()
    assert layer.weight.grad.dtype == torch.float32
