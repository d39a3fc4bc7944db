"""The memory that a process may use: the machine's, and that of its container."""

import pytest
import torch

from commands import memory
from commands.options import check_cache
from errors import UserError

CPU = torch.device("cpu")


def limited(tmp_path, monkeypatch, version, limit, used, statistics):
    """Let a control group of a version have these files, beside a machine with 8 GB free."""
    monkeypatch.setattr(memory, "_GROUPS", [(tmp_path, *memory._GROUPS[version - 1][1:])])
    monkeypatch.setattr(memory, "_MEMINFO", tmp_path / "meminfo")
    _, *names = memory._GROUPS[0]
    contents = {"meminfo": "MemFree: 1 kB\nMemAvailable:    8000000 kB"}
    contents |= dict(zip(names, (limit, used), strict=True), **{"memory.stat": statistics})
    for name, text in contents.items():
        (tmp_path / name).write_text(f"{text}\n")


def test_a_container_limits_the_memory(tmp_path, monkeypatch):
    limited(tmp_path, monkeypatch, 2, 10_000, 7_000, "anon 6500\ninactive_file 400")
    assert (memory.memory_bytes(), memory.free_bytes(CPU)) == (10_000, 3_400)


def test_a_container_of_version_1(tmp_path, monkeypatch):
    limited(tmp_path, monkeypatch, 1, 10_000, 7_000, "inactive_file 1\ntotal_inactive_file 500")
    assert (memory.memory_bytes(), memory.free_bytes(CPU)) == (10_000, 3_500)


def test_a_cache_must_fit_into_the_container(tmp_path, monkeypatch):
    limited(tmp_path, monkeypatch, 2, 10**7, 0, "inactive_file 0")
    check_cache(0.01)
    with pytest.raises(UserError, match=r"--cache_gb 0\.02: more than this machine's 0\.0 GB"):
        check_cache(0.02)


def test_a_container_that_is_full_has_no_memory_left(tmp_path, monkeypatch):
    limited(tmp_path, monkeypatch, 2, 10_000, 10_300, "inactive_file 0")
    assert memory.free_bytes(CPU) == 0


def test_without_a_limit_the_machine_has_its_own(tmp_path, monkeypatch):
    limited(tmp_path, monkeypatch, 2, "max", 7_000, "inactive_file 0")
    assert memory.free_bytes(CPU) == 8_192_000_000
    assert memory.memory_bytes() > 10**8


def test_a_system_that_does_not_tell_has_half_of_its_memory_free(tmp_path, monkeypatch):
    monkeypatch.setattr(memory, "_GROUPS", [])
    monkeypatch.setattr(memory, "_MEMINFO", tmp_path / "none")
    assert memory.free_bytes(CPU) == memory.memory_bytes() // 2
