"""Penalties: closed forms of linear and quadratic discriminators, and their second derivatives."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from losses import drift, gradient_penalty, interpolate, r1_penalty


def normal(*shape, seed=0, **options):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), **options)


def linear(points, weights):
    return (points * weights).sum((1, 2, 3))[:, None]


def test_a_linear_discriminator_pays_half_its_squared_weights():
    weights = normal(3, 4, 4, requires_grad=True)
    real = normal(5, 3, 4, 4, seed=1, requires_grad=True)
    penalty = r1_penalty(real, linear(real, weights))
    assert penalty.item() == pytest.approx(weights.square().sum().item() / 2, rel=1e-5)
    (3.0 * penalty).backward()
    assert torch.allclose(weights.grad, 3 * weights.detach(), rtol=1e-4)  # gamma w


def test_a_patch_discriminator_sums_its_logits():
    """D(x) = x^2 / 2 a pixel: gradient x, penalty |x|^2 / 2, the mean over pictures."""
    real = torch.tensor([[[[1.0, 2.0]]], [[[3.0, 0.0]]]], requires_grad=True)
    assert r1_penalty(real, real.square() / 2).item() == pytest.approx((5 + 9) / 4)


@pytest.mark.parametrize("target", [1.0, 750.0])
def test_a_linear_critic_pays_for_the_length_of_its_weights(target):
    """10 (|w| - t)^2 / t^2, whose gradient is 20 (|w| - t) w / (|w| t^2); none for the offset."""
    weights = normal(3, 4, 4, dtype=torch.double).requires_grad_()
    offset = torch.zeros((), dtype=torch.double, requires_grad=True)
    points = normal(5, 3, 4, 4, seed=1, dtype=torch.double).requires_grad_()
    penalty = 10 * gradient_penalty(points, linear(points, weights) + offset, target=target)
    w = weights.detach()
    length = w.norm().item()
    assert penalty.item() == pytest.approx(10 * (length - target) ** 2 / target**2)
    penalty.backward()
    assert torch.allclose(weights.grad, 20 * (length - target) * w / length / target**2)
    assert offset.grad is None


def test_each_picture_has_its_own_gradient_norm():
    """D = |x|^2 / 2: the norm is |x_b|, (|x_b| - t)^2 / t^2 the mean over pictures."""
    points = torch.tensor([[3.0, 4.0], [0.0, 2.0]], requires_grad=True)
    scores = points.square().sum(1) / 2
    expected = ((5 - 750) ** 2 + (2 - 750) ** 2) / 2 / 750**2
    found = gradient_penalty(points, scores, target=750.0)
    assert found.item() == pytest.approx(expected)
    assert gradient_penalty(points, scores).item() == pytest.approx((16 + 1) / 2)


def test_a_gradient_of_zero_has_a_finite_derivative():
    points = torch.zeros(2, 3, requires_grad=True)
    weights = torch.zeros(3, requires_grad=True)
    penalty = gradient_penalty(points, points @ weights)
    penalty.backward()
    assert penalty.item() == pytest.approx(1, abs=1e-5)
    assert torch.isfinite(weights.grad).all()


def conv_scores(points, kernel, last):
    return F.conv2d(torch.tanh(F.conv2d(points, kernel)), last).sum((1, 2, 3))


@pytest.mark.parametrize("penalty", [r1_penalty, gradient_penalty])
def test_derivatives_for_the_weights_of_a_convolutional_network(penalty):
    """What trains the discriminator, and its own derivative, against finite differences."""
    points = normal(2, 2, 4, 4, dtype=torch.double)
    weights = (
        normal(2, 2, 3, 3, seed=1, dtype=torch.double).requires_grad_(),
        normal(1, 2, 2, 2, seed=2, dtype=torch.double).requires_grad_(),
    )

    def value(kernel, last):
        at = points.clone().requires_grad_()
        return penalty(at, conv_scores(at, kernel, last))

    assert torch.autograd.gradcheck(value, weights)
    assert torch.autograd.gradgradcheck(value, weights)


def test_penalties_are_single_precision_under_autocast():
    """Autocast around the call changes nothing where the discriminator ran without it."""
    network = nn.Sequential(nn.Conv2d(3, 8, 3), nn.LeakyReLU(0.2), nn.Flatten(), nn.Linear(32, 1))
    for parameter in network.parameters():
        parameter.data = normal(*parameter.shape)
    for penalty in (r1_penalty, gradient_penalty):
        results = []
        for autocast in (True, False):
            points = normal(4, 3, 4, 4, seed=2).requires_grad_()
            scores = network(points)
            with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
                value = penalty(points, scores)
            results.append([value, *torch.autograd.grad(value, list(network[0].parameters())[:1])])
        assert results[0][0].dtype == torch.float32
        assert all(torch.equal(*pair) for pair in zip(*results, strict=True))


def test_penalties_of_a_network_in_bfloat16_are_near_those_in_float32():
    network = nn.Sequential(nn.Linear(6, 16), nn.LeakyReLU(0.2), nn.Linear(16, 1))
    for parameter in network.parameters():
        parameter.data = normal(*parameter.shape) / 4
    for penalty in (r1_penalty, gradient_penalty):
        values = []
        for autocast in (True, False):
            points = normal(8, 6, seed=2).requires_grad_()
            with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
                scores = network(points)
                value = penalty(points, scores)
            assert value.dtype == torch.float32
            values.append(value.item())
        assert values[0] == pytest.approx(values[1], rel=0.02) and values[0] != values[1]


@pytest.mark.parametrize("penalty", [r1_penalty, gradient_penalty])
def test_points_without_gradient_are_refused(penalty):
    with pytest.raises(ValueError, match="require a gradient"):
        penalty(torch.zeros(1, 2), torch.zeros(1, 1, requires_grad=True))


class Forgetful(torch.autograd.Function):
    """points @ weights; its derivative has no graph, as compiled code has returned it."""

    @staticmethod
    def forward(context, points, weights):
        context.save_for_backward(weights)
        return points @ weights

    @staticmethod
    def backward(context, gradient):
        (weights,) = context.saved_tensors
        return (gradient[:, None] * weights).detach(), None


@pytest.mark.parametrize("penalty", [r1_penalty, gradient_penalty])
def test_a_gradient_without_a_graph_is_refused(penalty):
    points = torch.ones(2, 3, requires_grad=True)
    weights = torch.ones(3, requires_grad=True)
    assert penalty(points, points @ weights).requires_grad
    for scores in (Forgetful.apply(points, weights), points @ weights.detach()):
        with pytest.raises(RuntimeError, match="no graph"):
            penalty(points, scores)


@pytest.mark.parametrize("target", [0.0, -1.0, float("nan"), float("inf")])
def test_a_target_that_is_not_finite_and_above_zero_is_refused(target):
    points = torch.ones(1, 2, requires_grad=True)
    with pytest.raises(ValueError, match=f"target {target}: expected a finite"):
        gradient_penalty(points, points.square(), target=target)


def test_interpolated_points_lie_between_each_real_and_its_fake():
    reals, fakes = normal(3, 2, 4, 4, requires_grad=True), normal(3, 2, 4, 4, seed=1)
    points = interpolate(reals, fakes, torch.tensor([1.0, 0.0, 0.25]))
    assert points.requires_grad and points.is_leaf
    assert torch.equal(points[0], reals[0]) and torch.equal(points[1], fakes[1])
    assert torch.allclose(points[2], reals[2] / 4 + fakes[2] * 3 / 4)


@pytest.mark.parametrize("shapes", [((2, 3), (2, 4), (2,)), ((2, 3), (2, 3), (2, 1))])
def test_points_of_unequal_shapes_are_refused(shapes):
    with pytest.raises(ValueError, match="reals, fakes and weights"):
        interpolate(*(torch.zeros(shape) for shape in shapes))


def test_drift_is_the_mean_square_of_the_scores():
    assert drift(torch.tensor([[1.0], [-3.0]])).item() == 5
    assert drift(torch.ones(2, dtype=torch.bfloat16)).dtype == torch.float32
