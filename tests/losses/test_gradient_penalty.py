"""R1: closed form of a linear and of a quadratic discriminator, and its second derivative."""

import pytest
import torch

from losses import r1_penalty


def test_a_linear_discriminator_pays_half_its_squared_weights():
    weights = torch.randn(3, 4, 4, generator=torch.Generator().manual_seed(0), requires_grad=True)
    real = torch.rand(5, 3, 4, 4, requires_grad=True)
    penalty = r1_penalty(real, (real * weights).sum((1, 2, 3))[:, None])
    assert penalty.item() == pytest.approx(weights.square().sum().item() / 2, rel=1e-5)
    penalty.backward()
    assert torch.allclose(weights.grad, weights.detach(), rtol=1e-4)  # the gradient that trains D


def test_a_patch_discriminator_sums_its_logits():
    """D(x) = x^2 / 2 a pixel: gradient x, penalty |x|^2 / 2, the mean over pictures."""
    real = torch.tensor([[[[1.0, 2.0]]], [[[3.0, 0.0]]]], requires_grad=True)
    assert r1_penalty(real, real.square() / 2).item() == pytest.approx((5 + 9) / 4)


def test_reals_without_gradient_are_refused():
    with pytest.raises(ValueError, match="require a gradient"):
        r1_penalty(torch.zeros(1, 2), torch.zeros(1, 1, requires_grad=True))
