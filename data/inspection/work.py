"""A function over many items, in reading processes, the results in order."""

import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

import torch
from torch.utils.data import DataLoader, Dataset

from data.stream import prepare_worker

Item = TypeVar("Item")
Result = TypeVar("Result")
_ITEMS_AT_ONCE = 32


def in_processes(
    function: Callable[[Item], Result], items: Sequence[Item], workers: int
) -> Iterator[Result]:
    """Yield function(item) of each item in order, from `workers` processes (0: in this one).

    A few results are on their way at a time, whatever the number of items.
    """
    groups = [range(at, min(at + _ITEMS_AT_ONCE, len(items))) for at in _starts(len(items))]
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="This DataLoader will create")
        loader = DataLoader(
            _Applied(function, items),
            batch_size=None,
            sampler=groups,
            collate_fn=_unchanged,
            num_workers=min(workers, len(groups)),
            worker_init_fn=prepare_worker,
            generator=torch.Generator().manual_seed(0),
        )
        iterator = iter(loader)
    try:
        for results in iterator:
            yield from results
    finally:
        del iterator  # its destructor ends the workers and waits for them


def _starts(count: int) -> range:
    return range(0, count, _ITEMS_AT_ONCE)


class _Applied(Dataset):
    def __init__(self, function: Callable[[Item], Result], items: Sequence[Item]):
        self.function, self.items = function, items

    def __getitem__(self, places: range) -> list[Result]:
        return [self.function(self.items[place]) for place in places]


def _unchanged(results: list) -> list:
    return results
