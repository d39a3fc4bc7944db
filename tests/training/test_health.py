"""Signs of trouble: the distance of pictures against all pairs, and when a warning is given."""

import math

import pytest
import torch

from training import pairwise_distance, warnings

WELL = {
    "real_accuracy": 0.7,
    "fake_accuracy": 0.99,
    "real_distance": 0.8,
    "fake_distance": 0.5,
    "skipped_updates": 0.0,
}


def test_the_distance_is_that_of_all_pairs():
    pictures = torch.randn(5, 3, 4, 4, generator=torch.Generator().manual_seed(0), dtype=torch.half)
    squares = [
        (pictures[i].double() - pictures[j].double()).square().mean()
        for i in range(5)
        for j in range(5)
        if i != j
    ]
    found = pairwise_distance(pictures.requires_grad_())
    assert found.item() == pytest.approx(math.sqrt(sum(squares) / 20), rel=1e-5)
    assert found.dtype == torch.float32 and not found.requires_grad and found.shape == ()


def test_equal_pictures_and_a_single_one_have_no_distance():
    picture = torch.rand(1, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    for count in (1, 6):
        assert pairwise_distance(picture.expand(count, 3, 4, 4)).item() == 0


def test_a_game_that_goes_well_gives_no_warning():
    assert warnings(WELL) == [] and warnings({}) == []


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"real_accuracy": 0.99, "fake_accuracy": 1.0}, ["discriminator has won", "99.0%", "100"]),
        ({"fake_distance": 0.05}, ["generator has collapsed", "0.05", "0.8"]),
        ({"skipped_updates": 0.0125}, ["1.25%", "not finite", "`learning_rate`"]),
    ],
)
def test_each_sign_has_its_own_sentence_with_its_numbers(changes, told):
    (sentence,) = warnings({**WELL, **changes})
    assert all(part in sentence for part in told) and "try" in sentence


def test_several_signs_are_told_together():
    bad = {"real_accuracy": 1.0, "fake_accuracy": 1.0, "fake_distance": 0.0, "skipped_updates": 1.0}
    assert len(warnings({**WELL, **bad})) == 3


@pytest.mark.parametrize(
    "changes",
    [
        {"real_accuracy": 1.0, "fake_accuracy": 0.98},
        {"real_accuracy": 0.98, "fake_accuracy": 1.0},
        {"fake_distance": 0.081},
        {"real_distance": 0.0, "fake_distance": 0.0},  # pictures of one colour, all the same
        {"real_distance": 0.0, "fake_distance": 0.3},
        {"fake_distance": math.nan},
        {"skipped_updates": math.nan},
        {"real_accuracy": 1.0, "fake_accuracy": math.nan},
    ],
)
def test_no_sign_is_seen_where_there_is_none(changes):
    assert warnings({**WELL, **changes}) == []


def test_one_number_of_a_pair_alone_gives_no_warning():
    alone = [{"real_accuracy": 1.0}, {"fake_accuracy": 1.0}, {"fake_distance": 0.0}]
    assert [warnings(values) for values in alone] == [[], [], []]
