"""What every attack keeps: range, bound, model; and what single ones promise."""

import copy
from functools import partial

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import attacks
from errors import UserError
from tests.attacks.classifiers import CLASSES, classifier, pictures_of

EPSILON = 0.1
SEVERAL = {"epsilon": EPSILON, "step": 0.04, "steps": 4}


def random(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.fixture
def model():
    return copy.deepcopy(classifier())


@pytest.fixture
def batch():
    return pictures_of(24)


def wrong(model, pictures, labels):
    """The share that the model gets wrong."""
    return (model.eval()(pictures).argmax(1) != labels).double().mean().item()


def universal(model, pictures, labels, **settings):
    found = attacks.universal_perturbation(
        model, pictures, passes=2, generator=random(), **settings
    )
    return (pictures + found.change).clamp(-1, 1)


def towards_next(attack):
    return lambda model, pictures, labels, **settings: attack(
        model, pictures, (labels + 1) % CLASSES, **settings
    )


BOUNDED = {
    "fgsm": (attacks.fgsm, {"epsilon": EPSILON}),
    "targeted_fgsm": (towards_next(attacks.targeted_fgsm), {"epsilon": EPSILON}),
    "iterative_fgsm": (attacks.iterative_fgsm, SEVERAL),
    "least_likely": (
        lambda model, pictures, labels, **settings: attacks.least_likely(
            model, pictures, **settings
        ),
        SEVERAL,
    ),
    "pgd": (lambda *given, **s: attacks.pgd(*given, **s, generator=random()), SEVERAL),
    "pgd targeted": (towards_next(partial(attacks.pgd, targeted=True)), SEVERAL),
    "pgd restarts": (
        lambda *given, **s: attacks.pgd(*given, **s, restarts=2, generator=random()),
        SEVERAL,
    ),
    "pgd margin": (partial(attacks.pgd, loss="margin"), SEVERAL),
    "momentum": (attacks.momentum, SEVERAL),
    "fast_adversarial": (
        lambda *given, **s: attacks.fast_adversarial(*given, **s, generator=random()),
        {"epsilon": EPSILON},
    ),
    "universal": (universal, {"epsilon": EPSILON}),
}
OTHERS = {
    "pgd l2": lambda *given: attacks.pgd(*given, norm="l2", **SEVERAL),
    "deepfool": attacks.deepfool,
    "deepfool linf": partial(attacks.deepfool, norm="linf"),
    "one_pixel": lambda *given: attacks.one_pixel(
        *given, generations=2, population=8, generator=random()
    ),
}
ALL = {name: partial(attack, **settings) for name, (attack, settings) in BOUNDED.items()} | OTHERS


@pytest.mark.parametrize("name", ALL)
def test_an_attack_stays_in_range_and_leaves_the_model_as_it_was(name, model, batch):
    pictures, labels = batch
    given = pictures.clone()
    model.train()
    model[3].eval()  # one part in another mode than the rest
    F.cross_entropy(model(pictures), labels).backward()
    modes = [module.training for module in model.modules()]
    state = copy.deepcopy(model.state_dict())
    gradients = [parameter.grad.clone() for parameter in model.parameters()]
    global_state = torch.get_rng_state()
    found = ALL[name](model, pictures, labels)
    assert found.shape == pictures.shape and not found.requires_grad
    assert found.min() >= -1 and found.max() <= 1
    assert (found != pictures).any()
    assert torch.equal(pictures, given)
    assert [module.training for module in model.modules()] == modes
    assert all(torch.equal(value, state[key]) for key, value in model.state_dict().items())
    for parameter, gradient in zip(model.parameters(), gradients, strict=True):
        assert torch.equal(parameter.grad, gradient) and parameter.requires_grad
    assert torch.equal(torch.get_rng_state(), global_state)


@pytest.mark.parametrize("name", BOUNDED)
def test_a_change_is_at_most_epsilon_and_none_for_epsilon_0(name, model, batch):
    attack, settings = BOUNDED[name]
    change = attack(model, *batch, **settings) - batch[0]
    assert 0.5 * EPSILON < change.abs().max() <= EPSILON * (1 + 1e-5)
    assert torch.equal(attack(model, *batch, **{**settings, "epsilon": 0.0}), batch[0])


def test_the_l2_norm_is_at_most_epsilon_and_none_for_epsilon_0(model, batch):
    for generator in (None, random()):
        attack = partial(attacks.pgd, model, *batch, norm="l2", steps=5, generator=generator)
        lengths = (attack(epsilon=0.5, step=0.2) - batch[0]).flatten(1).norm(dim=1)
        assert 0.3 < lengths.max() <= 0.5 * (1 + 1e-5)
        assert torch.equal(attack(epsilon=0.0, step=0.2), batch[0])


def test_fgsm_is_its_formula(model, batch):
    pictures, labels = batch
    model.eval()
    x = pictures.clone().requires_grad_()
    slope = torch.autograd.grad(F.cross_entropy(model(x), labels), x)[0]
    expected = (pictures + EPSILON * slope.sign()).clamp(-1, 1)
    assert torch.equal(attacks.fgsm(model, pictures, labels, epsilon=EPSILON), expected)


def test_more_steps_and_restarts_fool_more_often(model, batch):
    pictures, labels = pictures_of(96)
    steps = {"epsilon": 0.1, "step": 0.025, "steps": 8}
    once = attacks.fgsm(model, pictures, labels, epsilon=0.1)
    often = attacks.pgd(model, pictures, labels, **steps, generator=random())
    worst = attacks.pgd(model, pictures, labels, **steps, restarts=3, generator=random())
    rates = [wrong(model, x, labels) for x in (pictures, once, often, worst)]
    assert rates[0] < 0.05 < rates[1] <= rates[2] + 0.02 and rates[2] <= rates[3]


def test_targets_are_reached(model, batch):
    pictures, labels = batch
    targets = (labels + 2) % CLASSES
    found = attacks.pgd(model, pictures, targets, epsilon=0.5, step=0.05, steps=20, targeted=True)
    assert (model.eval()(found).argmax(1) == targets).all()
    least = model(pictures).argmin(1)
    found = attacks.least_likely(model, pictures, epsilon=0.5, step=0.05, steps=20)
    assert (model(found).argmax(1) == least).all()


def test_deepfool_crosses_a_linear_boundary_at_its_distance():
    """|f| / |w| for two classes (closed form), times the overshoot."""
    linear = nn.Sequential(nn.Flatten(), nn.Linear(12, 2).double())
    pictures = 0.2 * torch.randn(5, 3, 2, 2, generator=random(), dtype=torch.double)
    logits = linear(pictures).detach()
    labels = logits.argmax(1)
    slope = (linear[1].weight[1] - linear[1].weight[0]).detach()
    gap = (logits[:, 1] - logits[:, 0]).abs()
    for norm, order, length in (("l2", 2, slope.norm()), ("linf", torch.inf, slope.abs().sum())):
        found = attacks.deepfool(linear, pictures, labels, norm=norm)
        assert (linear(found).argmax(1) != labels).all()
        change = (found - pictures).flatten(1).norm(p=order, dim=1)
        torch.testing.assert_close(change, 1.02 * gap / length)


def test_deepfool_changes_less_than_pgd_and_leaves_wrong_pictures(model, batch):
    pictures, labels = batch
    found = attacks.deepfool(model, pictures, labels)
    assert wrong(model, found, labels) == 1
    other = attacks.pgd(model, pictures, labels, epsilon=4.0, step=0.5, steps=20, norm="l2")
    lengths = [(x - pictures).flatten(1).norm(dim=1).median() for x in (found, other)]
    assert lengths[0] < 0.8 * lengths[1]
    assert torch.equal(attacks.deepfool(model, pictures, (labels + 1) % CLASSES), pictures)


def test_one_change_fools_many_pictures(model):
    pictures, labels = pictures_of(48)
    found = attacks.universal_perturbation(
        model, pictures, epsilon=0.4, fooling_rate=0.4, generator=random()
    )
    changed = (pictures + found.change).clamp(-1, 1)
    before, after = (model.eval()(x).argmax(1) for x in (pictures, changed))
    assert found.fooling_rate == (before != after).double().mean()
    noise = 0.4 * torch.empty_like(found.change).uniform_(-1, 1, generator=random()).sign()
    by_chance = (model((pictures + noise).clamp(-1, 1)).argmax(1) != before).double().mean()
    assert found.fooling_rate >= 0.25 and found.fooling_rate > by_chance


@pytest.mark.parametrize("pixels", [1, 3])
def test_few_pixels_change_and_the_true_class_becomes_less_likely(pixels, model, batch):
    pictures, labels = batch
    found = attacks.one_pixel(
        model, pictures, labels, pixels=pixels, generations=5, population=20, generator=random()
    )
    changed = (found != pictures).any(1).flatten(1).sum(1)
    assert 1 <= changed.max() <= pixels
    model.eval()
    before, after = (model(x).softmax(1).gather(1, labels[:, None]) for x in (pictures, found))
    assert (after <= before + 1e-6).all() and after.mean() < 0.95 * before.mean()


class EasilyFooled(nn.Module):
    """Gives class 1 to every picture that is not grey, unless one of its values is MARK."""

    MARK = 0.25

    def __init__(self):
        super().__init__()
        self.seen = []

    def forward(self, pictures):
        self.seen.append(len(pictures))
        is_changed = (pictures != 0).flatten(1).any(1)
        is_marked = (pictures == self.MARK).flatten(1).any(1)
        is_fooled = is_changed & ~is_marked
        return torch.stack([(~is_fooled).half(), is_fooled.half()], 1)


@pytest.mark.parametrize(
    ("batch_size", "passes"),
    [(12, [12, 12, 12, 12, 12, 8] + 5 * [12]), (2, [2, 1] + 29 * [2] + [1] + 30 * [2])],
)
def test_a_picture_is_finished_with_its_first_success_and_leaves_its_place(batch_size, passes):
    """Two pictures by any candidate; the third, with two marks, by none."""
    pictures = torch.zeros(3, 1, 4, 4)
    pictures[2, 0, 0, :2] = EasilyFooled.MARK
    model, labels = EasilyFooled(), torch.zeros(3, dtype=torch.long)
    settings = {"generations": 1, "population": 60, "batch_size": batch_size}
    found = attacks.one_pixel(model, pictures, labels, **settings, generator=random())
    assert model.seen == [3, *passes]
    assert model(found).argmax(1).tolist() == [1, 1, 0]


class FooledLater(nn.Module):
    """Gives class 1 from its third call on, and yet more probability to class 0 than before."""

    def __init__(self):
        super().__init__()
        self.calls = 0

    def forward(self, pictures):
        self.calls += 1
        shares = [0.44, 0.46, 0.1] if self.calls > 2 else [0.4, 0.3, 0.3]
        return torch.tensor(shares).log().expand(len(pictures), 3)


def test_another_class_is_a_success_even_where_the_true_one_became_likelier():
    model, settings = FooledLater(), {"generations": 9, "population": 4, "generator": random()}
    attacks.one_pixel(model, torch.zeros(1, 1, 4, 4), torch.tensor([0]), **settings)
    assert model.calls == 3


def test_pixels_come_from_the_whole_picture_and_a_target_becomes_likelier(model, batch):
    pictures, labels = batch
    targets = (labels + 1) % CLASSES
    settings = {"generations": 5, "population": 20, "generator": random()}
    found = attacks.one_pixel(model, pictures, targets, targeted=True, pixels=2, **settings)
    model.eval()
    before, after = (model(x).softmax(1).gather(1, targets[:, None]) for x in (pictures, found))
    assert after.mean() > 2 * before.mean()
    places = (found != pictures).any(1).nonzero()
    assert len(places[:, 1].unique()) > 3 and len(places[:, 2].unique()) > 3


def test_trades_is_its_formula(model, batch):
    pictures, labels = batch
    model.eval()
    settings = {"epsilon": 0.1, "step": 0.03, "steps": 3}
    loss = attacks.trades_loss(model, pictures, labels, **settings, weight=6.0, generator=random())
    with torch.no_grad():
        p = model(pictures).softmax(1)
        noise = 0.002 * torch.randn(pictures.shape, generator=random())
        x = (pictures + noise).clamp(-1, 1)
    for _ in range(3):
        x = x.detach().requires_grad_()
        q = model(x).log_softmax(1)
        slope = torch.autograd.grad((p * (p.log() - q)).sum(), x)[0]
        x = pictures + (x + 0.03 * slope.sign() - pictures).clamp(-0.1, 0.1)
        x = x.clamp(-1, 1)
    q = model(x.detach()).softmax(1)
    p = model(pictures).softmax(1)
    expected = F.cross_entropy(model(pictures), labels) + 6 * (p * (p / q).log()).sum(1).mean()
    torch.testing.assert_close(loss, expected, rtol=1e-4, atol=1e-5)
    loss.backward()
    assert all(parameter.grad.abs().max() > 0 for parameter in model.parameters())


def test_training_on_adversarial_pictures_makes_a_model_more_robust(model):
    """A short training by fast adversarial examples, against the same on clean pictures."""
    rates = []
    for is_robust in (False, True):
        network = copy.deepcopy(model)
        optimizer = torch.optim.Adam(network.parameters(), 5e-3)
        generator = random()
        for number in range(30):
            pictures, labels = pictures_of(64, seed=1000 + number)
            if is_robust:
                pictures = attacks.fast_adversarial(
                    network, pictures, labels, epsilon=0.1, generator=generator
                )
            network.train()
            F.cross_entropy(network(pictures), labels).backward()
            optimizer.step()
            optimizer.zero_grad()
        pictures, labels = pictures_of(128)
        found = attacks.pgd(network, pictures, labels, epsilon=0.1, step=0.025, steps=8)
        rates.append(wrong(network, found, labels))
    assert rates[1] < rates[0] - 0.05


class Rounded(nn.Module):
    """A model whose gradient is 0, since it looks at rounded pictures."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, pictures):
        return self.model((16 * pictures).round() / 16)


def test_masked_gradients_are_named(model, batch):
    pictures, labels = batch
    sign = partial(attacks.masked_gradients, epsilon=0.1)
    assert sign(model, pictures, labels, generator=random()) == []
    named = sign(Rounded(model), pictures, labels, generator=random())
    assert "gradient is zero for 24 of 24 pictures" in named[0]
    assert any("at epsilon 1" in words for words in named)


def test_a_saturated_softmax_hides_its_gradient_from_cross_entropy_but_not_from_the_margin():
    linear = nn.Sequential(nn.Flatten(), nn.Linear(12, 2))
    saturated = nn.Sequential(linear, nn.Unflatten(1, (2,)))
    with torch.no_grad():
        linear[1].weight.normal_(0, 1e4, generator=random())
    pictures = torch.empty(6, 3, 2, 2).uniform_(-0.5, 0.5, generator=random())
    logits = saturated(pictures)
    assert (logits[:, 0] - logits[:, 1]).abs().min() > 1000  # exp(-104) is 0 in float32
    labels = logits.argmax(1)
    steps = {"epsilon": 1.0, "step": 0.5, "steps": 4}
    entropy, margin = (
        attacks.pgd(saturated, pictures, labels, **steps, loss=loss)
        for loss in ("cross_entropy", "margin")
    )
    assert torch.equal(entropy, pictures)
    assert wrong(saturated, margin, labels) == 1


ONE_CLASS = nn.Sequential(nn.Flatten(), nn.Linear(192, 1))
REFUSED = {
    "epsilon` -0.1": lambda m, x, y: attacks.fgsm(m, x, y, epsilon=-0.1),
    "epsilon` 2.5": lambda m, x, y: attacks.fgsm(m, x, y, epsilon=2.5),
    "epsilon` nan": lambda m, x, y: attacks.fgsm(m, x, y, epsilon=float("nan")),
    "targets` 2: the model already gives": lambda m, x, y: attacks.targeted_fgsm(
        m, x, torch.full_like(y, 2), epsilon=0.1
    ),
    "not the logits [B, K] of at least 2": lambda m, x, y: attacks.fgsm(
        ONE_CLASS, x, 0 * y, epsilon=0.1
    ),
    "pictures` from -2": lambda m, x, y: attacks.fgsm(m, 2 * x.sign(), y, epsilon=0.1),
    "pictures` from nan": lambda m, x, y: attacks.fgsm(m, x * torch.nan, y, epsilon=0.1),
    "pictures` uint8": lambda m, x, y: attacks.fgsm(m, x.byte(), y, epsilon=0.1),
    "labels` 4: not one of the 4": lambda m, x, y: attacks.deepfool(m, x, y + 1),
    "labels` -1: not one of the 4": lambda m, x, y: attacks.pgd(m, x, y - 1, **SEVERAL),
    "labels` float32": lambda m, x, y: attacks.pgd(m, x, y.float(), **SEVERAL),
    "steps` 0: below 1": lambda m, x, y: attacks.pgd(m, x, y, epsilon=0.1, step=0.1, steps=0),
    "restarts` 0: below 1": lambda m, x, y: attacks.pgd(m, x, y, **SEVERAL, restarts=0),
    "restarts` 2: all would be the same": lambda m, x, y: attacks.pgd(
        m, x, y, **SEVERAL, restarts=2
    ),
    "pixels` 0: below 1": lambda m, x, y: attacks.one_pixel(m, x, y, pixels=0, generator=random()),
    "fooling_rate` 1.5": lambda m, x, y: attacks.universal_perturbation(
        m, x, epsilon=0.1, fooling_rate=1.5
    ),
}


@pytest.mark.parametrize("message", REFUSED)
def test_what_cannot_work_is_refused_in_one_line(message, model, batch):
    with pytest.raises(UserError) as caught:
        REFUSED[message](model, *batch)
    assert message in str(caught.value) and "\n" not in str(caught.value)
