"""A terminal of any size in place of stderr, and what a person would see on it."""

import fcntl
import os
import pty
import re
import struct
import sys
import termios
import threading
from collections.abc import Iterator
from contextlib import contextmanager

CODES = re.compile(r"\x1b\[([0-9;?]*)([A-Za-z])|([^\x1b])", re.DOTALL)


class Terminal:
    """Collects what was written to a terminal of `columns` columns and `rows` rows."""

    def __init__(self, columns: int, rows: int):
        self.columns, self.written = columns, ""
        self.master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        self.file = os.fdopen(slave, "w", buffering=1)
        self.reader = threading.Thread(target=self._read)
        self.reader.start()

    def _read(self) -> None:
        data = b""
        while True:
            try:
                data += os.read(self.master, 4096)
            except OSError:  # the other end was closed
                break
        self.written = data.decode()

    def close(self) -> None:
        """End the terminal; `written` is complete."""
        self.file.close()
        self.reader.join()
        os.close(self.master)

    @property
    def lines(self) -> list[str]:
        """What stands on the terminal, scrolled lines included, without those that were erased."""
        lines, row, column = [""], 0, 0
        for numbers, command, character in CODES.findall(self.written):
            if command == "A":
                row -= int(numbers or 1)
            elif command == "K":
                lines[row] = ""
            elif character == "\n":
                row += 1
                lines += [""] * (row == len(lines))
            elif character == "\r":
                column = 0
            elif character:
                assert column < self.columns, lines[row]
                lines[row] = f"{lines[row][:column]:<{column}}{character}"
                column += 1
        return lines


@contextmanager
def terminal(monkeypatch, columns: int, rows: int = 24) -> Iterator[Terminal]:
    """Make stderr a terminal for the length of the block."""
    for name in ("NO_COLOR", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)
    of_this = {"TERM": "xterm-256color", "COLUMNS": str(columns), "LINES": str(rows)}
    for name, value in of_this.items():  # rich asks the real stderr for its size, or these
        monkeypatch.setenv(name, value)
    found = Terminal(columns, rows)
    with monkeypatch.context() as patched:
        patched.setattr(sys, "stderr", found.file)
        try:
            yield found
        finally:
            found.close()
