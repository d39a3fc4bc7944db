"""L1, PSNR, SSIM and MS-SSIM against kornia, against scipy written out, and in closed form."""

import math

import kornia
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import signal

from errors import UserError
from metrics.structural import l1, ms_ssim, psnr, ssim

C1, C2 = 6.5025, 58.5225
MEASURES = [l1, psnr, ssim, ms_ssim]


def pair(*shape, seed=0, spread=60):
    """Two pictures that are alike but not equal."""
    generator = torch.Generator().manual_seed(seed)
    first = torch.randint(0, 256, shape, generator=generator)
    change = torch.randint(-spread, spread + 1, shape, generator=generator)
    return first.byte(), (first + change).clamp(0, 255).byte()


def flat(value, *shape):
    return torch.full(shape or (1, 3, 32, 32), value, dtype=torch.uint8)


def double_arrays(a, b):
    return zip(a.double().numpy(), b.double().numpy(), strict=True)


def literal_means(a, b):
    """Means of SSIM and of its contrast part over one pair [C, H, W], as the paper writes them."""
    size = min(11, *a.shape[1:])
    sigma = 1.5 * size / 11
    places = np.arange(size) - (size - 1) / 2
    window = np.exp(-(places[:, None] ** 2 + places[None] ** 2) / (2 * sigma**2))
    window /= window.sum()
    similarities, contrasts = [], []
    for x, y in zip(a, b, strict=True):
        mean_x, mean_y, xx, yy, xy = (
            signal.convolve2d(values, window, mode="valid")
            for values in (x, y, x * x, y * y, x * y)
        )
        luminance = (2 * mean_x * mean_y + C1) / (mean_x**2 + mean_y**2 + C1)
        variances = xx - mean_x**2 + yy - mean_y**2
        contrast = (2 * (xy - mean_x * mean_y) + C2) / (variances + C2)
        similarities.append(luminance * contrast)
        contrasts.append(contrast)
    return np.mean(similarities), np.mean(contrasts)


def literal_ms_ssim(a, b):
    product = 1.0
    for scale, weight in enumerate([0.0448, 0.2856, 0.3001, 0.2363, 0.1333]):
        similarity, contrast = literal_means(a, b)
        product *= max(0, similarity if scale == 4 else contrast) ** weight
        height, width = (side // 2 * 2 for side in a.shape[1:])
        a, b = (
            (x[:, 0:height:2, 0:width:2] + x[:, 1:height:2, 0:width:2])
            + (x[:, 0:height:2, 1:width:2] + x[:, 1:height:2, 1:width:2])
            for x in (a / 4, b / 4)
        )
    return product


@pytest.mark.parametrize("shape", [(2, 3, 32, 48), (3, 1, 11, 17)])
def test_ssim_equals_kornia(shape):
    a, b = pair(*shape)
    theirs = kornia.metrics.ssim(a.double(), b.double(), 11, 255.0, eps=0.0, padding="valid")
    assert torch.allclose(ssim(a, b), theirs.mean((1, 2, 3)), rtol=1e-10, atol=0)


@pytest.mark.parametrize("shape", [(2, 3, 32, 48), (2, 1, 21, 16), (2, 3, 8, 30), (2, 3, 1, 1)])
def test_ssim_equals_the_paper_written_out(shape):
    a, b = pair(*shape)
    expected = [literal_means(x, y)[0] for x, y in double_arrays(a, b)]
    assert ssim(a, b).tolist() == pytest.approx(expected, rel=1e-10)


@pytest.mark.parametrize("shape", [(2, 3, 16, 16), (2, 3, 64, 48), (2, 1, 75, 130)])
def test_ms_ssim_equals_the_paper_written_out(shape):
    a, b = pair(*shape)
    expected = [literal_ms_ssim(x, y) for x, y in double_arrays(a, b)]
    assert min(expected) > 0.1
    assert ms_ssim(a, b).tolist() == pytest.approx(expected, rel=1e-9)


def test_psnr_equals_kornia():
    a, b = pair(3, 3, 9, 14)
    theirs = [kornia.metrics.psnr(x.double(), y.double(), 255.0) for x, y in zip(a, b, strict=True)]
    assert torch.allclose(psnr(a, b), torch.stack(theirs))


def test_equal_pictures():
    a, _ = pair(2, 3, 32, 32)
    assert l1(a, a).tolist() == [0, 0]
    assert psnr(a, a).tolist() == [math.inf, math.inf]
    assert torch.allclose(ssim(a, a), torch.ones(2).double(), rtol=1e-12)
    assert torch.allclose(ms_ssim(a, a), torch.ones(2).double(), rtol=1e-12)


@given(st.integers(0, 255), st.integers(0, 255))
def test_flat_pictures_have_closed_forms(first, second):
    a, b = flat(first, 1, 1, 16, 16), flat(second, 1, 1, 16, 16)
    difference = abs(first - second)
    luminance = (2 * first * second + C1) / (first**2 + second**2 + C1)
    assert l1(a, b).item() == difference
    assert ssim(a, b).item() == pytest.approx(luminance, rel=1e-9)
    assert ms_ssim(a, b).item() == pytest.approx(luminance**0.1333, rel=1e-9)
    expected = 20 * math.log10(255 / difference) if difference else math.inf
    assert psnr(a, b).item() == pytest.approx(expected)


def test_black_against_white():
    black, white = flat(0), flat(255)
    assert psnr(black, white).item() == 0
    assert l1(white, black).item() == 255


def test_one_pixel_of_known_difference():
    a, b = flat(100, 1, 3, 4, 5), flat(100, 1, 3, 4, 5)
    b[0, 1, 2, 3] = 90
    assert l1(a, b).item() == pytest.approx(10 / 60)
    assert psnr(a, b).item() == pytest.approx(10 * math.log10(255**2 * 60 / 100))


def test_opposed_structure_is_negative_and_clipped_in_ms_ssim():
    a, _ = pair(1, 3, 32, 32)
    assert ssim(a, 255 - a).item() < 0
    assert ms_ssim(a, 255 - a).item() == 0


@pytest.mark.parametrize("measure", MEASURES)
def test_pairs_do_not_touch_each_other_and_order_does_not_count(measure):
    a, b = pair(3, 3, 32, 32)
    values = measure(a, b)
    assert values.shape == (3,)
    assert values.dtype == torch.float64
    alone = [measure(a[i : i + 1], b[i : i + 1]) for i in range(3)]
    assert torch.allclose(torch.cat(alone), values)
    assert torch.allclose(measure(b, a), values)
    assert measure(a[:0], b[:0]).shape == (0,)


@pytest.mark.parametrize("measure", MEASURES)
def test_other_types_and_shapes_are_refused(measure):
    a, b = pair(2, 3, 32, 32)
    for first, second in ((a, b[:1]), (a.float(), b.float()), (a, b.float()), (a[0], b[0])):
        with pytest.raises(ValueError, match="uint8"):
            measure(first, second)


def test_pictures_too_small_for_five_scales_are_refused():
    with pytest.raises(UserError, match="`metrics` ms_ssim.* 40x15 "):
        ms_ssim(*pair(1, 3, 15, 40))
