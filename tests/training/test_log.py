"""Means of losses, losses that are not finite, and the lines of a resumed run."""

import json
import math

import pytest
import torch

from training.log import LossMeans, NonFiniteLossError, RunLog, log_lines
from training.run_folder import RunFolder

CPU = torch.device("cpu")


def losses(**values):
    return {name: torch.tensor(value) for name, value in values.items()}


def test_means_are_over_the_steps_since_the_last_line():
    means = LossMeans(CPU)
    means.add(losses(a=1.0, b=2.0), 0)
    means.add(losses(a=3.0, b=2.0), 1)
    assert means.take() == {"a": 2.0, "b": 2.0}
    means.add(losses(a=7.0, b=0.0), 2)
    assert means.take() == {"a": 7.0, "b": 0.0}


def test_means_go_on_from_a_saved_state():
    means, again = LossMeans(CPU), LossMeans(CPU)
    means.add(losses(a=1.0), 0)
    again.load_state_dict(means.state_dict())
    for each in (means, again):
        each.add(losses(a=2.0), 1)
    assert means.take() == again.take() == {"a": 1.5}


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_the_first_step_and_the_name_of_a_loss_that_is_not_finite(bad):
    means = LossMeans(CPU)
    means.add(losses(a=1.0, b=1.0), 0)
    means.add(losses(a=1.0, b=bad), 4)
    means.add(losses(a=bad, b=bad), 8)
    with pytest.raises(NonFiniteLossError) as caught:
        means.take()
    assert (caught.value.name, caught.value.images_seen) == ("b", 4)


def test_a_loss_that_comes_or_goes_is_our_mistake():
    means = LossMeans(CPU)
    means.add(losses(a=1.0), 0)
    with pytest.raises(ValueError, match="differ from"):
        means.add(losses(b=1.0), 1)


def test_a_resumed_log_reads_like_one_that_was_never_stopped(tmp_path):
    run = RunFolder(tmp_path)
    for start, lines in ((0, (10, 20, 30)), (20, (30, 40))):
        log = RunLog(run, start, 40)
        for images_seen in lines:
            log.line(images_seen, {"loss": float(images_seen)}, CPU)
        log.close()
        with open(run.log, "a") as file:
            file.write('{"images": 35, "lo')  # killed while writing
    RunLog(run, 40, 40).close()
    assert [line["images"] for line in log_lines(run.log)] == [10, 20, 30, 40]
    fields = json.loads(run.log.read_text().splitlines()[0])
    assert fields.keys() == {"images", "loss", "images_per_second", "peak_memory_gb"}
