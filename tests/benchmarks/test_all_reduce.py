"""Ways to average gradients: all give the same weights."""

import json
import sys

from benchmarks import all_reduce


def test_all_ways_are_timed_and_give_the_same_weights(monkeypatch, capsys):
    arguments = ["--processes", "2", "--only", "pix2pix", "--channels", "4", "--rounds", "2"]
    monkeypatch.setattr(sys, "argv", ["all_reduce.py", *arguments])
    all_reduce.main()
    (row,) = json.loads(capsys.readouterr().out.splitlines()[-1])["rows"]
    assert row["processes"] == 2 and all(row[f"{way}_seconds"] > 0 for way in all_reduce.WAYS)
    # Sums of two numbers are the same in any order.
    assert row["weights_off"] == {"each": 0.0, "flat": 0.0, "buckets": 0.0}
