"""Which pictures a network translates together, and how many passes run at the same time."""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn

import data
import models
from commands.memory import free_bytes
from commands.pictures import ReadPictures

MOST_ON_CPU, MOST_ON_GPU = 4, 16  # pictures in a batch for --batch_size auto
PIXELS_ON_CPU = 128 * 128  # of a batch for auto: with more, feature maps leave the caches
FEWEST_FOR_EACH_PASS = 4  # pictures
_SHARE = 0.5  # of the free memory, for all passes together


class Batch(NamedTuple):
    """Pictures of equal size, [B, C, H, W], and their places in the list of files."""

    places: list[int]
    pictures: Tensor


class Batching(NamedTuple):
    """How a list of files is translated."""

    order: list[int]  # the places of the files; equal sizes follow one another
    most: dict[tuple[int, int], int]  # width and height -> pictures in a batch
    passes: int  # that run at the same time


class Room:
    """The free memory for the passes of a network, of which they may take half."""

    def __init__(self, network: nn.Module):
        self.device = next(network.parameters()).device
        self.memory = models.PassMemory(network)
        self.bytes = _SHARE * free_bytes(self.device)

    def passes(
        self, sizes: Iterable[tuple[int, int]], wanted: int | str, count: int | None = None
    ) -> int:
        """Return how many passes run at the same time, for pictures of these widths and heights.

        On a CPU as many as there are threads, each on one, so that none waits for the others within
        a layer. wanted: pictures in a pass, or "auto". count: the number of pictures; for a few,
        one pass has all threads.
        """
        if self.device.type != "cpu":
            return 1
        each = 1 if wanted == "auto" else wanted
        fitting = int(self.bytes // (each * max(self.memory.bytes_of(*size) for size in sizes)))
        passes = max(1, min(torch.get_num_threads(), fitting))
        is_few = count is not None and count < max(FEWEST_FOR_EACH_PASS, each) * passes
        return 1 if is_few else passes

    def batch_size(self, size: tuple[int, int], wanted: int | str, passes: int) -> int:
        """Return the most pictures of this width and height in a batch; wanted: as an option."""
        if wanted != "auto":
            return wanted
        if self.device.type == "cpu":
            limit = min(MOST_ON_CPU, PIXELS_ON_CPU // (max(1, size[0]) * max(1, size[1])))
        else:
            limit = MOST_ON_GPU
        fitting = int(self.bytes // (passes * self.memory.bytes_of(*size)))
        return max(1, min(limit, fitting))


def plan_batches(
    files: Sequence[Path], network: nn.Module, batch_size: int | str, *, halves: bool
) -> Batching:
    """Group files of equal size, by their headers, and choose what fits into memory.

    batch_size: a number, or "auto": as many pictures as half of the free memory holds, at most 16
    on a GPU and, on a CPU, 4 with together at most 128 x 128 px. halves: side-by-side files.
    """
    if len(files) == 1:
        return Batching([0], {}, 1)
    sizes = [data.header_size(path) or (0, 0) for path in files]  # (0, 0): reading it will tell
    if halves:
        sizes = [(width // 2, height) for width, height in sizes]
    groups: dict[tuple[int, int], list[int]] = {}
    for place, size in enumerate(sizes):
        groups.setdefault(size, []).append(place)
    room = Room(network)
    passes = room.passes(groups, batch_size, len(files))
    most = {size: room.batch_size(size, batch_size, passes) for size in groups}
    if batch_size == "auto":  # no pass waits while another has all pictures
        most = {size: max(1, min(most[size], len(groups[size]) // passes)) for size in groups}
    return Batching([place for group in groups.values() for place in group], most, passes)


def read_batches(
    sources: ReadPictures, batching: Batching, unreadable: dict[int, str]
) -> Iterator[Batch]:
    """Yield the pictures in batches; record the places of unreadable ones and why."""
    places: list[int] = []
    pictures: list[Tensor] = []
    for found in sources.read(batching.order):
        if found.pixels is None:
            unreadable[found.index] = found.reason
            continue
        height, width = found.pixels.shape[1:]
        is_full = len(pictures) >= batching.most.get((width, height), 1)
        if pictures and (is_full or found.pixels.shape != pictures[0].shape):
            yield Batch(places, torch.stack(pictures))
            places, pictures = [], []
        places.append(found.index)
        pictures.append(found.pixels)
    if pictures:
        yield Batch(places, torch.stack(pictures))
