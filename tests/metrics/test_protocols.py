"""Each protocol against the resizing of the tool that it is named for."""

import cleanfid.resize
import numpy as np
import pytest
import torch
from torch.nn import functional as F
from torch_fidelity.interpolate_compat_tensorflow import (
    interpolate_bilinear_2d_like_tensorflow1x as tensorflow_of_torch_fidelity,
)
from torchvision.transforms.functional import to_pil_image, to_tensor

from metrics.protocols import (
    PROTOCOLS,
    clean,
    clean_by_pillow,
    pytorch_bilinear,
    tensorflow_bilinear,
    tensorflow_bilinear_one_by_one,
)

SIZES = [(1, 1), (2, 1), (32, 32), (37, 80), (256, 256), (299, 299), (300, 298), (512, 301)]


def noise(height, width, count=2):
    generator = torch.Generator().manual_seed(height * 1000 + width)
    return torch.randint(0, 256, (count, 3, height, width), generator=generator, dtype=torch.uint8)


@pytest.mark.parametrize("size", SIZES)
def test_tf_has_the_bits_of_torch_fidelity(size):
    images = noise(*size)
    theirs = tensorflow_of_torch_fidelity(images.float(), (299, 299), align_corners=False)
    assert torch.equal(tensorflow_bilinear_one_by_one(images), (theirs - 128) / 128)


@pytest.mark.parametrize("size", SIZES)
def test_the_fast_tf_resize_differs_by_rounding_alone(size):
    images = noise(*size)
    exactly = tensorflow_bilinear_one_by_one(images)
    assert (tensorflow_bilinear(images) - exactly).abs().max() <= 1e-4 / 128


@pytest.mark.parametrize("size", SIZES)
def test_clean_by_pillow_has_the_bits_of_clean_fid(size):
    images = noise(*size)
    resize = cleanfid.resize.build_resizer("clean")
    resized = [torch.from_numpy(resize(image.permute(1, 2, 0).numpy())) for image in images]
    theirs = torch.stack(resized).permute(0, 3, 1, 2)
    assert torch.equal(clean_by_pillow(images), (theirs - 128) / 128)


def smooth(height, width):
    places = torch.rand(2, 3, 9, 9, generator=torch.Generator().manual_seed(0))
    return F.interpolate(places, (height, width), mode="bilinear").mul(255).to(torch.uint8)


@pytest.mark.parametrize(
    ("picture", "levels"), [(smooth, 3.5e-4), (noise, 7e-3)], ids=["smooth", "noise"]
)
@pytest.mark.parametrize("size", SIZES)
def test_the_fast_clean_is_within_a_fraction_of_a_level_of_pillow(size, picture, levels):
    images = picture(*size)
    assert (clean(images) - clean_by_pillow(images)).abs().max() < levels / 128


@pytest.mark.parametrize("size", SIZES)
def test_torch_is_what_pytorch_fid_does_to_pillows_pictures(size):
    images = noise(*size)
    batch = torch.stack([to_tensor(to_pil_image(image)) for image in images])
    resized = F.interpolate(batch, size=(299, 299), mode="bilinear", align_corners=False)
    assert torch.equal(pytorch_bilinear(images), 2 * resized - 1)


@pytest.mark.parametrize("name", PROTOCOLS)
@pytest.mark.parametrize("way", ["prepare", "prepare_exactly"])
def test_values_keep_to_the_range_of_the_protocol(name, way):
    prepare = PROTOCOLS[name]._asdict()[way]
    # Hard edges, which a bicubic filter overshoots before it is clipped.
    images = torch.zeros(1, 3, 12, 10, dtype=torch.uint8)
    images[:, :, 3:7] = 255
    found = prepare(images)
    assert found.shape == (1, 3, 299, 299) and found.dtype == torch.float32
    assert found.min() == -1
    highest = 1 if name == "torch" else 127 / 128
    assert found.max().item() == pytest.approx(highest, abs=3e-7)
    flat = prepare(torch.full((2, 3, 9, 9), 200, dtype=torch.uint8))
    level = 2 * (200 / 255) - 1 if name == "torch" else (200 - 128) / 128
    assert torch.allclose(flat, torch.full_like(flat, level), rtol=0, atol=3e-6)


@pytest.mark.parametrize("name", PROTOCOLS)
def test_pictures_of_the_networks_size_keep_their_pixels(name):
    images = noise(299, 299)
    found = PROTOCOLS[name].prepare_exactly(images)
    levels = (found + 1) * 127.5 if name == "torch" else found * 128 + 128
    assert (levels - images).abs().max() < 1e-3


def test_each_protocol_gives_other_pixels_than_the_others():
    found = {name: protocol.prepare(noise(64, 64)) for name, protocol in PROTOCOLS.items()}
    for one, other in (("clean", "torch"), ("clean", "tf"), ("torch", "tf")):
        assert (found[one] - found[other]).abs().mean() > 0.01


@pytest.mark.parametrize("name", PROTOCOLS)
@pytest.mark.parametrize("way", ["prepare", "prepare_exactly"])
def test_a_picture_is_prepared_alike_alone_and_in_a_batch(name, way):
    prepare = PROTOCOLS[name]._asdict()[way]
    images = noise(70, 45, count=5)
    before = images.clone()
    alone = torch.cat([prepare(image[None]) for image in images])
    assert torch.equal(prepare(images), alone)
    assert torch.equal(images, before)
    turned = images.permute(0, 2, 3, 1).contiguous().permute(0, 3, 1, 2)  # channels last, as read
    assert np.abs((prepare(turned) - alone).numpy()).max() < 1e-5
