"""Write the page of a run, or a page that compares several.

A run writes its own page, report.html in its folder, at every save. This command writes it again,
also while the run is training, and for runs of older versions, which have none. Given several runs,
it writes one page that compares them: the options that differ, measurements, curves in the same
charts, and the same pictures below one another.
"""

import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

import training
from commands import cli
from commands.pages.comparison import comparison
from commands.pages.record import check_run, is_held
from commands.pages.rendering import write
from commands.pages.run_page import FILE, RunPage
from errors import UserError


@dataclass(frozen=True)
class Options:
    """Every option of this command."""

    runs: Annotated[tuple[Path, ...], tyro.conf.Positional] = ()
    """Run folders. Given several, those that hold no run are named on stderr and left out."""
    run_dir: tuple[Path, ...] = ()
    """Run folders, as an option."""
    output: Path | None = None
    """File to write (.html); by default report.html in the run's folder, or for several runs
    comparison.html in the folder that holds them all."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where a GAN's walk between latents is generated; auto: a GPU if there is one."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Write one page."""
    options = cli.parse(Options, arguments)
    folders = list(dict.fromkeys((*options.runs, *options.run_dir)))
    if not folders:
        raise UserError("--run_dir is missing; give the folder of a run, or several")
    if options.output and options.output.suffix.lower() not in (".html", ".htm"):
        raise UserError(f"--output {options.output}: end it with .html")
    device = training.choose_device(options.device, training.Processes())
    if len(folders) > 1:
        folders = only_runs(folders)
    if len(folders) == 1:
        output = options.output or folders[0] / FILE
        text = RunPage(folders[0], device).text(going_on=is_held(folders[0]))
    else:
        output = options.output or default_output(folders)
        text = comparison(folders)
    write(output, "--output", text)
    print(f"page written to {output}", file=sys.stderr)


def only_runs(folders: Sequence[Path]) -> list[Path]:
    """Return those that hold a run, and name the others on stderr; UserError if there is none."""
    runs, refused = [], []
    for folder in folders:
        try:
            check_run(folder)
            runs.append(folder)
        except UserError as error:
            refused.append(str(error))
    if not runs:
        raise UserError(f"none of {len(folders)} folders holds a run; the first: {refused[0]}")
    for reason in refused:
        print(f"left out: {reason}", file=sys.stderr)
    return runs


def default_output(folders: Sequence[Path]) -> Path:
    """Return the file for a comparison: beside the runs."""
    return Path(os.path.commonpath([folder.absolute().parent for folder in folders])) / (
        "comparison.html"
    )


if __name__ == "__main__":
    cli.run(main)
