"""A flag of one process is seen by all of them at the same step, and not asked for at each."""

import json

import pytest
import torch

import training
from tests.processes import run_together
from training import distributed

STEPS, RAISED_AT = 60, 21


def ask_at_every_step(folder, seconds_a_step):
    """Write the steps at which this process asked the others and at which it saw the flag."""
    processes = training.places_from_environment()
    asked = []
    with training.process_group(processes, torch.device("cpu")):
        all_reduce = distributed.dist.all_reduce

        def counting(*arguments, **options):
            asked.append(step)
            return all_reduce(*arguments, **options)

        distributed.dist.all_reduce = counting
        elapsed = seconds_a_step * (1 + processes.rank)  # the second process is the slower one
        distributed.time.monotonic = lambda: elapsed * step
        step, seen = -1, None
        flag = distributed.SharedFlag()
        for step in range(STEPS):
            if flag.is_up(processes.rank == 1 and step >= RAISED_AT):
                seen = step
                break
    (folder / f"{processes.rank}.json").write_text(json.dumps([asked, seen]))


@pytest.mark.parametrize(("seconds_a_step", "most"), [(1e-4, 16), (0.1, 2), (2.0, 1)])
def test_processes_agree_when_to_ask_and_stop_together(tmp_path, seconds_a_step, most):
    run_together(ask_at_every_step, tmp_path, seconds_a_step)
    (asked, seen), other = (json.loads((tmp_path / f"{n}.json").read_text()) for n in (0, 1))
    assert [asked, seen] == other
    assert RAISED_AT <= seen < RAISED_AT + most
    assert max(later - one for one, later in zip(asked, asked[1:], strict=False)) <= most
    assert len(asked) <= 3 + seen / most


def test_one_process_asks_nobody():
    flag = distributed.SharedFlag()
    assert [flag.is_up(own) for own in (False, True, False)] == [False, True, False]
