"""A page that compares several runs: options, measurements, curves, the same pictures."""

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from commands.pages import curves, previews, run_page, words
from commands.pages.record import Record, is_held, numbers, read_record
from commands.pages.rendering import plotting_library, render

MOST_SHEETS = 12  # of a run
MANY_RUNS = 8  # more are shown in smaller pictures
_OWN = ("run_dir", "total_images")  # options that are shown otherwise


def comparison(folders: Sequence[Path], option: str = "--run_dir") -> str:
    """Return the page; raises UserError for a folder that holds no run."""
    records = named_apart([read_record(folder, option) for folder in folders])
    alike, differing, single = options_of(records)
    side_px = previews.SIDE_PX if len(records) <= MANY_RUNS else previews.SIDE_PX // 2
    sheets = [previews.Sheets(previews.rows_of(one.command), side_px) for one in records]
    groups = picture_groups(records, sheets)
    now = datetime.now().astimezone()
    return render(
        "comparison.html",
        names=[record.name for record in records],
        subjects=[words.subject(record) for record in records],
        states=[run_page.state_of(one, is_held(one.folder)) for one in records],
        images=[f"{one.images:,} of {one.total_images:,}" for one in records],
        times=[dict(run_page.facts(one)).get("training time", "") for one in records],
        differing=differing,
        single=single,
        alike=alike,
        measurements=measurements_of(records),
        health=[
            (one.name, words.health(one), words.notes(one, len(of_one.unreadable)))
            for one, of_one in zip(records, sheets, strict=True)
        ],
        written_in_words=f"{now:%d %B %Y, %H:%M}",
        library=plotting_library(),
        data={
            "groups": groups,
            "charts": run_page.charts_data(curves.charts(records)),
        },
    )


def named_apart(records: Sequence[Record]) -> list[Record]:
    """Return the records; equal names get as many parent folders before them as they need."""
    paths = [record.folder.absolute().parts for record in records]
    depths = [1] * len(paths)
    while True:
        names = ["/".join(path[-depth:]) for path, depth in zip(paths, depths, strict=True)]
        alike = [
            place
            for place, name in enumerate(names)
            if names.count(name) > 1 and depths[place] < len(paths[place])
        ]
        if not alike:
            return [one._replace(name=name) for one, name in zip(records, names, strict=True)]
        for place in alike:
            depths[place] += 1


def options_of(records: Sequence[Record]) -> tuple[int, list, list]:
    """Return how many options are alike, the rows of those that differ, and of those that only
    some runs have."""
    names = sorted(set().union(*(record.options for record in records)) - set(_OWN))
    alike, differing, single = 0, [], []
    for name in names:
        values = [record.options.get(name, "") for record in records]
        row = (name, [_shown(value) for value in values])
        if any(name not in record.options for record in records):
            single.append(row)
        elif all(value == values[0] for value in values):
            alike += 1
        else:
            differing.append(row)
    commands = [record.command for record in records]
    if len(set(commands)) > 1:
        differing.insert(0, ("command", commands))
    return alike, differing, single


def measurements_of(records: Sequence[Record]) -> list[dict[str, object]]:
    """Return a row for each measured number: last, best and floor in each run."""
    by_run = [{one["name"]: one for one in run_page.measured(record)} for record in records]
    rows = []
    for name in dict.fromkeys(name for measured in by_run for name in measured):
        of_runs = [measured.get(name) for measured in by_run]
        found = [
            (
                place,
                run_page.best_line(
                    name, [line for line in record.measured if name in numbers(line)]
                ),
            )
            for place, record in enumerate(records)
            if of_runs[place]
        ]
        best = run_page.best_line(name, [line for _, line in found])
        leaders = [place for place, line in found if line[name] == best[name]]
        rows.append({"name": name, "runs": of_runs, "leaders": leaders})
    return rows


def picture_groups(
    records: Sequence[Record], sheets: Sequence[previews.Sheets]
) -> list[dict[str, object]]:
    """Return the runs whose previews show the same pictures together, with their sheets."""
    groups: dict[object, dict] = {}
    for place, (record, of_record) in enumerate(zip(records, sheets, strict=True)):
        most_bytes = previews.MOST_BYTES // len(records)
        shown = of_record.of(record.previews, most=MOST_SHEETS, most_bytes=most_bytes)
        if shown:
            new = {"title": words.pictures_title(record), "runs": []}
            group = groups.setdefault(_pictures_key(record), new)
            of_run = run_page.sheets_data(shown, of_record.rows)
            group["runs"].append({"name": record.name, "colour": place % 8, **of_run})
    return list(groups.values())


def _pictures_key(record: Record) -> tuple:
    """Return what is equal where two previews show the same pictures of the same size."""
    options = record.options
    names = ("dataroot", "source_dir", "target_dir", "preprocess", "load_size", "crop_size")
    return (
        record.command == "train_gan.py",
        record.command == "train_pix2pix.py" and str(options.get("direction")),
        tuple(sorted(record.data.items())),
        tuple(str(options.get(name)) for name in names),
    )


def _shown(value: object) -> str:
    return "" if value is None else str(value)
