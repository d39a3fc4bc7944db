"""Pictures made worse: what each way does, and that a larger strength is worse."""

from io import BytesIO

import numpy as np
import pytest
import torch
from PIL import Image

from metrics.degradations import BOX, DEGRADATIONS, blur, boxes, jpeg, noise


def pictures(count=3, height=32, width=40):
    random = np.random.default_rng(0)
    small = random.random((count, 6, 6, 3)) * 255
    scaled = [
        Image.fromarray(one.astype(np.uint8)).resize((width, height), Image.Resampling.BICUBIC)
        for one in small
    ]
    return torch.from_numpy(np.stack(scaled)).permute(0, 3, 1, 2)


@pytest.mark.parametrize("kind", DEGRADATIONS)
def test_each_strength_is_further_from_the_original_and_repeatable(kind):
    original = pictures()
    given = original.clone()
    apply, strengths, _ = DEGRADATIONS[kind]
    distances = [0.0]
    for strength in strengths:
        worse = apply(original, strength, 0)
        assert worse.dtype == torch.uint8 and worse.shape == original.shape
        assert torch.equal(worse, apply(original, strength, 0))
        distances.append((worse.double() - original.double()).square().mean().item())
    assert torch.equal(original, given)
    assert distances == sorted(set(distances))


def test_blur_is_the_convolution_with_a_gaussian():
    point = torch.zeros(1, 3, 33, 33, dtype=torch.uint8)
    point[:, :, 16, 16] = 255
    sigma = 33 / 16
    offsets = np.arange(-16, 17)
    weights = np.exp(-(offsets**2) / (2 * sigma**2)) * (abs(offsets) <= np.ceil(3 * sigma))
    weights /= weights.sum()
    expected = 255 * np.outer(weights, weights)
    found = blur(point, 1 / 16)[0, 1].double().numpy()
    assert abs(found - expected).max() <= 0.5 + 1e-3  # rounded


def test_noise_has_the_standard_deviation_that_is_asked_for():
    grey = torch.full((4, 3, 64, 64), 128, dtype=torch.uint8)
    added = noise(grey, 20, 1).double() - 128
    assert added.std().item() == pytest.approx(20, rel=0.03) and abs(added.mean().item()) < 0.5
    assert not torch.equal(noise(grey, 20, 1), noise(grey, 20, 2))


def test_jpeg_is_what_pillow_reads_back():
    one = pictures(1)
    file = BytesIO()
    Image.fromarray(one[0].permute(1, 2, 0).numpy()).save(
        file, "JPEG", quality=30, subsampling="4:2:0"
    )
    assert np.array_equal(jpeg(one, 70)[0].permute(1, 2, 0).numpy(), np.array(Image.open(file)))


def test_boxes_of_a_smaller_strength_are_among_those_of_a_larger_one():
    white = torch.full((8, 3, 32, 40), 255, dtype=torch.uint8)
    one, four = ((boxes(white, strength) == 0) for strength in (1, 4))
    side = round(32 * BOX)
    assert (one.sum((1, 2, 3)) == 3 * side * side).all()
    assert (four[one]).all() and four.sum() > 2 * one.sum()
    assert not torch.equal(one[0], one[1])
