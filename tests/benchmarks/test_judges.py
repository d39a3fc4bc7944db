"""The table of judges: its sets, its rows, and that finished judges are not repeated."""

import json
import sys

import pytest
import torch

from benchmarks import judges
from tests.evaluating import write_pictures


def test_every_judge_has_a_row_for_each_distance(tmp_path, monkeypatch, capsys):
    for number, name in enumerate(("a", "b")):
        write_pictures(tmp_path / "pictures" / name, 13, number)
    sizes = ["--count", "24", "--few", "16", "--size", "16"]
    sets = ["--pictures", f"own={tmp_path / 'pictures'}", "--drawn", "shapes"]
    command = ["judges.py", "--output", str(tmp_path / "out"), *sets, *sizes]
    monkeypatch.setattr(sys, "argv", [*command, "--judges", "swd", "resnet_random"])
    judges.main()
    told = capsys.readouterr().out
    lines = told.splitlines()
    assert len(lines) == 2 + 2 * 3 and len({line.count("|") for line in lines}) == 1
    for row in ("own, 16: swd, swd", "shapes, 24: resnet_random, kernel_distance_mean"):
        assert any(line.startswith(f"| {row} |") for line in lines), told
    found = json.loads((tmp_path / "out" / "shapes-swd-16.json").read_text())
    series = found["distances"]["swd"]["noise"]
    assert series["distances"][0][0] < series["distances"][0][-1]
    monkeypatch.setattr(judges, "measured", None)  # nothing is measured again
    judges.main()
    assert capsys.readouterr().out == told


@pytest.mark.parametrize(("name", "classes"), [("shapes", 4), ("scenes", 2)])
def test_drawn_sets_have_as_many_pictures_of_each_class(name, classes):
    pictures, groups = judges.drawn(name, 8, 16)
    assert pictures.shape == (8, 3, 16, 16) and pictures.dtype == torch.uint8
    assert torch.equal(groups.bincount(), torch.full((classes,), 8 // classes))
