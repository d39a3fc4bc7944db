"""One line on stderr with the progress of a long job: live on a terminal, else once a minute."""

import os
import sys
import time
from collections import deque
from collections.abc import Sequence

from rich.console import Console
from rich.file_proxy import FileProxy
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

REFRESHES_A_SECOND = 2
SPEED_OVER_SECONDS, SPEED_OVER_STEPS = 60, 8  # the longer of the two
PLAIN_WIDTH = 120  # where stderr is no terminal
LEAST_BAR, MOST_BAR, LEAST_LABEL = 8, 40, 10  # columns
HOUR, DAY = 3600, 86400


class LiveLine:
    """Shows how many of `total` are done, as a number and in percent, speed, time left and notes.

    On a terminal the line stays below everything else that is printed to stderr, and disappears
    when closed. Elsewhere, and while another line is live, it is printed at most every
    `seconds_between` seconds, or never if that is None. The speed is that of the last minute.
    shown: False in a process that prints nothing.
    """

    def __init__(
        self,
        total: int,
        *,
        done: int = 0,
        label: str = "",
        unit: str = "images",
        seconds_between: float | None = 60,
        shown: bool = True,
    ):
        self.total, self.done, self.unit = total, done, unit
        self.label = label if label.isprintable() else ascii(label)[1:-1]  # of a file's name
        self.notes: Sequence[str] = ()  # shown at the end of the line where there is room
        self.is_live = shown and stderr_is_terminal()
        self.seconds_between = seconds_between if shown else None
        self.printed_at_seconds = time.monotonic()
        self.counts = deque([(self.printed_at_seconds, done)])
        # Given explicitly, since with FORCE_COLOR rich would take every file for a terminal.
        self.console = Console(
            stderr=True,
            force_terminal=self.is_live,
            force_interactive=self.is_live,
            highlight=False,
            markup=False,
            emoji=False,
        )
        self.live = Live(
            self,
            console=self.console,
            refresh_per_second=REFRESHES_A_SECOND,
            transient=True,
            redirect_stdout=False,
        )
        if self.is_live:
            self.live.start()

    def __enter__(self) -> "LiveLine":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def advance(self, count: int) -> None:
        """Add to the number that is done."""
        self.update(self.done + count)

    def update(self, done: int) -> None:
        """Set the number that is done."""
        now, self.done = time.monotonic(), done
        self.counts.append((now, done))
        while len(self.counts) > SPEED_OVER_STEPS and now - self.counts[0][0] > SPEED_OVER_SECONDS:
            self.counts.popleft()
        if self.is_live or self.seconds_between is None:
            return
        if now - self.printed_at_seconds >= self.seconds_between:
            self.printed_at_seconds = now
            print(self.text(PLAIN_WIDTH), file=sys.stderr)

    def print(self, text: str, style: str = "") -> None:
        """Print a line of text to stderr, above the live line."""
        if self.is_live:
            self.console.print(Text(text, style))
        else:
            print(text, file=sys.stderr)

    def close(self) -> None:
        """Remove the line."""
        self.live.stop()

    def text(self, width: int) -> str:
        """Return the line in at most `width` columns: notes are left out first, then the label."""
        parts, notes = self._parts(), list(self.notes)
        while notes and len("  ".join([*parts, *notes])) > width:
            notes.pop()
        rest = "  ".join([*parts, *notes])
        room = width - len(rest) - 2
        label = self.label if len(self.label) <= room else f"{self.label[: max(room - 1, 0)]}…"
        if len(label) > LEAST_LABEL or label == self.label != "":
            return f"{label}  {rest}"
        return rest if room >= -2 else "  ".join(self._parts(short=True))[:width]

    def __rich__(self) -> Table | Text:
        width = self.console.width - len("^C")  # which would else wrap the line, and leave it
        line = self.text(width)
        bar = min(width - len(line) - 2, MOST_BAR)
        if bar < LEAST_BAR:
            return Text(line, no_wrap=True, overflow="crop")
        grid = Table.grid(padding=(0, 2, 0, 0))
        grid.add_row(
            ProgressBar(max(self.total, 1), self.done, width=bar), Text(line, no_wrap=True)
        )
        return grid

    def _parts(self, *, short: bool = False) -> list[str]:
        """Return the numbers of the line."""
        share = f"{100 * self.done / max(self.total, 1):.1f} %"
        parts = [f"{self.done:,}" if short else f"{self.done:,}/{self.total:,}", share]
        (since, before), (now, _) = self.counts[0], self.counts[-1]
        if self.done > before and now > since:
            speed = (self.done - before) / (now - since)
            left = duration((self.total - self.done) / speed)
            parts += [speed_text(speed) + ("/s" if short else f" {self.unit}/s"), f"{left} left"]
        return parts


def stderr_is_terminal() -> bool:
    """Return whether stderr is a terminal on which a line can be replaced and none is live."""
    if isinstance(sys.stderr, FileProxy) or not sys.stderr.isatty():
        return False
    return os.environ.get("TERM") not in ("dumb", "unknown")


def speed_text(a_second: float) -> str:
    """Return a speed with one decimal, or with two digits below 1."""
    return f"{a_second:.1f}" if a_second >= 1 else f"{a_second:.2g}"


def duration(seconds: float) -> str:
    """Return a duration as 2:05, 3:02:05 or 4 d 3 h."""
    seconds = max(round(seconds), 0)
    if seconds >= DAY:
        return f"{seconds // DAY} d {seconds % DAY // HOUR} h"
    minutes, rest = divmod(seconds, 60)
    if seconds >= HOUR:
        return f"{minutes // 60}:{minutes % 60:02}:{rest:02}"
    return f"{minutes}:{rest:02}"
