"""One way to translate pictures of any size, for previews and for the command."""

import torch
from torch import Tensor, nn


@torch.no_grad()
def translate(generator: nn.Module, pictures: Tensor) -> Tensor:
    """Translate pictures in eval mode; any height and width, the same size out.

    The borders are padded by reflection to what the network needs (`size_multiple`,
    `smallest_size_px`), the result is cropped back and clamped.

    pictures: float [B, C, H, W] in [-1, 1]. Returns float32 [B, C', H, W] in [-1, 1].
    """
    height, width = pictures.shape[2:]
    rows = _reflected(height, _padded(height, generator), pictures.device)
    columns = _reflected(width, _padded(width, generator), pictures.device)
    was_training = generator.training
    generator.eval()
    try:
        translated = generator(pictures[:, :, rows][:, :, :, columns])
    finally:
        generator.train(was_training)
    top, left = (len(rows) - height) // 2, (len(columns) - width) // 2
    return translated[:, :, top : top + height, left : left + width].float().clamp(-1, 1)


def _padded(size: int, generator: nn.Module) -> int:
    multiple = generator.size_multiple
    return max(-(-size // multiple), -(-generator.smallest_size_px // multiple)) * multiple


def _reflected(size: int, padded: int, device: torch.device) -> Tensor:
    """Return the `padded` row numbers that mirror `size` rows at both ends, as often as needed."""
    places = torch.arange(padded, device=device) - (padded - size) // 2
    period = max(2 * (size - 1), 1)
    places = places.remainder(period)
    return torch.where(places < size, places, period - places)
