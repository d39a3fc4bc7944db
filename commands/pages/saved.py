"""The page that a training writes at every save; a failure to write it never ends the run."""

import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import torch

import training
from commands.pages.rendering import save
from commands.pages.run_page import FILE, RunPage
from errors import PairlessError, UserError


class SavedPage:
    """Writes report.html in the folder of a run; used by the writing process only."""

    def __init__(self, folder: Path, device: torch.device):
        self.path = folder / FILE
        self._page = RunPage(folder, device)

    def write(self, going_on: bool, failure: str = "") -> None:
        """Write the page, atomically.

        If that fails, a line on stderr says so (for a bug, its traceback), the page of the previous
        save stays, and the run goes on: report.py can write the page later from the other files.
        """
        try:
            text = self._page.text(going_on, failure, at_once=True)
            training.write_atomically(self.path, partial(save, text))
        except (OSError, UserError) as error:
            print(f"{self.path}: cannot be written ({error}); training goes on", file=sys.stderr)
        except Exception:  # noqa: BLE001  (reported in full; a bug of a page is no reason to end a run)
            traceback.print_exc()
            print(f"{self.path}: not written; training goes on", file=sys.stderr)

    @contextmanager
    def failure_reported(self, processes: training.Processes) -> Iterator[None]:
        """Write on the page why a run ended, if it could not continue."""
        try:
            yield
        except PairlessError as error:
            if processes.writes and error.prefix:  # without it the run was asked to stop
                self.write(going_on=False, failure=str(error))
            raise
