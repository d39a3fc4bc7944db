"""Items, the typed batches that this package yields, and the protocol of a dataset."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from errors import UserError


class TranslationBatch(NamedTuple):
    """Pictures of both domains: float32, NCHW, in [-1, 1]; label maps one-hot, 0 or 1."""

    source: Tensor  # [B, C, H, W]
    target: Tensor  # [B, C, H, W]


class ImageBatch(NamedTuple):
    """Pictures and their class indices."""

    images: Tensor  # float32 [B, C, H, W] in [-1, 1]
    labels: Tensor  # int64 [B]; all 0 where there are no classes


# (file, reason) of each unreadable file that was replaced to get an item
Unreadable = tuple[tuple[Path, str], ...]


class Item(NamedTuple):
    """One picture of each domain: float32 [C, H, W] in [-1, 1]; label maps one-hot, 0 or 1."""

    source: Tensor
    target: Tensor
    unreadable: Unreadable


class ImageItem(NamedTuple):
    """One picture, float32 [C, H, W] in [-1, 1], and its class index."""

    image: Tensor
    label: int  # 0 where there are no classes
    unreadable: Unreadable


class EndlessDataset(Protocol):
    """An endless sequence of items, each a pure function of its global index."""

    epoch_images: int
    file_count: int  # different files

    def __getitem__(self, index: int) -> Item | ImageItem:
        """Item number `index`, counted from the start of training."""

    def batch_of(self, items: Sequence, indices: Sequence[int]) -> NamedTuple:
        """One batch of the items with these global indices; `UserError` where sizes differ."""

    def files(self, index: int) -> tuple[Path, ...]:
        """The files of an item, before any unreadable one is replaced."""

    def preview(self, count: int) -> NamedTuple:
        """Up to `count` pictures of each domain for previews, the same every time."""


class TranslationDataset(EndlessDataset, Protocol):
    """A dataset whose items are pictures of two domains."""

    def __getitem__(self, index: int) -> Item:
        """Item number `index`, counted from the start of training."""

    def batch_of(self, items: Sequence[Item], indices: Sequence[int]) -> TranslationBatch:
        """One batch of the items with these global indices; `UserError` where sizes differ."""

    def files(self, index: int) -> tuple[Path, Path]:
        """The source and target file of an item, before any unreadable one is replaced."""

    def preview(self, count: int) -> TranslationBatch:
        """Up to `count` pictures of each domain for previews, the same every time."""


def translation_batch(
    items: Sequence[Item],
    indices: Sequence[int],
    files: Callable[[int], tuple[Path, Path]],
) -> TranslationBatch:
    """The items with these global indices as one batch; files: `TranslationDataset.files`.

    Raises `UserError`, which names two files, if sizes differ.
    """
    return TranslationBatch(
        stack_equal([item.source for item in items], lambda place: files(indices[place])[0]),
        stack_equal([item.target for item in items], lambda place: files(indices[place])[1]),
    )


def stack_equal(pictures: Sequence[Tensor], path_at: Callable[[int], Path]) -> Tensor:
    """N pictures [C, H, W] of one size as [N, C, H, W].

    path_at: maps a position in `pictures` to its file. Raises `UserError`, which names two files,
    if sizes differ.
    """
    first = pictures[0]
    for place, picture in enumerate(pictures):
        if picture.shape != first.shape:
            size, other_size = (
                f"{tensor.shape[2]}x{tensor.shape[1]} px" for tensor in (first, picture)
            )
            raise UserError(
                f"{path_at(0)} ({size}) and {path_at(place)} ({other_size}) do not fit into one "
                "batch; use `batch_size` 1 or a `preprocess` that crops"
            )
    return torch.stack(list(pictures))


def stack_centres(pictures: Sequence[Tensor]) -> Tensor:
    """Pictures [C, H_i, W_i] centre-cropped to one size: [N, C, min H_i, min W_i]."""
    height = min(picture.shape[1] for picture in pictures)
    width = min(picture.shape[2] for picture in pictures)
    cut = []
    for picture in pictures:
        top, left = (picture.shape[1] - height) // 2, (picture.shape[2] - width) // 2
        cut.append(picture[:, top : top + height, left : left + width])
    return torch.stack(cut)
