"""A run's log as a table on stderr, above the live line; plain lines where it is no terminal."""

from collections.abc import Mapping, Sequence

from training.live_line import PLAIN_WIDTH, LiveLine, speed_text

PLAIN_ROWS = 100  # from one header to the next where stderr is no terminal
LEAST_ROWS = 10
LEAST_COLUMN = 9  # as wide as -1.23e-04
EVENT = 8  # as wide as "measured"


class RunTable:
    """Rows of losses and lines of events of one run, and the live line below them.

    shown: names of the values that come first, and in the live line; by default the first two. All
    values that fit the width have a column; the others are in log.jsonl only.
    """

    def __init__(self, images_seen: int, total_images: int, shown: Sequence[str] = ()):
        self.line = LiveLine(total_images, done=images_seen, seconds_between=None)
        self.shown = tuple(shown)
        self.images_width = max(len("images"), len(str(total_images)))
        self.columns: list[str] = []
        self.rows_to_header = 0

    def row(self, images_seen: int, values: Mapping[str, float], speed: float) -> None:
        """Print a row, below a header if the last one has scrolled away or no longer fits."""
        columns = self._columns(values)
        if columns != self.columns or not self.rows_to_header:
            self._header(columns)
        self.rows_to_header -= 1
        cells = [f"{number(values[name]):>{column_width(name)}}" for name in columns]
        self.line.print(
            "  ".join([f"{images_seen:>{self.images_width}}", f"{speed_text(speed):>8}", *cells])
        )
        self.line.notes = [f"{name} {number(values[name])}" for name in self._first(values)]

    def event(self, images_seen: int, what: str, text: str, style: str = "dim") -> None:
        """Print a line about something other than losses: a word of `what`, then the text."""
        self.line.print(f"{images_seen:>{self.images_width}}  {what:<{EVENT}}  {text}", style)

    def _header(self, columns: list[str]) -> None:
        self.columns, self.rows_to_header = columns, PLAIN_ROWS
        if self.line.is_live:
            self.rows_to_header = max(self.line.console.height - 4, LEAST_ROWS)
        names = [f"{name:>{column_width(name)}}" for name in columns]
        self.line.print("  ".join([f"{'images':>{self.images_width}}", "images/s", *names]), "bold")

    def _columns(self, values: Mapping[str, float]) -> list[str]:
        """Return the values that have a column, in order."""
        width = self.line.console.width if self.line.is_live else PLAIN_WIDTH
        left = width - self.images_width - len("  images/s")
        columns = []
        for name in dict.fromkeys([*self._first(values), *values]):
            if 2 + column_width(name) <= left:
                columns.append(name)
                left -= 2 + column_width(name)
        return columns

    def _first(self, values: Mapping[str, float]) -> list[str]:
        return [name for name in self.shown if name in values] or list(values)[:2]


def column_width(name: str) -> int:
    """Return the width of a value's column."""
    return max(len(name), LEAST_COLUMN)


def number(value: float) -> str:
    """Return a value with three decimals, or as 1.23e-04 where these would not show it."""
    return f"{value:.3f}" if value == 0 or 1e-2 <= abs(value) < 1e4 else f"{value:.2e}"
