"""A dataset's items as an endless stream of batches, read by worker processes."""

import signal
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from data.batch import EndlessDataset, Unreadable
from errors import UserError

# With more unreadable files than one in this many, something is wrong with the whole data set.
_TOLERATED_ONE_IN = 100
_GRACE_SECONDS = 60


class Stream:
    """Batches of a dataset, the same for any number of workers.

    batch_size: the global batch size, of which this rank gets batch_size / world_size items. If it
    changes during training: a pure function from the images seen before a batch to its size.

    workers: the number of worker processes; 0 reads in this process. Unreadable files are reported
    on stderr when first met and collected in `unreadable` (file -> reason).

    Raises `UserError` for a batch_size below 1 or not divisible by world_size, and for workers
    below 0. The values of a function are checked when their batch is due.
    """

    def __init__(
        self,
        dataset: EndlessDataset,
        *,
        batch_size: int | Callable[[int], int],
        workers: int,
        rank: int = 0,
        world_size: int = 1,
        pin_memory: bool = False,
    ):
        if not callable(batch_size):
            _check_batch_size(batch_size, world_size, f"`batch_size` {batch_size}")
        if workers < 0:
            raise UserError(f"`workers` {workers}: below 0; give 0 to read in the main process")
        self.dataset = dataset
        self.batch_size = batch_size
        self.workers = workers
        self.rank = rank
        self.world_size = world_size
        self.pin_memory = pin_memory
        self.unreadable: dict[Path, str] = {}

    def batch_size_at(self, images_seen: int) -> int:
        """The size of the global batch that begins after this many images.

        Raises `UserError` for one below 1 or not divisible by world_size.
        """
        if not callable(self.batch_size):
            return self.batch_size
        size = self.batch_size(images_seen)
        _check_batch_size(size, self.world_size, f"`batch_size` {size} at {images_seen} images")
        return size

    def batches(self, first_image: int) -> Iterator[NamedTuple]:
        """Endless batches; close() the iterator to stop the workers.

        The first global batch begins at first_image, each other where the one before it ends. With
        local = batch_size / world_size, this rank's part of a batch has the `local` items from
        global index begin + rank * local on, collated by the dataset's `batch_of`.

        Raises `UserError` for more than 1 unreadable file in 100, images of unequal size in one
        batch, an invalid batch size, and any `UserError` from reading an item.
        """
        with warnings.catch_warnings():
            # PyTorch warns of more workers than cores, but they wait for the disk half of the time.
            warnings.filterwarnings("ignore", message="This DataLoader will create")
            iterator = iter(self._loader(first_image))
        try:
            while True:
                first_image += self.batch_size_at(first_image)
                loaded = next(iterator)
                self._report_unreadable(loaded.unreadable)
                if loaded.error is not None:
                    raise UserError(loaded.error)
                yield loaded.batch
        finally:
            del iterator  # its destructor ends the workers and waits for them

    def _loader(self, first_image: int) -> DataLoader:
        return DataLoader(
            _BatchReader(self.dataset),
            batch_size=None,  # the reader makes whole batches, so that it can return an error
            sampler=_IndexBatches(first_image, self.batch_size_at, self.rank, self.world_size),
            collate_fn=_unchanged,
            num_workers=self.workers,
            worker_init_fn=prepare_worker,
            pin_memory=self.pin_memory,
            # Without one of its own, the loader draws a seed from the global generator.
            generator=torch.Generator().manual_seed(0),
        )

    def files_of_batch(self, first_image: int) -> list[Path]:
        """The different files of the whole global batch that starts there, on all ranks."""
        indices = range(first_image, first_image + self.batch_size_at(first_image))
        return list(dict.fromkeys(path for index in indices for path in self.dataset.files(index)))

    def _report_unreadable(self, found: Unreadable) -> None:
        for path, reason in found:
            if path not in self.unreadable:
                self.unreadable[path] = reason
                print(
                    f"{path}: cannot be read ({reason}); the next readable image of its folder "
                    "takes its place",
                    file=sys.stderr,
                    flush=True,
                )
        count, total = len(self.unreadable), self.dataset.file_count
        if count * _TOLERATED_ONE_IN > total:
            names = ", ".join(str(path) for path in list(self.unreadable)[:3])
            raise UserError(
                f"{count} of {total} images ({count / total:.1%}) cannot be read, more than 1 in "
                f"{_TOLERATED_ONE_IN}: {names}{', ...' if count > 3 else ''}; repair or remove them"
            )


class _Loaded(NamedTuple):
    """What a worker sends: a batch, or the message of the `UserError` that was raised instead."""

    batch: tuple[Tensor, ...] | None
    unreadable: Unreadable
    error: str | None


class _IndexBatches:
    """Endless lists of global indices: this rank's part of each global batch in turn."""

    def __init__(self, first: int, size_at: Callable[[int], int], rank: int, world_size: int):
        self.first = first
        self.size_at = size_at
        self.rank = rank
        self.world_size = world_size

    def __iter__(self) -> Iterator[list[int]]:
        begin = self.first
        # Workers read ahead of the training; an invalid size is reported when its batch is due.
        with suppress(UserError):
            while True:
                size = self.size_at(begin)
                local = size // self.world_size
                yield list(range(begin + self.rank * local, begin + (self.rank + 1) * local))
                begin += size


class _BatchReader(Dataset):
    """Reads whole batches.

    A `UserError` is returned as a value: the loader would wrap an exception of a worker in one
    whose message is a traceback.
    """

    def __init__(self, dataset: EndlessDataset):
        self.dataset = dataset

    def __getitem__(self, indices: list[int]) -> _Loaded:
        try:
            items = [self.dataset[index] for index in indices]
            batch = self.dataset.batch_of(items, indices)
        except UserError as mistake:
            return _Loaded(None, (), str(mistake))
        return _Loaded(batch, tuple(found for item in items for found in item.unreadable), None)


def _check_batch_size(batch_size: int, world_size: int, option: str) -> None:
    if batch_size < 1:
        raise UserError(f"{option}: below 1; give 1 or more images per batch")
    if batch_size % world_size:
        raise UserError(
            f"{option}: not divisible by the {world_size} processes that share it; use a multiple "
            f"of {world_size}"
        )


def _unchanged(loaded: _Loaded) -> _Loaded:
    return loaded


def prepare_worker(worker: int) -> None:
    """Leave signals to the main process, which saves first and then ends its workers.

    Terminals and schedulers send them to every process, and the main process could not save if a
    worker died suddenly. SIGTERM ends a worker only after a delay that is ample for saving.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda *_: signal.alarm(_GRACE_SECONDS))
    torch.set_num_threads(1)
