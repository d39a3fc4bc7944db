import numpy as np
import pytest
import torch
import torchvision.transforms as official
from PIL import Image

from data import from_levels, to_image, to_levels, to_tensor
from tests.data.pictures import noise


def test_a_tensor_has_the_bits_of_the_official_pipeline():
    pipeline = official.Compose(
        [official.ToTensor(), official.Normalize((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))]
    )
    tensor = to_tensor(noise(40, 30))
    assert tensor.shape == (3, 30, 40)
    assert tensor.dtype == torch.float32
    assert torch.equal(tensor, pipeline(noise(40, 30)))


def test_every_level_survives_the_way_there_and_back():
    levels = np.arange(256, dtype=np.uint8).reshape(16, 16)
    image = Image.fromarray(np.stack([levels, levels.T, 255 - levels], axis=-1))
    tensor = to_tensor(image)
    assert tensor.min() == -1 and tensor.max() == 1
    assert (np.asarray(to_image(tensor)) == np.asarray(image)).all()


def test_values_are_clamped_and_rounded():
    values = torch.tensor([-5.0, -1.0, 3.99 / 127.5 - 1, 4.01 / 127.5 - 1, 0.999, 1.0, 7.0])
    pixels = np.asarray(to_image(values.expand(3, 1, -1)))
    assert pixels[0, :, 0].tolist() == [0, 0, 4, 4, 255, 255, 255]
    half = to_image(values.expand(3, 1, -1).to(torch.bfloat16).requires_grad_())
    assert half.size == (7, 1)


def test_what_is_no_picture_is_refused():
    with pytest.raises(ValueError, match="shape"):
        to_image(torch.zeros(1, 3, 4, 4))
    with pytest.raises(ValueError, match="finite"):
        to_image(torch.full((3, 2, 2), float("nan")))
    with pytest.raises(ValueError, match="mode L"):
        to_tensor(noise(4, 4).convert("L"))


def test_levels_are_the_pixels_of_a_tensor_and_come_back():
    levels = torch.arange(256, dtype=torch.uint8).reshape(1, 1, 16, 16).expand(2, 3, -1, -1)
    pictures = from_levels(levels)
    assert pictures.shape == levels.shape and pictures.dtype == torch.float32
    assert pictures.min() == -1 and pictures.max() == 1
    assert torch.equal(to_levels(pictures), levels)
    assert torch.equal(
        from_levels(torch.from_numpy(np.array(noise(9, 7))).permute(2, 0, 1)),
        (to_tensor(noise(9, 7))),
    )


def test_levels_are_those_of_the_png_file_for_any_values_and_types():
    generator = torch.Generator().manual_seed(0)
    pictures = 1.5 * torch.randn(2, 3, 5, 7, generator=generator)
    for values in (pictures, pictures.double(), pictures.bfloat16().requires_grad_()):
        levels = to_levels(values)
        assert levels.dtype == torch.uint8 and not levels.requires_grad
        for picture, level in zip(values, levels, strict=True):
            assert np.array_equal(np.asarray(to_image(picture)), level.permute(1, 2, 0).numpy())


def test_making_levels_leaves_the_pictures_as_they_are():
    pictures = torch.linspace(-2, 2, 12).reshape(1, 3, 2, 2)
    levels = torch.arange(12, dtype=torch.uint8).reshape(1, 3, 2, 2)
    before = pictures.clone(), levels.clone()
    to_levels(pictures)
    from_levels(levels)
    assert torch.equal(pictures, before[0]) and torch.equal(levels, before[1])
    with pytest.raises(ValueError, match="not finite"):
        to_levels(torch.tensor([[0.0, float("inf")]]))
