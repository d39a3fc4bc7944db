"""CycleGAN's pool of earlier fakes, against the official program's rules."""

import torch

from training import FakePool


def draws(seed=0):
    return torch.Generator().manual_seed(seed)


def marked(*values, size=2):
    """Pictures that hold one value each."""
    return torch.tensor([float(v) for v in values]).view(-1, 1, 1, 1).expand(-1, 3, size, size)


def values(pictures):
    return [picture.unique().item() for picture in pictures]


def test_the_first_fifty_are_stored_and_handed_back():
    pool, random = FakePool(50), draws()
    for first in range(0, 50, 2):
        batch = marked(first, first + 1)
        assert torch.equal(pool.mix(batch, random), batch)
    assert values(pool.stored) == list(range(50))


def test_afterwards_it_trades_as_the_official_program_does():
    """Coin above one half: a stored one comes back and the new one takes its place."""
    pool, random, official = FakePool(3), draws(5), draws(5)
    pool.mix(marked(0, 1, 2), random)
    stored, traded = [0.0, 1.0, 2.0], 0
    for step in range(50):
        new = [10.0 + 2 * step, 11.0 + 2 * step]
        expected = list(new)
        for row, value in enumerate(new):
            coin = torch.rand((), generator=official).item()
            place = int(torch.randint(3, (), generator=official))
            if coin > 0.5:
                expected[row], stored[place] = stored[place], value
                traded += 1
        assert values(pool.mix(marked(*new), random)) == expected
        assert values(pool.stored) == stored
    assert 30 < traded < 70


def test_half_of_what_comes_back_is_old():
    pool, random = FakePool(10), draws()
    pool.mix(marked(*range(10)), random)
    new = range(10, 2010)
    returned = [values(pool.mix(marked(number), random))[0] for number in new]
    old = sum(value != number for value, number in zip(returned, new, strict=True))
    assert 900 < old < 1100
    assert len(set(returned)) == len(returned)  # what comes back is stored no more


def test_equal_draws_choose_equally_and_others_otherwise():
    def returned(seed):
        pool, random = FakePool(2), draws(seed)
        return [values(pool.mix(marked(number), random))[0] for number in range(40)]

    assert returned(1) == returned(1) != returned(2)


def test_nothing_that_is_stored_changes_or_carries_a_gradient():
    pool, random = FakePool(2), draws()
    fakes = marked(1, 2).clone().requires_grad_()
    mixed = pool.mix(fakes, random)
    assert not mixed.requires_grad and not any(part.requires_grad for part in pool.stored)
    with torch.no_grad():
        fakes.zero_()
        mixed.zero_()
    assert values(pool.stored) == [1, 2]
    replacing = marked(*range(3, 23)).clone()
    pool.mix(replacing, random)
    kept = values(pool.stored)
    replacing.zero_()
    assert values(pool.stored) == kept != [1, 2]


def test_a_stored_picture_of_another_size_gives_way_unseen():
    pool, random = FakePool(3), draws()
    pool.mix(marked(0, 1, 2, size=2), random)
    assert pool.mix(marked(7, size=4), draws(1)).shape == (1, 3, 4, 4)
    for number in range(10, 40):
        batch = marked(number, size=4)
        mixed = pool.mix(batch, random)
        assert mixed.shape == batch.shape and values(mixed)[0] >= 7
    assert {picture.shape for picture in pool.stored} == {(3, 4, 4)}


def test_a_restored_pool_goes_on_as_the_one_that_was_saved():
    pool = FakePool(3)
    for number in range(8):
        pool.mix(marked(number), draws(number))
    saved = pool.state_dict()
    kept = values(saved["stored"])
    restored = FakePool(3)
    restored.load_state_dict(saved)
    for number in range(8, 20):
        batch = marked(number)
        assert torch.equal(pool.mix(batch, draws(number)), restored.mix(batch, draws(number)))
    assert values(saved["stored"]) == kept  # what was saved stays what it was
    assert values(pool.stored) == values(restored.stored) != kept
