"""The two players' losses: closed forms, the official formulas, what their gradients want."""

import math

import pytest
import torch
import torch.nn.functional as F

from losses import ADVERSARIAL_LOSSES

LOG_2 = math.log(2)


@pytest.mark.parametrize(
    ("name", "on_real", "on_fake", "generator"),
    [
        ("lsgan", 1, 0, 1),
        ("minimax", LOG_2, LOG_2, -LOG_2),
        ("non_saturating", LOG_2, LOG_2, LOG_2),
        ("hinge", 1, 1, 0),
        ("wgan", 0, 0, 0),
    ],
)
def test_values_at_logits_of_zero(name, on_real, on_fake, generator):
    loss, zeros = ADVERSARIAL_LOSSES[name], torch.zeros(2, 1, 3, 3)
    found = [function(zeros).item() for function in loss]
    assert found == pytest.approx([on_real, on_fake, generator])


def test_formulas_on_random_logits():
    d = torch.randn(4, 1, 5, 5, generator=torch.Generator().manual_seed(0)) * 3
    ones, zeros = torch.ones_like(d), torch.zeros_like(d)
    sigmoid = torch.sigmoid(d.double())
    expected = {
        "lsgan": (F.mse_loss(d, ones), F.mse_loss(d, zeros), F.mse_loss(d, ones)),
        "minimax": (-sigmoid.log().mean(), -(1 - sigmoid).log().mean(), (1 - sigmoid).log().mean()),
        "non_saturating": (
            F.binary_cross_entropy_with_logits(d, ones),
            F.binary_cross_entropy_with_logits(d, zeros),
            F.binary_cross_entropy_with_logits(d, ones),
        ),
        "hinge": ((1 - d).clamp(min=0).mean(), (1 + d).clamp(min=0).mean(), -d.mean()),
        "wgan": (-d.mean(), d.mean(), -d.mean()),
    }
    assert expected.keys() == ADVERSARIAL_LOSSES.keys()
    for name, values in expected.items():
        found = [function(d).item() for function in ADVERSARIAL_LOSSES[name]]
        assert found == pytest.approx([value.item() for value in values], rel=1e-5), name


@pytest.mark.parametrize("name", ADVERSARIAL_LOSSES)
def test_the_players_pull_the_logits_the_right_way(name):
    """Discriminator: real up, fake down; generator: its own up."""
    for function, sign in zip(ADVERSARIAL_LOSSES[name], (-1, 1, -1), strict=True):
        logits = torch.full((3,), 0.5, requires_grad=True)
        function(logits).backward()
        assert (logits.grad.sign() == sign).all()


def test_minimax_saturates_where_the_discriminator_wins_and_non_saturating_does_not():
    gradients = {}
    for name in ("minimax", "non_saturating"):
        logits = torch.tensor([-10.0], requires_grad=True)
        ADVERSARIAL_LOSSES[name].generator(logits).backward()
        gradients[name] = abs(logits.grad.item())
    assert gradients["minimax"] < 1e-4 and gradients["non_saturating"] > 0.99


@pytest.mark.parametrize("name", ADVERSARIAL_LOSSES)
def test_half_precision_logits_give_float32_losses(name):
    for function in ADVERSARIAL_LOSSES[name]:
        assert function(torch.ones(2, dtype=torch.bfloat16)).dtype == torch.float32
