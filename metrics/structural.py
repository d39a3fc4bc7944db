"""Similarity of two pictures: L1, PSNR, SSIM and MS-SSIM, one number per pair."""

import torch
from kornia.filters import filter2d_separable, get_gaussian_kernel1d
from torch import Tensor
from torch.nn import functional as F

from errors import UserError

RANGE = 255
WINDOW_PX = 11
SIGMA_PX = 1.5
C1, C2 = (0.01 * RANGE) ** 2, (0.03 * RANGE) ** 2
SCALE_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)  # finest first; the paper's, sum 1.0001
LOWEST_MS_SSIM_PX = 2 ** (len(SCALE_WEIGHTS) - 1)


def l1(a: Tensor, b: Tensor) -> Tensor:
    """Return the mean absolute difference of each pair, in levels of 0 to 255.

    mean |a - b| over channels and pixels. a, b: uint8 [B, C, H, W]; returns float64 [B].
    Raises ValueError for another type or unequal shapes.
    """
    a, b = _double_pair(a, b)
    return (a - b).abs().mean((1, 2, 3))


def psnr(a: Tensor, b: Tensor) -> Tensor:
    """Return the peak signal-to-noise ratio of each pair in dB, infinite for equal pictures.

    10 log10(255^2 / mean (a - b)^2), the mean over channels and pixels. kornia.metrics.psnr gives
    the same for one pair, but one number for a whole batch.

    a, b: uint8 [B, C, H, W]; returns float64 [B]. Raises ValueError for another type or unequal
    shapes.
    """
    a, b = _double_pair(a, b)
    return 10 * torch.log10(RANGE**2 / (a - b).square().mean((1, 2, 3)))


def ssim(a: Tensor, b: Tensor) -> Tensor:
    """Return the structural similarity of each pair, 1 for equal pictures.

    Mean over channels and positions of l * cs, l = (2 ma mb + c1) / (ma^2 + mb^2 + c1) and
    cs = (2 sab + c2) / (saa + sbb + c2), with moments under an 11 x 11 Gaussian window of sigma
    1.5 that lies wholly inside the picture, c1 = (0.01 * 255)^2, c2 = (0.03 * 255)^2. If a side is
    shorter than 11 pixels, the window is as large as that side, and sigma shrinks in proportion.
    kornia.metrics.ssim (eps 0, "valid") gives the same from 11 pixels on; below, it gives NaN or an
    error, and it does not return cs, which `ms_ssim` needs.

    a, b: uint8 [B, C, H, W]; colour channels are compared separately, where Wang et al. have grey
    pictures. Returns float64 [B]. Raises ValueError for another type or unequal shapes.
    Source: Wang et al. 2004, equation 13 and section III.C.
    """
    similarity, _ = _structure_maps(*_double_pair(a, b))
    return similarity.mean((1, 2, 3))


def ms_ssim(a: Tensor, b: Tensor) -> Tensor:
    """Return the structural similarity over five scales of each pair, 1 for equal pictures.

    Product of mean(cs_i)^w_i over the four finer scales i, times mean(l_5 * cs_5)^w_5 at the
    coarsest, l and cs as in `ssim`, w = .0448 .2856 .3001 .2363 .1333; a mean below 0 counts as 0.
    Each scale averages 2 x 2 pixels of the one before; an odd last row or column is left out.

    a, b: uint8 [B, C, H, W], both sides at least 16 pixels; below 128 the coarsest scale has fewer
    than 8 pixels per side and means little. Returns float64 [B].
    The variety of one set is measured by the mean over the disjoint pairs (0, 1), (2, 3), ... of
    its pictures (Karras et al. 2018): lower is more varied, and the value of the real pictures is
    the one to compare with.

    Raises UserError for a side below 16 pixels, ValueError for another type or unequal shapes.
    Source: Wang et al. 2003, equation 7; Odena et al. 2017 for the use on generated pictures.
    """
    a, b = _double_pair(a, b)
    height, width = a.shape[-2:]
    if min(height, width) < LOWEST_MS_SSIM_PX:
        raise UserError(
            f"`metrics` ms_ssim: a picture of {width}x{height} pixels; five scales need at least "
            f"{LOWEST_MS_SSIM_PX} per side: leave ms_ssim out or give larger pictures"
        )
    product = a.new_ones(len(a))
    for weight in SCALE_WEIGHTS[:-1]:
        _, contrast = _structure_maps(a, b)
        product = product * contrast.mean((1, 2, 3)).clamp(min=0) ** weight
        a, b = F.avg_pool2d(a, 2), F.avg_pool2d(b, 2)
    similarity, _ = _structure_maps(a, b)
    return product * similarity.mean((1, 2, 3)).clamp(min=0) ** SCALE_WEIGHTS[-1]


def _double_pair(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    if a.shape != b.shape or a.dim() != 4 or a.dtype != torch.uint8 or b.dtype != torch.uint8:
        kinds = f"{a.dtype} {list(a.shape)} and {b.dtype} {list(b.shape)}"
        raise ValueError(f"pictures {kinds} are not two equal uint8 [B, C, H, W]")
    return a.double(), b.double()


def _structure_maps(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """Return luminance * contrast-structure and contrast-structure alone, [B, C, H', W']."""
    size = min(WINDOW_PX, *a.shape[-2:])
    window = get_gaussian_kernel1d(
        size, SIGMA_PX * size / WINDOW_PX, force_even=True, device=a.device, dtype=a.dtype
    )

    def filtered(x: Tensor) -> Tensor:
        return filter2d_separable(x, window, window, padding="valid")

    mean_a, mean_b = filtered(a), filtered(b)
    squared_means, product_of_means = mean_a**2 + mean_b**2, mean_a * mean_b
    variances = filtered(a**2 + b**2) - squared_means
    covariance = filtered(a * b) - product_of_means
    contrast = (2 * covariance + C2) / (variances + C2)
    return contrast * (2 * product_of_means + C1) / (squared_means + C1), contrast
