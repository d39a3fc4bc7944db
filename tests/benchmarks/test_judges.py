"""The table of judges: its sets, its rows, and that finished judges are not repeated."""

import json
import sys

import pytest
import torch

from benchmarks import judges
from tests.evaluating import write_pictures


def test_every_judge_has_a_row_for_each_distance(tmp_path, monkeypatch, capsys):
    for number, name in enumerate(("a", "b")):
        write_pictures(tmp_path / "pictures" / name, 7, number)
    told = []
    for sets, judge in (
        (["--pictures", f"own={tmp_path / 'pictures'}", "--drawn"], "swd"),
        (["--drawn", "shapes"], "resnet_random"),
    ):
        sizes = ["--count", "16", "--few", "12", "--size", "16"]
        command = ["judges.py", "--output", str(tmp_path / "out"), *sets, *sizes]
        monkeypatch.setattr(sys, "argv", [*command, "--judges", judge])
        judges.main()
        told.append(capsys.readouterr().out)
    lines = [line for part in told for line in part.splitlines()]
    assert len({line.count("|") for line in lines}) == 1
    rows = [line.split("|")[1].strip() for line in lines]
    for row in ("own, 12: swd, swd", "shapes, 16: resnet_random, kernel_distance_mean"):
        assert row in rows
    found = json.loads((tmp_path / "out" / "own-swd-12.json").read_text())
    pictures, _ = judges.from_folder(tmp_path / "pictures", 12, 16)
    first, second = torch.randperm(12, generator=torch.Generator().manual_seed(0)).split(6)
    untouched = judges.swd(pictures[first], pictures[second])
    assert found["distances"]["swd"]["noise"]["distances"][0][0] == pytest.approx(untouched)
    monkeypatch.setattr(judges, "measured", None)  # nothing is measured again
    judges.main()
    assert capsys.readouterr().out == told[-1]


@pytest.mark.parametrize(("name", "classes"), [("shapes", 4), ("scenes", 2)])
def test_drawn_sets_have_as_many_pictures_of_each_class(name, classes):
    pictures, groups = judges.drawn(name, 8, 16)
    assert pictures.shape == (8, 3, 16, 16) and pictures.dtype == torch.uint8
    assert torch.equal(groups.bincount(), torch.full((classes,), 8 // classes))
