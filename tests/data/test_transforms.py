import numpy as np
import pytest
import torch
import torchvision.transforms as official
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from data import Content, Preprocessing, generator_for, to_tensor
from data.pixels import planes
from data.transforms import resized
from errors import UserError
from tests.data.pictures import noise

BICUBIC = Image.Resampling.BICUBIC


def draws(index=0):
    return generator_for(0, index, "test")


def size_after(mode, load, crop, width, height, jitter=True):
    preprocessing = Preprocessing(mode, load, crop, flip=True)
    return tuple(preprocessing(noise(width, height), draws(), jitter).shape)


@pytest.mark.parametrize(
    ("mode", "load", "crop", "width", "height", "expected"),
    [
        ("resize_and_crop", 40, 32, 100, 50, (32, 32)),
        ("crop", 40, 32, 100, 50, (32, 32)),
        ("crop", 40, 32, 32, 32, (32, 32)),
        ("scale_width", 40, 16, 100, 50, (20, 40)),
        ("scale_width", 40, 24, 100, 50, (24, 40)),  # the crop size is the least height
        ("scale_width", 40, 16, 100, 56, (24, 40)),  # int(22.4) = 22, 5.5 fours -> 6 fours
        ("scale_width", 40, 16, 200, 109, (20, 40)),  # int(21.8) = 21, 5.25 fours -> 5
        ("scale_width", 41, 16, 41, 20, (20, 40)),  # 10.25 fours -> 10
        ("scale_width_and_crop", 40, 16, 100, 50, (16, 16)),
        ("scale_width_and_crop", 40, 24, 100, 50, (24, 24)),
        ("scale_shortside", 40, 16, 30, 20, (40, 60)),
        ("scale_shortside", 40, 16, 20, 30, (60, 40)),
        ("scale_shortside", 40, 16, 60, 44, (44, 60)),  # never shrinks
        ("centre_crop", 40, 32, 100, 50, (32, 32)),
        ("centre_crop", 40, 40, 20, 10, (40, 40)),  # enlarged
        ("none", 40, 16, 30, 21, (20, 32)),  # 7.5 fours -> 8 (even), 5.25 -> 5
        ("none", 40, 16, 26, 18, (16, 24)),  # 6.5 -> 6, 4.5 -> 4
        ("none", 40, 16, 1, 400, (400, 4)),  # never to nothing
    ],
)
def test_sizes(mode, load, crop, width, height, expected):
    assert size_after(mode, load, crop, width, height) == (3, *expected)


@pytest.mark.parametrize(
    ("mode", "expected"),
    [
        ("resize_and_crop", (32, 32)),
        ("scale_width", (32, 32)),  # height 16 by ratio, 32 by the crop size
        ("scale_width_and_crop", (32, 32)),
        ("scale_shortside", (32, 64)),
    ],
)
def test_without_jitter_the_crop_size_takes_the_place_of_the_load_size(mode, expected):
    assert size_after(mode, 48, 32, 40, 20, jitter=False) == (3, *expected)


def test_without_jitter_resize_and_crop_is_the_plain_resize():
    image = noise(50, 40)
    got = Preprocessing("resize_and_crop", 48, 32, flip=False)(image, draws(), jitter=False)
    assert torch.equal(got, to_tensor(image.resize((32, 32), BICUBIC)))


def test_the_resizes_are_pils_bicubic():
    image = noise(50, 30)
    for mode, size in (
        ("scale_width", (40, 24)),
        ("scale_shortside", (68, 40)),  # 50 * 40/30 = 66.7 -> 67
        ("none", (48, 32)),
    ):
        expected = image.resize((67, 40), BICUBIC) if mode == "scale_shortside" else image
        expected = to_tensor(expected.resize(size, BICUBIC))
        got = Preprocessing(mode, 40, 16, flip=False)(image, draws())
        assert torch.equal(got, expected), mode


@given(width=st.integers(8, 14), height=st.integers(8, 14), index=st.integers(0, 10**9))
def test_a_crop_is_a_window_of_the_image(width, height, index):
    image = noise(width, height)
    got = Preprocessing("crop", 8, 8, flip=False)(image, draws(index))
    windows = to_tensor(image).unfold(1, 8, 1).unfold(2, 8, 1)  # [3, rows, columns, 8, 8]
    same = (windows == got[:, None, None]).all(dim=(0, 3, 4))
    assert same.sum() == 1


def test_every_crop_offset_is_equally_likely():
    x, y = np.meshgrid(np.arange(6), np.arange(7))
    image = Image.fromarray(np.stack([x, y, x], axis=-1).astype(np.uint8))
    preprocessing = Preprocessing("crop", 4, 4, flip=False)
    counts = np.zeros((3, 4))
    for index in range(3000):
        corner = ((preprocessing(image, draws(index))[:, 0, 0] + 1) * 127.5).round().int()
        counts[corner[0], corner[1]] += 1
    # chi-square of 12 cells: 11 degrees of freedom, 40 is beyond 4e-5
    assert ((counts - 250) ** 2 / 250).sum() < 40


def test_half_of_the_images_are_mirrored():
    image = noise(8, 8)
    plain, mirrored = to_tensor(image), to_tensor(image).flip(2)
    preprocessing = Preprocessing("none", 8, 8, flip=True)
    flips = 0
    for index in range(1000):
        got = preprocessing(image, draws(index))
        flips += torch.equal(got, mirrored)
        assert torch.equal(got, mirrored) or torch.equal(got, plain)
    assert abs(flips - 500) < 4 * np.sqrt(250)
    preprocessing = Preprocessing("none", 8, 8, flip=False)
    assert all(torch.equal(preprocessing(image, draws(index)), plain) for index in range(20))


