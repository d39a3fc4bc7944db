"""Settings that move over a run: closed forms."""

import pytest

from training import anneal


@pytest.mark.parametrize(
    ("shape", "share", "expected"),
    [
        ("linear", 0.25, 0.75 * 2e-4 + 0.25 * 5e-5),
        ("linear", 0.5, 1.25e-4),
        ("cosine", 1 / 3, 5e-5 + 1.5e-4 * 0.75),  # (1 + cos 60 degrees) / 2
        ("cosine", 0.5, 1.25e-4),
        ("cosine", 2 / 3, 5e-5 + 1.5e-4 * 0.25),
        ("constant", 0.5, 2e-4),
    ],
)
def test_values_on_the_way(shape, share, expected):
    images_seen = round(share * 3_000_000)
    found = anneal(images_seen, 2e-4, 5e-5, over_images=3_000_000, shape=shape)
    assert found == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("shape", ["linear", "cosine"])
@pytest.mark.parametrize(("start", "end"), [(0.9, 0.99), (0.05, 0.005), (0.0, 0.55), (150, 15)])
def test_both_ends_are_exact_and_the_last_stays(shape, start, end):
    values = [anneal(n, start, end, over_images=70, shape=shape) for n in (0, 70, 71, 10**9)]
    assert values == [start, end, end, end]
    between = [anneal(n, start, end, over_images=70, shape=shape) for n in range(71)]
    assert between == sorted(between, reverse=end < start)


def test_a_constant_never_moves():
    values = {anneal(n, 0.3, 0.9, over_images=10, shape="constant") for n in (0, 5, 10, 10**9)}
    assert values == {0.3}


@pytest.mark.parametrize("shape", ["linear", "cosine"])
def test_over_no_images_the_end_is_there_at_once(shape):
    assert anneal(0, 0.3, 0.9, over_images=0, shape=shape) == 0.9


def test_another_shape_is_refused():
    with pytest.raises(ValueError, match="'step' is none of"):
        anneal(0, 1, 0, over_images=1, shape="step")
