"""Check a folder of pictures before training on it: what is wrong, and how to train.

Takes every layout that a training takes (docs/data.md): two folders without pairs, pairs in two
folders or side by side, pictures, pictures in the folders of their classes, one picture a side.
The last line of stdout is one JSON object. Findings do not change the exit code.
"""

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from rich.console import Console
from rich.markup import escape
from rich.table import Table

import training
from commands import cli
from commands.inspection.advice import advise
from commands.inspection.page import page
from commands.inspection.result import (
    SEVERITIES,
    Result,
    as_json,
    cost_in_words,
    group_values,
    in_words,
)
from commands.inspection.timing import Refused, measure_cost
from commands.options import check_least
from commands.pages.rendering import write
from data import inspection
from errors import UserError

SHOWN_NAMES = 3
DOUBT_PAIRS = 100  # pairs that decide whether two folders of equal names are pairs


@dataclass(frozen=True)
class Options:
    """The options of this command."""

    dataroot: Path | None = None
    """Folder with the pictures, in any layout that a training takes."""
    source_dir: Path | None = None
    """Any folder of source pictures, instead of --dataroot; needs --target_dir."""
    target_dir: Path | None = None
    """Any folder of target pictures, instead of --dataroot; needs --source_dir."""
    layout: inspection.Wanted = "auto"
    """What the folder holds; auto: decided from the names of its folders; two folders of equal file
    names are pairs if the edges of partners match."""
    labels: str | None = None
    """Classes of pictures, as in train_gan.py: `folders`, or a JSON file of name -> class."""
    page: Path | None = None
    """Write a page with thumbnails to this file (.html)."""
    json: Path | None = None
    """Write the result to this file as well."""
    timing: bool = True
    """Run five steps of the advised training to measure what a run will cost."""
    timing_limit: float = 120.0
    """Seconds after which these steps are stopped."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """For these steps; auto: a GPU if there is one."""
    workers: int = 4
    """Worker processes for reading; 0 reads in the main process."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Inspect all files, and report findings and advice."""
    options = cli.parse(Options, arguments)
    check(options)
    result = inspect(options)
    report_findings(result)
    result = timed(result, options)
    report_advice(result)
    if options.page:
        write(options.page, "--page", page(result))
        print(f"\nPage: {inspection.printable(str(options.page))}")
    cli.report_json(as_json(result), options.json)


def check(options: Options) -> None:
    """Raise UserError for invalid options."""
    check_least(options, workers=0)
    if not options.timing_limit > 0:
        raise UserError(f"--timing_limit {options.timing_limit}: give seconds above 0")
    for name, path in (("page", options.page), ("json", options.json)):
        if path and (path.is_dir() or not path.absolute().parent.is_dir()):
            reason = "is a folder" if path.is_dir() else "its folder does not exist"
            raise UserError(f"--{name} {path}: {reason}; give another file")


def inspect(options: Options) -> Result:
    """Measure all pictures, collect the findings, and advise a training."""
    layout = inspection.find_layout(
        options.dataroot, options.source_dir, options.target_dir, options.labels, options.layout
    )
    with progress_bar() as progress:
        survey = inspection.survey(layout, options.workers, progress)
    if options.layout == "auto":
        survey = decided(survey, options.workers)
    layout = survey.layout
    findings = [
        *inspection.file_findings(survey),
        *inspection.duplicates(survey),
        *inspection.domain_findings(survey),
        *inspection.outlier_findings(survey),
        *inspection.label_findings(survey),
    ]
    if layout.pairs:
        fits = inspection.measure_fits(survey, layout.pairs, options.workers)
        findings += inspection.alignment_findings(survey, fits)
    device = training.choose_device(options.device, training.Processes()).type
    advice = advise(survey, places(options, layout), device)
    return Result(survey, inspection.by_severity(findings), advice, None)