def test_no_randomness_means_the_centre_and_no_flip():
    image = noise(13, 10)
    got = Preprocessing("crop", 8, 8, flip=True)(image, None)
    assert torch.equal(got, to_tensor(image)[:, 1:9, 2:10])


@pytest.mark.parametrize(
    "mode", ["resize_and_crop", "crop", "scale_width", "scale_width_and_crop", "scale_shortside"]
)
def test_one_draw_moves_every_picture_alike(mode):
    """A picture and its labels know where each of their pixels was."""
    places = np.arange(30 * 41, dtype=np.int32).reshape(30, 41)
    labels, numbers = Image.fromarray(places), Image.fromarray(places.astype(np.float32))
    preprocessing = Preprocessing(mode, 40, 24, flip=True)
    for index in range(20):
        geometry = preprocessing.draw(labels.size, draws(index))
        cuts = []
        for image in (labels, numbers):
            for size in preprocessing.sizes(image.size):
                image = resized(image, size, Image.Resampling.NEAREST)
            cuts += [geometry.cut(image), geometry.cut(planes(image))]
        assert all(torch.equal(cut.int(), cuts[0]) for cut in cuts)
        assert preprocessing.draw(labels.size, draws(index)) == geometry


@pytest.mark.parametrize("mode", ["resize_and_crop", "scale_width", "scale_shortside", "none"])
def test_resized_labels_hold_no_value_that_was_not_there(mode):
    values = np.random.default_rng(0).choice([0, 2, 5], (30, 41)).astype(np.int32)
    content = Content("labels", classes=6)
    preprocessing = Preprocessing(mode, 40, 24, flip=True)
    for index in range(10):
        one_hot = preprocessing(Image.fromarray(values), draws(index), content=content)
        assert set(one_hot.unique().tolist()) == {0.0, 1.0}
        assert set(one_hot.argmax(0).unique().tolist()) == {0, 2, 5}
        assert torch.equal(one_hot.sum(0), torch.ones_like(one_hot[0]))


def test_the_default_mode_equals_torchvision_at_the_same_offset():
    image = noise(60, 45)
    got = Preprocessing("resize_and_crop", 36, 32, flip=False)(image, None)
    pipeline = official.Compose(
        [
            official.Resize([36, 36], official.InterpolationMode.BICUBIC),
            official.CenterCrop(32),
            official.ToTensor(),
            official.Normalize(0.5, 0.5),
        ]
    )
    assert torch.equal(got, pipeline(image))


@pytest.mark.parametrize(("width", "height"), [(60, 45), (45, 60), (20, 15), (36, 72), (36, 36)])
def test_the_centre_crop_equals_torchvisions(width, height):
    image = noise(width, height)
    pipeline = official.Compose(
        [
            official.Resize(36, official.InterpolationMode.BICUBIC),
            official.CenterCrop(32),
            official.ToTensor(),
            official.Normalize(0.5, 0.5),
        ]
    )
    got = Preprocessing("centre_crop", 36, 32, flip=False)(image, draws())
    assert torch.equal(got, pipeline(image))


@pytest.mark.parametrize(("short", "load"), [(3, 64), (49, 64), (641, 256), (97, 100)])
def test_the_centre_crop_scales_the_short_side_to_the_load_size_exactly(short, load):
    preprocessing = Preprocessing("centre_crop", load, 16, flip=False)
    size = preprocessing.sizes((short, 3 * short + 1))[-1]
    assert size == (load, round((3 * short + 1) * load / short))


def test_the_centre_crop_draws_nothing_but_the_flip_and_has_no_jitter():
    image = noise(53, 41)
    preprocessing = Preprocessing("centre_crop", 40, 32, flip=True)
    plain = preprocessing(image, None)
    flips = 0
    for index in range(200):
        got = preprocessing(image, draws(index), jitter=index % 2 == 0)
        flips += torch.equal(got, plain.flip(2))
        assert torch.equal(got, plain) or torch.equal(got, plain.flip(2))
    assert abs(flips - 100) < 4 * np.sqrt(50)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("stretch", 8, 8), "`preprocess` stretch: not known"),
        (("none", 0, 8), "`load_size` 0: below 1"),
        (("none", 8, 0), "`crop_size` 0: below 1"),
        (("crop", 8, -4), "`crop_size` -4: below 1"),
        (("resize_and_crop", 28, 32), "`load_size` 28: smaller than `crop_size` 32"),
        (("scale_width_and_crop", 28, 32), "`load_size` 28: smaller than `crop_size` 32"),
        (("centre_crop", 28, 32), "`load_size` 28: smaller than `crop_size` 32"),
        (("centre_crop", 300, 250), "`crop_size` 250: not a multiple of 4"),
        (("crop", 300, 250), "`crop_size` 250: not a multiple of 4, which the network needs; use"),
        (("crop", 300, 250), "use 248 or 252"),
        (("crop", 300, 3), "use 4"),
    ],
)
def test_sizes_that_cannot_work_are_told(arguments, message):
    with pytest.raises(UserError) as caught:
        Preprocessing(*arguments, flip=True)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_sizes_that_do_not_matter_are_not_complained_about():
    assert size_after("none", 1, 250, 8, 8) == (3, 8, 8)
    assert size_after("crop", 1, 8, 9, 9) == (3, 8, 8)
    assert Preprocessing("crop", 300, 250, flip=True, size_multiple=2).crop_size == 250


def test_an_image_smaller_than_the_crop_is_told():
    with pytest.raises(UserError) as caught:
        size_after("crop", 40, 32, 31, 50)
    assert str(caught.value) == (
        "image of 31x50 px is smaller than `crop_size` 32; use `preprocess` resize_and_crop or a "
        "smaller `crop_size`"
    )
