"""The same adversarial pictures as torchattacks and foolbox, whose pictures are in [0, 1].

In float64, where no rounding decides the sign of a gradient.
"""

import copy
from functools import partial

import foolbox
import numpy as np
import pytest
import torch
import torchattacks
from torch import nn

import attacks
from tests.attacks.classifiers import CLASSES, classifier, pictures_of

LEVEL = 1 / 255  # of the peers; ours is twice that
EPSILON = 24


class InUnitRange(nn.Module):
    """The classifier as the peers call it: for pictures in [0, 1]."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, pictures):
        return self.model(2 * pictures - 1)


@pytest.fixture
def model():
    return copy.deepcopy(classifier()).double().eval()


@pytest.fixture
def batch():
    pictures, labels = pictures_of(16)
    return pictures.double(), labels


def assert_same(found, theirs):
    torch.testing.assert_close(found, 2 * theirs.detach() - 1, rtol=0, atol=1e-5)


STEPS = {"epsilon": EPSILON * attacks.LEVEL, "step": 6 * attacks.LEVEL, "steps": 5}
THEIR_STEPS = {"eps": EPSILON * LEVEL, "alpha": 6 * LEVEL, "steps": 5}


def seeded():
    """PyTorch's global generator and one of ours in the same state."""
    torch.manual_seed(0)
    return torch.Generator().manual_seed(0)


LINF = {
    "fgsm": (partial(attacks.fgsm, epsilon=STEPS["epsilon"]), torchattacks.FGSM, {"eps": 24 / 255}),
    "bim": (partial(attacks.iterative_fgsm, **STEPS), torchattacks.BIM, THEIR_STEPS),
    "momentum": (partial(attacks.momentum, **STEPS), torchattacks.MIFGSM, THEIR_STEPS),
    "pgd": (
        partial(attacks.pgd, **STEPS),
        torchattacks.PGD,
        {**THEIR_STEPS, "random_start": False},
    ),
}


@pytest.mark.numeric
@pytest.mark.parametrize("name", LINF)
def test_gradient_attacks_equal_those_of_torchattacks(name, model, batch):
    ours, theirs, settings = LINF[name]
    pictures, labels = batch
    found = ours(model, pictures, labels)
    assert_same(found, theirs(InUnitRange(model), **settings)((pictures + 1) / 2, labels))
    assert (found != pictures).any()


@pytest.mark.numeric
def test_random_starts_equal_those_of_torchattacks(model, batch):
    pictures, labels = batch
    expected = torchattacks.PGD(InUnitRange(model), **THEIR_STEPS)
    random = seeded()
    theirs = expected((pictures + 1) / 2, labels)
    assert_same(attacks.pgd(model, pictures, labels, **STEPS, generator=random), theirs)


@pytest.mark.numeric
@pytest.mark.parametrize("start", [False, True])
def test_pgd_in_l2_equals_that_of_torchattacks(start, model, batch):
    """The same ball: lengths double with the range."""
    pictures, labels = batch
    settings = {"eps": 1.0, "alpha": 0.3, "steps": 5, "random_start": start}
    settings["eps_for_division"] = 1e-30  # added to norms that a confident model makes tiny
    random = seeded() if start else None
    theirs = torchattacks.PGDL2(InUnitRange(model), **settings)((pictures + 1) / 2, labels)
    found = attacks.pgd(
        model, pictures, labels, epsilon=2.0, step=0.6, steps=5, norm="l2", generator=random
    )
    assert_same(found, theirs)


@pytest.mark.numeric
def test_targeted_attacks_equal_those_of_torchattacks(model, batch):
    pictures, labels = batch
    targets = (labels + 1) % CLASSES
    theirs = torchattacks.FGSM(InUnitRange(model), eps=EPSILON * LEVEL)
    theirs.set_mode_targeted_by_label(quiet=True)
    found = attacks.targeted_fgsm(model, pictures, targets, epsilon=STEPS["epsilon"])
    assert_same(found, theirs((pictures + 1) / 2, targets))
    theirs = torchattacks.BIM(InUnitRange(model), **THEIR_STEPS)
    theirs.set_mode_targeted_least_likely(kth_min=1, quiet=True)
    found = attacks.least_likely(model, pictures, **STEPS)
    assert_same(found, theirs((pictures + 1) / 2, labels))


@pytest.mark.numeric
def test_deepfool_equals_that_of_torchattacks(model, batch):
    pictures, labels = batch
    theirs = torchattacks.DeepFool(InUnitRange(model), steps=50, overshoot=0.02)
    found = attacks.deepfool(model, pictures, labels)
    assert_same(found, theirs((pictures + 1) / 2, labels))


@pytest.mark.numeric
def test_gradient_attacks_equal_those_of_foolbox(model, batch):
    pictures, labels = batch
    theirs = foolbox.PyTorchModel(InUnitRange(model), bounds=(0, 1))
    given, bound = (pictures + 1) / 2, EPSILON * LEVEL
    once = foolbox.attacks.LinfFastGradientAttack()(theirs, given, labels, epsilons=bound)[1]
    assert_same(attacks.fgsm(model, pictures, labels, epsilon=STEPS["epsilon"]), once)
    several = foolbox.attacks.LinfBasicIterativeAttack(
        abs_stepsize=6 * LEVEL, steps=5, random_start=False
    )
    assert_same(
        attacks.iterative_fgsm(model, pictures, labels, **STEPS),
        several(theirs, given, labels, epsilons=bound)[1],
    )


def test_one_pixel_succeeds_at_least_as_often_as_torchattacks():
    """Ours draws all parents at random, as the paper does; theirs adds to the best candidate.

    The deviation of a share of 16 is at most 0.13.
    """
    model = copy.deepcopy(classifier()).eval()
    pictures, labels = pictures_of(16)
    found = attacks.one_pixel(
        model, pictures, labels, pixels=6, generations=6, population=30, generator=seeded()
    )
    theirs = torchattacks.OnePixel(InUnitRange(model), pixels=6, steps=6, popsize=30, inf_batch=512)
    state = np.random.get_state()  # noqa: NPY002 - its differential evolution draws from there
    np.random.seed(0)  # noqa: NPY002
    expected = 2 * theirs((pictures + 1) / 2, labels) - 1
    np.random.set_state(state)  # noqa: NPY002
    rates = [(model(x).argmax(1) != labels).double().mean().item() for x in (found, expected)]
    assert rates[0] > 0.2 and rates[0] >= rates[1] - 0.13
