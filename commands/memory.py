"""How much memory this process may use: the machine's, or its container's if that is less."""

import os
from pathlib import Path
from typing import NamedTuple

import torch

_GROUPS = (  # folder, limit and use of Linux control groups, versions 2 and 1
    (Path("/sys/fs/cgroup"), "memory.max", "memory.current"),
    (Path("/sys/fs/cgroup/memory"), "memory.limit_in_bytes", "memory.usage_in_bytes"),
)
_MEMINFO = Path("/proc/meminfo")


class Memory(NamedTuple):
    """Bytes in all, and those that programs can still take."""

    total: int
    free: int


def memory_bytes() -> int:
    """Return the memory that this process may use at most."""
    return min(one.total for one in (_machine(), *_containers()))


def free_bytes(device: torch.device) -> int:
    """Return the free memory of a GPU, or what this process can still take of the machine's."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    return max(0, min(one.free for one in (_machine(), *_containers())))


def _machine() -> Memory:
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    try:
        lines = _MEMINFO.read_text(encoding="ascii").splitlines()
    except FileNotFoundError:  # another system than Linux, which does not tell what it could free
        return Memory(total, total // 2)
    amounts = dict(line.split(":", 1) for line in lines)
    return Memory(total, int(amounts["MemAvailable"].split()[0]) * 1024)


def _containers() -> list[Memory]:
    """Return the limits of the control group that is visible here, if it has one."""
    found = []
    for folder, limit_name, use_name in _GROUPS:
        try:
            limit = int((folder / limit_name).read_text())
            used = int((folder / use_name).read_text())
            amounts = dict(map(str.split, (folder / "memory.stat").read_text().splitlines()))
        except (OSError, ValueError):  # no such file, or "max"
            continue
        # Files in the cache count as used, and make room for programs; version 1 names them twice.
        cached = amounts.get("total_inactive_file", amounts.get("inactive_file", 0))
        found.append(Memory(limit, limit - used + int(cached)))
    return found
