"""An exported program beside our own: the largest difference and the time, in one table."""

import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from rich.table import Table
from torch import Tensor

from commands.exporting.programs import Program

BATCHES = (1, 3)
RUNS = 3


class Comparison(NamedTuple):
    """Both forms of a program for one case and batch: largest difference and median seconds."""

    case: str
    batch: int
    difference: float
    our_seconds: float
    exported_seconds: float


def compare(program: Program, exported: Callable[..., Tensor]) -> Iterator[Comparison]:
    """Yield a comparison for each case and batch; `exported` runs the file.

    Differences are in the output's unit: values in [-1, 1], or grey levels for uint8. Each form
    runs once before it is timed; timed runs alternate.
    """
    for batch in BATCHES:
        for case, arguments in program.cases(batch).items():
            ours, theirs = program.ours(*arguments), exported(*arguments)
            if ours.shape != theirs.shape or ours.dtype != theirs.dtype:
                raise RuntimeError(
                    f"{case}: exported {theirs.dtype} {list(theirs.shape)}, ours {ours.dtype} "
                    f"{list(ours.shape)}"
                )
            difference = (ours.double() - theirs.double()).abs().max().item()
            seconds = [
                (_seconds(program.ours, arguments), _seconds(exported, arguments))
                for _ in range(RUNS)
            ]
            medians = (statistics.median(of) for of in zip(*seconds, strict=True))
            yield Comparison(case, batch, difference, *medians)


def _seconds(run: Callable[..., Tensor], arguments: tuple[Tensor, ...]) -> float:
    start = time.perf_counter()
    run(*arguments)
    return time.perf_counter() - start


def table(comparisons: Sequence[Comparison], varied: str, runner: str, unit: str) -> Table:
    """Return the comparisons with a row for each case and three columns for each batch size."""
    title = f"largest difference in {unit}; milliseconds of our network and of {runner}"
    shown = Table(box=None, title=title, title_justify="left", title_style="")
    shown.add_column(f"\n{varied}", no_wrap=True)
    for batch in BATCHES:
        for heading in (f"batch {batch}\ndifference", "\nours", "\nexported"):
            shown.add_column(heading, justify="right", no_wrap=True)
    for case in dict.fromkeys(row.case for row in comparisons):
        rows = [row for row in comparisons if row.case == case]
        shown.add_row(case, *(cell for row in rows for cell in _cells(row)))
    return shown


def _cells(row: Comparison) -> tuple[str, str, str]:
    milliseconds = (1e3 * row.our_seconds, 1e3 * row.exported_seconds)
    return f"{row.difference:.2g}", *(f"{value:.1f}" for value in milliseconds)
