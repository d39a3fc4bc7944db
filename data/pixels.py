"""Pictures to tensors and back: the two value ranges of the house meet here."""

import numpy as np
import torch
from PIL import Image
from torch import Tensor


def to_tensor(image: Image.Image) -> Tensor:
    """An 8-bit RGB picture as float32 [3, H, W] in [-1, 1]: (v/255 - 0.5) / 0.5.

    The order of the operations is that of torchvision's ToTensor and Normalize, so the bits are
    the official code's. Raises ValueError for another mode.
    """
    if image.mode != "RGB":
        raise ValueError(f"expected an RGB picture, got mode {image.mode}")
    pixels = torch.from_numpy(np.array(image))  # [H, W, 3], a copy: PIL's own memory is read-only
    return pixels.permute(2, 0, 1).contiguous().float().div_(255).sub_(0.5).div_(0.5)


def to_image(tensor: Tensor) -> Image.Image:
    """A float [3, H, W] tensor of any device as an 8-bit RGB picture.

    v = round((clamp(x, -1, 1) + 1) * 127.5): rounded, where the official code truncates. Raises
    ValueError for another shape and for values that are not finite.
    """
    if tensor.ndim != 3 or tensor.shape[0] != 3:
        raise ValueError(f"expected a tensor of shape [3, H, W], got {list(tensor.shape)}")
    values = tensor.detach().float().cpu()
    if not torch.isfinite(values).all():
        raise ValueError("the picture has values that are not finite (NaN or infinite)")
    levels = values.clamp(-1, 1).add(1).mul(127.5).round().to(torch.uint8)
    return Image.fromarray(levels.permute(1, 2, 0).contiguous().numpy())
