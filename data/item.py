"""What a dataset of two kinds of pictures is to the stream that batches it."""

from pathlib import Path
from typing import NamedTuple, Protocol

from torch import Tensor

from data.batch import TranslationBatch


class Item(NamedTuple):
    """One picture of each domain: float32 [C, H, W] in [-1, 1]; label maps one-hot, 0 or 1."""

    source: Tensor
    target: Tensor
    # (file, reason) of each file met on the way that could not be read and was replaced
    unreadable: tuple[tuple[Path, str], ...]


class TranslationDataset(Protocol):
    """An endless row of items, each a pure function of its global index."""

    epoch_images: int
    file_count: int  # different files of both domains together

    def __getitem__(self, index: int) -> Item:
        """Item number `index`, counted from the start of training."""

    def files(self, index: int) -> tuple[Path, Path]:
        """The source and target file of an item, before any unreadable one is replaced."""

    def preview(self, count: int) -> TranslationBatch:
        """Up to `count` pictures of each domain to look at, the same every time."""
