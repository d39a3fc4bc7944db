"""The objectives of two players: closed forms, direct formulas, what their gradients want."""

import math

import pytest
import torch

from losses import ADVERSARIAL_LOSSES, OBJECTIVES, accuracies

LOG_2, LOG_4 = math.log(2), math.log(4)


def normal(*shape, seed):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)) * 3


@pytest.mark.parametrize(
    ("name", "at", "discriminator", "generator"),
    [
        ("minimax", 0, LOG_4, -LOG_2),
        ("non_saturating", 0, LOG_4, LOG_2),
        ("lsgan", 0, 0.5, 0.5),
        ("lsgan", 0.5, 0.25, 0.125),
        ("hinge", 0, 2, 0),
        ("hinge", 0.7, 2, -0.7),
        ("wgan", 5, 0, -5),
        ("relativistic", 5, LOG_2, LOG_2),
    ],
)
def test_values_where_reals_and_fakes_are_judged_alike(name, at, discriminator, generator):
    logits = torch.full((3, 1), float(at))
    objective = OBJECTIVES[name]
    assert objective.discriminator(logits, logits).item() == pytest.approx(discriminator)
    assert objective.generator(logits, logits).item() == pytest.approx(generator)


def test_formulas_on_random_logits():
    r, f = normal(40, 1, seed=0).double(), normal(40, 1, seed=1).double()
    real, fake = torch.sigmoid(r), torch.sigmoid(f)
    told = -real.log().mean() - (1 - fake).log().mean()
    expected = {
        "minimax": (told, (1 - fake).log().mean()),
        "non_saturating": (told, -fake.log().mean()),
        "lsgan": ((r - 1).square().mean() / 2 + f.square().mean() / 2, (f - 1).square().mean() / 2),
        "hinge": ((1 - r).clamp(min=0).mean() + (1 + f).clamp(min=0).mean(), -f.mean()),
        "wgan": (f.mean() - r.mean(), -f.mean()),
        "relativistic": (
            sum(math.log(1 + math.exp(b - a)) for a, b in zip(r, f, strict=True)) / 40,
            sum(math.log(1 + math.exp(a - b)) for a, b in zip(r, f, strict=True)) / 40,
        ),
    }
    assert expected.keys() == OBJECTIVES.keys()
    for name, (discriminator, generator) in expected.items():
        objective = OBJECTIVES[name]
        assert objective.discriminator(r, f).item() == pytest.approx(float(discriminator)), name
        assert objective.generator(f, r).item() == pytest.approx(float(generator)), name


@pytest.mark.parametrize("name", OBJECTIVES)
def test_the_players_pull_the_logits_the_right_way(name):
    """Discriminator: real up, fake down; generator: its own up."""
    objective = OBJECTIVES[name]
    real, fake = (torch.full((4, 1), 0.3, requires_grad=True) for _ in range(2))
    objective.discriminator(real, fake).backward()
    assert (real.grad < 0).all() and (fake.grad > 0).all()
    fake.grad = None
    objective.generator(fake, real.detach()).backward()
    assert (fake.grad < 0).all()


@pytest.mark.parametrize("name", OBJECTIVES)
def test_only_the_one_that_compares_needs_the_reals_for_the_generator(name):
    objective, fake = OBJECTIVES[name], normal(4, 1, seed=0)
    assert objective.compares == (name == "relativistic")
    if objective.compares:
        with pytest.raises(ValueError, match="real_logits None"):
            objective.generator(fake, None)
    else:
        values = [objective.generator(fake, real) for real in (None, normal(4, 1, seed=1))]
        assert torch.equal(*values)


def test_the_relativistic_pairs_go_by_batch_position():
    """Only a shift of a pair as a whole leaves its loss as it is, and pairs are not exchanged."""
    real, fake = normal(6, 1, seed=0), normal(6, 1, seed=1)
    objective = OBJECTIVES["relativistic"]
    value = objective.discriminator(real, fake)
    shift = normal(6, 1, seed=2)
    assert torch.allclose(objective.discriminator(real + shift, fake + shift), value, atol=1e-5)
    assert not torch.allclose(objective.discriminator(real, fake.roll(1, 0)), value, rtol=1e-2)


def test_relativistic_logits_of_unequal_shapes_are_refused():
    with pytest.raises(ValueError, match="equal shapes"):
        OBJECTIVES["relativistic"].discriminator(torch.zeros(4, 1), torch.zeros(4))


@pytest.mark.parametrize("name", ADVERSARIAL_LOSSES)
def test_separate_objectives_are_the_sum_of_the_losses_that_the_translators_halve(name):
    real, fake = normal(5, 1, 3, 3, seed=0), normal(5, 1, 3, 3, seed=1)
    loss = ADVERSARIAL_LOSSES[name]
    halves = (loss.on_real(real) + loss.on_fake(fake)) / 2
    ratio = OBJECTIVES[name].discriminator(real, fake) / halves
    assert ratio.item() == pytest.approx(1 if name == "lsgan" else 2)


@pytest.mark.parametrize("name", OBJECTIVES)
def test_half_precision_logits_give_float32_losses(name):
    logits = torch.ones(2, 1, dtype=torch.bfloat16)
    assert OBJECTIVES[name].discriminator(logits, logits).dtype == torch.float32
    assert OBJECTIVES[name].generator(logits, logits).dtype == torch.float32


@pytest.mark.parametrize("name", OBJECTIVES)
def test_logits_of_a_thousand_stay_finite_with_their_gradients(name):
    real, fake = (torch.tensor([[1e3], [-1e3]], requires_grad=True) for _ in range(2))
    total = OBJECTIVES[name].discriminator(real, fake) + OBJECTIVES[name].generator(fake, real)
    total.backward()
    assert torch.isfinite(total) and torch.isfinite(torch.cat([real.grad, fake.grad])).all()


@pytest.mark.parametrize(("boundary", "expected"), [(0.0, (0.75, 0.5)), (0.5, (0.25, 0.75))])
def test_accuracies_count_the_logits_above_the_boundary(boundary, expected):
    real, fake = torch.tensor([1.0, 0.5, 0.1, -3.0]), torch.tensor([2.0, 0.5, 0.0, -1.0])
    found = accuracies(real, fake, boundary)
    assert tuple(share.item() for share in found) == expected


def test_accuracies_without_a_boundary_compare_with_the_midpoint_of_the_means():
    real, fake = torch.tensor([9.0, 11.0, 4.0]), torch.tensor([2.0, 5.0, -1.0])
    shares = accuracies(real, fake, None)  # means 8 and 2, midpoint 5
    assert [share.item() for share in shares] == pytest.approx([2 / 3, 1])
    shifted = accuracies(real - 100, fake - 100, None)
    assert [share.item() for share in shifted] == pytest.approx([2 / 3, 1])


def test_what_no_discriminator_can_tell_is_told_half_of_the_time():
    logits = normal(2000, 1, seed=3)
    for boundary in (0.0, None):
        real, fake = accuracies(logits, logits, boundary)
        assert (real + fake).item() == pytest.approx(1)


def test_boundaries_are_where_the_best_discriminator_says_one_half():
    """Of one picture that is real with p = 1/2, the loss is least at the boundary."""
    for name in ("minimax", "non_saturating", "lsgan"):
        objective = OBJECTIVES[name]
        at = torch.full((1,), objective.boundary, requires_grad=True)
        objective.discriminator(at, at).backward()
        assert at.grad.item() == pytest.approx(0, abs=1e-7)
    assert OBJECTIVES["wgan"].boundary is None and OBJECTIVES["relativistic"].boundary is None
