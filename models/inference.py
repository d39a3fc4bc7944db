"""Inference for pictures of any size, shared by previews and `translate.py`."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

import torch
from torch import Tensor, nn

from models.execution import eagerly


@torch.no_grad()
def translate(
    generator: nn.Module, pictures: Tensor, *, batch_statistics: bool = False, seed: int = 0
) -> Tensor:
    """Translate pictures of any height and width; the output has the same size.

    By default in eval mode: batch norm uses its running statistics, and dropout is off.
    `batch_statistics` follows the pix2pix paper (section 3.3) and its program instead: batch norm
    uses the statistics of the given batch, and dropout and injected noise are drawn from `seed`. In
    both cases the generator's modes, running statistics and noise source are restored.

    Pictures are padded by reflection to a size that the network accepts (`size_multiple`,
    `smallest_size_px`), and the result is cropped back and clamped. Batch statistics include the
    padding.

    pictures: float [B, C, H, W] in [-1, 1]. Returns float32 [B, C', H, W] in [-1, 1].
    """
    if not batch_statistics:
        with translating(generator) as translated:
            return translated(pictures)
    with _like_training(generator, seed, len(pictures)):
        return _at_own_size(generator, pictures)


@contextmanager
def translating(generator: nn.Module) -> Iterator[Callable[[Tensor], Tensor]]:
    """Yield a function that translates as `translate` does by default, for the block's length.

    The modes are set once, so several threads may call the function at the same time.
    """
    with in_mode(generator, training=False):
        yield partial(torch.no_grad()(_at_own_size), generator)


def translate_with_gradient(generator: nn.Module, pictures: Tensor) -> Tensor:
    """Translate as `translate` does by default, differentiably with respect to the pictures."""
    with in_mode(generator, training=False):
        return _at_own_size(generator, pictures)


def _at_own_size(generator: nn.Module, pictures: Tensor) -> Tensor:
    height, width = pictures.shape[2:]
    rows = _reflected(height, padded_side(height, generator), pictures.device)
    columns = _reflected(width, padded_side(width, generator), pictures.device)
    translated = generator(pictures[:, :, rows][:, :, :, columns])
    top, left = (len(rows) - height) // 2, (len(columns) - width) // 2
    return translated[:, :, top : top + height, left : left + width].float().clamp(-1, 1)


@contextmanager
def in_mode(generator: nn.Module, *, training: bool) -> Iterator[None]:
    """Set the mode of all modules for the length of the block; then each is as before.

    A compiled generator runs as it is: pictures to be made have many sizes.
    """
    modes = {module: module.training for module in generator.modules()}
    generator.train(training)
    try:
        with eagerly():
            yield
    finally:
        for module, mode in modes.items():
            module.training = mode


@contextmanager
def _like_training(generator: nn.Module, seed: int, rows: int) -> Iterator[None]:
    norms = [module for module in generator.modules() if isinstance(module, nn.BatchNorm2d)]
    tracked = [norm.track_running_stats for norm in norms]
    with in_mode(generator, training=True), generator.noise.borrowed(seed, rows):
        for norm in norms:
            norm.track_running_stats = False  # the running statistics are not updated
        try:
            yield
        finally:
            for norm, track in zip(norms, tracked, strict=True):
                norm.track_running_stats = track


def padded_side(side: int, generator: nn.Module) -> int:
    """Return the height or width to which the generator needs a picture's `side` padded."""
    multiple = generator.size_multiple
    return max(-(-side // multiple), -(-generator.smallest_size_px // multiple)) * multiple


def mirrored(places: Tensor, size: int) -> Tensor:
    """Return which of `size` rows each place shows, reflected at both ends, repeatedly."""
    places = places.remainder(max(2 * (size - 1), 1))
    return torch.where(places < size, places, 2 * (size - 1) - places)


def _reflected(size: int, padded: int, device: torch.device) -> Tensor:
    """Return `padded` row indices that reflect `size` rows at both ends."""
    return mirrored(torch.arange(padded, device=device) - (padded - size) // 2, size)