def timed(result: Result, options: Options) -> Result:
    """Time the advised training; one that does not start is a finding, which is printed."""
    if not (options.timing and result.advice):
        return result
    print(
        f"timing five steps of the advised training, {options.timing_limit:g} seconds at most "
        "(--no-timing leaves this out)",
        file=sys.stderr,
    )
    cost = measure_cost(result.advice, options.device, options.workers, options.timing_limit)
    if not (isinstance(cost, Refused) and cost.by_training):
        return result._replace(cost=cost)
    words = f"training does not start: {cost.words}"
    refused = inspection.Finding("refused", inspection.STOPS, words)
    print_finding(refused, result.survey.layout.folder)
    return result._replace(cost=cost, findings=inspection.by_severity([*result.findings, refused]))


def decided(survey: inspection.Survey, workers: int) -> inspection.Survey:
    """Call two folders of equal names pairs if the edges of some partners match."""
    layout = survey.layout
    if layout.kind != "unpaired" or not layout.pairs:
        return survey
    few = layout.pairs[:: -(-len(layout.pairs) // DOUBT_PAIRS)]
    if inspection.measure_fits(survey, few, workers).belong_together:
        return survey._replace(layout=layout._replace(kind="pairs"))
    return survey._replace(layout=layout._replace(pairs=[]))


def places(options: Options, layout: inspection.Layout) -> dict[str, Path | str]:
    """Return the options of a training that name its pictures."""
    if options.dataroot is None:
        return {"source_dir": options.source_dir, "target_dir": options.target_dir}
    dataroot = options.dataroot
    if layout.kind in ("pictures", "classes") and layout.groups[0].name == "train":
        dataroot = dataroot / "train"
    if layout.kind != "classes":
        return {"dataroot": dataroot}
    return {"dataroot": dataroot, "labels": options.labels or "folders"}


@contextmanager
def progress_bar() -> Iterator[Callable[[int, int], None]]:
    """Show on stderr how many files are read."""
    with training.LiveLine(0, label="reading", unit="files") as line:

        def update(done: int, total: int) -> None:
            line.total = total
            line.update(done)

        yield update


def report_findings(result: Result) -> None:
    """Print what is there, and each finding."""
    print_groups(result)
    print(f"\n{inspection.plural(len(result.findings), 'finding')}")
    for finding in result.findings:
        print_finding(finding, result.survey.layout.folder)
    sys.stdout.flush()


def report_advice(result: Result) -> None:
    """Print the advised command, and what it will cost."""
    if result.advice:
        print("\nAdvice")
        for reason in result.advice.reasons:
            print(f"  {reason}")
        print(f"  {inspection.printable(result.advice.command())}")
        print(f"  {cost_in_words(result)}")


def print_groups(result: Result) -> None:
    """Print a table of what is there."""
    print(result.survey.layout.kind.replace("_", " "))
    columns = ("", "files", "unreadable", "px", "modes", "brightness", "saturation")
    table = Table(*columns, box=None)
    for at in range(len(result.survey.layout.groups)):
        values = group_values(result.survey, at)
        modes = ", ".join(f"{mode} {count:,}" for mode, count in values["mode"].items())
        levels = [
            f"{values[name]['mean']:.0f}" if name in values else ""
            for name in ("brightness", "saturation")
        ]
        row = [values["name"], f"{values['files']:,}", f"{values['unreadable']:,}"]
        table.add_row(*map(escape, [*row, values["sizes_px"], modes, *levels]))
    Console().print(table)


def print_finding(finding: inspection.Finding, folder: Path | None) -> None:
    """Print a finding with the names of some files."""
    print(f"  {SEVERITIES[finding.severity]:<5}  {in_words(finding.words)}")
    for group in finding.examples[:SHOWN_NAMES]:
        names = [inspection.shown_name(path, folder) for path in dict.fromkeys(group)]
        print(f"           {'  '.join(names)}")


if __name__ == "__main__":
    cli.run(main)
