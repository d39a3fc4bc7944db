"""The page of a run: what was trained on what, pictures, curves, health, commands."""

import shlex
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

import torch
from PIL import Image

import metrics
from commands import cli
from commands.pages import curves, pictures, previews, words
from commands.pages.record import Record, numbers, read_record, seconds_of
from commands.pages.rendering import plotting_library, render
from commands.pages.walk import FRAMES, KEYS, Walk, walk
from errors import UserError

FILE = "report.html"
FIGURES = {
    "neighbours.png": "Pictures, and the nearest training pictures of each",
    "embeddings.png": "The first two principal components of the features, coloured by folder",
}
SHEETS_AT_ONCE = 3  # new previews that a training waits for
LINE, MARGIN = 100, 30  # characters of a command's line, and of what may be its last option
IMAGES_A_FRAME = 50  # trained on before a save draws another walk: less than 1 % of the time


class State(NamedTuple):
    """Whether a run goes on."""

    kind: str  # training, finished, stopped or failed
    words: str


class RunPage:
    """The page of one run; its pictures are kept, so that each is made only once."""

    def __init__(self, folder: Path, device: torch.device, option: str = "--run_dir"):
        self.folder, self.device, self.option = folder, device, option
        self._sheets: previews.Sheets | None = None
        self._walk: Walk | None = None
        self._walk_at = 0
        self._walk_refused = ""

    def text(self, going_on: bool, failure: str = "", at_once: bool = False) -> str:
        """Return the page.

        going_on: a process trains in the folder now. failure: why the run ended. at_once: a
        training waits for the page. Then, unless it has reached its end, only a few of the newest
        previews are encoded, more of them at the next call, and a walk is drawn only if that costs
        little compared with the training since the last one.

        Raises UserError for a folder that holds no run.
        """
        record = read_record(self.folder, self.option)
        if self._sheets is None:
            self._sheets = previews.Sheets(previews.rows_of(record.command))
        at_once = at_once and record.images < record.total_images
        sheets = self._sheets.of(record.previews, newly=SHEETS_AT_ONCE if at_once else None)
        if not at_once or record.images - self._walk_at >= IMAGES_A_FRAME * FRAMES:
            self._draw_walk(record)
        measurements = measured(record)
        now = datetime.now().astimezone()
        state = state_of(record, going_on, failure)
        return render(
            "run.html",
            name=record.name,
            subject=words.subject(record),
            settings=words.settings(record),
            state=state,
            renewed=seconds_to_next_save(record) if state.kind == "training" else None,
            written=now.isoformat(timespec="seconds"),
            written_in_words=f"{now:%d %B %Y, %H:%M}",
            percent=_percent(record),
            facts=facts(record),
            health=words.health(record),
            failure=words.sentence(cli.named_as_options(failure)) if failure else "",
            notes=self._notes(record),
            measurements=measurements,
            has_floors=any(one["floor"] for one in measurements),
            commands=commands(record),
            options=sorted(record.options.items()),
            versions=record.versions,
            figures=figures(self.folder),
            walk_images=f"{self._walk.images:,}" if self._walk else "",
            walk_keys=KEYS,
            library=plotting_library(),
            data={
                "previews": sheets_data(sheets, self._sheets.rows) if sheets else None,
                "walk": walk_data(self._walk) if self._walk else None,
                "charts": charts_data(curves.charts([record])),
            },
        )

    def _draw_walk(self, record: Record) -> None:
        generator = self.folder / "generator.safetensors"
        is_new = record.images > self._walk_at or self._walk is None
        if record.command != "train_gan.py" or not generator.exists() or not is_new:
            return
        try:
            self._walk = walk(generator, self.device)
            self._walk_at, self._walk_refused = record.images, ""
        except (UserError, ValueError) as error:
            self._walk_refused = f"No walk between latents: {error}."

    def _notes(self, record: Record) -> list[str]:
        found = words.notes(record, len(self._sheets.unreadable))
        return [*found, self._walk_refused] if self._walk_refused else found


def state_of(record: Record, going_on: bool, failure: str = "") -> State:
    """Return in words whether the run goes on."""
    if failure:
        return State("failed", f"Ended at {record.images:,} images")
    if record.images >= record.total_images > 0:
        return State("finished", "Finished")
    if going_on:
        speed = words.speed(record)
        if not speed:
            return State("training", "Training has begun")
        left = words.duration((record.total_images - record.images) / speed)
        return State("training", f"Training, about {left} left")
    return State("stopped", f"Stopped at {record.images:,} images")


def seconds_to_next_save(record: Record) -> int | None:
    """Return after how many seconds a run that trains writes its page again, None if unknown."""
    speed, images = words.speed(record), record.options.get("save_every")
    return max(1, round(images / speed)) if speed and images else None


