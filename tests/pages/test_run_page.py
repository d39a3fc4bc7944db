"""The page of a run and its parts, without a browser; bad input."""

import json
import os
import re
import subprocess
import sys
from html.parser import HTMLParser

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

import report
import train_cut
import train_cyclegan
import train_features
import train_gan
import train_pix2pix
import training
from commands import cli
from commands.pages import curves, previews, words
from commands.pages.comparison import comparison, named_apart
from commands.pages.record import is_held, read_record
from commands.pages.run_page import RunPage, in_lines, measured
from commands.pages.saved import SavedPage
from errors import UserError
from tests.data.inspection.folders import scene
from tests.pages.runs import line, run_folder, write_lines
from tests.test_train_cut import train
from tests.training_runs import folders

CPU = torch.device("cpu")
HOLD = "import fcntl, sys; f = open(sys.argv[1], 'w'); fcntl.lockf(f, fcntl.LOCK_EX); print(1)"
HOLD += "; sys.stdout.flush(); sys.stdin.read()"
ODD = ["<script>alert(1)<", "\"quotes' & <b>", "line\nbreak", "x" * 200, os.fsdecode(b"\xff")]


class Page(HTMLParser):
    """Texts, scripts and the data of a page."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.texts, self.scripts = [], [], []
        self.feed(text)
        self.text = " ".join(" ".join(self.texts).split())
        self.data = json.loads(self.scripts[0])

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        assert not [name for name, _ in attrs if name.startswith("on")]

    def handle_data(self, data):
        scripted = self.tags and self.tags[-1] in ("script", "style")
        (self.scripts if scripted and self.tags[-1] == "script" else self.texts).append(data)

    def handle_endtag(self, tag):
        self.tags.append(f"/{tag}")


def page_of(run, **how):
    return Page(RunPage(run, CPU).text(**{"going_on": False, **how}))


def test_a_page_tells_what_was_trained_on_what(tmp_path):
    page = page_of(run_folder(tmp_path / "run", images=2000, columns=3))
    assert (
        "CUT learns to translate horses/trainA (939 pictures) into horses/trainB (1177" in page.text
    )
    assert "64 x 64 px, batches of 4, on the CPU, fp32" in page.text
    assert "Stopped at 2,000 images" in page.text and "2,000 of 4,000" in page.text
    assert "train_cut.py --run_dir" in page.text and "translate.py --checkpoint" in page.text
    assert "torch 2.15.0" in page.text
    grids = [sheet["grid"] for sheet in page.data["previews"]["sheets"]]
    assert all((one["rows"], one["columns"], one["cell_width"]) == (4, 3, 64) for one in grids)
    by_title = {chart["title"]: chart for chart in page.data["charts"]}
    assert by_title["FID"]["floors"] == [["between real pictures", 31.5]]
    assert by_title["nce"]["kind"] == "losses" and len(by_title["nce"]["curves"][0]["values"]) == 50
    assert page.data["walk"] is None


@pytest.mark.parametrize("name", ODD)
def test_texts_of_names_and_options_are_escaped(tmp_path, name):
    run = run_folder(
        tmp_path / name.replace("/", ""), previews=0, dataroot=f"/data/{name}/</script>"
    )
    page = page_of(run)
    report.main([str(run), "--device", "cpu"])
    assert {tag for tag in page.tags if tag in ("b", "iframe", "img")} == set()
    assert page.tags.count("script") == page.tags.count("/script") == 4
    assert " ".join(run.name.split()) in page.text


def test_the_page_of_an_encoder(tmp_path):
    images = {"dataroot": "/data/animals", "preset": "simclr"}
    run = run_folder(tmp_path / "run", "train_features.py", columns=3, measured=False, **images)
    config = json.loads((run / "config.json").read_text())
    config["data"] = {"images": "2048 images, names 9f8e", "classes": "none"}
    (run / "config.json").write_text(json.dumps(config))
    accuracies = [{"images": 9 * n, "knn_accuracy": n / 10, "n_bank": 7} for n in (3, 5, 4)]
    write_lines(run / "metrics.jsonl", accuracies)
    ((_, best),) = [(one["name"], one["best"]) for one in measured(read_record(run))]
    assert best == "0.5"
    Image.new("RGB", (40, 30)).save(run / "neighbours.png")
    (run / "embeddings.png").write_bytes(b"no picture")
    page = page_of(run)
    assert page.tags.count("img") == 1 and "embeddings.png cannot be read" in page.text
    assert "SimCLR learns features of the 2048 pictures in data/animals." in page.text
    assert f"evaluate.py --real FOLDER --fake FOLDER --features {run}" in page.text
    assert "translate.py" not in page.text
    assert page.data["previews"]["names"] == ["picture", "first view", "second view"]
    assert page.data["previews"]["sheets"][0]["grid"]["rows"] == 3


def test_a_run_before_its_first_line(tmp_path):
    run = run_folder(tmp_path / "run", previews=0, measured=False)
    (run / "log.jsonl").unlink()
    page = page_of(run, going_on=True)
    assert "Training has begun" in page.text and "No preview has been written yet" in page.text
    assert "No line of the log has been written yet" in page.text and page.data["charts"] == []


def test_a_run_that_was_saved_before_its_first_line(tmp_path):
    run = run_folder(tmp_path / "run", previews=0, measured=False)
    (run / "log.jsonl").unlink()
    (run / "checkpoints").mkdir()
    (run / "checkpoints" / "000000000096.pt").touch()
    page = page_of(run)
    assert "Stopped at 96 images" in page.text and "96 of 4,000" in page.text


def test_the_page_of_a_resumed_run_is_renewed_before_its_first_save(tmp_path, monkeypatch):
    dataroot, page = folders(tmp_path), tmp_path / "run" / "report.html"
    train(dataroot, tmp_path / "run", "cut", "--total_images", "2")
    page.write_text("of the earlier training")
    monkeypatch.setattr(training, "fit", lambda *_: None)
    train(dataroot, tmp_path / "run", "cut", "--total_images", "8")
    assert "2 of 8" in page.read_text() and "Training" in page.read_text()


def test_a_log_that_is_damaged_or_still_being_written(tmp_path):
    run = run_folder(tmp_path / "run", images=400, previews=1)
    log = run / "log.jsonl"
    text = log.read_text()
    log.write_text(text.replace("}\n", "\n", 1) + '{"images": 440, "nce": 1.')
    (run / "previews" / "000000999.png").write_bytes(b"no picture")
    record = read_record(run)
    assert (record.images, len(record.lines), record.damaged) == (400, 9, {"log.jsonl": 1})
    page = page_of(run)
    assert "1 line of log.jsonl cannot be read and is left out" in page.text
    assert "1 of the previews cannot be read" in page.text
    assert [sheet["images"] for sheet in page.data["previews"]["sheets"]] == [400]


def test_numbers_that_are_not_finite(tmp_path):
    run = run_folder(tmp_path / "run", previews=0)
    write_lines(
        run / "log.jsonl",
        [
            {**line(seen, False, None), "nce": value}
            for seen, value in ((1, None), (2, 1e999), (3, 2))
        ],
    )
    page = page_of(run)
    (chart,) = (one for one in page.data["charts"] if one["title"] == "nce")
    assert (
        chart["curves"][0]["values"] == [2] and "Not finite: nce had no finite value" in page.text
    )


def test_a_run_that_another_process_trains(tmp_path):
    run = run_folder(tmp_path / "run", images=2000, previews=0)
    assert not is_held(run)
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(run / ".lock")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    holder.stdout.readline()
    report.main([str(run), "--device", "cpu"])
    assert is_held(run)
    holder.communicate(b"")
    assert not is_held(run)
    text = (run / "report.html").read_text(encoding="utf-8")
    assert re.search(r"Training, about \d.* (seconds|minutes) left", text)


def test_a_warning_on_many_lines_is_told_once(tmp_path):
    won = "the discriminator has won: it classifies {} of the reals; try `r1`"
    at = [(400, won.format("99%")), (440, won.format("100%")), (800, won.format("99%"))]
    run = run_folder(tmp_path / "run", "train_gan.py", previews=0, warnings=at, measured=False)
    found = words.health(read_record(run))
    assert [one["when"][:22] for one in found] == [
        "At 400 to 440 images, ",
        "At 800 images, 66 seco",
    ]
    assert (
        found[0]["words"] == "The discriminator has won: it classifies 99% of the reals; try --r1."
    )


def test_each_direction_has_its_own_value_between_real_pictures(tmp_path):
    run = run_folder(tmp_path / "run", "train_cyclegan.py", previews=0, measured=False)
    a2b = {"fid_a2b": 90.0, "fid_of_real_halves_a2b": 30.0, "n_real_a2b": 9, "kid_std_a2b": 0.1}
    b2a = {"fid_b2a": 80.0, "fid_of_real_halves_b2a": 20.0, "ms_ssim": 0.4, "ms_ssim_real": 0.3}
    write_lines(run / "metrics.jsonl", [{"images": 4000, **a2b, **b2a}])
    rows = {one["name"]: one["floor"] for one in measured(read_record(run))}
    assert rows == {"fid_a2b": "30", "fid_b2a": "20", "ms_ssim": "0.3"}
    charts = [one for one in page_of(run).data["charts"] if one["kind"] == "measurements"]
    shown = {
        one["title"]: ([curve["name"] for curve in one["curves"]], one["floors"]) for one in charts
    }
    at = "between real pictures"
    assert shown == {
        "FID": (["FID a2b", "FID b2a"], [[at, 30.0], [at, 20.0]]),
        "ms ssim": (["ms ssim"], [[at, 0.3]]),
    }


def test_long_logs_become_means(tmp_path):
    values = list(range(2 * curves.MOST_POINTS))
    record = read_record(run_folder(tmp_path / "run", previews=0, measured=False))
    record = record._replace(lines=[{"images": value, "nce": value} for value in values])
    ((curve,),) = (chart.curves for chart in curves.charts([record]))
    assert curve.values[:2] == [0.5, 2.5] and len(curve.images) == curves.MOST_POINTS
    both = curves.charts([record] * 12)[0].curves
    assert len(both) == 12 and len(both[0].values) <= curves.POINTS_OF_ALL / 12 + 1


@given(st.integers(0, 500), st.integers(1, 20))
def test_thinned_previews_never_come_back(count, most):
    numbers = list(range(count))
    kept = previews.kept(numbers, most)
    assert len(kept) <= most + 1 and kept == sorted(set(kept)) and kept[-1:] == numbers[-1:]
    later = previews.kept([*numbers, count], most)
    assert set(later) - {count} <= set(kept)


def test_each_preview_is_encoded_once_and_the_newest_first(tmp_path, monkeypatch):
    run = run_folder(tmp_path / "run", previews=5, columns=2)
    encoded, read = [], previews.Sheets._read
    monkeypatch.setattr(
        previews.Sheets, "_read", lambda *each: encoded.append(each[1]) or read(*each)
    )
    sheets = previews.Sheets(previews.ROWS["train_cut.py"])
    found = read_record(run).previews
    assert [one.images for one in sheets.of(found, newly=2)] == [3200, 4000]
    assert [one.images for one in sheets.of(found)] == [800, 1600, 2400, 3200, 4000]
    assert encoded == [4000, 3200, 2400, 1600, 800]
    size = len(sheets.of(found)[0].file)
    assert [one.images for one in sheets.of(found, most_bytes=3 * size)] == [800, 4000]


def test_previews_of_noise_leave_the_page_under_its_15_mb(tmp_path):
    """Noise does not compress, so that only some of these previews have room."""
    run = run_folder(tmp_path / "run", previews=12, columns=1)
    noise = torch.rand(32, 3, 64, 64, generator=torch.Generator().manual_seed(0)) * 2 - 1
    for path in (run / "previews").iterdir():
        training.save_sheet(path, training.sheet(noise.split(8)))
    sheets = previews.Sheets(previews.ROWS["train_cut.py"])
    shown = sheets.of(read_record(run).previews, most_bytes=700_000)
    assert 2 <= len(shown) < 12 and sum(len(one.file) for one in shown) <= 700_000
    empty = run_folder(tmp_path / "empty", previews=0)
    as_text = 4 / 3 * previews.MOST_BYTES
    assert len(RunPage(empty, CPU).text(going_on=False)) + as_text < 15e6


def test_grids():
    noisy = Image.new("RGB", (2 + 3 * 42, 2 + 2 * 32), "white")
    for column in range(3):
        for row in range(2):
            noisy.paste(scene(column).resize((40, 30)), (2 + 42 * column, 2 + 32 * row))
    assert previews.find_grid(noisy, 2) == previews.Grid(2, 3, 2, 40, 30)
    assert previews.find_grid(noisy, 3) == previews.Grid(1, 1, 0, 128, 66)  # rows of another method


def test_only_the_failure_of_a_page_is_told(tmp_path, capsys, monkeypatch):
    run = run_folder(tmp_path / "run", images=400, previews=1, columns=2)
    saved = SavedPage(run, CPU)
    saved.write(going_on=True)
    first = saved.path.read_text()
    assert "Training, about" in first and capsys.readouterr().err == ""

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(training, "write_atomically", full)
    saved.write(going_on=True)
    told = capsys.readouterr().err
    assert told.count("\n") == 1 and "report.html: cannot be written ([Errno 28]" in told
    monkeypatch.undo()
    monkeypatch.setattr(words, "subject", lambda record: 1 / 0)
    saved.write(going_on=True)
    assert "ZeroDivisionError" in capsys.readouterr().err
    assert saved.path.read_text() == first
    monkeypatch.undo()
    with pytest.raises(UserError), saved.failure_reported(training.Processes()):
        raise UserError("`batch_size`: too large")
    text = saved.path.read_text()
    assert "Ended at 400 images" in text and "--batch_size: too large." in text


@pytest.mark.parametrize(
    ("script", "arguments"),
    [
        (train_cut, ["--preset", "fastcut", "--no-flip_equivariance", "--nce_layers", "0", "4"]),
        (train_cyclegan, ["--preset", "dclgan", "--source_dir", "/a b", "--target_dir", "/c"]),
        (train_pix2pix, ["--direction", "b2a", "--source_classes", "11"]),
        (train_gan, ["--preset", "progressive_paper", "--batch_size_at", "64", "8", "128", "4"]),
    ],
)
def test_arguments_that_give_the_same_options(script, arguments):
    options = cli.parse(script.Options, ["--run_dir", "/run", *arguments], script.PRESETS)
    found = cli.arguments_of(options, script.PRESETS)
    assert cli.parse(script.Options, found, script.PRESETS) == options
    assert len(found) <= 2 + len(arguments)


def test_every_preset_has_a_name():
    presets = {
        name
        for script in (train_cut, train_cyclegan, train_pix2pix, train_gan, train_features)
        for name in script.PRESETS
    }
    assert set(words.METHODS) == presets


def test_a_long_command_can_be_pasted():
    command = [
        "python",
        "train_cut.py",
        *("--dataroot", "/a b/" + "c" * 60),
        "--nce_layers",
        "0",
        "4",
    ]
    shown = in_lines([*command, "--crop_size", "64"])
    assert shown.splitlines() == [
        f"python train_cut.py --dataroot '/a b/{'c' * 60}' \\",
        "  --nce_layers 0 4 --crop_size 64",
    ]


def test_mistakes(tmp_path, fails):
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").touch()
    run = run_folder(tmp_path / "run", previews=0)
    assert "holds no run (no config.json)" in fails(report, [tmp_path / "empty"])
    assert "none of 2 folders holds a run" in fails(report, [tmp_path / "empty", tmp_path / "file"])
    assert "no such folder" in fails(report, ["--run_dir", tmp_path / "absent"])
    assert "is missing" in fails(report, [])
    assert "end it with .html" in fails(report, [run, "--output", "page.txt"])
    assert "cannot be written" in fails(report, [run, "--output", tmp_path / "file" / "x.html"])
    (run / "config.json").write_text('{"command": "train_cut.py"}')
    assert "config.json is damaged" in fails(report, [run])


def test_damaged_files_of_compared_runs_are_left_out_and_named(tmp_path):
    runs = [run_folder(tmp_path / name, previews=1) for name in ("one", "two")]
    next((runs[0] / "previews").iterdir()).write_bytes(b"no picture")
    with open(runs[0] / "log.jsonl", "a") as log:
        log.write("damaged\n")
    page = Page(comparison(runs))
    (group,) = page.data["groups"]
    assert [run["name"] for run in group["runs"]] == ["two"]
    assert "1 line of log.jsonl cannot be read" in page.text
    assert "1 of the previews cannot be read" in page.text


def test_what_is_no_run_is_named_and_left_out(tmp_path, capsys):
    places = ("first/a", "second/a", "second/b", "damaged")
    runs = [run_folder(tmp_path / place / "run", previews=0) for place in places]
    (runs[-1] / "config.json").write_text("{")
    (tmp_path / "comparison.html").touch()
    report.main([*map(str, runs), str(tmp_path / "comparison.html")])
    told = capsys.readouterr().err
    assert f"left out: --run_dir {tmp_path}/comparison.html: is a file" in told
    assert f"left out: --run_dir {runs[-1]}: its config.json is damaged" in told
    text = (tmp_path / "comparison.html").read_text()
    assert "first/a/run" in text and "second/a/run" in text and "None of the runs has" in text
    assert [one.name for one in named_apart([read_record(run) for run in runs[:3]])] == [
        "first/a/run",
        "second/a/run",
        "b/run",
    ]
