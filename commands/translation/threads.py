"""Work in threads, for what releases Python's lock: networks, compression, writing to disk."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

import torch

Item, Result = TypeVar("Item"), TypeVar("Result")
_AHEAD = 2  # items for each thread that are finished or in work while the oldest is awaited


def in_threads(
    function: Callable[[Item], Result], items: Iterable[Item], threads: int
) -> Iterator[Result]:
    """Yield function(item) for each item in order, computed by so many threads.

    Items are taken from the iterator in the calling thread, at most 2 for each thread ahead of what
    is yielded. An exception of the function is raised here, and no further item is started.
    """
    pending: deque[Future[Result]] = deque()
    with ThreadPoolExecutor(threads) as pool:
        try:
            for item in items:
                pending.append(pool.submit(function, item))
                if len(pending) == _AHEAD * threads:
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()
        finally:
            for future in pending:
                future.cancel()


@contextmanager
def shared_threads(passes: int) -> Iterator[None]:
    """Share PyTorch's threads among so many passes that run at the same time."""
    threads = torch.get_num_threads()
    torch.set_num_threads(max(1, threads // passes))
    try:
        yield
    finally:
        torch.set_num_threads(threads)
