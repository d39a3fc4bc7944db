"""Schedules, seeds, averages, history, frozen networks: closed forms."""

import pytest
import torch
from torch import nn

import training
from errors import UserError
from training.ema import MovingAverage, ema_decay
from training.history import RefinedHistory
from training.loop import crossed
from training.modules import frozen
from training.randomness import generator_for, seed_for
from training.schedules import linear_decay


@pytest.mark.parametrize(
    ("epochs", "epoch", "factor"),
    [
        ((200, 200), 1, 1),
        ((200, 200), 200, 1),
        ((200, 200), 201, 1 - 1 / 201),
        ((200, 200), 400, 1 / 201),
        ((200, 200), 999, 1 / 201),  # past the end it stays
        ((150, 50), 150, 1),
        ((150, 50), 151, 1 - 1 / 51),
        ((150, 50), 200, 1 / 51),
        ((100, 100), 200, 1 / 101),
    ],
)
def test_learning_rate_of_the_official_schedules(epochs, epoch, factor):
    constant, decay = epochs
    for images_seen in ((epoch - 1) * 50, epoch * 50 - 1):  # first and last image of the epoch
        found = linear_decay(
            images_seen, epoch_images=50, constant_epochs=constant, decay_epochs=decay
        )
        assert found == pytest.approx(factor)


def test_seeds_depend_on_every_argument_and_on_nothing_else():
    assert seed_for(1, 2, "step") == seed_for(1, 2, "step")
    others = {seed_for(0, 2, "step"), seed_for(1, 3, "step"), seed_for(1, 2, "noise")}
    assert len(others | {seed_for(1, 2, "step")}) == 4
    # A literal value: a run that was started yesterday must go on the same tomorrow.
    assert seed_for(0, 0, "step") == 5_174_309_158_509_816_054


def test_generators_leave_the_global_one_alone():
    torch.manual_seed(0)
    before = torch.get_rng_state()
    first = torch.rand(3, generator=generator_for(torch.device("cpu"), 1, 2, "step"))
    assert torch.equal(before, torch.get_rng_state())
    again = torch.rand(3, generator=generator_for(torch.device("cpu"), 1, 2, "step"))
    assert torch.equal(first, again)


def test_the_average_halves_its_distance_in_a_half_life_whatever_the_batch():
    for batch in (1, 5, 10):
        network = nn.Linear(1, 1, bias=False)
        nn.init.zeros_(network.weight)
        average = MovingAverage(network)
        nn.init.ones_(network.weight)
        for _ in range(10 // batch):
            average.update(network, ema_decay(batch, halflife_images=10))
        assert average.network.weight.item() == pytest.approx(0.5)


def test_running_statistics_are_averaged_and_counters_copied():
    network = nn.BatchNorm1d(2)
    average = MovingAverage(network)
    network.running_mean += 3
    network.num_batches_tracked += 7
    average.update(network, 0.75)
    assert average.network.running_mean.tolist() == [0.75, 0.75]
    assert average.network.num_batches_tracked.item() == 7
    assert ema_decay(8, 0) == 0


def test_history_gives_half_old_half_new_and_replaces_as_many():
    history, random = RefinedHistory(6), torch.Generator().manual_seed(0)
    first = torch.arange(4.0).view(4, 1, 1, 1)
    assert torch.equal(history.mix(first, random), first)  # filling
    history.mix(first + 10, random)
    stored = history.stored.flatten().tolist()
    assert stored == [0, 1, 2, 3, 10, 11]
    mixed = history.mix(first + 20, random).flatten().tolist()
    assert mixed[:2] == [20, 21] and set(mixed[2:]) <= set(stored)
    kept = history.stored.flatten().tolist()
    assert len(kept) == 6 and {22, 23} <= set(kept) and len(set(kept) & set(stored)) == 4


def test_history_is_saved_and_goes_on_the_same():
    fakes = torch.arange(4.0).view(4, 1, 1, 1)
    history, copy = RefinedHistory(4), RefinedHistory(4)
    history.mix(fakes, torch.Generator().manual_seed(0))
    copy.load_state_dict(history.state_dict())
    mixed = [h.mix(fakes + 9, torch.Generator().manual_seed(1)) for h in (history, copy)]
    assert torch.equal(*mixed) and torch.equal(history.stored, copy.stored)


def test_frozen_weights_get_no_gradient_but_inputs_do():
    network = nn.Linear(2, 1)
    network.bias.requires_grad_(False)
    x = torch.ones(1, 2, requires_grad=True)
    with frozen(network):
        y = network(x)
    y.sum().backward()
    assert network.weight.grad is None and x.grad is not None
    assert network.weight.requires_grad and not network.bias.requires_grad


@pytest.mark.parametrize(
    ("before", "after", "every", "answer"),
    [(0, 4, 4, True), (4, 8, 5, True), (5, 8, 5, False), (0, 4, 0, False), (0, 16, 4, True)],
)
def test_multiples_are_met_whatever_the_batch_size(before, after, every, answer):
    assert crossed(before, after, every) is answer


def test_tf32_is_for_gpus_that_have_it():
    with pytest.raises(UserError, match="`precision` tf32: cpu does not support TF32"):
        training.choose_precision("tf32", torch.device("cpu"))
    assert training.choose_precision("auto", torch.device("cpu")) == "fp32"


def test_float32_products_are_rounded_only_where_asked_for():
    places = (torch.backends.cuda.matmul, torch.backends.cudnn)
    before = [place.allow_tf32 for place in places]
    for allowed in (False, True):
        with training.tf32_products(allowed):
            assert [place.allow_tf32 for place in places] == [allowed, allowed]
    assert [place.allow_tf32 for place in places] == before
