"""The game's value against the divergence that the theory says it is."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from losses import game_value, implied_jensen_shannon


def divergence(p, q):
    """Jensen-Shannon, term by term."""

    def kullback_leibler(p, m):
        return sum(a * math.log(a / b) for a, b in zip(p, m, strict=True) if a > 0)

    middle = [(a + b) / 2 for a, b in zip(p, q, strict=True)]
    return (kullback_leibler(p, middle) + kullback_leibler(q, middle)) / 2


counts = st.lists(st.integers(1, 30), min_size=2, max_size=6)


@given(data=counts, generated=counts)
def test_the_best_discriminator_finds_twice_the_divergence_less_log_4(data, generated):
    """Samples in proportion to two distributions over as many places, and D* = p / (p + q)."""
    places = min(len(data), len(generated))
    data, generated = data[:places], generated[:places]
    p = [n / sum(data) for n in data]
    q = [n / sum(generated) for n in generated]
    best = torch.tensor([math.log(a / b) for a, b in zip(p, q, strict=True)], dtype=torch.double)
    value = game_value(
        best.repeat_interleave(torch.tensor(data)), best.repeat_interleave(torch.tensor(generated))
    )
    expected = divergence(p, q)
    assert value.item() == pytest.approx(-math.log(4) + 2 * expected)
    assert implied_jensen_shannon(value).item() == pytest.approx(expected, abs=1e-12)
    worse = game_value(
        (best + 0.5).repeat_interleave(torch.tensor(data)),
        (best + 0.5).repeat_interleave(torch.tensor(generated)),
    )
    assert worse < value


def test_values_at_the_ends_of_the_game():
    sure, unsure = torch.full((3, 1), 200.0), torch.zeros(3, 1)
    assert game_value(unsure, unsure).item() == pytest.approx(-math.log(4))
    assert game_value(sure, -sure).item() == 0
    assert implied_jensen_shannon(game_value(sure, -sure)).item() == pytest.approx(math.log(2))
    assert game_value(-sure, sure).item() == -400  # D wrong everywhere, and no infinity


def test_half_precision_logits_give_a_float32_value():
    logits = torch.ones(2, dtype=torch.bfloat16)
    assert game_value(logits, logits).dtype == torch.float32
