"""Encoders of train_features.py as feature extractors for metrics."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

import metrics
import models
from errors import UserError

LUMA = (0.299, 0.587, 0.114)  # grey from RGB, as Pillow converts
LARGEST_PX = 4096


class EncoderFeatures(NamedTuple):
    """An encoder as the metrics use it."""

    function: Callable[[Tensor], Tensor]  # uint8 [B, 3, H, W] -> float [B, D]
    origin: metrics.Origin
    side_px: int | None  # to which pictures are resized; None: they are not


def is_encoder(name: str) -> bool:
    """Return whether --features names a run folder or a safetensors file."""
    path = Path(name)
    return path.is_dir() or path.suffix == ".safetensors"


def load(name: str, device: torch.device) -> EncoderFeatures:
    """Read an encoder from a run folder or a safetensors file.

    Pictures are resized to the size of its training pictures, whatever their aspect ratio: a crop
    would leave the borders unjudged. Raises UserError for a path that holds no encoder.
    """
    encoder = models.load_encoder(name, "--features")
    side_px = _side_px(encoder.description, f"--features {name}")
    is_grey = encoder.network.sizes.in_channels == 1
    encoder = encoder.to(device, memory_format=torch.channels_last)

    def features(images: Tensor) -> Tensor:
        levels = metrics.resized(images, side_px)
        if is_grey:
            weights = torch.tensor(LUMA, device=device).view(3, 1, 1)
            levels = (levels * weights).sum(1, keepdim=True)
        return encoder((levels / 127.5 - 1).contiguous(memory_format=torch.channels_last))

    size = f"{side_px} px, bicubic with anti-aliasing" if side_px else "not resized"
    origin = metrics.Origin(
        features=f"encoder {encoder.description.get('method', 'unnamed')} {encoder.sha256[:8]}",
        weights_sha256=encoder.sha256,
        preprocessing=f"{size}, {'grey, ' if is_grey else ''}v / 127.5 - 1",
    )
    return EncoderFeatures(features, origin, side_px)


def _side_px(description: Mapping, option: str) -> int | None:
    """Return the side of the pictures that an encoder was trained on; None if its file is silent.

    Raises UserError for one that no picture can have.
    """
    taken = description.get("preprocessing")
    found = taken.get("size_px") if isinstance(taken, Mapping) else None
    if found is not None and not (isinstance(found, int) and 1 <= found <= LARGEST_PX):
        raise UserError(f"{option}: made for pictures of {found} px; give another")
    return found
