"""Growing: the papers' tables, exact borders, resets."""

import pytest

from training import GrowingSchedule

KIMG = 1000


@pytest.mark.parametrize(
    ("stable", "fade", "last_px", "kimg"),
    [
        (600, 600, 32, 3600),
        (600, 600, 64, 4800),
        (600, 600, 128, 6000),
        (600, 600, 256, 7200),
        (600, 600, 512, 8400),
        (600, 600, 1024, 9600),
        (800, 800, 32, 4800),
        (800, 800, 128, 8000),
        (800, 800, 1024, 12800),
        (400, 400, 32, 2400),
    ],
)
def test_when_the_last_resolution_is_in(stable, fade, last_px, kimg):
    full = float(last_px.bit_length() - 1)
    schedule = GrowingSchedule(2, int(full), stable * KIMG, fade * KIMG)
    assert schedule.grown_at_images == kimg * KIMG
    assert schedule.level(kimg * KIMG) == schedule.level(10**9) == full
    assert full - 1 < schedule.level(kimg * KIMG - 1) < full


@pytest.mark.parametrize(
    ("images_seen", "level"),
    [
        (0, 2.0),
        (599_999, 2.0),
        (600_000, 2.0),
        (780_000, 2.3),
        (900_000, 2.5),
        (1_200_000, 3.0),
        (1_800_000, 3.0),
        (2_100_000, 3.5),
        (3_600_000, 5.0),
    ],
)
def test_levels_of_the_official_program(images_seen, level):
    """Its level of detail is log2 of the last side, less this."""
    found = GrowingSchedule(2, 5, 600_000, 600_000).level(images_seen)
    assert found == pytest.approx(level, abs=1e-12)


def test_levels_are_whole_numbers_while_stable_and_only_then():
    schedule = GrowingSchedule(2, 10, 7, 9)
    for images_seen in range(200):
        fades, inside = divmod(images_seen, 16)
        level = schedule.level(images_seen)
        if fades >= 8 or inside <= 7:
            assert level == min(2 + fades, 10)
        else:
            assert 2 + fades < level < 3 + fades


def test_levels_never_fall():
    schedule = GrowingSchedule(3, 6, 3, 10**7)
    levels = [schedule.level(n) for n in range(0, 4 * 10**7, 99_991)]
    assert levels == sorted(levels) and (levels[0], levels[-1]) == (3.0, 6.0)


def test_one_resolution_has_nothing_to_grow():
    schedule = GrowingSchedule(5, 5, 1, 1)
    assert schedule.grown_at_images == 0
    assert schedule.level(0) == schedule.level(10**6) == 5.0
    assert not schedule.resets_optimizer(0, 10**6)


def test_the_optimizer_is_reset_when_a_fade_begins_and_when_it_ends():
    schedule, batch = GrowingSchedule(2, 4, 100, 50), 8
    resets = [
        after
        for after in range(batch, 500, batch)
        if schedule.resets_optimizer(after - batch, after)
    ]
    # Fades begin after 100 and 250 images and are over at 150 and 300; the next steps notice.
    assert resets == [104, 152, 256, 304]


def test_a_step_at_the_border_itself():
    schedule = GrowingSchedule(2, 3, 100, 50)
    assert not schedule.resets_optimizer(90, 100)  # the fade has begun, with alpha 0
    assert schedule.resets_optimizer(100, 110)
    assert schedule.resets_optimizer(140, 150)
    assert not schedule.resets_optimizer(150, 160)
    assert schedule.resets_optimizer(90, 160)  # a whole fade in one step


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((-1, 5, 1, 1), "first_level -1"),
        ((6, 5, 1, 1), "first_level 6: outside 0 to last_level 5"),
        ((2, 5, 0, 1), "stable_images 0"),
        ((2, 5, 1, 0), "fade_images 0"),
    ],
)
def test_what_cannot_be_grown_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        GrowingSchedule(*arguments)
