"""What the contrastive losses refuse, and that they say what, how much and what was expected."""

import math

import pytest
import torch

import losses
from losses import common
from tests.losses.contrasts import CASES, rows

A, B = rows(4), rows(4, seed=1)
LABELS = torch.arange(4)
PROTOTYPES = ([rows(3)], [torch.tensor([0, 1, 2, 0])], [torch.ones(3)])


def broken(value, at=(2, 1)):
    values = rows(4)
    values[at] = value
    return values


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("side", [0, 1])
def test_numbers_that_are_not_finite(name, value, side):
    inputs = [A, B]
    inputs[side] = broken(value)
    place = r"\[6, 1\]" if name == "sup_con" and side else r"\[2, 1\]"
    with pytest.raises(ValueError, match=rf"hold {value} at {place}, expected finite"):
        CASES[name].loss(*inputs)


@pytest.mark.parametrize("name", CASES)
def test_where_values_are_not_checked_nan_comes_out(name, monkeypatch):
    """As on a GPU, where a look would wait."""
    monkeypatch.setattr(common, "values_are_checked", lambda _: False)
    a = broken(math.nan)
    if name == "nnclr":  # whose case looks at the values of views
        found = losses.nnclr(A, B, rows(3), predictions=(a, B))
    else:
        found = CASES[name].loss(a, B)
    assert found.isnan()


@pytest.mark.parametrize("name", [name for name in CASES if name != "sup_con"])
@pytest.mark.parametrize("shapes", [((4, 5), (3, 5)), ((4, 5), (4,)), ((4, 5), (4, 5, 1))])
def test_rows_that_do_not_pair(name, shapes):
    inputs = [torch.ones(shape).double() for shape in shapes]
    with pytest.raises(ValueError, match=r"\[4, 5\].*\[(3, 5|4|4, 5, 1)\]|is not \[N, D\]"):
        CASES[name].loss(*inputs)


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("shape", [(0, 5), (4, 0), (0, 0), (5,), (2, 4, 5)])
def test_empty_tensors_and_other_dimensions(name, shape):
    values = torch.zeros(shape, dtype=torch.double)
    with pytest.raises(ValueError, match=r"is not \[N, D\]|are not|must be"):
        CASES[name].loss(values, values)


@pytest.mark.parametrize("name", [name for name in CASES if name != "curl"])
def test_integers(name):
    with pytest.raises(ValueError, match="torch.int64, not floating-point"):
        CASES[name].loss(torch.ones(4, 5).long(), torch.ones(4, 5).long())