def facts(record: Record) -> list[tuple[str, str]]:
    """Return titles and values of the numbers at the top of the page."""
    found = [("images seen", f"{record.images:,} of {record.total_images:,}")]
    seconds = seconds_of(record.lines)
    if seconds:
        found.append(("training time", words.duration(seconds[-1])))
    speed = words.speed(record)
    if speed:
        found.append(("speed", f"{speed:.3g} images/s"))
    memory = numbers(record.lines[-1]).get("peak_memory_gb") if record.lines else None
    if memory is not None:
        found.append(("peak memory", f"{memory:.1f} GB"))
    for one in measured(record)[:1]:
        found.append((f"best {one['name']}", one["best"]))
    return found


def measured(record: Record) -> list[dict[str, str]]:
    """Return each measurement's last and best value, and its value between real pictures."""
    found = []
    for name in curves.measured_names(record):
        lines = [line for line in record.measured if name in numbers(line)]
        best = best_line(name, lines)
        floor = curves.floor_of(name, lines[-1])
        found.append(
            {
                "name": name,
                "last": f"{lines[-1][name]:.4g}",
                "best": f"{best[name]:.4g}",
                "at": f"{best['images']:,}",
                "floor": "" if floor is None else f"{floor:.4g}",
            }
        )
    return found


def figures(folder: Path) -> list[tuple[str, str]]:
    """Return the pictures that an encoder's measurement draws: title, and address or ""."""
    found = []
    for title, path in ((title, folder / file) for file, title in FIGURES.items()):
        if not path.exists():
            continue
        try:
            with Image.open(path) as image:
                shown = pictures.fitted(image.convert("RGB"), previews.SIDE_PX)
            found.append((title, pictures.address(pictures.encoded(shown))))
        except OSError:
            found.append((f"{title}: {path.name} cannot be read", ""))
    return found


def best_line(name: str, lines: list[dict]) -> dict:
    """Return the line with the best value of a number."""
    plain = name.removesuffix("_a2b").removesuffix("_b2a")
    best = lines[0]
    for line in lines[1:]:
        if plain.endswith("accuracy"):  # of an encoder
            is_better = line[name] > best[name]
        else:
            is_better = metrics.is_better(plain, line[name], best[name])
        if is_better:
            best = line
    return best


def commands(record: Record) -> list[tuple[str, str]]:
    """Return what to do with the run, and the command for it."""
    folder = str(record.folder.absolute())
    found = []
    if record.given is not None:
        goes_on = record.images < record.total_images
        title = "Resume where it stopped" if goes_on else "The command of this run"
        found.append((title, in_lines(["python", record.command, *record.given])))
    if record.command == "train_gan.py":
        wanted = ["--output", "samples", "--num", "64", "--grid", "sheet.png", "--gallery"]
        use = ["python", "generate.py", "--checkpoint", folder, *wanted]
        found.append(("Make pictures, a sheet and a gallery", shlex.join(use)))
    elif record.command == "train_features.py":
        use = ["python", "evaluate.py", "--real", "FOLDER", "--fake", "FOLDER"]
        found.append(
            ("Compare two folders by these features", shlex.join([*use, "--features", folder]))
        )
    else:
        direction = ["--direction", "a2b"] if record.command == "train_cyclegan.py" else []
        wanted = ["--input", "FOLDER", "--output", "translated", "--gallery"]
        use = ["python", "translate.py", "--checkpoint", folder, *direction, *wanted]
        found.append(("Translate a folder, with a gallery", shlex.join(use)))
    found.append(
        ("Write this page again", shlex.join(["python", "report.py", "--run_dir", folder]))
    )
    return found


def sheets_data(sheets: list[previews.Sheet], rows: previews.Rows) -> dict[str, object]:
    """Return what `showSheets` of pictures.js shows."""
    from_noise = "first row: real pictures; below: generated, each time from the same latents"
    return {
        "names": rows.names,
        "pairs": [pair._asdict() for pair in rows.pairs],
        "caption": "" if rows.names else from_noise,
        "sheets": [
            {
                "images": sheet.images,
                "source": pictures.address(sheet.file),
                "grid": sheet.grid._asdict(),
            }
            for sheet in sheets
        ],
    }


def walk_data(found: Walk) -> dict[str, object]:
    """Return what `showWalk` of pictures.js shows."""
    return {**found._asdict(), "sheets": [pictures.address(file) for file in found.sheets]}


def charts_data(charts: list[curves.Chart]) -> list[dict[str, object]]:
    """Return what `showCharts` of curves.js draws."""
    return [
        {
            **chart._asdict(),
            "place": place,
            "curves": [curve._asdict() for curve in chart.curves],
            "show_legend": len(chart.curves) > 1,
        }
        for place, chart in enumerate(charts)
    ]


def _percent(record: Record) -> int:
    return min(100, round(100 * record.images / max(1, record.total_images)))


def in_lines(arguments: list[str]) -> str:
    """Return a command to be pasted into a shell, with no more options on a line than fit."""
    lines: list[str] = []
    for word in map(shlex.quote, arguments):
        if not lines or (word.startswith("--") and len(lines[-1]) > LINE - MARGIN):
            lines.append(word)
        else:
            lines[-1] += f" {word}"
    return " \\\n  ".join(lines)
