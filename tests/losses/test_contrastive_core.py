"""The core: its formula written out, what leaves the mean, what it refuses."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import losses
from losses import masked_info_nce
from losses.common import check_finite
from tests.losses.contrasts import rows


def masks(shape, seed):
    generator = torch.Generator().manual_seed(seed)
    return (torch.rand(2, *shape, generator=generator) < 0.5).unbind()


def written_out(logits, positives, candidates):
    """The formula row by row; None where the row leaves the mean."""
    found = []
    for s, p, a in zip(logits.tolist(), positives.tolist(), candidates.tolist(), strict=True):
        if not any(p) or not any(a):
            found.append(None)
            continue
        partition = math.log(
            sum(math.exp(value) for value, is_in in zip(s, a, strict=True) if is_in)
        )
        terms = [value - partition for value, is_in in zip(s, p, strict=True) if is_in]
        found.append(-sum(terms) / len(terms))
    return found


@given(number=st.integers(1, 5), width=st.integers(1, 5), seed=st.integers(0, 200))
def test_equals_the_formula_written_out(number, width, seed):
    logits = rows(number, width, seed=seed) * 3
    positives, candidates = masks((number, width), seed)
    expected = written_out(logits, positives, candidates)
    each = masked_info_nce(logits, positives, candidates, reduction="none")
    assert each.tolist() == pytest.approx([value or 0 for value in expected])
    counted = [value for value in expected if value is not None]
    mean = sum(counted) / max(len(counted), 1)
    assert masked_info_nce(logits, positives, candidates).item() == pytest.approx(mean)


def test_all_are_candidates_by_default_and_leading_dimensions_stay():
    logits = rows(12, 4).view(2, 6, 4)
    positives, everything = masks(logits.shape, 1)[0], torch.ones(2, 6, 4, dtype=torch.bool)
    each = masked_info_nce(logits, positives, reduction="none")
    assert each.shape == (2, 6)
    assert torch.equal(each, masked_info_nce(logits, positives, everything, reduction="none"))
    flat = masked_info_nce(logits.flatten(0, 1), positives.flatten(0, 1))
    assert torch.allclose(flat, masked_info_nce(logits, positives))


def test_rows_without_a_positive_or_a_candidate_leave_the_mean():
    logits = torch.zeros(3, 4, requires_grad=True)
    positives, candidates = torch.ones(2, 3, 4, dtype=torch.bool).unbind()
    positives, candidates = positives.clone(), candidates.clone()
    positives[0], candidates[1] = False, False
    loss = masked_info_nce(logits, positives, candidates)
    assert loss.item() == pytest.approx(math.log(4))  # of the third row alone, not a third of it
    loss.backward()
    assert logits.grad.isfinite().all() and (logits.grad[:2] == 0).all()


@pytest.mark.parametrize("shape", [(3, 4), (0, 4), (3, 0), (0, 0)])
def test_an_empty_set_gives_zero_with_a_graph(shape):
    logits = torch.zeros(shape, requires_grad=True)
    nothing = torch.zeros(shape, dtype=torch.bool)
    for loss in (masked_info_nce(logits, nothing), masked_info_nce(logits, ~nothing, nothing)):
        assert loss.item() == 0
        loss.backward()
    assert (logits.grad == 0).all()


def test_gradient():
    logits = rows(4, 5).requires_grad_()
    positives, candidates = masks((4, 5), 3)
    assert torch.autograd.gradcheck(
        lambda values: masked_info_nce(values, positives, candidates), logits
    )


def test_large_logits_neither_overflow_nor_vanish():
    logits = torch.tensor([[1e4, 0.0], [0.0, 1e4]])
    diagonal = torch.eye(2, dtype=torch.bool)
    assert masked_info_nce(logits, diagonal).item() == 0
    assert masked_info_nce(logits, ~diagonal).item() == pytest.approx(1e4)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_raised(dtype):
    assert masked_info_nce(torch.zeros(2, 2, dtype=dtype), torch.eye(2) > 0).dtype == torch.float32


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((torch.zeros(3), torch.ones(3) > 0), r"logits \[3\]"),
        ((torch.zeros(2, 3).long(), torch.ones(2, 3) > 0), "torch.int64"),
        ((torch.zeros(2, 3), torch.ones(3, 2) > 0), r"positives \[3, 2\].*\[2, 3\]"),
        ((torch.zeros(2, 3), torch.ones(2, 3)), "positives.*float32.*bool"),
        ((torch.zeros(2, 3), torch.ones(2, 3) > 0, torch.ones(2) > 0), r"candidates \[2\]"),
        ((torch.zeros(2, 3), torch.ones(2, 3) > 0, None, "sum"), "reduction 'sum'"),
    ],
)
def test_bad_input_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        masked_info_nce(*arguments)


@pytest.mark.parametrize("broken", [math.nan, math.inf])
def test_nan_is_refused_where_it_counts_and_only_there(broken):
    logits = torch.zeros(2, 3)
    logits[1, 2] = broken
    seen, unseen = torch.ones(2, 3, dtype=torch.bool), torch.ones(2, 3, dtype=torch.bool)
    unseen[1, 2] = False
    with pytest.raises(ValueError, match=r"logits.* at \[1\]"):
        masked_info_nce(logits, unseen, seen)
    with pytest.raises(ValueError, match=r"logits.* at \[1\]"):
        masked_info_nce(logits, seen, unseen)
    found = masked_info_nce(logits, unseen, unseen, reduction="none")
    assert found.tolist() == pytest.approx([math.log(3), math.log(2)])


def test_finite_numbers_with_an_infinite_sum_are_finite():
    check_finite("rows", torch.full((4,), 3e38))


def diagonal(number):
    return torch.eye(number, dtype=torch.bool)


def lengths_one(values):
    return values / values.norm(dim=1, keepdim=True)


def test_every_loss_is_the_core_with_its_own_positives_and_candidates():
    a, b, others, weight = rows(5), rows(5, seed=1), rows(7, seed=2), rows(5, seed=3)
    unit_a, unit_b, queue = map(lengths_one, (a, b, others))
    views, own = torch.cat([unit_a, unit_b]), diagonal(10)
    partner, single = own.roll(5, 1), diagonal(5)
    to_queue = torch.cat([(unit_a * unit_b).sum(1, keepdim=True), unit_a @ queue.T], 1)
    first = torch.zeros_like(to_queue, dtype=torch.bool)
    first[:, 0] = True
    pairs = 9.0 * unit_a @ unit_b.T
    assignments, phi = torch.tensor([0, 6, 2, 2, 5]), torch.linspace(0.1, 0.4, 7).double()
    near = lengths_one(others)[(unit_a @ queue.T).argmax(1)]
    near_b = lengths_one(others)[(unit_b @ queue.T).argmax(1)]
    core = masked_info_nce
    equal = {
        "info_nce": (losses.info_nce(a, b, temperature=2), core(a @ b.T / 2, single)),
        "nt_xent": (losses.nt_xent(a, b), core(views @ views.T / 0.5, partner, ~own)),
        "decoupled_nt_xent": (
            losses.decoupled_nt_xent(a, b),
            core(views @ views.T / 0.1, partner, ~own & ~partner),
        ),
        "moco": (losses.moco(a, b, others), core(to_queue / 0.07, first)),
        "nnclr": (
            losses.nnclr(a, b, others),
            (core(near @ unit_b.T / 0.1, single) + core(near_b @ unit_a.T / 0.1, single)) / 2,
        ),
        "clip": (
            losses.clip(a, b, logit_scale=9.0),
            (core(pairs, single) + core(pairs.T, single)) / 2,
        ),
        "n_pair": (losses.n_pair(a, b), core(a @ b.T, single)),
        "curl": (losses.curl(a, b, weight), core(a @ weight @ b.T, single)),
        "proto_nce": (
            losses.proto_nce(a, [others], [assignments], [phi]),
            core(unit_a @ queue.T / phi, torch.nn.functional.one_hot(assignments, 7) > 0),
        ),
    }
    for name, (ours, expected) in equal.items():
        assert ours.item() == pytest.approx(expected.item(), rel=1e-9), name
