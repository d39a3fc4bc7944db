"""The queue against a list, over any batch sizes; the momentum update against its closed form."""

import copy
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from losses import FeatureQueue, moco, momentum_update
from tests.losses.contrasts import rows


@given(size=st.integers(1, 7), batches=st.lists(st.integers(1, 7), max_size=8))
def test_holds_the_last_rows_in_a_ring_for_any_sequence_of_batches(size, batches):
    queue = FeatureQueue(size, 3)
    ring, place = list(queue.features.clone()), 0
    for number, batch in enumerate(batches):
        features = rows(min(batch, size), 3, seed=number, dtype=torch.float32)
        queue.push(features)
        for row in features:
            ring[place] = row / row.norm()
            place = (place + 1) % size
    assert torch.allclose(queue.features, torch.stack(ring), atol=1e-6)
    assert queue.position.item() == place


def test_a_batch_that_crosses_the_end_goes_on_at_the_beginning():
    """Three batches of four in ten places; lightly would drop the last two rows."""
    queue = FeatureQueue(10, 1)
    for sign in (1.0, -1.0, 1.0):
        queue.push(torch.full((4, 1), sign))
    assert queue.features[:, 0].tolist() == [1, 1, 1, 1, -1, -1, -1, -1, 1, 1]
    assert queue.position.item() == 2


def test_starts_with_directions_of_its_seed():
    first, same, other = FeatureQueue(5, 3), FeatureQueue(5, 3), FeatureQueue(5, 3, seed=1)
    assert torch.equal(first.features, same.features)
    assert not torch.isclose(first.features, other.features).any()
    assert torch.allclose(first.features.norm(dim=1), torch.ones(5))


def test_a_state_dict_holds_all_of_it_and_no_parameter():
    queue, restored = FeatureQueue(5, 3), FeatureQueue(5, 3, seed=1)
    queue.push(rows(3, 3, dtype=torch.float32))
    restored.load_state_dict(queue.state_dict())
    for each in (queue, restored):
        each.push(rows(4, 3, seed=1, dtype=torch.float32))
    assert torch.equal(queue.features, restored.features)
    assert not list(queue.parameters())


def test_what_is_pushed_is_detached_and_may_be_half_precision():
    queue, features = FeatureQueue(4, 3), rows(2, 3, dtype=torch.bfloat16).requires_grad_()
    queue.push(features)
    assert not queue.features.requires_grad and queue.features.dtype == torch.float32


def test_pushing_between_loss_and_gradient_changes_neither():
    gradients = []
    for early in (False, True):
        queue = FeatureQueue(4, 3)
        q, k = (rows(4, 3, seed, torch.float32) for seed in (0, 1))
        loss = moco(q.requires_grad_(), k, queue.features)
        if early:
            queue.push(k)
        loss.backward()
        gradients.append(q.grad)
    assert torch.equal(*gradients)


@pytest.mark.parametrize(
    ("features", "message"),
    [
        (torch.ones(5, 3), "queue of size 4 is smaller than the batch 5"),
        (torch.ones(2, 2), r"features \[2, 2\] are not \[B, 3\]"),
        (torch.ones(3), r"features \[3\] is not"),
        (torch.ones(0, 3), r"features \[0, 3\] is not"),
        (torch.ones(2, 3).long(), "torch.int64"),
        (torch.full((2, 3), math.nan), "features hold nan"),
    ],
)
def test_a_refused_push_leaves_the_queue_alone(features, message):
    queue = FeatureQueue(4, 3)
    before = queue.features.clone()
    with pytest.raises(ValueError, match=message):
        queue.push(features)
    assert torch.equal(queue.features, before) and queue.position == 0


@pytest.mark.parametrize("sizes", [(0, 3), (4, 0), (-1, 3)])
def test_sizes_below_one(sizes):
    with pytest.raises(ValueError, match=f"size {sizes[0]} and dimensions {sizes[1]}"):
        FeatureQueue(*sizes)


def network(seed):
    torch.manual_seed(seed)
    return torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.BatchNorm1d(4))


def test_momentum_update_approaches_geometrically():
    """theta_t = m^t theta_0 + (1 - m^t) theta_q."""
    online, average = network(0), network(1)
    online(rows(6, 3, dtype=torch.float32))  # statistics of its own, counter 1
    start = copy.deepcopy(average)
    for _ in range(5):
        momentum_update(online, average, momentum=0.9)
    share = 0.9**5
    states = [each.state_dict() for each in (online, start, average)]
    for name, value in states[2].items():
        if value.is_floating_point():
            expected = share * states[1][name] + (1 - share) * states[0][name]
            assert torch.allclose(value, expected, atol=1e-6), name
    assert not torch.allclose(states[2]["1.running_mean"], states[1]["1.running_mean"])
    assert average[1].num_batches_tracked == 1  # a counter is copied


@pytest.mark.parametrize(("momentum", "equal"), [(0.0, "online"), (1.0, "average")])
def test_the_ends_of_momentum(momentum, equal):
    online, average = network(0), network(1)
    expected = copy.deepcopy(online if equal == "online" else average).state_dict()
    momentum_update(online, average, momentum=momentum)
    for name, value in average.state_dict().items():
        assert torch.allclose(value, expected[name]), name


def test_shared_weights_move_once():
    online, average = network(0), network(1)
    for each in (online, average):
        each.append(each[0])
    before = average[0].weight.detach().clone()
    momentum_update(online, average, momentum=0.5)
    assert torch.allclose(average[0].weight, (before + online[0].weight) / 2)


def test_no_gradient_is_recorded():
    online, average = network(0), network(1)
    momentum_update(online, average)
    assert average[0].weight.grad_fn is None and online[0].weight.grad is None


@pytest.mark.parametrize("momentum", [-0.1, 1.1, math.nan])
def test_momentum_outside_its_range(momentum):
    with pytest.raises(ValueError, match=f"momentum {momentum} is not in"):
        momentum_update(network(0), network(1), momentum=momentum)


def test_networks_of_unlike_tensors():
    with pytest.raises(ValueError, match=r"0.weight is \[4, 3\] of .* and \[5, 3\]"):
        momentum_update(network(0), torch.nn.Sequential(torch.nn.Linear(3, 5)))
    with pytest.raises(ValueError, match=r"1.weight is \[4\] of .* and missing"):
        momentum_update(network(0), network(0)[:1])
    with pytest.raises(ValueError, match=r"of torch.float32 in `online` and .* of torch.bfloat16"):
        momentum_update(network(0), network(0).bfloat16())
