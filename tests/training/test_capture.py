"""Which calls of a part of the step are captured, and what is done where that fails or is slow."""

import time

import pytest
import torch

from errors import UserError
from training import Recording, StepCapture, capture

CPU = torch.device("cpu")


class Graphs:
    """A recorder that counts; a replay takes `seconds` and calls the function again."""

    def __init__(self, seconds=0.0, error=None):
        self.seconds, self.error, self.made, self.generators = seconds, error, 0, None

    def __call__(self, function, generators):
        if self.error:
            raise self.error
        self.made, self.generators = self.made + 1, generators
        outputs = function()

        def replay():
            time.sleep(self.seconds)
            outputs.copy_(function())

        return Recording(outputs, replay)


def run(steps, value, key=None):
    return steps.run("update", key, lambda x: x * 2, [torch.tensor([value])], []).item()


def test_a_part_is_captured_after_its_warm_up_and_reads_new_inputs():
    graphs = Graphs()
    steps = StepCapture("graph", CPU, graphs)
    for number in range(capture.WARM_UPS):
        assert run(steps, float(number)) == 2 * number and graphs.made == 0
    for number in range(5):
        assert run(steps, float(number)) == 2 * number and graphs.made == 1


def test_each_key_and_each_shape_has_a_graph_of_its_own():
    graphs = Graphs()
    steps = StepCapture("graph", CPU, graphs)
    for _ in range(capture.WARM_UPS + 2):
        for key in "ab":
            run(steps, 1.0, key)
        steps.run("update", "a", lambda x: x.sum(), [torch.ones(2)], [])
        steps.run("update", "a", lambda x: x.sum(), [torch.ones(2, dtype=torch.double)], [])
        steps.run("other", "a", lambda x: x.sum(), [torch.ones(2)], [])
    assert graphs.made == 5


def test_changing_keys_are_neither_captured_nor_remembered_for_ever():
    graphs = Graphs()
    steps = StepCapture("graph", CPU, graphs)
    for number in range(3 * capture.MOST_KEYS):
        assert run(steps, 1.0, key=number) == 2.0
    assert graphs.made == 0 and len(steps.parts) == capture.MOST_KEYS


def test_no_more_graphs_are_made_than_there_is_memory_for():
    graphs = Graphs()
    steps = StepCapture("graph", CPU, graphs)
    for _ in range(capture.WARM_UPS + 2):
        for key in range(capture.MOST_GRAPHS + 2):
            assert run(steps, 3.0, key) == 6.0
    assert graphs.made == capture.MOST_GRAPHS


def test_the_recorder_gets_the_generators():
    graphs, random = Graphs(), [torch.Generator()]
    steps = StepCapture("graph", CPU, graphs)
    for _ in range(capture.WARM_UPS + 1):
        steps.run("update", None, lambda x: x.sum(), [torch.ones(2)], random)
    assert graphs.generators is random


@pytest.mark.parametrize(("slow", "is_kept"), [("eager", True), ("graph", False)])
def test_auto_keeps_what_is_faster(slow, is_kept):
    steps = StepCapture("auto", CPU, Graphs(seconds=0.02 if slow == "graph" else 0.0))
    calls = 0

    def function(x):
        nonlocal calls
        calls += 1
        if slow == "eager" and calls <= capture.WARM_UPS + capture.TRIAL:
            time.sleep(0.02)
        return x * 2

    for number in range(capture.WARM_UPS + 2 * capture.TRIAL + 4):
        value = torch.tensor([float(number)])
        assert steps.run("update", None, function, [value], []).item() == 2 * number
    (part,) = steps.parts.values()
    assert bool(part.recording) == is_kept
    assert len(part.eager_seconds) == len(part.graph_seconds) == capture.TRIAL


def test_a_part_that_cannot_be_captured(capsys):
    error = RuntimeError("operation not permitted\nwhen stream is capturing")
    auto = StepCapture("auto", CPU, Graphs(error=error))
    for number in range(capture.WARM_UPS + capture.TRIAL + 5):
        assert run(auto, float(number)) == 2 * number
    told = capsys.readouterr().err.strip().splitlines()
    assert told == [
        "the step's update runs without a CUDA graph: operation not permitted when stream is "
        "capturing"
    ]
    graph = StepCapture("graph", CPU, Graphs(error=error))
    for _ in range(capture.WARM_UPS):
        run(graph, 1.0)
    with pytest.raises(UserError, match="`accelerate` graph.*not permitted.*`accelerate` off"):
        run(graph, 1.0)
