"""The measurements of translating: the official way makes the same pictures; flicker is known."""

import pytest

import data
from benchmarks import films, translate


def test_the_official_way_makes_the_same_pictures(monkeypatch):
    monkeypatch.setattr(translate, "SIZE_PX", 32)
    found = translate.measure(width=2, pictures=3, rounds=1, device="cpu")
    assert found["1_largest_difference"] <= 1 and found["auto_largest_difference"] <= 1
    assert found["official_pictures_per_second"] > 0 and found["auto_ratio"] > 0


def test_flicker_is_what_motion_does_not_explain():
    frames = [*data.draw_film(0, 48, 5, step_px=3).frames()]
    assert films.flicker(frames, 3) == 0 < films.flicker(frames, 2)
    lighter = [frame.astype(int) + 2 * (number % 2) for number, frame in enumerate(frames)]
    assert films.flicker(lighter, 3) == pytest.approx(2)
