"""What a dataset is to the stream that batches it."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple, Protocol

from torch import Tensor

from data.batch import TranslationBatch, stack_equal

# (file, reason) of each file met on the way that could not be read and was replaced
Unreadable = tuple[tuple[Path, str], ...]


class Item(NamedTuple):
    """One picture of each domain: float32 [C, H, W] in [-1, 1]; label maps one-hot, 0 or 1."""

    source: Tensor
    target: Tensor
    unreadable: Unreadable


class ImageItem(NamedTuple):
    """One picture, float32 [C, H, W] in [-1, 1], and the number of its class."""

    image: Tensor
    label: int  # 0 where there are no classes
    unreadable: Unreadable


class EndlessDataset(Protocol):
    """An endless row of items, each a pure function of its global index."""

    epoch_images: int
    file_count: int  # different files

    def __getitem__(self, index: int) -> Item | ImageItem:
        """Item number `index`, counted from the start of training."""

    def batch_of(self, items: Sequence, indices: Sequence[int]) -> NamedTuple:
        """One batch of the items with these global indices; `UserError` where sizes differ."""

    def files(self, index: int) -> tuple[Path, ...]:
        """The files of an item, before any unreadable one is replaced."""

    def preview(self, count: int) -> NamedTuple:
        """Up to `count` pictures to look at, of each domain, the same every time."""


class TranslationDataset(EndlessDataset, Protocol):
    """One whose items are pictures of two domains."""

    def __getitem__(self, index: int) -> Item:
        """Item number `index`, counted from the start of training."""

    def batch_of(self, items: Sequence[Item], indices: Sequence[int]) -> TranslationBatch:
        """One batch of the items with these global indices; `UserError` where sizes differ."""

    def files(self, index: int) -> tuple[Path, Path]:
        """The source and target file of an item, before any unreadable one is replaced."""

    def preview(self, count: int) -> TranslationBatch:
        """Up to `count` pictures of each domain to look at, the same every time."""


def translation_batch(
    items: Sequence[Item],
    indices: Sequence[int],
    files: Callable[[int], tuple[Path, Path]],
) -> TranslationBatch:
    """The items with these global indices as one batch; `files` as a `TranslationDataset`'s.

    Raises `UserError`, which names two files, where sizes differ.
    """
    return TranslationBatch(
        stack_equal([item.source for item in items], lambda place: files(indices[place])[0]),
        stack_equal([item.target for item in items], lambda place: files(indices[place])[1]),
    )
