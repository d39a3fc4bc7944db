"""What a person sees of a training: on terminals of several widths, and in a file."""

import sys

import pytest

from tests.terminal import terminal
from training import live_line
from training.live_line import LiveLine, duration, speed_text
from training.table import RunTable

LOSSES = {
    "discriminator_real": 0.251,
    "discriminator_fake": 0.249,
    "adversarial": 0.3421,
    "nce": 4.2134,
    "learning_rate": 2e-4,
}


@pytest.fixture
def clock(monkeypatch):
    """A clock that stands still until the test sets it forward: clock[0] is the time."""
    now = [0.0]
    monkeypatch.setattr(live_line.time, "monotonic", lambda: now[0])
    return now


def shown(rows: int = 1) -> RunTable:
    """A run of 268,000 images from 12,000 on: rows, a warning, an event."""
    table = RunTable(12000, 268000, ("nce", "adversarial"))
    for number in range(1, rows + 1):
        table.row(12000 + number * 200, LOSSES, 18.234)
    table.event(12200, "warning:", "the discriminator wins", "yellow")
    table.event(12200, "saved", "checkpoint, generator.safetensors")
    return table


@pytest.mark.parametrize(
    ("columns", "names"),
    [
        (40, "images  images/s        nce  adversarial"),
        (80, "images  images/s        nce  adversarial  discriminator_real  discriminator_fake"),
        (
            160,
            "images  images/s        nce  adversarial  discriminator_real  discriminator_fake"
            "  learning_rate",
        ),
    ],
)
def test_a_table_on_a_terminal_and_the_live_line_below_it(monkeypatch, clock, columns, names):
    with terminal(monkeypatch, columns) as seen:
        table = shown()
        clock[0] = 10.0
        table.line.update(12182)
        print("a library's own warning", file=sys.stderr)
        table.line.live.refresh()
        table.line.live.transient = False  # so that the last state of the line stays
        table.line.close()
    lines = [line.rstrip() for line in seen.lines if line]
    header, row, warning, event, *wrapped, other, live = lines
    assert header == names
    assert row.split()[:4] == ["12200", "18.2", "4.213", "0.342"]
    assert len(row) == len(header)  # the columns are aligned
    assert warning == " 12200  warning:  the discriminator wins"
    assert event.startswith(" 12200  saved     checkpoint,") and len(wrapped) == (columns == 40)
    assert other == "a library's own warning"
    assert live.endswith(
        {
            40: "12,182  4.5 %  18.2/s  3:54:16 left",
            80: "12,182/268,000  4.5 %  18.2 images/s  3:54:16 left  nce 4.213",
            160: "12,182/268,000  4.5 %  18.2 images/s  3:54:16 left  nce 4.213  adversarial 0.342",
        }[columns]
    )


def test_the_live_line_disappears_at_the_end(monkeypatch):
    with terminal(monkeypatch, 80) as seen:
        table = shown()
        table.line.live.refresh()
        table.line.close()
        print("done", file=sys.stderr)
    assert "12,000/268,000" in seen.written
    assert [line for line in seen.lines if line][-1] == "done"
    assert not any("268,000" in line for line in seen.lines)


@pytest.mark.parametrize("no_color", [True, False])
def test_no_color_is_heeded(monkeypatch, no_color):
    with terminal(monkeypatch, 80) as seen:
        if no_color:
            monkeypatch.setenv("NO_COLOR", "1")
        shown().line.close()
    assert ("\x1b[33m" in seen.written) is not no_color  # yellow


def test_the_header_comes_again_after_a_screenful(monkeypatch):
    with terminal(monkeypatch, 80, rows=24) as seen:
        shown(rows=45).line.close()
    found = [place for place, line in enumerate(seen.lines) if "images/s" in line]
    assert found == [0, 21, 42]


def test_a_resized_terminal_gets_columns_that_fit(monkeypatch):
    with terminal(monkeypatch, 160) as seen:
        table = shown()
        table.line.console.width = 60
        table.row(12400, LOSSES, 18.2)
        table.line.close()
    headers = [line.split() for line in seen.lines if "images/s" in line]
    assert [len(header) for header in headers] == [7, 5]


def test_plain_lines_where_stderr_is_no_terminal(monkeypatch, capsys):
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "30")
    table = shown(rows=101)
    table.line.update(12300)
    table.line.close()
    text = capsys.readouterr().err
    assert "\x1b" not in text and "\r" not in text
    lines = text.splitlines()
    assert len(lines) == 105  # nothing for the live line
    assert [place for place, line in enumerate(lines) if "images/s" in line] == [0, 101]
    assert {len(line) for line in lines[:101]} == {95}
    assert lines[0].split() == ["images", "images/s", "nce", "adversarial", *list(LOSSES)[:2]] + [
        "learning_rate"
    ]
    assert lines[1].split() == ["12200", "18.2", "4.213", "0.342", "0.251", "0.249", "2.00e-04"]
    assert lines[-2:] == [
        " 12200  warning:  the discriminator wins",
        " 12200  saved     checkpoint, generator.safetensors",
    ]


def test_a_long_job_tells_a_file_once_a_minute(clock, capsys):
    with LiveLine(100, label="translating", unit="pictures") as line:
        for done in range(1, 100):
            clock[0] = 2.0 * done
            line.advance(1)
    told = capsys.readouterr().err.splitlines()
    assert told == [
        "translating  30/100  30.0 %  0.5 pictures/s  2:20 left",
        "translating  60/100  60.0 %  0.5 pictures/s  1:20 left",
        "translating  90/100  90.0 %  0.5 pictures/s  0:20 left",
    ]


def test_a_second_line_leaves_the_place_to_the_first(monkeypatch):
    with terminal(monkeypatch, 80), LiveLine(10), LiveLine(20) as inner:
        assert not inner.is_live


def test_a_process_that_shows_nothing(clock, monkeypatch):
    with terminal(monkeypatch, 80) as seen, LiveLine(10, shown=False) as line:
        clock[0] = 1000.0
        line.advance(5)
    assert not seen.written


def test_the_speed_is_that_of_the_last_minute(clock):
    line = LiveLine(10000, done=5000)
    for second in range(1, 201):
        clock[0] = float(second)
        line.advance(1 if second <= 100 else 10)
    assert line.text(80) == "6,100/10,000  61.0 %  10.0 images/s  6:30 left"
    assert LiveLine(10).text(80) == "0/10  0.0 %"


def test_a_long_label_is_shortened_before_numbers_are_left_out(clock):
    line = LiveLine(1000, label="measuring --real /a/very/long/path", unit="pictures")
    assert line.text(80) == "measuring --real /a/very/long/path  0/1,000  0.0 %"
    assert line.text(40) == "measuring --real /a/ver…  0/1,000  0.0 %"
    assert line.text(20) == "0/1,000  0.0 %"


def test_durations_and_speeds():
    seconds = (0, 59.6, 3599, 3600, 86399, 90000, 1e6)
    told = [duration(value) for value in seconds]
    assert told == ["0:00", "1:00", "59:59", "1:00:00", "23:59:59", "1 d 1 h", "11 d 13 h"]
    assert [speed_text(value) for value in (0.0123, 0.5, 1, 18.24, 1234.5)] == [
        *("0.012", "0.5", "1.0", "18.2", "1234.5")
    ]


def test_a_label_has_no_control_characters():
    assert (
        LiveLine(10, label="measuring a\n\x1b[2Jb", shown=False).label == r"measuring a\n\x1b[2Jb"
    )
