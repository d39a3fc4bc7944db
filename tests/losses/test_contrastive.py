"""Contrastive losses against their papers written out, closed forms, symmetries."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import losses
from losses import similarity
from tests.losses.contrasts import CASES, class_labels, rows
from tests.losses.papers import dcl, dwibedi, he, khosla, laskin, li, radford, share, simclr, sohn


@given(number=st.integers(1, 5), width=st.integers(1, 4), seed=st.integers(0, 50))
@settings(max_examples=30)
def test_equal_the_papers_written_out(number, width, seed):
    a, b = (rows(number, width, seed=2 * seed + view) for view in (0, 1))
    others, w = rows(6, width, seed=seed), rows(width, width, seed=seed)
    t = [0.1, 0.5, 2.0][seed % 3]
    found = {
        "info_nce": losses.info_nce(a, b, temperature=t),
        "info_nce with negatives": losses.info_nce(a, b, others, temperature=t),
        "nt_xent": losses.nt_xent(a, b, temperature=t),
        "moco": losses.moco(a, b, others, temperature=t),
        "nnclr": losses.nnclr(a, b, others, temperature=t),
        "clip": losses.clip(a, b, logit_scale=1 / t),
        "n_pair": losses.n_pair(a, b, penalty=t),
        "curl": losses.curl(a, b, w),
    }
    expected = {
        "info_nce": sum(share((a[i] @ b.T / t).tolist(), i) for i in range(number)) / number,
        "info_nce with negatives": sum(
            share([float(a[i] @ b[i]) / t, *(others @ a[i] / t).tolist()], 0) for i in range(number)
        )
        / number,
        "nt_xent": simclr(a, b, t),
        "moco": he(a, b, others, t),
        "nnclr": dwibedi(a, b, a, b, others, t),
        "clip": radford(a, b, 1 / t),
        "n_pair": sohn(a, b, t),
        "curl": laskin(a, b, w),
    }
    if number > 1:
        found["decoupled_nt_xent"] = losses.decoupled_nt_xent(a, b, temperature=t)
        expected["decoupled_nt_xent"] = dcl(a, b, t)
    for name, value in found.items():
        assert value.item() == pytest.approx(expected[name], rel=1e-9, abs=1e-9), name


@given(labels=st.lists(st.integers(-2, 3), min_size=1, max_size=7), seed=st.integers(0, 50))
@settings(max_examples=30)
def test_sup_con_equals_the_paper_and_the_core_with_masks(labels, seed):
    labels, z = torch.tensor(labels), rows(len(labels), seed=seed)
    ours = losses.sup_con(z, labels, temperature=0.4)
    assert ours.item() == pytest.approx(khosla(z, labels, 0.4), abs=1e-9)
    units, others = z / z.norm(dim=1, keepdim=True), ~torch.eye(len(z), dtype=torch.bool)
    same = labels[:, None] == labels
    core = losses.masked_info_nce(units @ units.T / 0.4, same & others, others, "none")
    each = losses.sup_con(z, labels, temperature=0.4, reduction="none")
    assert torch.allclose(each, core, atol=1e-12)


@pytest.mark.parametrize("clusterings", [1, 2])
def test_proto_nce_equals_the_paper(clusterings):
    v, keys, negatives = rows(6), rows(6, seed=1), rows(4, seed=2)
    prototypes = [rows(k, seed=k) for k in (3, 2)][:clusterings]
    assignments = [torch.tensor([0, 1, 2, 2, 1, 0]), torch.tensor([1, 0, 0, 1, 1, 0])][:clusterings]
    phi = [torch.tensor([0.2, 0.1, 0.5]), torch.tensor([0.3, 0.15])][:clusterings]
    phi = [values.double() for values in phi]
    prototype_term = losses.proto_nce(v, prototypes, assignments, phi)
    both = losses.proto_nce(v, prototypes, assignments, phi, keys=keys, temperature=0.3)
    assert both.item() == pytest.approx(li(v, keys, prototypes, assignments, phi, 0.3))
    against = losses.proto_nce(v, prototypes, assignments, phi, keys=keys, negatives=negatives)
    assert (against - prototype_term).item() == pytest.approx(he(v, keys, negatives, 0.1))


@pytest.mark.parametrize("number", [1, 2, 7])
def test_identical_rows_give_the_logarithm_of_the_number_of_candidates(number):
    same = rows(1).expand(number, 5)
    zero, twice = same * 0, torch.cat([same, same])
    prototypes, assignments = [rows(1).expand(3, 5)], [torch.arange(number) % 3]
    expected = [
        (losses.nt_xent(same, same), 2 * number - 1),
        (losses.decoupled_nt_xent(same, same), max(2 * number - 2, 1)),
        (losses.sup_con(twice, torch.arange(number).repeat(2)), 2 * number - 1),
        (losses.sup_con(twice, torch.zeros(2 * number).long()), 2 * number - 1),
        (losses.info_nce(same, same), number),
        (losses.clip(same, same), number),
        (losses.clip(zero, zero), number),
        (losses.n_pair(same, same), number),
        (losses.nnclr(same, same, rows(4)), number),
        (losses.curl(same, same, rows(5, seed=1)), number),
        (losses.moco(same, same, rows(1).expand(4, 5)), 4 + 1),
        (losses.proto_nce(same, prototypes, assignments, [torch.ones(3).double()]), 3),
    ]
    for loss, candidates in expected:
        assert loss.item() == pytest.approx(math.log(candidates), abs=1e-9)


@pytest.mark.parametrize("name", CASES)
def test_the_mean_is_that_of_the_elements(name):
    a, b = rows(6), rows(6, seed=1)
    each = CASES[name].loss(a, b, reduction="none")
    assert each.shape == ((12,) if name in ("nt_xent", "decoupled_nt_xent", "sup_con") else (6,))
    assert torch.allclose(CASES[name].loss(a, b), each.mean())
    with pytest.raises(ValueError, match="reduction 'sum'"):
        CASES[name].loss(a, b, reduction="sum")


@pytest.mark.parametrize("name", CASES)
def test_gradients(name):
    case = CASES[name]
    inputs = [rows(4, 3), rows(4, 3, seed=1)]
    for tensor in inputs[: case.learning]:
        tensor.requires_grad_()
    assert torch.autograd.gradcheck(case.loss, inputs)
    inputs = [tensor.detach().requires_grad_() for tensor in inputs]
    case.loss(*inputs).backward()
    learns = [tensor.grad is not None and tensor.grad.any().item() for tensor in inputs]
    assert learns == [True, case.learning == 2]


def test_gradients_of_the_scale_and_of_the_bilinear_weight():
    a, b, scale = rows(4, 3), rows(4, 3, seed=1), torch.tensor(3.0, dtype=torch.double)
    weight = rows(3, 3, seed=2).requires_grad_()
    assert torch.autograd.gradcheck(
        lambda s: losses.clip(a, b, logit_scale=s), scale.requires_grad_()
    )
    assert torch.autograd.gradcheck(lambda w: losses.curl(a, b, w), weight)


def test_the_gradients_gradient():
    a, b = rows(3, 2).requires_grad_(), rows(3, 2, seed=1).requires_grad_()
    assert torch.autograd.gradgradcheck(losses.nt_xent, (a, b))


@pytest.mark.parametrize("name", CASES)
def test_blocks_of_rows_equal_the_whole(name, monkeypatch):
    results = []
    for elements in (similarity.BLOCK_ELEMENTS, 25):  # 12 columns: two rows at a time
        monkeypatch.setattr(similarity, "BLOCK_ELEMENTS", elements)
        a, b = rows(6).requires_grad_(), rows(6, seed=1).requires_grad_()
        loss = CASES[name].loss(a, b)
        loss.backward()
        results.append((loss.detach(), a.grad))
    assert all(map(torch.allclose, *results))


@pytest.mark.parametrize("name", [name for name in CASES if name not in ("sup_con", "proto_nce")])
def test_the_order_of_pairs_does_not_matter(name):
    a, b, order = rows(6), rows(6, seed=1), torch.tensor([3, 0, 5, 1, 4, 2])
    each, mean = (CASES[name].loss(a, b, reduction=reduction) for reduction in ("none", "mean"))
    assert torch.allclose(CASES[name].loss(a[order], b[order]), mean)
    moved = CASES[name].loss(a[order], b[order], reduction="none")
    assert torch.allclose(moved[:6], each[:6][order])


def test_the_order_of_rows_does_not_matter_if_their_labels_go_with_them():
    z, order = rows(6), torch.tensor([3, 0, 5, 1, 4, 2])
    labels = class_labels(6)
    assert torch.allclose(losses.sup_con(z[order], labels[order]), losses.sup_con(z, labels))
    assert not torch.isclose(losses.sup_con(z[order], labels), losses.sup_con(z, labels))
    names = torch.tensor([5, -2, 9])  # what the classes are called does not matter either
    assert torch.allclose(losses.sup_con(z, names[labels]), losses.sup_con(z, labels))
    prototypes, phi = [rows(3, seed=1)], [torch.ones(3).double()]
    moved = losses.proto_nce(z[order], prototypes, [labels[order]], phi)
    assert torch.allclose(moved, losses.proto_nce(z, prototypes, [labels], phi))


@pytest.mark.parametrize("name", ["nt_xent", "decoupled_nt_xent", "clip", "nnclr", "sup_con"])
def test_the_two_sides_may_be_swapped(name):
    a, b = rows(6), rows(6, seed=1)
    assert torch.allclose(CASES[name].loss(a, b), CASES[name].loss(b, a))


@pytest.mark.parametrize(
    "name", ["nt_xent", "decoupled_nt_xent", "sup_con", "moco", "nnclr", "clip", "proto_nce"]
)
def test_lengths_do_not_matter_where_rows_are_normalised(name):
    a, b, factors = rows(6), rows(6, seed=1), rows(6, 1, seed=2).abs() * 100
    assert torch.allclose(CASES[name].loss(a * factors, b), CASES[name].loss(a, b))


def test_lengths_matter_where_they_are_not():
    a, b = rows(6), rows(6, seed=1)
    for name in ("info_nce", "n_pair", "curl"):
        assert not torch.isclose(CASES[name].loss(2 * a, b), CASES[name].loss(a, b), rtol=0.01)


@pytest.mark.parametrize("name", CASES)
@given(
    number=st.integers(1, 6),
    width=st.integers(1, 4),
    zeros=st.integers(0, 2),
    dtype=st.sampled_from([torch.float32, torch.float64, torch.bfloat16]),
    seed=st.integers(0, 50),
)
@settings(max_examples=12)
def test_any_shape_and_rows_of_zeros_give_finite_values_and_gradients(
    name, number, width, zeros, dtype, seed
):
    a, b = rows(number, width, seed, dtype), rows(number, width, seed + 1, dtype)
    a[:zeros] = 0
    a, b = a.requires_grad_(), b.requires_grad_()
    loss = CASES[name].loss(a, b)
    assert loss.isfinite() and loss.dtype == torch.promote_types(dtype, torch.float32)
    assert name == "decoupled_nt_xent" or loss.item() >= -1e-6
    loss.backward()
    for tensor in (a, b)[: CASES[name].learning]:
        assert tensor.grad.isfinite().all() and tensor.grad.abs().max() < 1e4


@pytest.mark.parametrize(
    "name", ["info_nce", "nt_xent", "decoupled_nt_xent", "nnclr", "clip", "curl"]
)
def test_one_row_alone_has_no_negatives_and_gives_zero(name):
    a, b = rows(1).requires_grad_(), rows(1, seed=1)
    loss = CASES[name].loss(a, b)
    loss.backward()
    assert loss.item() == pytest.approx(0, abs=1e-12)
    assert a.grad is None or a.grad.abs().max() < 1e-9


@pytest.mark.parametrize("number", [1, 4])
def test_sup_con_of_rows_alone_in_their_class_is_zero_with_a_graph(number):
    z = rows(number).requires_grad_()
    loss = losses.sup_con(z, torch.arange(number))
    loss.backward()
    assert loss.item() == 0 and (z.grad == 0).all()


def test_a_row_of_zeros_takes_the_gradient_as_it_comes():
    zero = torch.zeros(1, 3, requires_grad=True)
    (similarity.unit(zero) * torch.tensor([[1.0, 2.0, 3.0]])).sum().backward()
    assert zero.grad.tolist() == [[1.0, 2.0, 3.0]]


@pytest.mark.parametrize("name", CASES)
def test_autocast_reaches_nothing(name):
    a, b = rows(8, dtype=torch.float32), rows(8, seed=1, dtype=torch.float32)
    with torch.autocast("cpu", torch.bfloat16):
        under = CASES[name].loss(a, b)
    assert torch.equal(under, CASES[name].loss(a, b))


@pytest.mark.parametrize("name", CASES)
def test_a_network_under_autocast_changes_the_loss_by_less_than_a_hundredth(name):
    generator = torch.Generator().manual_seed(0)
    pictures = torch.randn(48, 32, generator=generator)
    views = [pictures + 0.5 * torch.randn(48, 32, generator=generator) for _ in range(2)]
    weight = torch.randn(32, 16, generator=generator) / 32**0.5

    def run():
        return CASES[name].loss(*(view @ weight for view in views))

    with torch.autocast("cpu", torch.bfloat16):
        under = run()
    assert under.dtype == torch.float32
    assert under.item() == pytest.approx(run().item(), rel=0.01)
    assert under.item() != run().item()


def test_a_small_loss_survives_autocast():
    """In bfloat16 the similarities of 0.5 and 1 over 0.07 give 0 where the loss is 1e-3."""
    a = torch.eye(2).float()
    with torch.autocast("cpu", torch.bfloat16):
        loss = losses.clip(a, a + 0.5 * a.flip(0), logit_scale=1 / 0.07)
    # -log of a share of nearly 1: float32 rounds the share by 1e-7, whatever is left of it.
    assert loss.item() == pytest.approx(radford(a, a + 0.5 * a.flip(0), 1 / 0.07), abs=5e-7)


def test_the_scale_starts_at_the_papers_and_stops_at_a_hundred():
    scale = losses.LogitScale()
    assert scale().item() == pytest.approx(1 / 0.07)
    with torch.no_grad():
        scale.log_scale.fill_(9.0)
    above = scale()
    assert above.item() == pytest.approx(100)
    above.backward()
    assert scale.log_scale.grad.item() == pytest.approx(100)  # a clamp in the graph would give 0
    assert [name for name, _ in scale.named_parameters()] == ["log_scale"]


def test_the_scale_learns_to_sharpen_right_pairings():
    scale = losses.LogitScale(initial=2.0)
    optimizer = torch.optim.SGD(scale.parameters(), lr=0.5)
    for _ in range(3):
        optimizer.zero_grad()
        losses.clip(torch.eye(4), torch.eye(4), logit_scale=scale()).backward()
        optimizer.step()
    assert scale().item() > 2.0


def test_unlike_dtypes_are_computed_in_the_wider():
    a, b, n, w = (rows(5, seed=seed, dtype=torch.float32) for seed in range(4))
    phi, places = torch.full((5,), 0.2), torch.tensor([0, 1, 2, 3, 4])
    calls = [
        (losses.info_nce, (a, b)),
        (losses.info_nce, (a, b, n)),
        (losses.nt_xent, (a, b)),
        (losses.decoupled_nt_xent, (a, b)),
        (losses.moco, (a, b, n)),
        (losses.nnclr, (a, b, n)),
        (losses.clip, (a, b)),
        (losses.n_pair, (a, b)),
        (losses.curl, (a, b, w)),
        (lambda v, c: losses.proto_nce(v, [c], [places], [phi.to(v.dtype)]), (a, b)),
        (losses.class_softmax, (a, places, w)),
        (losses.modified_softmax, (a, places, w)),
        (lambda *v: losses.mahalanobis_distances(*v).mean(), (a, b, w)),
        (lambda *v: losses.nearest_neighbours(*v).mean(), (a, b)),
        (losses.contrastive, (a, b, places > 2)),
        (losses.open_world_contrastive, (a, places, b)),
    ]
    for function, arguments in calls:
        doubles = [x.double() if x.is_floating_point() else x for x in arguments]
        for inputs in ((doubles[0], *arguments[1:]), (arguments[0], *doubles[1:])):
            found = function(*inputs)
            assert found.dtype == torch.float64
            assert found.item() == pytest.approx(function(*doubles).item(), rel=1e-5)
