"""Parts of a training step captured as graphs of kernels, which are launched all at once.

A GPU's processor needs 4 to 6 microseconds to launch a kernel; a captured graph launches its
hundreds of kernels by one call. A graph repeats what it was captured from, on the same memory. So
whatever differs between two steps must reach it

- as an input, which is copied into a tensor of the graph's own,
- in a generator that is seeded anew before the step (`StepRandomness`),
- in a tensor that is changed in place, as the learning rate is (`set_learning_rate`), or
- as a part of the key: each key has a graph of its own.

Source: PyTorch's notes on CUDA graphs (torch.cuda.CUDAGraph).
"""

import statistics
import sys
import time
from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Literal, NamedTuple, Protocol, TypeVar

import torch
from torch import Tensor

from errors import UserError

T = TypeVar("T")

WARM_UPS = 3  # calls of a key before its graph: libraries tune themselves, Adam makes its moments
TRIAL = 10  # timed calls without and with the graph, where the faster one is to be chosen
MOST_GRAPHS = 8  # each keeps the memory of a step
MOST_KEYS = 64  # remembered, more than the graphs: where something changes in every step


def can_capture(device: torch.device) -> bool:
    """Return whether steps on this device can be captured: CUDA graphs need a GPU."""
    return device.type == "cuda"


class Recording(NamedTuple):
    """A function that was recorded while it ran for the first time."""

    outputs: object  # what it returned: tensors that every replay overwrites
    replay: Callable[[], object]


class Recorder(Protocol):
    """Runs a function once and records its kernels; the generators are those that it draws from."""

    def __call__(
        self, function: Callable[[], object], generators: Sequence[torch.Generator]
    ) -> Recording:
        """Return the recording; raise RuntimeError where the function cannot be recorded."""


class CudaRecorder:
    """Records CUDA graphs. All share one pool of memory, since no two of them run at once."""

    def __init__(self, stream: torch.cuda.Stream):
        self.stream, self.pool = stream, torch.cuda.graph_pool_handle()

    def __call__(
        self, function: Callable[[], object], generators: Sequence[torch.Generator]
    ) -> Recording:
        """Capture, then replay: capturing alone computes nothing."""
        graph = torch.cuda.CUDAGraph()
        for generator in generators:
            graph.register_generator_state(generator)
        # thread_local: the thread that pins batches may allocate meanwhile.
        with torch.cuda.graph(
            graph, pool=self.pool, stream=self.stream, capture_error_mode="thread_local"
        ):
            outputs = function()
        graph.replay()
        return Recording(outputs, graph.replay)


@dataclass
class _Part:
    """What is known of a part of the step under one key."""

    calls: int = 0
    inputs: list[Tensor] = field(default_factory=list)
    recording: Recording | None = None
    stays_eager: bool = False
    eager_seconds: list[float] = field(default_factory=list)
    graph_seconds: list[float] = field(default_factory=list)


class StepCapture:
    """Runs parts of a step, and captures each after `WARM_UPS` calls with the same key and shapes.

    mode graph: always; mode auto: `TRIAL` calls without and with the graph are timed, and the
    faster one is kept; a part that cannot be captured goes on without, and stderr says why.
    """

    def __init__(
        self,
        mode: Literal["graph", "auto"],
        device: torch.device,
        recorder: Recorder | None = None,
    ):
        """recorder: of another kind than CUDA graphs."""
        self.mode, self.device = mode, device
        self.stream = torch.cuda.Stream(device) if device.type == "cuda" else None
        self.record = recorder or CudaRecorder(self.stream)
        self.parts: dict[Hashable, _Part] = {}

    def run(
        self,
        name: str,
        key: Hashable,
        function: Callable[..., T],
        inputs: Sequence[Tensor],
        generators: Sequence[torch.Generator],
    ) -> T:
        """Return function(*inputs) or what its graph makes of them.

        key: everything but the inputs, the generators and tensors changed in place that the
        function depends on. What a graph returns is overwritten by the next call.

        Raises UserError in mode graph where the function cannot be captured.
        """
        shapes = tuple((tuple(x.shape), x.dtype) for x in inputs)
        part = self._part((name, key, shapes))
        part.calls += 1
        if part.recording:
            return self._replay(part, inputs)
        trial = TRIAL if self.mode == "auto" else 0
        if part.stays_eager or part.calls <= WARM_UPS + trial:
            seconds = part.eager_seconds if trial and part.calls > WARM_UPS else None
            return self._eager(function, inputs, None if part.stays_eager else seconds)
        if sum(bool(other.recording) for other in self.parts.values()) >= MOST_GRAPHS:
            part.stays_eager = True
            return self._eager(function, inputs)
        return self._captured(name, part, function, inputs, generators)

    def _part(self, key: Hashable) -> _Part:
        if key not in self.parts and len(self.parts) >= MOST_KEYS:
            eager = next(key for key, part in self.parts.items() if not part.recording)
            del self.parts[eager]
        return self.parts.setdefault(key, _Part())

    def _eager(
        self, function: Callable[..., T], inputs: Sequence[Tensor], seconds: list | None = None
    ) -> T:
        """Run on the stream of the captures, as a graph's memory and libraries ask for."""
        with _timed(self.device, seconds):
            if self.stream is None:
                return function(*inputs)
            current = torch.cuda.current_stream(self.device)
            self.stream.wait_stream(current)
            with torch.cuda.stream(self.stream):
                outputs = function(*inputs)
            current.wait_stream(self.stream)
            return outputs

    def _captured(
        self,
        name: str,
        part: _Part,
        function: Callable[..., T],
        inputs: Sequence[Tensor],
        generators: Sequence[torch.Generator],
    ) -> T:
        part.inputs = [x.clone() for x in inputs]
        try:
            part.recording = self.record(lambda: function(*part.inputs), generators)
        except RuntimeError as error:
            reason = " ".join(str(error).split())[:300]
            if self.mode == "graph":
                raise UserError(
                    f"`accelerate` graph: the step's {name} cannot be captured as a CUDA graph "
                    f"({reason}); use `accelerate` off"
                ) from error
            print(f"the step's {name} runs without a CUDA graph: {reason}", file=sys.stderr)
            part.stays_eager, part.inputs = True, []
            return self._eager(function, inputs)
        return part.recording.outputs

    def _replay(self, part: _Part, inputs: Sequence[Tensor]) -> object:
        recording = part.recording
        trying = self.mode == "auto" and len(part.graph_seconds) < TRIAL
        with _timed(self.device, part.graph_seconds if trying else None):
            for own, given in zip(part.inputs, inputs, strict=True):
                own.copy_(given)
            recording.replay()
        if trying and len(part.graph_seconds) == TRIAL:
            slower = statistics.median(part.graph_seconds) > statistics.median(part.eager_seconds)
            if slower:
                part.recording, part.stays_eager = None, True
        return recording.outputs


@contextmanager
def _timed(device: torch.device, seconds: list[float] | None) -> Iterator[None]:
    """Append the seconds of the block, the device's work included; None: do not wait for it."""
    if seconds is None:
        yield
        return
    _wait_for(device)
    started = time.perf_counter()
    yield
    _wait_for(device)
    seconds.append(time.perf_counter() - started)


def _wait_for(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
