"""Random views: each operation against torchvision's, its probability, and its purity."""

import math

import pytest
import torch
from torchvision.transforms import functional as theirs

from models import COLOURS, Policy, draw_views, make_views
from models.views import BRIGHTNESS, DRAWN, HUE

NOTHING = Policy(least_area=1.0, flip=0.0, jitter=0.0, grey=0.0)
WHOLE = {"ratio": 0.5, "x": 0.5, "y": 0.5}


def pictures(count=3, px=12, channels=3):
    random = torch.Generator().manual_seed(0)
    return torch.rand(count, channels, px, px, generator=random, dtype=torch.double) * 2 - 1


def draws(count=3, **chosen):
    numbers = dict.fromkeys(DRAWN, 0.0) | WHOLE | chosen
    return torch.tensor([[numbers[name] for name in DRAWN]] * count, dtype=torch.double)


def test_no_change_returns_the_pictures():
    x = pictures()
    torch.testing.assert_close(make_views(x, draws(), range(4), NOTHING, 12), x)


@pytest.mark.parametrize("u", [-1.0, -0.4, 0.3, 0.99])
@pytest.mark.parametrize("name", COLOURS)
def test_a_change_of_colour_is_torchvisions(name, u):
    x = pictures()
    chosen = draws(**{other: 0.5 for other in COLOURS if other != name}, **{name: (u + 1) / 2})
    policy = NOTHING._replace(jitter=1.0)
    found = make_views(x, chosen, range(4), policy, 12)
    change = {
        "brightness": lambda y: theirs.adjust_brightness(y, 1 + BRIGHTNESS * u),
        "contrast": lambda y: theirs.adjust_contrast(y, 1 + BRIGHTNESS * u),
        "saturation": lambda y: theirs.adjust_saturation(y, 1 + BRIGHTNESS * u),
        "hue": lambda y: theirs.adjust_hue(y, HUE * u),
    }[name]
    expected = change(x / 2 + 0.5) * 2 - 1
    # torchvision's luma has 0.2989 for red, and ours sums to 1.
    torch.testing.assert_close(found, expected, rtol=0, atol=2e-3)


def test_colours_change_in_the_given_order():
    x = pictures()
    chosen = draws(brightness=0.9, contrast=0.1, saturation=0.5, hue=0.5)
    policy = NOTHING._replace(jitter=1.0)
    first, second = (
        make_views(x, chosen, order, policy, 12) for order in ([0, 1, 2, 3], [1, 0, 2, 3])
    )
    y = theirs.adjust_brightness(x / 2 + 0.5, 1 + 0.8 * 0.8)
    expected = theirs.adjust_contrast(y, 1 - 0.8 * 0.8) * 2 - 1
    torch.testing.assert_close(first, expected, rtol=0, atol=2e-3)
    assert (first - second).abs().max() > 0.05


def test_a_crop_is_torchvisions_away_from_its_border():
    """torchvision cuts first, so that the interpolation does not see beyond the border."""
    x = pictures(px=16)
    area = (0.5**2 - 0.1) / 0.9  # a crop of 8x8 px
    for number, (left, top) in enumerate([(0, 0), (4, 2), (8, 8)]):
        chosen = draws(area=area, x=left / 8, y=top / 8, flip=0.9)
        policy = NOTHING._replace(least_area=0.1, flip=0.5)
        found = make_views(x, chosen, range(4), policy, 24)
        expected = theirs.resized_crop(x, top, left, 8, 8, [24, 24], antialias=False)
        torch.testing.assert_close(found[..., 2:-2, 2:-2], expected[..., 2:-2, 2:-2])
        mirrored = make_views(x, draws(area=area, x=left / 8, y=top / 8), range(4), policy, 24)
        torch.testing.assert_close(mirrored, found.flip(3)), number


def test_crops_have_the_areas_and_ratios_that_are_asked_for():
    """On a picture whose channels hold its coordinates."""
    px, count = 64, 400
    line = (torch.arange(px, dtype=torch.double) + 0.5) / px * 2 - 1
    x = torch.stack([line.expand(px, px), line[:, None].expand(px, px), torch.zeros(px, px)])
    numbers = draw_views(count, torch.Generator().manual_seed(1)).double()
    policy = NOTHING._replace(least_area=0.2)
    views = make_views(x[None].expand(count, -1, -1, -1), numbers, range(4), policy, 33)
    width = (views[:, 0, 16, 24] - views[:, 0, 16, 8]).abs() / 2 * 33 / 16
    height = (views[:, 1, 24, 16] - views[:, 1, 8, 16]) / 2 * 33 / 16
    inside = (width < 0.97) & (height < 0.97)
    ratios = (width / height)[inside]
    assert ratios.min() > 0.74 and ratios.max() < 1.35
    areas = width * height
    assert 0.19 < areas.min() < 0.23 and areas.max() <= 1.0001
    assert areas.mean().item() == pytest.approx(0.6, abs=0.04)


def test_each_change_has_its_probability():
    x = pictures(1, 8).expand(1000, -1, -1, -1)
    numbers = draw_views(1000, torch.Generator().manual_seed(2)).double()
    whole = NOTHING._replace(least_area=1.0)
    numbers[:, 1:4] = 0.5
    for policy, share in (
        (whole._replace(flip=0.5), 0.5),
        (whole._replace(jitter=1.0, jitter_probability=0.8), 0.8),
        (whole._replace(grey=0.2), 0.2),
        (whole._replace(blur=0.5), 0.5),
    ):
        views = make_views(x, numbers, range(4), policy, 8)
        changed = (views - x).abs().amax((1, 2, 3)) > 1e-6
        assert changed.double().mean().item() == pytest.approx(share, abs=0.05)


def test_grey_and_blur():
    x = pictures(px=40)
    grey = make_views(x, draws(), range(4), NOTHING._replace(grey=1.0), 40)
    assert torch.equal(grey[:, 0], grey[:, 1]) and torch.equal(grey[:, 0], grey[:, 2])
    torch.testing.assert_close(grey[:, :1], theirs.rgb_to_grayscale(x), rtol=0, atol=1e-3)
    blurred = make_views(x, draws(sigma=0.5), range(4), NOTHING._replace(blur=1.0), 40)
    expected = theirs.gaussian_blur(x, [5, 5], [1.05, 1.05])
    torch.testing.assert_close(blurred, expected)


def test_pictures_of_one_channel_keep_it():
    x = pictures(channels=1)
    policy = Policy(blur=0.5)
    views = make_views(x, draw_views(3, torch.Generator().manual_seed(0)), range(4), policy, 8)
    assert views.shape == (3, 1, 8, 8) and views.isfinite().all()


def test_a_view_depends_on_its_own_numbers_alone():
    x, numbers = pictures(), draw_views(3, torch.Generator().manual_seed(0))
    whole = make_views(x, numbers, [2, 0, 3, 1], Policy(blur=0.5), 12)
    alone = make_views(x[1:2], numbers[1:2], [2, 0, 3, 1], Policy(blur=0.5), 12)
    torch.testing.assert_close(alone, whole[1:2])
    assert whole.min() >= -1 - 1e-6 and whole.max() <= 1 + 1e-6
    assert math.isfinite(whole.sum().item())
