"""What the tests of the training commands share: tiny data, whole runs, states compared."""

import os
import signal
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor
from torch.distributed import run as torchrun

import data
import training
from models.official import normalize_state
from tests.processes import THREADS, environment_of_rank, free_port, run_together, start_script
from training.log import log_lines

CPU = torch.device("cpu")
OF_THE_MACHINE = {"images_per_second", "peak_memory_gb"}  # in a log line, of no two runs alike


def noise(*shape: int, seed: int = 0) -> Tensor:
    """Return pictures of any shape in [-1, 1]."""
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed)) * 2 - 1


def random_batch(batch: int, size: int = 32, seed: int = 0) -> data.TranslationBatch:
    return data.TranslationBatch(*noise(2, batch, 3, size, size, seed=seed))


def folders(tmp_path: Path, count: int = 5, size: int = 44) -> Path:
    """Two domains of noise, one reddish, one greenish, as files."""
    random = np.random.default_rng(0)
    for letter, channel in (("A", 0), ("B", 1)):
        for split in ("train", "test"):
            folder = tmp_path / "data" / f"{split}{letter}"
            folder.mkdir(parents=True)
            for number in range(count):
                levels = random.integers(0, 256, (size, size, 3), dtype=np.uint8)
                levels[..., channel] |= 128
                Image.fromarray(levels).save(folder / f"{number}.png")
    return tmp_path / "data"


def initial_state(arrays: dict[str, Tensor], network: str) -> dict[str, Tensor]:
    """The weights that an official trace begins with, under our names."""
    prefix = f"initial/{network}/"
    state = {k.removeprefix(prefix): v for k, v in arrays.items() if k.startswith(prefix)}
    return normalize_state(state)


# The official numbers were computed in float64. In float32 the first update by Adam turns with the
# sign of gradients that are nearly 0: from then on losses differ by up to 1e-3 from one processor
# to another, and only the first step can be compared.
OFFICIAL_LIMITS = {torch.float64: 1e-9, torch.float32: 1e-5}  # relative
OFFICIAL_STEPS = pytest.mark.parametrize(
    ("dtype", "steps"), [(torch.float64, 3), (torch.float32, 1)]
)


def official_batch(arrays: dict[str, Tensor], step: int, dtype) -> data.TranslationBatch:
    """The batch of one step of an official trace."""
    return data.TranslationBatch(
        *(arrays[f"step{step}/{name}"].to(dtype) for name in ("source", "target"))
    )


def assert_official(losses: dict[str, Tensor], arrays, step, official_names, rel) -> None:
    """Every loss of ours has an official one, of the same value."""
    found = {name: value.item() for name, value in losses.items() if name != "learning_rate"}
    expected = {
        name: arrays[f"step{step}/loss/{official}"].item()
        for name, official in official_names.items()
    }
    assert found == pytest.approx(expected, rel=rel), step


def states(run_dir: Path, images_seen: int) -> dict:
    path = training.list_checkpoints(run_dir / "checkpoints")[0]
    checkpoint = training.read_checkpoint(path)
    assert checkpoint.images_seen == images_seen
    return checkpoint.states


def assert_equal(a, b, place: str = "state") -> None:
    """Nested states, bit for bit."""
    assert type(a) is type(b), place
    if isinstance(a, dict):
        assert a.keys() == b.keys(), place
        for key in a:
            assert_equal(a[key], b[key], f"{place}.{key}")
    elif isinstance(a, list | tuple):
        assert len(a) == len(b), place
        for index, pair in enumerate(zip(a, b, strict=True)):
            assert_equal(*pair, f"{place}.{index}")
    elif isinstance(a, torch.Tensor):
        assert torch.equal(a, b), place
    else:
        assert a == b, place


def assert_same_run(whole: Path, parts: Path, images_seen: int, log_lines_expected: int) -> None:
    """Checkpoint, networks, previews and log of a run and of one that was stopped, bit for bit.

    Where it was stopped the second one may have further previews.
    """
    assert_equal(states(whole, images_seen), states(parts, images_seen))
    logs = [log_lines(run / "log.jsonl") for run in (whole, parts)]
    for line in logs[0] + logs[1]:
        for name in OF_THE_MACHINE:
            del line[name]
    assert logs[0] == logs[1] and len(logs[0]) == log_lines_expected
    patterns = ("*.safetensors", "previews/*.png", "metrics.jsonl")
    files = [path.relative_to(whole) for pattern in patterns for path in whole.glob(pattern)]
    assert {path.suffix for path in files} >= {".safetensors", ".png"}
    for path in files:
        assert (whole / path).read_bytes() == (parts / path).read_bytes(), path


