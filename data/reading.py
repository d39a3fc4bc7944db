"""Image files as 8-bit pixels, once and in order, for the metrics."""

import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from data.decode import UnreadableImageError, decode_image, decode_plainly
from data.stream import prepare_worker

_FILES_AT_ONCE = 8


class ReadImage(NamedTuple):
    """One file: its place in the list, and its pixels uint8 [3, H, W] or why there are none."""

    index: int
    pixels: Tensor | None
    reason: str  # "" where the file was read
    loss: str  # what Pillow's conversion to RGB dropped; "" for nothing


def read_images(
    files: Sequence[Path], indices: Sequence[int], *, plainly: bool, workers: int
) -> Iterator[ReadImage]:
    """Read the files of these indices in order, in `workers` processes (0: in this one).

    plainly: as the tools of FID read them (`decode_plainly`), or else as training and translation
    do (`decode_image`).
    """
    groups = [indices[at : at + _FILES_AT_ONCE] for at in range(0, len(indices), _FILES_AT_ONCE)]
    with warnings.catch_warnings():
        # PyTorch warns of more workers than cores; they wait for the disk half of the time.
        warnings.filterwarnings("ignore", message="This DataLoader will create")
        loader = DataLoader(
            _Reader(files, _plain if plainly else _upright),
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
                tensor = None if pixels is None else torch.from_numpy(pixels).permute(2, 0, 1)
                yield ReadImage(index, tensor, reason, loss)
    finally:
        del iterator  # its destructor ends the workers and waits for them


def _plain(path: Path) -> tuple[Image.Image, str]:
    return decode_plainly(path)


def _upright(path: Path) -> tuple[Image.Image, str]:
    return decode_image(path), ""


class _Reader(Dataset):
    """Reads groups of files into arrays [H, W, 3], which travel without shared-memory files."""

    def __init__(self, files: Sequence[Path], decode: Callable[[Path], tuple[Image.Image, str]]):
        self.files, self.decode = files, decode

    def __getitem__(self, indices: Sequence[int]) -> list[tuple[int, np.ndarray | None, str, str]]:
        return [self._read(index) for index in indices]

    def _read(self, index: int) -> tuple[int, np.ndarray | None, str, str]:
        try:
            picture, loss = self.decode(self.files[index])
        except UnreadableImageError as error:
            return index, None, error.reason, ""
        return index, np.array(picture), "", loss


def _unchanged(group: list) -> list:
    return group
