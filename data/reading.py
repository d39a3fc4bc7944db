"""Image files as pixels, each once and in order, for metrics and translation."""

import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from data.content import Content
from data.decode import UnreadableImageError, decode_plainly
from data.paired import decode_source, decode_target
from data.pairs import Pair
from data.pixels import to_levels
from data.stream import prepare_worker
from data.transforms import Preprocessing
from errors import UserError

_ITEMS_AT_ONCE = 8


class ReadImage(NamedTuple):
    """One file: its index, and its pixels [C, H, W] or why it could not be read."""

    index: int
    pixels: Tensor | None
    reason: str  # "" where the file was read
    loss: str  # what the decoder lost or found wrong; "" for nothing


Decode = Callable[[object], tuple[Tensor, str]]


def read_images(
    items: Sequence[object], indices: Sequence[int], decode: Decode, *, workers: int
) -> Iterator[ReadImage]:
    """Read the items of these indices in order, in `workers` processes (0: in this one).

    decode: maps an item (a path or a pair) to pixels [C, H, W] and what was lost; it raises
    `UnreadableImageError` for an item that cannot be read.
    """
    groups = [indices[at : at + _ITEMS_AT_ONCE] for at in range(0, len(indices), _ITEMS_AT_ONCE)]
    with warnings.catch_warnings():
        # PyTorch warns of more workers than cores, but they wait for the disk half of the time.
        warnings.filterwarnings("ignore", message="This DataLoader will create")
        loader = DataLoader(
            _Reader(items, decode),
            batch_size=None,
            sampler=groups,
            collate_fn=_unchanged,
            num_workers=min(workers, len(groups)),
            worker_init_fn=prepare_worker,
            generator=torch.Generator().manual_seed(0),
        )
        iterator = iter(loader)
    try:
        for group in iterator:
            for index, pixels, reason, loss in group:
                tensor = None if pixels is None else torch.from_numpy(pixels)
                yield ReadImage(index, tensor, reason, loss)
    finally:
        del iterator  # its destructor ends the workers and waits for them


def plain_levels(path: Path) -> tuple[Tensor, str]:
    """Decode a file as FID tools do (`decode_plainly`): uint8 [3, H, W]."""
    picture, loss = decode_plainly(path)
    return torch.from_numpy(np.array(picture)).permute(2, 0, 1), loss


def content_pixels(path: Path, content: Content) -> tuple[Tensor, str]:
    """Decode a file as training and translation do: float [C, H, W]."""
    return content.to_tensor(content.decode(path)), ""


def viewed_levels(path: Path, content: Content) -> tuple[Tensor, str]:
    """Decode a file as training does and convert it for metrics: uint8 RGB [3, H, W]."""
    return _seen(content.to_tensor(content.decode(path)), content), ""


def prepared_levels(
    path: Path, preprocessing: Preprocessing, content: Content
) -> tuple[Tensor, str]:
    """Decode and preprocess a file as training does, cropped centrally, no flip: uint8 [3, H, W].

    Grey is repeated, alpha composited over white, as in `Content.to_view`. Raises
    `UnreadableImageError` for a file that cannot be read, and `UserError`, which names it, for a
    picture smaller than the crop.
    """
    image = content.decode(path)
    try:
        pixels = preprocessing(image, None, content=content)
    except UserError as error:
        raise UserError(f"{path}: {error}") from error
    return _seen(pixels, content), ""


def source_of_pair(pair: Pair, source: Content, target: Content) -> tuple[Tensor, str]:
    """Decode the source of a pair as translation does: float [C, H, W]."""
    return source.to_tensor(decode_source(pair, source)), ""


def target_of_pair(pair: Pair, source: Content, target: Content) -> tuple[Tensor, str]:
    """Decode the target of a pair for metrics: uint8 RGB [3, H, W]."""
    return _seen(target.to_tensor(decode_target(pair, target)), target), ""


def label_mistake(pair: Pair, content: Content) -> tuple[Tensor, str]:
    """Return no pixels, and why the source of a pair is no label map of `content`; "" if it is."""
    try:
        decode_source(pair, content)
    except UserError as mistake:
        return torch.empty(0), str(mistake)
    return torch.empty(0), ""


def _seen(pixels: Tensor, content: Content) -> Tensor:
    return to_levels(content.to_view(pixels[None])[0])


class _Reader(Dataset):
    """Reads groups of items as arrays, which workers can send without shared-memory files."""

    def __init__(self, items: Sequence[object], decode: Decode):
        self.items, self.decode = items, decode

    def __getitem__(self, indices: Sequence[int]) -> list[tuple[int, np.ndarray | None, str, str]]:
        return [self._read(index) for index in indices]

    def _read(self, index: int) -> tuple[int, np.ndarray | None, str, str]:
        try:
            pixels, loss = self.decode(self.items[index])
        except UnreadableImageError as error:
            return index, None, error.reason, ""
        except UserError as error:  # the loader would wrap it in a traceback
            return index, None, str(error), ""
        return index, pixels.numpy(), "", loss


def _unchanged(group: list) -> list:
    return group
