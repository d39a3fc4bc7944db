"""Several processes, one device each, started by torchrun; all functions also work with one.

The global batch is split into equal parts in rank order. Losses are means, so the mean of the
ranks' gradients is the gradient of the global batch.
"""

import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

import torch
import torch.distributed as dist
from torch import Tensor, nn

from errors import PairlessError, UserError

TIMEOUT = timedelta(minutes=10)
LOOK_SECONDS, MOST_STEPS_BETWEEN = 0.5, 16  # between two looks at a shared flag


class LostProcessError(PairlessError):
    """Another process of the run died or cannot be reached."""


@dataclass(frozen=True)
class Processes:
    """This process's rank and the number of processes in the run."""

    rank: int = 0
    world_size: int = 1
    local_rank: int = 0

    @property
    def writes(self) -> bool:
        """Whether this process writes files and to the terminal."""
        return self.rank == 0


def places_from_environment() -> Processes:
    """Read this process's ranks from the environment variables that torchrun sets."""
    names = ("RANK", "WORLD_SIZE", "LOCAL_RANK")
    if not all(name in os.environ for name in names):
        return Processes()
    return Processes(*(int(os.environ[name]) for name in names))


@contextmanager
def process_group(processes: Processes, device: torch.device) -> Iterator[None]:
    """Initialise the process group for the block: NCCL on GPUs, Gloo on the CPU."""
    if processes.world_size == 1:
        yield
        return
    backend = "cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo"
    dist.init_process_group(backend, timeout=TIMEOUT)
    try:
        yield
    finally:
        dist.destroy_process_group()


@contextmanager
def _lost_processes_named() -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:  # from Gloo or NCCL, including DistBackendError
        reason = " ".join(str(error).split())[:300]
        raise LostProcessError(
            "communication with the other processes of this run failed, most likely because one of "
            f"them ended ({reason}); the same command resumes from the last checkpoint"
        ) from error


def average_gradients(network: nn.Module) -> None:
    """Replace the network's gradients by their mean over the processes, in one all-reduce."""
    _average_together([p.grad for p in network.parameters() if p.grad is not None])


def average_statistics(network: nn.Module) -> None:
    """Replace the running statistics of batch norms by their mean over the processes.

    Each process updates them from its own batches, so they would differ otherwise.
    """
    norms = [
        module
        for module in network.modules()
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d)
    ]
    _average_together([part for norm in norms for part in (norm.running_mean, norm.running_var)])


def _average_together(tensors: Sequence[Tensor]) -> None:
    """Replace the tensors by their means over the processes, in one all-reduce."""
    if not dist.is_initialized() or not tensors:
        return
    flat = torch.cat([tensor.flatten() for tensor in tensors])
    average_tensor(flat)
    parts = flat.split([tensor.numel() for tensor in tensors])
    for tensor, part in zip(tensors, parts, strict=True):
        tensor.copy_(part.view_as(tensor))


def average_tensor(values: Tensor) -> Tensor:
    """Replace `values` by their mean over the processes; returns them."""
    if dist.is_initialized():
        add_over_processes(values)
        values /= dist.get_world_size()
    return values


def add_over_processes(values: Tensor) -> Tensor:
    """Replace `values` by their sum over the processes; returns them."""
    if dist.is_initialized():
        with _lost_processes_named():
            dist.all_reduce(values)
    return values


def gather_rows(rows: Tensor) -> Tensor:
    """Return the rows [n, ...] of all processes in rank order, without gradient."""
    rows = rows.detach().contiguous()
    if not dist.is_initialized():
        return rows
    parts = [torch.empty_like(rows) for _ in range(dist.get_world_size())]
    with _lost_processes_named():
        dist.all_gather(parts, rows)
    return torch.cat(parts)


class _GatherRows(torch.autograd.Function):
    @staticmethod
    def forward(ctx: torch.autograd.function.FunctionCtx, rows: Tensor) -> Tensor:
        ctx.count = len(rows)
        return gather_rows(rows)

    @staticmethod
    def backward(ctx: torch.autograd.function.FunctionCtx, gradient: Tensor) -> Tensor:
        own = ctx.count * dist.get_rank()
        return gradient[own : own + ctx.count] * dist.get_world_size()


def gather_with_gradient(rows: Tensor) -> Tensor:
    """Return the rows [n, ...] of all processes in rank order; this process's get their gradient.

    It is multiplied by the number of processes: for a loss that every process computes alike from
    all rows, the mean of the processes' gradients (`average_gradients`) is then that loss's.
    """
    return _GatherRows.apply(rows) if dist.is_initialized() else rows


def gather_objects(value: object) -> list:
    """Return every process's `value` in rank order."""
    if not dist.is_initialized():
        return [value]
    values: list = [None] * dist.get_world_size()
    with _lost_processes_named():
        dist.all_gather_object(values, value)
    return values


@contextmanager
def first_process_first() -> Iterator[None]:
    """Run the block in the first process, then in all others."""
    first = not dist.is_initialized() or dist.get_rank() == 0
    if not first:
        gather_objects("may begin")
    yield
    if first:
        gather_objects("has ended")


class SharedFlag:
    """Whether something has happened in any process, answered alike in all at each step.

    They ask one another about once every `LOOK_SECONDS`, after a number of steps that they agree
    on, and not at every step; numbers on the CPU, so no GPU waits. One process asks itself alone.
    """

    def __init__(self) -> None:
        self.steps_left, self.steps_between = 1, 1
        self.looked_at = time.monotonic()

    def is_up(self, own: bool) -> bool:
        """Return whether it was up in some process when they last asked; call it once a step."""
        if not dist.is_initialized():
            return own
        self.steps_left -= 1
        if self.steps_left:
            return False
        now = time.monotonic()
        seconds_a_step = max(now - self.looked_at, 1e-9) / self.steps_between
        wanted = min(MOST_STEPS_BETWEEN, max(1, int(LOOK_SECONDS / seconds_a_step)))
        answer = torch.tensor([int(own), -wanted])
        with _lost_processes_named():
            dist.all_reduce(answer, op=dist.ReduceOp.MAX)
        is_up, fewest = answer.tolist()
        self.steps_left = self.steps_between = -fewest
        self.looked_at = now
        return bool(is_up)


def choose_precision(name: str, device: torch.device) -> str:
    """Resolve `name`, fp32, tf32, bf16 or auto, to fp32, tf32 or bf16 for this device.

    Raises UserError for tf32 on a device without it.
    """
    if name == "tf32" and not (
        device.type == "cuda" and torch.cuda.get_device_capability(device) >= (8, 0)
    ):
        raise UserError(
            f"`precision` tf32: {device} does not support TF32; give fp32, or use a GPU of the "
            "Ampere generation or later"
        )
    if name != "auto":
        return name
    has_bf16 = device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)
    return "bf16" if has_bf16 else "fp32"


def choose_device(name: str, processes: Processes) -> torch.device:
    """Resolve `name`, auto, cpu or cuda, to this process's device.

    Raises UserError for `cuda` if there is no GPU for this process.
    """
    found = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if name == "cpu" or (name == "auto" and found == 0):
        return torch.device("cpu")
    if found <= processes.local_rank:
        raise UserError(
            f"`device` {name}: {found} GPUs found, {processes.local_rank + 1} needed on this "
            "machine; use `device` cpu or start fewer processes"
        )
    device = torch.device("cuda", processes.local_rank)
    torch.cuda.set_device(device)
    return device
