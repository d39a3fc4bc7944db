"""Maps that wait for the next step: in memory, or in a memory-mapped temporary file."""

import math
import mmap
import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor

from models.tiled.regions import Region

ROWS_AT_ONCE = 16  # of a map in a file


class Storage:
    """A map [C, H, W], read and written by regions.

    Rows come first in memory, so that a strip of the map is one part of the file. The file has no
    name, so the system removes it even if the process is killed. Its pages leave the process's
    memory after each access; the system keeps as many of them as it has room for.

    folder: where the file is made; None keeps the map in memory. Raises OSError if the disk has no
    room for the whole map.
    """

    def __init__(
        self, channels: int, size: tuple[int, int], dtype: torch.dtype, folder: Path | None
    ):
        shape = (size[0], channels, size[1])
        self.pages: mmap.mmap | None = None
        if folder is None:
            self.values = torch.empty(shape, dtype=dtype)
            return
        length = math.prod(shape) * dtype.itemsize
        with tempfile.TemporaryFile(dir=folder) as file:
            if sys.platform == "linux":
                os.posix_fallocate(file.fileno(), 0, length)  # a full disk would end the process
            else:
                file.truncate(length)
            self.pages = mmap.mmap(file.fileno(), length)
        self.values = torch.frombuffer(self.pages, dtype=dtype).view(shape)

    def read(self, region: Region) -> Tensor:
        """Return a copy of a region, [1, C, h, w]."""
        height, width = region.size
        window = torch.empty(1, self.values.shape[1], height, width, dtype=self.values.dtype)
        for rows, stored in self._parts(region):
            window[0, :, rows] = stored.permute(1, 0, 2)
        return window

    def write(self, region: Region, window: Tensor) -> None:
        """Set a region to [1, C, h, w]."""
        for rows, stored in self._parts(region):
            stored.copy_(window[0, :, rows].permute(1, 0, 2))

    def _parts(self, region: Region) -> Iterator[tuple[slice, Tensor]]:
        """Yield slices of the region's rows, and what is stored there, [h, C, w].

        The system brings pages around those that are read into memory, so of a file only a few rows
        are accessed at once.
        """
        top, bottom = region.rows
        step = bottom - top if self.pages is None else ROWS_AT_ONCE
        for start in range(top, bottom, step):
            stop = min(start + step, bottom)
            yield (
                slice(start - top, stop - top),
                self.values[start:stop, :, slice(*region.columns)],
            )
            if self.pages is not None and sys.platform == "linux":
                self.pages.madvise(mmap.MADV_DONTNEED)  # of a shared file: written back, not lost
