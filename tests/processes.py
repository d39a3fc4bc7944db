"""Real processes without the seconds of their imports: forked from a server that made them once."""

import multiprocessing
import os
import resource
import runpy
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import torch

ROOT = Path(__file__).parents[1]
LIMIT_SECONDS = 240
THREADS = int(os.environ.get("PAIRLESS_TEST_THREADS", "1"))
COMMANDS = ["app", "check_data", "evaluate", "generate", "export", "translate"]
COMMANDS += ["train_cut", "train_cyclegan", "train_features", "train_gan", "train_pix2pix"]

# The first optimizer of a process imports torch._dynamo, which takes longer than a tiny run.
IMPORTED_ONCE = [*COMMANDS, "torch._dynamo", "pytest", "tests.training_runs", "tests.pages.packed"]

multiprocessing.set_forkserver_preload(IMPORTED_ONCE)


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def run_script(
    folder: Path, arguments: Sequence[str], file_bytes: int | None = None
) -> subprocess.CompletedProcess:
    """Run a script of the root as `python SCRIPT ...` does, and return the finished process.

    folder: for what it prints. file_bytes: the longest file that the process may write.
    """
    process, told = start_script(folder, arguments, file_bytes)
    process.join(LIMIT_SECONDS)
    if process.exitcode is None:
        process.kill()
        raise TimeoutError(f"{arguments} after {LIMIT_SECONDS} s")
    return subprocess.CompletedProcess(
        arguments, process.exitcode, *(path.read_text() for path in told)
    )


def start_script(
    folder: Path,
    arguments: Sequence[str],
    file_bytes: int | None = None,
    own_group: bool = False,
    environment: Mapping[str, str] | None = None,
) -> tuple[multiprocessing.Process, list[Path]]:
    """Start a script as `run_script` does; return the process, and its stdout and stderr.

    own_group: signals to the group of the process reach it and its children alone. environment:
    variables that it has besides.
    """
    told = [folder / name for name in ("stdout.txt", "stderr.txt")]
    process = multiprocessing.get_context("forkserver").Process(
        target=_as_script, args=(arguments, told, file_bytes, own_group, environment or {})
    )
    process.start()
    return process, told


def _as_script(
    arguments: Sequence[str],
    told: Sequence[Path],
    file_bytes: int | None,
    own_group: bool,
    environment: Mapping[str, str],
) -> None:
    if own_group:
        os.setsid()
    # The platform's, as for a command: data workers of the server would outlive a killed run.
    multiprocessing.set_start_method(None, force=True)
    for number, path in enumerate(told, start=1):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
    if file_bytes is not None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (file_bytes, file_bytes))
    signal.signal(signal.SIGINT, signal.default_int_handler)  # background jobs ignore it
    torch.set_num_threads(THREADS)
    os.environ |= {"COLUMNS": "200", **environment}
    os.chdir(ROOT)
    script = Path(arguments[0]).resolve()
    sys.argv, sys.path[0] = [*arguments], str(script.parent)
    runpy.run_path(str(script), run_name="__main__")


def run_together(function: Callable, *arguments: object, processes: int = 2) -> None:
    """Call a function in each of several processes that know of one another as under torchrun."""
    context = torch.multiprocessing.start_processes(
        _as_rank,
        (processes, free_port(), function, arguments),
        nprocs=processes,
        join=False,
        start_method="forkserver",
    )
    deadline = time.monotonic() + LIMIT_SECONDS
    while not context.join(max(0, deadline - time.monotonic())):
        if time.monotonic() > deadline:
            for process in context.processes:
                process.kill()
            raise TimeoutError(f"{function} after {LIMIT_SECONDS} s")


def _as_rank(rank: int, processes: int, port: int, function: Callable, arguments: tuple) -> None:
    torch.set_num_threads(THREADS)
    os.environ |= environment_of_rank(rank, processes, port)
    function(*arguments)


def environment_of_rank(rank: int, processes: int, port: int) -> dict[str, str]:
    """Return the variables by which torchrun tells a process of the others."""
    places = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": processes, "MASTER_PORT": port}
    return {"MASTER_ADDR": "127.0.0.1", **{name: str(value) for name, value in places.items()}}
