"""Conversion of pictures to tensors and back, between uint8 and float in [-1, 1]."""

import numpy as np
import torch
from PIL import Image
from torch import Tensor


def to_tensor(image: Image.Image) -> Tensor:
    """An 8-bit RGB picture as float32 [3, H, W] in [-1, 1]: (v/255 - 0.5) / 0.5.

    The operations are in the order of torchvision's ToTensor and Normalize, so the values equal
    the official code's bit for bit. Raises ValueError for another mode.
    """
    if image.mode != "RGB":
        raise ValueError(f"expected an RGB picture, got mode {image.mode}")
    return from_levels(planes(image))


def planes(image: Image.Image) -> Tensor:
    """A copy of a picture's values, in its own type, as [channels, H, W]."""
    values = torch.from_numpy(np.array(image))  # a copy: PIL's own memory is read-only
    return values.reshape(image.height, image.width, -1).permute(2, 0, 1)


def from_levels(levels: Tensor, bits: int = 8) -> Tensor:
    """Levels [..., H, W] as float32 of the same shape in [-1, 1]: (v/255 - 0.5) / 0.5.

    With `bits` 16, levels go up to 65535, which then replaces 255.
    """
    values = levels.to(torch.float32, copy=True, memory_format=torch.contiguous_format)
    return values.div_(2**bits - 1).sub_(0.5).mul_(2)  # the same bits as a division by 0.5


def to_levels(pictures: Tensor, bits: int = 8) -> Tensor:
    """Float [..., H, W] as uint8 of the same shape and device, the values of PNG files.

    v = round((clamp(x, -1, 1) + 1) * 127.5): rounded, where the official code truncates. With
    `bits` 16: int32 from 0 to 65535. Raises ValueError for values that are not finite.
    """
    values = pictures.detach().float()
    if not torch.isfinite(values).all():
        raise ValueError("the picture has values that are not finite (NaN or infinite)")
    levels = values.clamp(-1, 1).add(1).mul((2**bits - 1) / 2).round()
    return levels.to(torch.uint8 if bits == 8 else torch.int32)


def to_image(picture: Tensor, channels: int = 3, bits: int = 8) -> Image.Image:
    """A float [channels, H, W] tensor on any device as a picture, rounded by `to_levels`.

    1 channel gives grey, 3 RGB, 4 RGBA. `bits` 16 is for grey only. Raises ValueError for
    another shape and for values that are not finite.
    """
    if picture.ndim != 3 or picture.shape[0] != channels:
        raise ValueError(
            f"expected a tensor of shape [{channels}, H, W], got {list(picture.shape)}"
        )
    levels = to_levels(picture, bits).cpu().permute(1, 2, 0).contiguous().numpy()
    levels = levels.astype(np.uint8 if bits == 8 else np.uint16)
    return Image.fromarray(levels[:, :, 0] if channels == 1 else levels)
