"""Resized pictures in memory, shared by all worker processes of a training."""

import fcntl
import math
import mmap
import os
import tempfile
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import reduction
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from data.pixels import planes

_DTYPES = (torch.uint8, torch.int32, torch.float32)
_WIDE_DTYPES = {"I": torch.int32, "F": torch.float32}
_EMPTY, _BEING_WRITTEN, _READY = range(3)
# The columns of the table; `room` is the number of bytes reserved for a row, from `offset` on.
_STATE, _VERSION, _OFFSET, _ROOM, _DTYPE, _CHANNELS, _HEIGHT, _WIDTH, _FULL_WIDTH, _FULL_HEIGHT = (
    range(10)
)
_ALIGNMENT = 64


class Prepared(NamedTuple):
    """A picture that is resized, but not yet cropped."""

    full_size: tuple[int, int]  # width and height before it was resized
    # A Pillow image, or its values as from `planes`: uint8, float32 (16 bits) or int32 (labels).
    picture: Image.Image | Tensor

    @property
    def size(self) -> tuple[int, int]:
        """Width and height as they are now."""
        if isinstance(self.picture, Tensor):
            return self.picture.shape[2], self.picture.shape[1]
        return self.picture.size

    @property
    def layout(self) -> tuple[torch.dtype, tuple[int, int, int]]:
        """Type and shape [C, H, W] of its values."""
        if isinstance(self.picture, Tensor):
            return self.picture.dtype, tuple(self.picture.shape)
        dtype = _WIDE_DTYPES.get(self.picture.mode, torch.uint8)
        return dtype, (len(self.picture.getbands()), self.picture.height, self.picture.width)


class PictureCache:
    """Keeps resized pictures by index, in at most `limit_bytes` of shared memory.

    All processes that inherit it, or get it as an argument when they start, read and fill the same
    memory, so that each picture is stored once. Nothing is evicted: each picture is read once per
    epoch, so the least recently used one is the one needed next. A picture that does not fit is not
    kept. A picture that comes again in another size replaces the earlier one, if it fits.

    Memory is allocated as pictures arrive, and not in /dev/shm, which is small in containers.
    """

    def __init__(self, pictures: int, limit_bytes: int):
        self._shape = (pictures, limit_bytes)
        self._map(_anonymous_file())

    def get(self, number: int) -> Prepared | None:
        """A copy of the picture with this index, or None if it is not kept."""
        with self._locked():
            row = self._table[number].tolist()
        if row[_STATE] != _READY:
            return None
        picture = self._pixels(row).clone()
        with self._locked():
            if self._table[number, _VERSION] != row[_VERSION]:
                return None  # replaced while it was copied
        return Prepared((row[_FULL_WIDTH], row[_FULL_HEIGHT]), picture)

    def put(self, number: int, prepared: Prepared) -> None:
        """Keep the picture with this index, if it fits."""
        dtype, shape = prepared.layout
        needed = dtype.itemsize * math.prod(shape)
        with self._locked():
            row = self._table[number]
            if row[_STATE] == _BEING_WRITTEN or not self._has_room(row, needed):
                return
            row[_STATE] = _BEING_WRITTEN
            row[_VERSION] += 1
            row[_DTYPE:] = _DTYPES.index(dtype), *shape, *prepared.full_size
            reserved = row.tolist()
        picture = prepared.picture
        self._pixels(reserved).copy_(picture if isinstance(picture, Tensor) else planes(picture))
        with self._locked():
            self._table[number, _STATE] = _READY

    @property
    def used_bytes(self) -> int:
        """Memory that pictures have taken so far."""
        return int(self._used[0])

    def _has_room(self, row: np.ndarray, needed: int) -> bool:
        if row[_STATE] != _EMPTY:
            return needed <= row[_ROOM]
        room = -(-needed // _ALIGNMENT) * _ALIGNMENT
        if self._used[0] + room > self._shape[1]:
            return False
        row[_OFFSET], row[_ROOM] = self._used[0], room
        self._used[0] += room
        return True

    def _pixels(self, row: list[int]) -> Tensor:
        """The memory of a row, viewed as its picture [C, H, W]."""
        shape = row[_CHANNELS], row[_HEIGHT], row[_WIDTH]
        dtype = _DTYPES[row[_DTYPE]]
        count = dtype.itemsize * math.prod(shape)
        return self._memory[row[_OFFSET] : row[_OFFSET] + count].view(dtype).view(shape)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Lock the table, never while pixels are copied; the lock of a dead process is released."""
        fcntl.lockf(self._file, fcntl.LOCK_EX)
        try:
            yield
        finally:
            fcntl.lockf(self._file, fcntl.LOCK_UN)

    def _map(self, file: int) -> None:
        pictures, limit_bytes = self._shape
        columns = _FULL_HEIGHT + 1
        table_end = 8 * (1 + pictures * columns)
        begin = -(-table_end // _ALIGNMENT) * _ALIGNMENT
        os.ftruncate(file, begin + limit_bytes)  # of zeros: no row is ready, nothing is used
        mapped = mmap.mmap(file, begin + limit_bytes)
        numbers = np.frombuffer(mapped, np.int64, 1 + pictures * columns)
        self._used, self._table = numbers[:1], numbers[1:].reshape(pictures, columns)
        self._memory = torch.from_numpy(np.frombuffer(mapped, np.uint8, limit_bytes, begin))
        self._file = file
        weakref.finalize(self, os.close, file)

    def __getstate__(self) -> dict:
        """For worker processes that are spawned, not forked; see Python's multiprocessing."""
        return {"shape": self._shape, "file": reduction.DupFd(self._file)}

    def __setstate__(self, state: dict) -> None:
        self._shape = state["shape"]
        self._map(state["file"].detach())


def _anonymous_file() -> int:
    """An unnamed file, in memory where the system supports that (Linux)."""
    if "memfd_create" in vars(os):
        return os.memfd_create("pictures")
    with tempfile.TemporaryFile() as file:
        return os.dup(file.fileno())