def assert_logs_agree(
    one: Path, other: Path, lines: int, left_out: Collection[str] = frozenset()
) -> None:
    """Every number of two runs' logs, up to rounding."""
    logs = [log_lines(run / "log.jsonl") for run in (one, other)]
    assert len(logs[0]) == len(logs[1]) == lines
    for first, second in zip(*logs, strict=True):
        for name in first.keys() - OF_THE_MACHINE - left_out:
            assert second[name] == pytest.approx(first[name], rel=1e-5, abs=1e-6), name


def kept_gradients(method) -> dict[str, Tensor]:
    """Return what fills with the gradients that `method`, of learning rate 0, descends along."""
    found = {}
    assert method.options.learning_rate == 0  # or a network's gradient would depend on the order

    def keep(name: str) -> None:
        for key, parameter in method.trained.networks[name].named_parameters():
            if parameter.requires_grad:
                found[f"{name}.{key}"] = parameter.grad.clone()

    for name, optimizer in method.trained.optimizers.items():
        optimizer.register_step_pre_hook(lambda *_, name=name: keep(name))
    return found


def assert_gradients_agree(found: dict[str, Tensor], expected: dict[str, Tensor], rel) -> None:
    assert found.keys() == expected.keys() and len(expected) > 20
    for name, gradient in expected.items():
        assert gradient.norm() > 0, name
        assert (found[name].double() - gradient).norm() <= rel * gradient.norm(), name


class Started(NamedTuple):
    """A training in a process and a process group of its own."""

    pid: int
    returncode: Callable[[], int | None]  # -N after signal N, None before the end
    printed: Callable[[], str]  # on stderr, after the end

    def end(self, seconds: float = 60) -> str:
        """Wait for the end, and return what was printed on stderr."""
        self.wait_for(lambda: self.returncode() is not None, seconds)
        return self.printed()

    def wait_for(self, condition: Callable[[], bool], seconds: float = 120) -> None:
        """Wait until something is so; a process that takes too long is killed, with its group."""
        deadline = time.monotonic() + seconds
        while True:
            ended = self.returncode() is not None  # looked at first: it may end at any moment
            if condition():
                return
            assert not ended, self.printed()
            if time.monotonic() > deadline:
                os.killpg(self.pid, signal.SIGKILL)
                raise TimeoutError(f"after {seconds} s")
            time.sleep(0.05)


def start(
    folder: Path,
    script: str,
    arguments: Iterable[object],
    environment: Mapping[str, str] | None = None,
) -> Started:
    """folder: for what the training prints. environment: variables that it has besides."""
    given = [script, *map(str, arguments)]
    process, (_, told) = start_script(folder, given, own_group=True, environment=environment)
    return Started(process.pid, lambda: process.exitcode, told.read_text)


def start_under_torchrun(folder: Path, script: str, arguments: Iterable[object]) -> Started:
    """Start a training in two processes that torchrun starts."""
    launcher = ["--nproc_per_node", 2, "--master_port", free_port()]
    variables = {"OMP_NUM_THREADS": str(THREADS)}
    return start(folder, torchrun.__file__, [*launcher, script, *arguments], variables)


def start_two(folder: Path, script: str, arguments: Iterable[object]) -> list[Started]:
    """Start a training in two processes that know of each other as under torchrun."""
    port, started = free_port(), []
    for rank in range(2):
        (folder / f"rank{rank}").mkdir()
        variables = environment_of_rank(rank, 2, port)
        started.append(start(folder / f"rank{rank}", script, arguments, variables))
    return started


def has_saved(run_dir: Path) -> Callable[[], bool]:
    return lambda: bool(training.list_checkpoints(run_dir / "checkpoints"))


def train_in_two_processes(
    main: Callable[[Sequence[str]], None], arguments: Iterable[object]
) -> None:
    run_together(main, [*map(str, arguments)])
