"""Differentiable augmentation against a literal transcription, a picture at a time."""

import pytest
import torch
from scipy import stats

from models.gan.augmentation import POLICIES, augment, draw

ORDERS = [POLICIES, POLICIES[::-1], ("translation", "colour"), ("cutout",), ()]


def pictures_of(count, channels=3, side=8, dtype=torch.float32):
    random = torch.Generator().manual_seed(1)
    return torch.rand(count, channels, side, side, generator=random, dtype=dtype) * 2 - 1


def drawn(count, seed=0):
    return draw(count, torch.Generator().manual_seed(seed))


def transcribed(picture, numbers, policies, probability):
    """Change one picture [C, H, W] as the paper's program says, pixel by pixel."""
    channels, height, width = picture.shape
    for policy in policies:
        if not numbers.applied[POLICIES.index(policy)] < probability:
            continue
        if policy == "colour":
            brightness, saturation, contrast = numbers.colour.to(picture.dtype)
            picture = picture + (brightness - 0.5)
            grey = picture.sum(0, keepdim=True) / channels
            picture = (picture - grey) * (saturation * 2) + grey
            mean = picture.sum() / picture.numel()
            picture = (picture - mean) * (contrast + 0.5) + mean
        else:
            changed = torch.zeros_like(picture)
            by = []
            for side, number in zip((height, width), numbers.shift, strict=True):
                most = int(side * 0.125 + 0.5)
                by.append(int(number * (2 * most + 1)) - most)
            corner = []
            for side, number in zip((height, width), numbers.hole, strict=True):
                hole = int(side * 0.5 + 0.5)
                corner.append(int(number * (side + (1 - hole % 2))) - hole // 2)
            for row in range(height):
                for column in range(width):
                    if policy == "translation":
                        at = row - by[0], column - by[1]
                        kept = 0 <= at[0] < height and 0 <= at[1] < width
                    else:
                        at = row, column
                        kept = not all(
                            0 <= place - start < int(side * 0.5 + 0.5)
                            for place, start, side in zip(at, corner, (height, width), strict=True)
                        )
                    if kept:
                        changed[:, row, column] = picture[:, at[0], at[1]]
            picture = changed
    return picture


@pytest.mark.parametrize("policies", ORDERS, ids="-".join)
@pytest.mark.parametrize("probability", [1.0, 0.5])
@pytest.mark.parametrize(("channels", "side"), [(3, 8), (1, 5), (3, 4), (1, 1)])
def test_it_is_the_paper_s(policies, probability, channels, side):
    pictures, numbers = pictures_of(12, channels, side, torch.float64), drawn(12)
    found = augment(pictures, numbers, policies, probability)
    expected = torch.stack(
        [
            transcribed(picture, numbers.rows(place), policies, probability)
            for place, picture in enumerate(pictures)
        ]
    )
    assert torch.allclose(found, expected, atol=1e-12)


@pytest.mark.parametrize("probability", [0.0, torch.tensor(0.0)])
def test_probability_0_gives_the_input_bit_for_bit(probability):
    pictures = pictures_of(20)
    assert torch.equal(augment(pictures, drawn(20), POLICIES, probability), pictures)


def test_probability_1_as_a_tensor_is_the_number_1():
    pictures, numbers = pictures_of(20), drawn(20)
    found = augment(pictures, numbers, POLICIES, torch.ones(()))
    assert torch.equal(found, augment(pictures, numbers, POLICIES, 1.0))


def test_each_policy_comes_by_itself_with_the_probability():
    pictures, numbers = pictures_of(3000), drawn(3000)
    changed = {
        name: (augment(pictures, numbers, [name], 0.3) != pictures).flatten(1).any(1)
        for name in POLICIES
    }
    for name, found in changed.items():
        visible = 8 / 9 if name == "translation" else 1  # a shift of 0 is one of 3 by 3
        assert stats.binomtest(int(found.sum()), 3000, 0.3 * visible).pvalue > 0.01
    both = int((changed["colour"] & changed["cutout"]).sum())
    assert stats.binomtest(both, 3000, 0.09).pvalue > 0.01


def test_a_picture_s_change_does_not_depend_on_those_beside_it():
    pictures, numbers = pictures_of(9), drawn(9)
    whole = augment(pictures, numbers, POLICIES, 0.7)
    assert torch.equal(augment(pictures[2:5], numbers.rows(slice(2, 5)), POLICIES, 0.7), whole[2:5])
    places = torch.tensor([7, 0, 3])
    assert torch.equal(
        augment(pictures[places], numbers.rows(places), POLICIES, 0.7), whole[places]
    )


def test_shifts_and_holes_are_equally_likely_within_their_bounds():
    side, count = 16, 4000
    ramp = torch.arange(1.0, side + 1).expand(count, 1, side, side)
    moved = augment(ramp, drawn(count), ["translation"], 1.0)
    middle = moved.amax(2)[:, 0, side // 2]  # of each picture the value now in the middle column
    found = (side // 2 + 1 - middle).long() + 2
    assert stats.chisquare(found.bincount(minlength=5)).pvalue > 0.01 and found.max() == 4
    holes = augment(torch.ones(count, 1, side, side), drawn(count), ["cutout"], 1.0) == 0
    assert len(holes[:, 0].any(2).unique(dim=0)) == side + 1
    assert holes.sum((1, 2, 3)).max() == (side // 2) ** 2
    assert holes.sum((1, 2, 3)).min() == (side // 4) ** 2


def test_values_are_not_clamped():
    found = augment(pictures_of(50), drawn(50), ["colour"], 1.0)
    assert found.max() > 1.5 and found.min() < -1.5


@pytest.mark.parametrize("probability", [0.5, 1.0])
@pytest.mark.slow
def test_gradients_flow_to_the_pictures(probability):
    pictures = pictures_of(3, 3, 4, torch.float64).requires_grad_()
    numbers = drawn(3, seed=3)

    def changed(given):
        return augment(given, numbers, POLICIES, probability)

    assert torch.autograd.gradcheck(changed, pictures)
    assert torch.autograd.gradgradcheck(lambda given: changed(given).square(), pictures)


def test_bfloat16_stays_bfloat16_and_near_float32():
    pictures, numbers = pictures_of(20), drawn(20)
    found = augment(pictures.bfloat16(), numbers, POLICIES, 1.0)
    assert found.dtype == torch.bfloat16
    assert torch.allclose(found.float(), augment(pictures, numbers, POLICIES, 1.0), atol=0.05)


def test_numbers_come_from_the_generator_alone():
    before = torch.get_rng_state()
    numbers = drawn(5)
    augment(pictures_of(5), numbers, POLICIES, 1.0)
    assert torch.equal(torch.get_rng_state(), before)
    assert all(torch.equal(a, b) for a, b in zip(numbers, drawn(5), strict=True))
    assert not torch.equal(numbers.colour, drawn(5, seed=1).colour)
    assert all(len(part) == 5 and 0 <= part.min() <= part.max() < 1 for part in numbers)


def test_what_does_not_fit_is_refused():
    with pytest.raises(ValueError, match="'color'.*colour, translation, cutout"):
        augment(pictures_of(2), drawn(2), ["color"], 1.0)
    with pytest.raises(ValueError, match="draws of 3 pictures for 2"):
        augment(pictures_of(2), drawn(3), POLICIES, 1.0)
