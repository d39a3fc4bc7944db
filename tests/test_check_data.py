"""check_data.py: the real command on each layout, its page, its JSON, and bad input."""

import io
import json
import os
import signal
import subprocess
from html.parser import HTMLParser
from types import SimpleNamespace

import pytest
from PIL import Image

import check_data
import train_cut
from commands.inspection import advice, timing
from commands.inspection.result import Result, cost_in_words
from commands.pages.words import duration
from data import inspection
from errors import UserError
from tests.data.inspection.folders import clean, inspected, label_map, painted, pairs, scene

WITHOUT_STEPS = ["--no-timing", "--workers", "0"]
ODD_NAMES = [
    "<script>alert(1)</script>.png".replace("/", "\u2215"),
    "\"quotes' & <b>.png",
    "line\nbreak.png",
    "x" * 200 + ".png",
    os.fsdecode(b"bytes\xff.png"),
]


def run(capsys, folder, *more):
    check_data.main(["--dataroot", str(folder), *WITHOUT_STEPS, *map(str, more)])
    out = capsys.readouterr().out
    return SimpleNamespace(out=out, **json.loads(out.splitlines()[-1]))


class Page(HTMLParser):
    """Tags, texts and image sources of a page."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.sources, self.texts = [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.sources += [value for name, value in attrs if name in ("src", "href")]

    def handle_data(self, data):
        self.texts.append(data)


def test_a_clean_folder(tmp_path, capsys):
    found = run(capsys, clean(tmp_path), "--json", tmp_path / "found.json")
    assert found.layout == "unpaired" and found.findings == []
    assert [group["files"] for group in found.groups] == [120, 120, 24, 24]
    assert found.groups[0]["mode"] == {"RGB": 120}
    assert 120 < found.groups[0]["brightness"]["mean"] < 136
    assert "0 findings" in found.out
    assert json.loads((tmp_path / "found.json").read_text())["groups"] == found.groups


def test_a_page_with_thumbnails_of_files_with_odd_names(tmp_path, capsys):
    folder = clean(tmp_path / "data")
    for number, name in enumerate(ODD_NAMES):
        for phase in ("train", "test"):
            scene(5000 + number).save(folder / f"{phase}A" / name)
    whole = io.BytesIO()
    scene(1, 200).save(whole, "JPEG")
    (folder / "trainA" / "<img src=x onerror=alert(2)>.jpg").write_bytes(whole.getvalue()[:900])
    found = run(capsys, folder, "--page", tmp_path / "page.html")
    copies = [one for one in found.findings if one["kind"] == "duplicates_between_train_and_test"]
    assert copies[0]["count"] == len(ODD_NAMES) and copies[0]["severity"] == "stops"
    shown = {name for group in copies[0]["examples"] for name in group}
    assert "testA/line\\nbreak.png" in shown and all(name.isprintable() for name in shown)
    text = (tmp_path / "page.html").read_text(encoding="utf-8")
    page = Page(text)
    assert not {"script", "b", "link", "iframe"} & set(page.tags)
    assert all(source.startswith("data:image/jpeg;base64,") for source in page.sources)
    assert len(page.sources) == page.tags.count("img") > 2 * len(ODD_NAMES)
    shown = " ".join(page.texts)
    assert "trainA/<script>alert(1)<\u2215script>.png" in shown
    assert "\"quotes' & <b>.png" in shown
    assert "<img src=x onerror=alert(2)>.jpg" in shown and "image file is truncated" in shown


def test_names_as_pairs_are_pairs_where_edges_fit(tmp_path, capsys):
    folder = pairs(tmp_path / "pairs", count=60)
    found = run(capsys, folder, "--page", tmp_path / "page.html")
    assert found.layout == "pairs"
    assert [one["kind"] for one in found.findings] == ["no_test"]
    assert [one["value"] for one in found.groups[0]["labels"]] == [0, 1, 2, 3]
    command = found.advice["command"]
    assert "train_pix2pix.py" in command and "--source_classes 4" in command
    assert "Label values of trainA" in (tmp_path / "page.html").read_text()


def test_names_as_pairs_are_unpaired_where_edges_do_not_fit(tmp_path, capsys):
    folder = clean(tmp_path)
    for path in [*(folder / "trainB").iterdir(), *(folder / "testB").iterdir()]:
        path.rename(path.with_name(path.name.replace("B", "A")))
    assert run(capsys, folder).layout == "unpaired"


def drawn(folder, count, size=48, first=0):
    folder.mkdir(parents=True)
    for number in range(count):
        scene(first + number, size).save(folder / f"{number}.png")
    return folder


def test_advice_for_each_layout(tmp_path, capsys):
    drawn(tmp_path / "one" / "trainA", 1)
    drawn(tmp_path / "one" / "trainB", 1, first=9)
    assert "--preset sincut" in run(capsys, tmp_path / "one").advice["command"]

    command = run(capsys, drawn(tmp_path / "pictures", 60), "--device", "cpu").advice["command"]
    assert "train_gan.py" in command and "--crop_size 32" in command and "r3gan_tiny" in command

    drawn(tmp_path / "classes" / "train" / "cat", 30)
    drawn(tmp_path / "classes" / "train" / "dog", 30, first=99)
    found = run(capsys, tmp_path / "classes")
    assert f"--dataroot {tmp_path}/classes/train --labels folders" in found.advice["command"]
    assert found.groups[0]["classes"] == {"cat": 30, "dog": 30}

    (tmp_path / "sides" / "train").mkdir(parents=True)
    for seed in range(12):
        both = Image.new("RGB", (128, 64))
        for left in (0, 64):
            both.paste(painted(label_map(seed), seed + left), (left, 0))
        both.save(tmp_path / "sides" / "train" / f"{seed}.png")
    found = run(capsys, tmp_path / "sides")
    assert found.layout == "side_by_side"
    assert "train_pix2pix.py" in found.advice["command"]


def test_advice_keeps_proportions(tmp_path):
    for side in "AB":
        folder = tmp_path / f"train{side}"
        folder.mkdir()
        for number in range(6):
            scene(number + ord(side), 300).resize((600, 300)).save(folder / f"{number}.png")
    found = advice.advise(inspected(tmp_path), {"dataroot": tmp_path}, "cpu")
    assert found.options["preprocess"] == "scale_width_and_crop"
    assert (found.options["load_size"], found.options["crop_size"]) == ("572", "256")


def test_two_folders(tmp_path, capsys):
    for name in ("one", "two"):
        drawn(tmp_path / name, 4, first=ord(name[0]))
    folders = ["--source_dir", str(tmp_path / "one"), "--target_dir", str(tmp_path / "two")]
    check_data.main([*folders, *WITHOUT_STEPS])
    found = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert [group["name"] for group in found["groups"]] == ["one", "two"]
    assert f"--source_dir {tmp_path}/one --target_dir {tmp_path}/two" in found["advice"]["command"]


@pytest.mark.slow
def test_the_cost_is_measured_by_steps_of_the_advised_training(tmp_path, capsys):
    folder = pairs(tmp_path / "data", count=6, size=32)
    arguments = ["--dataroot", str(folder), "--workers", "0", "--device", "cpu"]
    check_data.main([*arguments, "--layout", "pairs"])
    cost = json.loads(capsys.readouterr().out.splitlines()[-1])["advice"]["cost"]
    assert cost["steps_timed"] == timing.STEPS - 1
    assert cost["total_images"] == 200 * 6 and cost["images_per_second"] > 0
    expected = cost["total_images"] / cost["images_per_second"]
    assert cost["seconds"] == pytest.approx(expected, rel=0.01, abs=1)


@pytest.mark.slow
def test_what_training_refuses_is_a_finding(tmp_path, capsys):
    folder = pairs(tmp_path / "data", count=6, size=32)
    (folder / "trainB" / "3.png").unlink()
    arguments = ["--dataroot", str(folder), "--workers", "0", "--device", "cpu"]
    check_data.main([*arguments, "--layout", "pairs"])
    out = capsys.readouterr().out
    assert out.index("training does not start") < out.index("Advice")
    found = json.loads(out.splitlines()[-1])
    refused = next(one for one in found["findings"] if one["kind"] == "refused")
    assert "have no partner of their name" in refused["words"]
    assert "cost" not in found["advice"]


def test_a_step_that_takes_too_long_is_stopped(tmp_path):
    found = advice.Advice("train_cut.py", {"dataroot": str(clean(tmp_path))}, [], None)
    cost = timing.measure_cost(found, "cpu", workers=0, limit_seconds=0.2)
    assert cost == timing.Refused(False, "fewer than 2 steps in 0 s, too slow to measure")


def test_findings_are_printed_before_the_steps_and_sigterm_leaves_nothing(
    tmp_path, monkeypatch, capsys
):
    folder, temporary = clean(tmp_path / "data"), tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setattr(timing.tempfile, "tempdir", str(temporary))
    children = []

    class Ended(subprocess.Popen):
        def communicate(self, *arguments, **more):
            children.append(self)
            assert list(temporary.iterdir()) and "finding" in capsys.readouterr().out
            os.kill(os.getpid(), signal.SIGTERM)
            return super().communicate(*arguments, **more)

    monkeypatch.setattr(timing.subprocess, "Popen", Ended)
    with pytest.raises(SystemExit) as end:
        check_data.main(["--dataroot", str(folder), "--workers", "0", "--device", "cpu"])
    assert end.value.code == 128 + signal.SIGTERM
    assert children[0].returncode == -signal.SIGKILL and not list(temporary.iterdir())


def test_a_long_training_gets_a_first_look():
    def words(images_per_second):
        cost = timing.Cost(images_per_second, 1_000_000, 1.0, 4)
        return cost_in_words(Result(None, [], None, cost))

    assert "add --total_images 36000;" in words(10.0)
    assert "--total_images" not in words(100.0)


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(50, "50 seconds"), (150, "2.5 minutes"), (7300, "2.0 hours"), (1e6, "12 days")],
)
def test_durations_in_words(seconds, words):
    assert duration(seconds) == words


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "`dataroot` is missing"),
        (["--dataroot", "absent"], "no such folder"),
        (["--dataroot", "empty"], "no image in it"),
        (["--dataroot", "full", "--source_dir", "full"], "given together"),
        (["--dataroot", "full", "--layout", "side_by_side"], "no folder train"),
        (["--source_dir", "full", "--target_dir", "full", "--layout", "classes"], "is for"),
        (["--source_dir", "full", "--target_dir", "full", "--labels", "folders"], "is for one"),
        (["--dataroot", "full", "--workers", "-1"], "below 0"),
        (["--dataroot", "full", "--timing_limit", "0"], "give seconds above 0"),
        (["--dataroot", "full", "--page", "absent/page.html"], "does not exist"),
        (["--dataroot", "full", "--json", "full"], "is a folder"),
    ],
)
def test_mistakes(tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    drawn(tmp_path / "full", 2)
    with pytest.raises(UserError, match=message):
        check_data.main([*arguments, "--no-timing"])


def test_exit_codes(tmp_path, command):
    (tmp_path / "empty").mkdir()
    drawn(tmp_path / "full", 2)
    ended = command("check_data.py", *WITHOUT_STEPS, "--dataroot", tmp_path / "empty")
    assert ended.returncode == 2
    assert ended.stderr.startswith("error: --dataroot") and "no image in it" in ended.stderr
    assert ended.stderr.count("\n") == 1
    ended = command("check_data.py", *WITHOUT_STEPS, "--dataroot", tmp_path / "full")
    assert ended.returncode == 0 and json.loads(ended.stdout.splitlines()[-1])["findings"]


def test_nothing_readable(tmp_path, capsys):
    folder = tmp_path / "data"
    folder.mkdir()
    (folder / "a.png").write_text("no picture")
    found = run(capsys, folder, "--page", tmp_path / "page.html")
    assert found.advice is None and found.groups[0]["unreadable"] == 1
    assert "not an image of a known kind" in (tmp_path / "page.html").read_text()


def test_training_names_three_findings_at_the_start(tmp_path, capsys):
    folder = clean(tmp_path / "data", train=3, test=1)
    (folder / "testA" / "leaked.png").write_bytes((folder / "trainA" / "trainA0.png").read_bytes())
    train_cut.main(
        [
            *("--dataroot", str(folder), "--run_dir", str(tmp_path / "run"), "--dry_run"),
            *("--base_channels", "4", "--generator", "resnet_6blocks"),
        ]
    )
    told = [line for line in capsys.readouterr().err.splitlines() if line.startswith("data: ")]
    assert len(told) == 4
    assert told[0].startswith("data: sources: 1 of 2 test pictures looked at are training pictures")
    assert (
        "sources and targets: " in told[1]
        and "--load_size 286" in told[1]
        and "check_data.py" in told[3]
    )


def test_survey_of_many_processes_is_shown(tmp_path):
    seen = []
    layout = inspection.find_layout(clean(tmp_path))
    inspection.survey(layout, 2, lambda done, total: seen.append((done, total)))
    assert seen == [(100, 288), (200, 288), (288, 288)]
