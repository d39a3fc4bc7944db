"""Each kind of content: what it reads from every kind of file, and how it comes back."""

import json

import numpy as np
import pytest
import torch
from PIL import Image

from data import Content, UnreadableImageError, decode_image, label_colours, to_tensor
from errors import UserError
from tests.data.pictures import noise, png_16_bit

GREY, RGBA = Content(channels=1), Content(channels=4)
GREY_16 = Content(channels=1, bits=16)
RAMP = np.arange(0, 65536, 16, dtype=np.uint16).reshape(64, 64)


def labels(classes):
    return Content("labels", classes=classes)


def saved(path, values, **options):
    image = values if isinstance(values, Image.Image) else Image.fromarray(values)
    image.save(path, **options)
    return path


def levels(path, content):
    return np.asarray(content.decode(path))


def told(call, *arguments, **options):
    with pytest.raises(UserError) as caught:
        call(*arguments, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def grey_noise(width=9, height=7, highest=256):
    return np.random.default_rng(0).integers(0, highest, (height, width), dtype=np.uint8)


def test_rgb_is_read_as_everywhere_else_bit_for_bit(tmp_path):
    for name, image in (("a.png", noise(9, 7)), ("b.png", noise(9, 7).convert("L"))):
        path = saved(tmp_path / name, image)
        content = Content()
        assert np.array_equal(levels(path, content), np.asarray(decode_image(path)))
        assert torch.equal(content.to_tensor(content.decode(path)), to_tensor(decode_image(path)))


def test_grey_keeps_the_levels_of_grey_files_and_weighs_those_of_coloured_ones(tmp_path):
    grey = grey_noise()
    assert np.array_equal(levels(saved(tmp_path / "a.png", grey), GREY), grey)
    colour = noise(9, 7)
    assert np.array_equal(
        levels(saved(tmp_path / "b.png", colour), GREY), np.asarray(colour.convert("L"))
    )
    tensor = GREY.to_tensor(GREY.decode(tmp_path / "a.png"))
    assert tensor.shape == (1, 7, 9) and tensor.dtype == torch.float32
    assert np.allclose(tensor[0], grey / 127.5 - 1, atol=1e-6)


def test_16_bit_grey_keeps_every_level_there_and_back(tmp_path):
    path = saved(tmp_path / "a.png", RAMP)
    tensor = GREY_16.to_tensor(GREY_16.decode(path))
    assert np.allclose(tensor[0].double(), RAMP / 65535 * 2 - 1, atol=2e-7)
    steps = tensor.flatten().diff()
    assert steps.min() > 0 and steps.max() < 2 / 255 / 10
    again = saved(tmp_path / "b.png", GREY_16.to_image(tensor))
    assert np.array_equal(levels(again, GREY_16), RAMP)
    with Image.open(again) as image:
        assert image.mode == "I;16"


def test_16_bit_files_read_with_8_bits_are_rounded(tmp_path):
    path = saved(tmp_path / "a.png", RAMP)
    assert np.array_equal(levels(path, GREY), np.rint(RAMP / 257).astype(np.uint8))


def test_8_bit_files_read_with_16_bits_have_the_same_values(tmp_path):
    path = saved(tmp_path / "a.png", grey_noise())
    wide, narrow = (content.to_tensor(content.decode(path)) for content in (GREY_16, GREY))
    assert torch.allclose(wide, narrow, rtol=0, atol=2e-7)


def test_overshoot_of_a_resize_in_floats_stays_in_the_range():
    edge = np.zeros((16, 16), dtype=np.float32)
    edge[:, 8:] = 65535
    image = Image.fromarray(edge).resize((48, 48), GREY_16.resampling)
    assert np.asarray(image).max() > 65535 and np.asarray(image).min() < 0
    tensor = GREY_16.to_tensor(image)
    assert tensor.min() == -1 and tensor.max() == 1


def test_rgba_keeps_its_alpha_there_and_back_and_is_opaque_without(tmp_path):
    values = np.random.default_rng(0).integers(0, 256, (7, 9, 4), dtype=np.uint8)
    path = saved(tmp_path / "a.png", values)
    tensor = RGBA.to_tensor(RGBA.decode(path))
    assert tensor.shape == (4, 7, 9)
    again = saved(tmp_path / "b.png", RGBA.to_image(tensor))
    assert np.array_equal(levels(again, RGBA), values)
    for name, image in (("c.png", noise(9, 7)), ("d.png", noise(9, 7).convert("L"))):
        opaque = levels(saved(tmp_path / name, image), RGBA)
        assert (opaque[..., 3] == 255).all()
        assert np.array_equal(opaque[..., :3], np.asarray(image.convert("RGB")))
    palette = Image.fromarray(np.array([[0, 1]], dtype=np.uint8))
    palette.putpalette([10, 20, 30, 40, 50, 60])
    path = saved(tmp_path / "e.png", palette, transparency=1)
    assert levels(path, RGBA).tolist() == [[[10, 20, 30, 255], [40, 50, 60, 0]]]


def test_each_way_to_save_a_label_map_gives_the_same_one_hot_tensor(tmp_path):
    values = grey_noise(highest=5)
    palette = Image.fromarray(values)
    palette.putpalette(np.random.default_rng(1).integers(0, 256, 768).astype(np.uint8).tobytes())
    expected = torch.from_numpy(values == np.arange(5)[:, None, None]).float()
    content = labels(5)
    for name, image in (
        ("index.png", palette),
        ("clear.png", palette),
        ("grey.png", values),
        ("wide.png", values.astype(np.uint16)),
        ("wide.tif", values.astype(np.int32)),
    ):
        options = {"transparency": 3} if name == "clear.png" else {}
        path = saved(tmp_path / name, image, **options)
        tensor = content.to_tensor(content.decode(path))
        assert torch.equal(tensor, expected), name
        assert tensor.dtype == torch.float32
    assert content.tensor_channels == 5


def test_black_and_white_files_are_two_classes_and_16_bit_ones_thousands(tmp_path):
    mask = grey_noise() > 127
    assert np.array_equal(levels(saved(tmp_path / "a.png", mask), labels(2)), mask)
    path = saved(tmp_path / "b.png", np.array([[0, 4000]], dtype=np.uint16))
    tensor = labels(4001).to_tensor(labels(4001).decode(path))
    assert tensor[4000, 0, 1] == tensor[0, 0, 0] == 1 and tensor.sum() == 2


def test_files_that_hold_no_such_labels_are_told(tmp_path):
    remedy = "save label maps as palette or grey PNG whose values are the classes"
    path = saved(tmp_path / "a.png", noise(4, 4))
    assert told(labels(3).decode, path) == f"{path}: mode RGB holds colours, not labels; {remedy}"
    path = saved(tmp_path / "b.jpg", grey_noise(highest=3))
    assert told(labels(3).decode, path) == f"{path}: JPEG files do not keep label values; {remedy}"
    path = saved(tmp_path / "c.png", np.array([[0, 7, 2]], dtype=np.uint8))
    assert told(labels(5).decode, path) == (
        f"{path}: has label 7, and `source_classes` 5 of the training allows 0 to 4; fix the file"
    )
    assert "has label 7, and `source_classes` 7" in told(labels(7).decode, path)
    assert labels(8).decode(path).getextrema() == (0, 7)
    path = saved(tmp_path / "d.tif", np.array([[0, -1]], dtype=np.int32))
    assert "has label -1" in told(labels(5).decode, path)


@pytest.mark.parametrize("content", [Content(), GREY, GREY_16, RGBA, labels(3)])
def test_damaged_files_are_unreadable_whatever_they_should_hold(tmp_path, content):
    path = tmp_path / "a.png"
    path.write_text("no picture")
    with pytest.raises(UnreadableImageError, match="not an image of a known kind"):
        content.decode(path)


@pytest.mark.parametrize("content", [GREY, GREY_16, RGBA, labels(256)])
def test_the_exif_rotation_is_applied_to_each(tmp_path, content):
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees clockwise
    grey = grey_noise()
    path = saved(tmp_path / "a.png", grey, exif=exif)
    assert content.decode(path).size == (7, 9)
    turned = content.to_tensor(content.decode(path))
    plain = content.to_tensor(content.decode(saved(tmp_path / "b.png", grey)))
    assert torch.equal(turned, plain.rot90(-1, (1, 2)))


def test_a_transparent_grey_of_16_bits_becomes_white(tmp_path):
    path = tmp_path / "a.png"
    values = np.array([[[1000], [2000]]], dtype=np.uint16)
    path.write_bytes(png_16_bit(values, color_type=0, transparency=b"\x07\xd0"))  # 2000
    assert levels(path, GREY_16).tolist() == [[1000, 65535]]


def test_pictures_are_rounded_to_the_nearest_level():
    values = torch.tensor([-2.0, -1.0, 0.0, 0.6 / 127.5 - 1, 1.0])[None, None]
    assert np.asarray(GREY.to_image(values)).tolist() == [[0, 0, 128, 1, 255]]
    values = torch.tensor([-2.0, -1.0, 0.6 / 32767.5 - 1, 1.0])[None, None]
    assert np.asarray(GREY_16.to_image(values)).tolist() == [[0, 0, 1, 65535]]


def test_tensors_and_pictures_of_another_kind_are_refused():
    with pytest.raises(ValueError, match=r"expected a tensor of shape \[4, H, W\]"):
        RGBA.to_image(torch.zeros(3, 4, 4))
    with pytest.raises(ValueError, match="not finite"):
        GREY_16.to_image(torch.full((1, 2, 2), torch.nan))
    with pytest.raises(ValueError, match="label maps can be sources only"):
        labels(3).to_image(torch.zeros(3, 4, 4))
    with pytest.raises(ValueError, match="expected a picture of mode L, got mode RGB"):
        GREY.to_tensor(noise(4, 4))
    with pytest.raises(ValueError, match="expected labels from 0 to 1"):
        labels(2).to_tensor(Image.fromarray(np.array([[2]], dtype=np.int32)))


def test_views_repeat_grey_lay_alpha_over_white_and_colour_labels():
    grey = torch.rand(2, 1, 3, 3) * 2 - 1
    assert torch.equal(GREY.to_view(grey), grey.repeat(1, 3, 1, 1))
    rgb = torch.rand(2, 3, 3, 3) * 2 - 1
    assert torch.equal(Content().to_view(rgb), rgb)
    for alpha, expected in ((1.0, rgb), (-1.0, torch.ones_like(rgb)), (0.0, (rgb + 1) / 2)):
        rgba = torch.cat([rgb, torch.full((2, 1, 3, 3), alpha)], dim=1)
        assert torch.allclose(RGBA.to_view(rgba), expected, atol=1e-6)
    one_hot = torch.eye(4)[:, :, None, None]  # four pictures of one pixel
    view = (labels(4).to_view(one_hot)[:, :, 0, 0] + 1) * 127.5
    assert view.round().tolist() == label_colours(4).tolist()


def test_label_colours_are_those_of_pascal_voc_and_all_differ():
    first = [[0, 0, 0], [128, 0, 0], [0, 128, 0], [128, 128, 0], [0, 0, 128]]
    assert label_colours(5).tolist() == first
    assert label_colours(21)[20].tolist() == [0, 64, 128]
    assert len(np.unique(label_colours(65536), axis=0)) == 65536


@pytest.mark.parametrize("content", [Content(), GREY_16, RGBA, labels(7)])
def test_a_description_survives_json(content):
    assert Content.from_description(json.loads(json.dumps(content.describe()))) == content


def test_descriptions_that_make_no_sense_are_told():
    assert Content.from_description({}) == Content()
    for description in ({"colour": 1}, {"channels": "3"}, {"channels": 3.0}, {"kind": None}):
        name = next(iter(description))
        assert told(Content.from_description, description).startswith(f"{name} ")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"kind": "depth"}, "kind depth: not known; give colour or labels"),
        ({"channels": 2}, "channels 2: not supported; give 1 (grey), 3 (RGB) or 4 (RGBA)"),
        ({"bits": 12, "channels": 1}, "bits 12: not supported; give 8, or 16 with"),
        ({"bits": 16}, "bits 16: not supported; give 8, or 16 with pictures of 1"),
        ({"kind": "labels", "classes": 1}, "classes 1: give 2 to 65536 for label maps"),
        ({"kind": "labels", "classes": 65537}, "classes 65537: give 2 to 65536"),
        ({"classes": 5}, "classes 5: for label maps only; give 0 for pictures"),
    ],
)
def test_contents_that_there_are_not_are_told(options, message):
    assert told(Content, **options).startswith(message)
