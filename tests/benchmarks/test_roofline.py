"""Multiply-adds and bytes against closed forms and PyTorch's counter; the bounds that follow."""

import json
import sys

import pytest
import torch
import torch.nn.functional as F
from torch.utils.flop_counter import FlopCounterMode

import models
from benchmarks import launches, roofline
from benchmarks.counted import Counted, Operator, counted


def adds_of(function, *shapes, backward=False):
    """Multiply-adds of a function of tensors of these shapes, or of its gradients of all."""
    tensors = [torch.randn(shape, requires_grad=backward) for shape in shapes]
    if not backward:
        return counted(lambda: function(*tensors)).multiply_adds
    y = function(*tensors)
    return counted(lambda: torch.autograd.grad(y.sum(), tensors)).multiply_adds


# (function, shapes, multiply-adds of the forward pass)
CLOSED_FORMS = {
    "convolution": (F.conv2d, [(2, 3, 9, 9), (5, 3, 3, 3)], 2 * 5 * 7 * 7 * 3 * 9),
    "strided": (
        lambda x, w: F.conv2d(x, w, stride=2, padding=1),
        [(1, 4, 8, 8), (6, 4, 4, 4)],
        6 * 4 * 4 * 4 * 16,
    ),
    "grouped": (
        lambda x, w: F.conv2d(x, w, groups=4, padding=1),
        [(2, 8, 5, 5), (12, 2, 3, 3)],
        2 * 12 * 25 * 2 * 9,
    ),
    "transposed": (
        lambda x, w: F.conv_transpose2d(x, w, stride=2),
        [(1, 3, 4, 4), (3, 5, 2, 2)],
        3 * 16 * 5 * 4,
    ),
    "linear": (F.linear, [(7, 3), (5, 3)], 7 * 3 * 5),
    "batches of products": (torch.bmm, [(2, 3, 4), (2, 4, 5)], 2 * 3 * 4 * 5),
}


@pytest.mark.parametrize("name", CLOSED_FORMS)
def test_multiply_adds_have_closed_forms(name):
    function, shapes, expected = CLOSED_FORMS[name]
    assert adds_of(function, *shapes) == expected
    assert adds_of(function, *shapes, backward=True) == 2 * expected


def test_bytes_are_those_of_what_is_read_and_written():
    x, y = torch.ones(3, 4), torch.ones(4)

    def moved(action):
        return counted(action).read_and_written

    assert moved(lambda: x + y) == 4 * (12 + 4 + 12)
    assert moved(lambda: x + x) == 4 * (12 + 12)
    assert moved(lambda: x.relu_()) == 4 * (12 + 12)
    assert moved(lambda: x + y.expand(3, 4)) == 4 * (12 + 4 + 12)  # an expanded tensor is small
    assert moved(lambda: x.bfloat16()) == 4 * 12 + 2 * 12
    assert moved(lambda: x.t()[1:]) == 0
    weight = torch.ones(5, requires_grad=True)
    weight.grad = torch.ones(5)
    adam = torch.optim.Adam([weight], fused=True)
    adam.step()
    # Weights, two moments and (so says its schema) gradients read and written, the step thrice.
    assert moved(adam.step) == 4 * 2 * 4 * 5 + 3 * 4


GENERATORS = {"cut": "resnet_6blocks", "cyclegan": "resnet_6blocks", "pix2pix": "unet_128"}


@pytest.mark.parametrize("name", GENERATORS)
def test_a_step_s_multiply_adds_are_those_of_pytorch_s_counter(name, shallow):
    narrow = {"base_channels": 4, "discriminator_channels": 4, "crop_size": 32}
    if name == "cut":
        narrow["nce_layers"] = (0, 4, 8, 12)  # fewer blocks, fewer layers
    with models.forced_few_launches(True):
        subject = launches.OURS[name](name, "fp32", generator=GENERATORS[name], **narrow)
        with Counted() as ours:
            subject.step(0)
        with FlopCounterMode(display=False) as theirs:
            subject.step(1)
    assert 2 * ours.multiply_adds == theirs.get_total_flops()


def test_without_computing_the_counts_are_those_of_a_real_step():
    narrow = {"base_channels": 4, "discriminator_channels": 4, "nce_channels": 16}
    found = roofline.operators_of("cut", 32, 1, "bf16", **narrow)
    with models.forced_few_launches(True):
        step = roofline.translator("cut", 32, 1, "bf16", **narrow)
        step()
        real = counted(step)
    assert found.multiply_adds == real.multiply_adds
    assert found.launches.total() == pytest.approx(real.launches.total(), rel=0.01)
    assert found.read_and_written == pytest.approx(real.read_and_written, rel=0.01)


def test_the_bound_is_the_slower_limit_of_each_operator():
    step = Counted()
    step.operators = [
        Operator("mm", 1, 10, 4),
        Operator("add", 1, 0, 30),
        Operator("norm", 2, 0, 6),
    ]
    found = roofline.bounds(step, matrix_rate=2.0, bandwidth=1.0, launch_seconds=0.5)
    assert found["arithmetic_ms"] == 10_000 and found["memory_ms"] == 40_000
    assert found["bound_ms"] == 10_000 + 30_000 + 6_000 and found["launches_ms"] == 2_000


def test_the_command_prints_a_row_a_step(monkeypatch, capsys):
    arguments = ["--only", "cut", "progressive", "--batch", "4", "--matrix_rate", "1e12"]
    arguments += ["--size", "32"]
    monkeypatch.setattr(sys, "argv", ["roofline.py", *arguments])
    roofline.main()
    *table, last = capsys.readouterr().out.splitlines()
    rows = json.loads(last)["rows"]
    assert [row["step"] for row in rows] == ["cut", "progressive"] and len(table) == 4
    assert [row["px"] for row in rows] == [32, 32]
    assert all(row["arithmetic_ms"] == pytest.approx(2 * row["gmac"]) for row in rows)


@pytest.mark.parametrize(
    "given", [["--matrix_rate", "0"], ["--bandwidth", "-1"], ["--batch", "0"], ["--only", "none"]]
)
def test_limits_that_are_none_are_refused(given, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["roofline.py", *given])
    with pytest.raises(SystemExit) as end:
        roofline.main()
    assert end.value.code == 2 and given[0] in capsys.readouterr().err
