"""The benchmark for a GPU, tiny and on the CPU."""

import json
import sys

import pytest
import torch

from benchmarks import gpu


@pytest.fixture
def run(monkeypatch, capsys):
    """Return a function that runs the benchmark and returns what it prints."""

    def call(*arguments):
        monkeypatch.setattr(sys, "argv", ["gpu.py", *map(str, arguments)])
        gpu.main()
        return capsys.readouterr().out

    return call


def test_a_tiny_run_measures_every_way_and_writes_table_and_file(run, tmp_path):
    file = tmp_path / "gpu.json"
    printed = run("--tiny", "--device", "cpu", "--only", "pix2pix", "gans", "--json", file)
    found = json.loads(file.read_text())
    rows = {(row["method"], row["way"]): row for row in found["rows"]}
    assert {way for name, way in rows if name == "pix2pix"} == set(gpu.VARIANTS)
    assert {name for name, _ in rows} == {"pix2pix", "vanilla"}
    for (name, way), row in rows.items():
        if "captured" in way:
            assert row["left_out"] == "no CUDA graphs on cpu"
        else:
            assert row["images_per_second"] == pytest.approx(
                1000 * row["batch_size"] / row["ms_a_step"]
            )
            assert (name == "vanilla") == ("seconds_per_kimg" in row)
    fast, slow = rows["pix2pix", "bf16"], rows["pix2pix", "official TF32"]
    assert fast["times_official TF32"] == slow["ms_a_step"] / fast["ms_a_step"]
    macs_per_second = 1e12 * fast["gmac_a_step"] / fast["ms_a_step"]
    assert fast["fraction_of_rate"] == macs_per_second / found["bf16_macs_per_second"]
    assert found["evaluated_per_second"] > 0 and found["rows_left_out_for_time"] == 0
    # The defect of PyTorch's instance norm on the CPU that ours goes around.
    assert found["instance_norm_errors"]["contiguous"] < 1e-5
    table = [line for line in printed.splitlines() if line.startswith("|")]
    assert len(table) == 2 + len(rows) and len({line.count("|") for line in table}) == 1


def test_rows_that_no_time_is_left_for_are_counted(run, tmp_path, monkeypatch):
    file = tmp_path / "gpu.json"
    monkeypatch.setattr(gpu, "evaluation_rate", lambda sizes, device: 1.0)
    run("--tiny", "--device", "cpu", "--minutes", "0", "--json", file)
    found = json.loads(file.read_text())
    ways = len(gpu.VARIANTS) * len(gpu.TRANSLATORS) + 2 * len(gpu.TINY.gans)
    assert found["rows"] == [] and found["rows_left_out_for_time"] == ways


@pytest.mark.skipif(torch.cuda.is_available(), reason="refuses only where there is no GPU")
def test_without_a_gpu_it_says_so(run, capsys):
    with pytest.raises(SystemExit) as end:
        run("--device", "cuda")
    assert end.value.code == 2 and "no GPU was found" in capsys.readouterr().err
