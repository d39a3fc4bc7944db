"""The three ways in which published FID numbers resize and scale an image before the network."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from metrics.inception import SIDE_PX


class Protocol(NamedTuple):
    """From images to the network's input.

    Both functions take uint8 [B, 3, H, W] on any device and return float32 [B, 3, 299, 299] on the
    same one. `prepare_exactly` equals the protocol's tool bit for bit. `prepare` works in batches
    and agrees with it to 5e-5, on photographs to 1e-5.
    """

    prepare: Callable[[Tensor], Tensor]
    prepare_exactly: Callable[[Tensor], Tensor]


def clean(images: Tensor) -> Tensor:
    """Bicubic with anti-aliasing, clipped to 0..255, then (v - 128) / 128 (Parmar et al. 2022).

    Pillow's filter computed by PyTorch, which rounds the filter's positions to 32 bits: within
    3.5e-4 levels (of 255) of Pillow's result on photographs, within 0.007 on pixel noise.
    """
    return _centred_at_128(resized(images, SIDE_PX))


def resized(images: Tensor, side_px: int | None) -> Tensor:
    """Resize uint8 [B, 3, H, W] by bicubic interpolation with anti-aliasing, clipped to 0..255.

    Returns float32 [B, 3, side_px, side_px]; images of that size, and all for None, keep their
    values.
    """
    if side_px is None or images.shape[2:] == (side_px, side_px):
        return images.float()
    size = (side_px, side_px)
    found = F.interpolate(images.float(), size, mode="bicubic", antialias=True, align_corners=False)
    return found.clamp_(0, 255)


def clean_by_pillow(images: Tensor) -> Tensor:
    """Return what `clean` approximates: each channel resized by Pillow in 32-bit floats."""
    planes = images.cpu().numpy().astype(np.float32).reshape(-1, *images.shape[2:])
    size = (SIDE_PX, SIDE_PX)
    smaller = [
        np.asarray(Image.fromarray(plane).resize(size, Image.Resampling.BICUBIC))
        for plane in planes
    ]
    pixels = torch.from_numpy(np.stack(smaller).clip(0, 255)).to(images.device)
    return _centred_at_128(pixels.view(*images.shape[:2], SIDE_PX, SIDE_PX))


def pytorch_bilinear(images: Tensor) -> Tensor:
    """Bilinear between pixel centres without anti-aliasing, then 2 v/255 - 1 (pytorch-fid)."""
    scaled = images.float().div_(255)
    return 2 * F.interpolate(scaled, (SIDE_PX, SIDE_PX), mode="bilinear", align_corners=False) - 1


def tensorflow_bilinear(images: Tensor) -> Tensor:
    """Bilinear between pixel corners as TensorFlow 1 does it, then (v - 128) / 128.

    Output pixel i lies at i * size / 299, without the half pixel that other libraries add
    (Heusel et al. 2017's program; torch-fidelity and StyleGAN compute the same). Rows are
    multiplied by a matrix with two weights per column: within 5e-5 levels (of 255) of
    `tensorflow_bilinear_one_by_one`.
    """
    low, high, down = _tensorflow_places(images.shape[2], images.device)
    left, right, across = _tensorflow_places(images.shape[3], images.device)
    weights = torch.zeros(images.shape[3], SIDE_PX, device=images.device)
    columns = torch.arange(SIDE_PX, device=images.device)
    weights.index_put_((left, columns), 1 - across, accumulate=True)
    weights.index_put_((right, columns), across, accumulate=True)
    upper, lower = (images.index_select(2, rows).float() for rows in (low, high))
    return _centred_at_128(_between(upper, lower, down[:, None]) @ weights)


def tensorflow_bilinear_one_by_one(images: Tensor) -> Tensor:
    """Return what `tensorflow_bilinear` computes in the order of TensorFlow 1, to the last bit."""
    images = images.float()
    low, high, down = _tensorflow_places(images.shape[2], images.device)
    left, right, across = _tensorflow_places(images.shape[3], images.device)
    # Along a row first: the order fixes the last bit.
    upper, lower = (
        _between(row.index_select(3, left), row.index_select(3, right), across)
        for row in (images.index_select(2, low), images.index_select(2, high))
    )
    return _centred_at_128(_between(upper, lower, down[:, None]))


def _between(start: Tensor, end: Tensor, weight: Tensor) -> Tensor:
    """Return start + (end - start) * weight; torch.lerp rounds differently."""
    return start + (end - start) * weight


def _tensorflow_places(size: int, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    """Return the two neighbours of each output pixel and the weight of the second."""
    scale = torch.tensor(size / SIDE_PX, dtype=torch.float32, device=device)
    places = torch.arange(SIDE_PX, dtype=torch.float32, device=device) * scale
    first = places.long()
    return first, (first + 1).clamp_max(size - 1), places - first


def _centred_at_128(pixels: Tensor) -> Tensor:
    return (pixels - 128) / 128


PROTOCOLS = {
    "clean": Protocol(clean, clean_by_pillow),
    "torch": Protocol(pytorch_bilinear, pytorch_bilinear),
    "tf": Protocol(tensorflow_bilinear, tensorflow_bilinear_one_by_one),
}