@pytest.mark.parametrize("temperature", [0, -0.5, math.nan, math.inf])
@pytest.mark.parametrize(
    "loss",
    [
        lambda **t: losses.info_nce(A, B, **t),
        lambda **t: losses.nt_xent(A, B, **t),
        lambda **t: losses.decoupled_nt_xent(A, B, **t),
        lambda **t: losses.sup_con(A, LABELS, **t),
        lambda **t: losses.moco(A, B, rows(3), **t),
        lambda **t: losses.nnclr(A, B, rows(3), **t),
        lambda **t: losses.proto_nce(A, *PROTOTYPES, keys=B, **t),
        lambda **t: losses.proto_nce(A, *PROTOTYPES, **t),
        lambda **t: losses.concentrations(A, rows(3), PROTOTYPES[1][0], **t),
        lambda temperature: losses.clip(A, B, logit_scale=temperature),
        lambda temperature: losses.clip(A, B, logit_scale=torch.tensor(temperature)),
    ],
)
def test_temperatures_and_scales_that_are_not_finite_and_above_zero(loss, temperature):
    with pytest.raises(
        ValueError, match=rf"^(temperature|logit_scale) {temperature}: expected a finite"
    ):
        loss(temperature=temperature)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: losses.sup_con(A, torch.arange(3)), r"labels \[3\]: expected \[4\]"),
        (lambda: losses.sup_con(A, LABELS[:, None]), r"labels \[4, 1\]: expected \[4\]"),
        (lambda: losses.sup_con(A, LABELS.float()), "labels are torch.float32, not integers"),
        (lambda: losses.info_nce(A, B, rows(3, 4)), r"queries \[4, 5\], negatives \[3, 4\]"),
        (lambda: losses.info_nce(A, B, rows(3)[:0]), r"negatives \[0, 5\]"),
        (lambda: losses.moco(A, B, rows(3, 4)), r"queries \[4, 5\], queue \[3, 4\]"),
        (lambda: losses.moco(A, B, rows(3)[:0]), r"queue \[0, 5\]"),
        (lambda: losses.moco(A, B, rows(3) * math.nan), r"queue hold nan at \[0, 0\]"),
        (lambda: losses.nnclr(A, B, rows(3, 4)), r"support \[3, 4\]"),
        (lambda: losses.nnclr(A, B, rows(3), predictions=(A, rows(3))), r"predictions_b \[3, 5\]"),
        (lambda: losses.nearest_neighbours(A, rows(3)[:0]), r"support \[0, 5\]"),
        (lambda: losses.curl(A, B, rows(5, 4)), r"weight \[5, 4\] is not \[5, 5\]"),
        (lambda: losses.curl(A, B, rows(5) * math.inf), "weight hold"),
        (
            lambda: losses.n_pair(A, B, penalty=-1.0),
            "penalty -1.0: expected a finite number, at least 0",
        ),
        (lambda: losses.n_pair(A, B, penalty=math.nan), "penalty nan"),
        (lambda: losses.n_pair(A, B, penalty=math.inf), "penalty inf"),
        (lambda: losses.clip(A, B, logit_scale=torch.ones(2)), r"logit_scale \[2\]"),
        (lambda: losses.LogitScale(initial=0.0), "initial 0.0"),
        (lambda: losses.LogitScale(initial=200.0), "initial 200.0.*100.0"),
        (lambda: losses.LogitScale(maximum=math.inf), "maximum inf"),
    ],
)
def test_what_belongs_to_one_loss(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def proto_nce(place, value, **options):
    arguments = list(PROTOTYPES)
    arguments[place] = value
    return losses.proto_nce(A, *arguments, **options)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: proto_nce(0, []), r"\[0, 1, 1\] clusterings"),
        (lambda: losses.proto_nce(A, [], [], []), r"\[0, 0, 0\] clusterings.*at least 1"),
        (lambda: proto_nce(0, [rows(3, 4)]), r"prototypes \[3, 4\]"),
        (lambda: proto_nce(0, [rows(3) * math.nan]), "prototypes hold nan"),
        (lambda: proto_nce(0, [rows(2)]), "assignments from 0 to 2: expected 0 to 1"),
        (lambda: proto_nce(1, [LABELS - 1]), "assignments from -1 to 2"),
        (lambda: proto_nce(1, [LABELS[:3]]), r"assignments \[3\]: expected \[4\]"),
        (lambda: proto_nce(1, [LABELS.float()]), "assignments are torch.float32"),
        (lambda: proto_nce(2, [torch.ones(4)]), r"concentrations \[4\]: not \[3\]"),
        (lambda: proto_nce(2, [torch.tensor([1, 0.0, 1])]), "concentrations: smallest 0.0"),
        (
            lambda: proto_nce(2, [torch.tensor([1, math.nan, 1])]),
            r"concentrations hold nan at \[1\]",
        ),
        (lambda: proto_nce(2, [torch.tensor([1, 1, math.inf])]), "concentrations hold inf"),
        (
            lambda: proto_nce(0, rows(3)),
            r"prototypes \[3, 5\] is a tensor; give a list, one per clustering",
        ),
        (lambda: proto_nce(1, LABELS), r"assignments \[4\] is a tensor"),
        (lambda: proto_nce(2, torch.ones(3)), r"concentrations \[3\] is a tensor"),
        (lambda: losses.proto_nce(A, *PROTOTYPES, negatives=B), "negatives without keys"),
    ],
)
def test_proto_nce(call, message):
    with pytest.raises(ValueError, match=message):
        call()
