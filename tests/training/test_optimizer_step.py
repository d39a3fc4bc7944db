"""Updates that are made only by finite gradients: bit for bit like plain ones, or not at all."""

import copy
import math

import pytest
import torch
from torch import nn

from training import adam, optimizer_step, optimizer_step_if_finite


def players(seed=0):
    """Return a small network and its optimiser, the same for the same seed."""
    random = torch.Generator().manual_seed(seed)
    network = nn.Sequential(nn.Linear(5, 7), nn.Tanh(), nn.Linear(7, 1), nn.Linear(3, 3))
    for parameter in network.parameters():
        parameter.data.normal_(generator=random)
    return network, adam(network, 1e-2, (0.5, 0.99))


def backward(network, seed):
    """Give all but the last layer a gradient."""
    inputs = torch.randn(6, 5, generator=torch.Generator().manual_seed(seed))
    network[:3](inputs).square().mean().backward()


def contents(network, optimizer):
    return copy.deepcopy([network.state_dict(), optimizer.state_dict()["state"]])


def assert_same(first, second):
    (weights, moments), (other_weights, other_moments) = first, second
    assert weights.keys() == other_weights.keys() and moments.keys() == other_moments.keys()
    assert all(torch.equal(weights[name], other_weights[name]) for name in weights)
    for index, values in moments.items():
        assert {"step", "exp_avg", "exp_avg_sq"} <= values.keys()
        assert all(torch.equal(value, other_moments[index][key]) for key, value in values.items())


def test_finite_gradients_give_the_plain_update():
    ours, plain = players(), players()
    for seed in range(4):
        backward(ours[0], seed)
        made = optimizer_step_if_finite(*ours)
        assert made.dtype == torch.bool and made.shape == () and made.item()
        backward(plain[0], seed)
        optimizer_step(*plain)
        assert_same(contents(*ours), contents(*plain))
    assert len(ours[1].state_dict()["state"]) == 4  # of six parameters, two had no gradient
    assert not torch.equal(ours[0][0].weight, players()[0][0].weight)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("place", [(0, 0), (2, -1)])
def test_one_bad_entry_leaves_weights_and_moments_as_they_are(bad, place):
    layer, entry = place
    network, optimizer = players()
    for seed in range(3):
        backward(network, seed)
        optimizer_step_if_finite(network, optimizer)
    before = contents(network, optimizer)
    backward(network, 3)
    network[layer].weight.grad.flatten()[entry] = bad
    assert not optimizer_step_if_finite(network, optimizer).item()
    assert_same(contents(network, optimizer), before)
    assert all(parameter.grad is None for parameter in network.parameters())


def test_a_bad_first_step_is_as_if_it_had_not_been():
    skipped, plain = players(), players()
    backward(skipped[0], 9)
    skipped[0][0].bias.grad[0] = math.nan
    assert not optimizer_step_if_finite(*skipped).item()
    weights, untouched = skipped[0].state_dict(), plain[0].state_dict()
    assert all(torch.equal(weights[name], untouched[name]) for name in untouched)
    for values in skipped[1].state_dict()["state"].values():
        assert not any(value.any() for value in values.values())
    for seed in range(2):
        backward(skipped[0], seed)
        assert optimizer_step_if_finite(*skipped).item()
        backward(plain[0], seed)
        optimizer_step(*plain)
    assert_same(contents(*skipped), contents(*plain))


def test_a_plain_step_after_a_skipped_one_is_plain():
    """Nothing stays behind on the optimiser."""
    network, optimizer = players()
    backward(network, 0)
    network[0].bias.grad[0] = math.nan
    optimizer_step_if_finite(network, optimizer)
    before = network[0].weight.clone()
    backward(network, 1)
    optimizer_step(network, optimizer)
    assert not torch.equal(network[0].weight, before)


def test_large_gradients_whose_sum_would_overflow_are_finite():
    network, optimizer = players()
    backward(network, 0)
    network[0].weight.grad.fill_(3e38)
    assert optimizer_step_if_finite(network, optimizer).item()


def test_an_optimiser_that_would_step_by_nan_is_refused():
    network, _ = players()
    backward(network, 0)
    before = network[0].weight.clone()
    with pytest.raises(ValueError, match="SGD is not fused"):
        optimizer_step_if_finite(network, torch.optim.SGD(network.parameters(), lr=1.0))
    assert torch.equal(network[0].weight, before)


def test_a_network_without_any_gradient_is_refused():
    with pytest.raises(ValueError, match="call backward first"):
        optimizer_step_if_finite(*players())
