"""Pairs, triplets as rows, distances: torch's own losses, closed forms."""

import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from pytorch_metric_learning.distances import LpDistance
from pytorch_metric_learning.losses import ContrastiveLoss
from pytorch_metric_learning.reducers import MeanReducer

from losses import (
    common,
    contrastive,
    mahalanobis_distances,
    mined_triplet_margin,
    triplet_margin,
)

FORMS = ["linear", "squared", "squared_distance"]


def rows(count=6, channels=4, seed=0, dtype=torch.float32):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(count, channels, generator=generator, dtype=dtype)


def value_and_gradient(function, *vectors):
    leaves = [vector.clone().requires_grad_() for vector in vectors]
    value = function(*leaves)
    return value.detach(), torch.autograd.grad(value, leaves)


def equal(ours, theirs):
    gradients = zip(ours[1], theirs[1], strict=True)
    same = all(torch.allclose(a, b, rtol=1e-5, atol=1e-6) for a, b in gradients)
    return same and torch.allclose(ours[0], theirs[0], rtol=1e-5, atol=1e-6)


def literal(first, second, same, margin, form):
    total = 0.0
    for x, y, like in zip(first.tolist(), second.tolist(), same.tolist(), strict=True):
        distance = math.sqrt(sum((a - b) ** 2 for a, b in zip(x, y, strict=True)))
        if form == "linear":
            total += distance if like else max(margin - distance, 0)
        elif form == "squared":
            total += distance**2 if like else max(margin - distance, 0) ** 2
        else:
            total += distance**2 if like else max(margin - distance**2, 0)
    return total / len(first)


@given(
    count=st.integers(1, 6),
    channels=st.integers(1, 4),
    like=st.sampled_from(["all", "none", "some"]),
    margin=st.sampled_from([0.5, 2.0]),
    form=st.sampled_from(FORMS),
    seed=st.integers(0, 50),
)
def test_contrastive_equals_the_sum_written_out(count, channels, like, margin, form, seed):
    first, second = rows(count, channels, seed), rows(count, channels, seed + 1)
    same = {"all": torch.ones(count), "none": torch.zeros(count)}.get(like, torch.arange(count) % 2)
    found = contrastive(first, second, same.bool(), margin=margin, form=form).item()
    assert found == pytest.approx(literal(first, second, same, margin, form), rel=1e-5, abs=1e-6)


def test_linear_contrastive_is_torchs_hinge_embedding_loss():
    same = torch.tensor([1, 0, 1, 0, 0, 1])
    theirs = torch.nn.HingeEmbeddingLoss(margin=2.5)
    assert equal(
        value_and_gradient(
            lambda x, y: contrastive(x, y, same, margin=2.5, form="linear"), rows(), rows(seed=1)
        ),
        value_and_gradient(
            lambda x, y: theirs((x - y).norm(dim=1), 2 * same - 1), rows(), rows(seed=1)
        ),
    )


def test_squared_distances_inside_the_hinge_are_the_peers_contrastive_loss():
    """It averages like and unlike pairs apart, over both orders of each pair."""
    embeddings, labels = rows(8) / 2, torch.arange(8) // 2
    distance = LpDistance(normalize_embeddings=False, power=2)
    theirs = ContrastiveLoss(0, 1.5, distance=distance, reducer=MeanReducer())
    one, other = torch.triu_indices(8, 8, 1)
    same = labels[one] == labels[other]

    def ours(x):
        return sum(
            contrastive(
                x[one[kind]], x[other[kind]], same[kind], margin=1.5, form="squared_distance"
            )
            for kind in (same, ~same)
        )

    expected = value_and_gradient(lambda x: theirs(x, labels), embeddings)
    assert equal(value_and_gradient(ours, embeddings), expected)


def test_the_three_forms_at_one_half():
    """D = 1/2, m = 1: like 1/2, 1/4, 1/4; unlike 1/2, 1/4, 3/4."""
    first, second = torch.tensor([[0.0]]), torch.tensor([[0.5]])
    like, unlike = torch.tensor([True]), torch.tensor([False])
    found = [contrastive(first, second, like, form=form).item() for form in FORMS]
    assert found == [0.5, 0.25, 0.25]
    found = [contrastive(first, second, unlike, form=form).item() for form in FORMS]
    assert found == [0.5, 0.25, 0.75]


def test_squared_contrastive_is_twice_hadsells_whose_zero_means_like():
    """Hadsell et al. 2006, equation 4: (1 - Y) D^2 / 2 + Y [m - D]_+^2 / 2."""
    first, second, unlike = rows(seed=2), rows(seed=3), torch.tensor([0, 1, 1, 0, 1, 0])
    distances = (first - second).norm(dim=1)
    hadsell = (1 - unlike) * distances**2 / 2 + unlike * (3 - distances).clamp(min=0) ** 2 / 2
    ours = contrastive(first, second, 1 - unlike, margin=3.0)
    assert ours.item() == pytest.approx(2 * hadsell.mean().item(), rel=1e-5)
    assert contrastive(first, second, unlike, margin=3.0).item() != pytest.approx(ours.item())


def test_like_pairs_alone_collapse_and_unlike_pairs_keep_classes_apart():
    def spread(same):
        points = rows(4, 2).requires_grad_()
        first, second = torch.tensor([0, 2, 0, 1]), torch.tensor([1, 3, 2, 3])
        for _ in range(200):
            loss = contrastive(points[first[: len(same)]], points[second[: len(same)]], same)
            (gradient,) = torch.autograd.grad(loss, points)
            points = (points - 0.2 * gradient).detach().requires_grad_()
        return (points[0] - points[1]).norm().item(), (points[0] - points[2]).norm().item()

    like, unlike = spread(torch.tensor([True, True, False, False]))
    assert like < 0.05 and unlike > 0.9
    everything_like = torch.tensor([True, True, True, True])
    assert max(spread(everything_like)) < 0.05


@pytest.mark.parametrize("squared", [False, True])
def test_triplet_margin_equals_torchs(squared):
    theirs = (
        torch.nn.TripletMarginWithDistanceLoss(
            distance_function=lambda x, y: (x - y).square().sum(1), margin=0.7
        )
        if squared
        else torch.nn.TripletMarginLoss(margin=0.7, p=2, eps=0)
    )
    vectors = rows(9), rows(9, seed=1), rows(9, seed=2)
    ours = value_and_gradient(lambda *x: triplet_margin(*x, margin=0.7, squared=squared), *vectors)
    assert equal(ours, value_and_gradient(theirs, *vectors))


def test_no_triplet_gives_zero_with_a_graph():
    anchors = torch.zeros(0, 3, requires_grad=True)
    loss = triplet_margin(anchors, torch.zeros(0, 3), torch.zeros(0, 3))
    loss.backward()
    assert loss.item() == 0 and anchors.grad.shape == (0, 3)


def test_coinciding_rows_send_no_gradient_and_no_nan():
    point = torch.ones(2, 3, requires_grad=True)
    for form in FORMS:
        contrastive(point, point.detach(), torch.tensor([True, False]), form=form).backward()
        assert point.grad.isfinite().all()
    triplet_margin(point, point.detach(), point.detach()).backward()
    assert torch.equal(point.grad, torch.zeros(2, 3))


@pytest.mark.parametrize("form", FORMS)
def test_contrastive_does_not_care_for_order(form):
    first, second, same = rows(), rows(seed=1), torch.tensor([1, 0, 1, 0, 0, 1])
    value = contrastive(first, second, same, form=form)
    assert torch.allclose(contrastive(second, first, same, form=form), value)
    order = torch.tensor([2, 0, 5, 1, 4, 3])
    shuffled = contrastive(first[order], second[order], same[order], form=form)
    assert torch.allclose(shuffled, value)


def test_gradients_are_those_of_finite_differences():
    x, y, z = (rows(5, 3, seed, torch.double).requires_grad_() for seed in range(3))
    same = torch.tensor([1, 0, 1, 0, 0])
    for form in FORMS:
        assert torch.autograd.gradcheck(
            lambda x, y, form=form: contrastive(x, y, same, margin=2.0, form=form), (x, y)
        )
    for squared in (False, True):
        assert torch.autograd.gradcheck(
            lambda *v, squared=squared: triplet_margin(*v, squared=squared), (x, y, z)
        )
    factor = rows(2, 3, 4, torch.double).requires_grad_()
    assert torch.autograd.gradcheck(mahalanobis_distances, (x, y, factor))


def test_autocast_and_half_precision_change_little():
    vectors, factor = (rows(16, 32), rows(16, 32, 1), rows(16, 32, 2)), rows(8, 32, 3)
    same = torch.arange(16) % 2
    for function in (
        lambda x, y, _: contrastive(x, y, same, margin=9.0),
        lambda x, y, z: triplet_margin(x, y, z, margin=1.0),
        lambda x, y, _: mahalanobis_distances(x, y, factor).mean(),
    ):
        with torch.autocast("cpu", torch.bfloat16):
            assert torch.equal(function(*vectors), function(*vectors).float())
            under = function(*vectors)
        assert torch.equal(under, function(*vectors))
        half = function(*(vector.bfloat16() for vector in vectors))
        assert half.dtype == torch.float32 and half.item() == pytest.approx(under.item(), rel=0.01)


@pytest.mark.parametrize("form", FORMS)
def test_the_mean_of_pairs_is_that_of_the_elements(form):
    first, second, same = rows(), rows(seed=1), torch.tensor([1, 0, 1, 0, 0, 1])
    each = contrastive(first, second, same, margin=2.0, form=form, reduction="none")
    alone = [
        contrastive(first[[n]], second[[n]], same[[n]], margin=2.0, form=form) for n in range(6)
    ]
    assert each.shape == (6,) and torch.allclose(each, torch.stack(alone))
    assert torch.allclose(contrastive(first, second, same, margin=2.0, form=form), each.mean())
    with pytest.raises(ValueError, match="reduction 'sum'"):
        contrastive(first, second, same, reduction="sum")


def test_the_mean_of_triplets_is_that_of_the_elements():
    triplets = rows(9), rows(9, seed=1), rows(9, seed=2)
    each = triplet_margin(*triplets, reduction="none")
    theirs = torch.nn.TripletMarginLoss(margin=0.2, eps=0, reduction="none")(*triplets)
    assert torch.allclose(each, theirs, rtol=1e-5, atol=1e-6)
    assert torch.allclose(triplet_margin(*triplets), each.mean())
    assert triplet_margin(*(rows[:0] for rows in triplets), reduction="none").shape == (0,)
    with pytest.raises(ValueError, match="reduction 'sum'"):
        triplet_margin(*triplets, reduction="sum")


def test_where_values_are_not_checked_nan_comes_out(monkeypatch):
    """As on a GPU, where a look would wait."""
    monkeypatch.setattr(common, "values_are_checked", lambda _: False)
    first, second, same = rows(), rows(seed=1), torch.tensor([1, 0, 1, 0, 0, 1])
    first[2, 1] = math.nan
    for form in FORMS:
        assert contrastive(first, second, same, form=form).isnan()
        assert contrastive(first, second, 1 - same, form=form).isnan()
    for triplet in ((first, second, second), (second, first, second), (second, second, first)):
        assert triplet_margin(*triplet).isnan()
    assert mahalanobis_distances(first, second, torch.eye(4)).isnan().any()
    labels = torch.arange(6) // 2
    for kind in ("all", "hard", "semi_hard", "easy", "batch_hard"):
        assert mined_triplet_margin(first, labels, kind=kind).isnan(), kind


GOOD = torch.zeros(2, 3)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: contrastive(GOOD, GOOD[:1], torch.ones(2).bool()), r"first \[2, 3\], second"),
        (lambda: contrastive(GOOD, GOOD, torch.ones(3).bool()), r"same \[3\].*\[2\]"),
        (lambda: contrastive(GOOD, GOOD, torch.ones(2)), "same are torch.float32"),
        (lambda: contrastive(GOOD, GOOD, torch.tensor([0, 2])), "same from 0 to 2"),
        (lambda: contrastive(GOOD[:0], GOOD[:0], torch.ones(0).bool()), r"first \[0, 3\]"),
        (lambda: contrastive(GOOD.long(), GOOD, torch.ones(2).bool()), "first are torch.int64"),
        (lambda: contrastive(GOOD / 0, GOOD, torch.ones(2).bool()), r"first hold nan at \[0, 0\]"),
        (
            lambda: contrastive(GOOD, GOOD, torch.ones(2).bool(), margin=0),
            "margin 0: expected a finite",
        ),
        (lambda: contrastive(GOOD, GOOD, torch.ones(2).bool(), form="cubed"), "form 'cubed'"),
        (lambda: triplet_margin(GOOD, GOOD, GOOD[:1]), r"negatives \[1, 3\]"),
        (lambda: triplet_margin(GOOD, GOOD, GOOD / 0), "negatives hold nan"),
        (lambda: triplet_margin(GOOD, GOOD, GOOD, margin=math.nan), "margin nan"),
        (lambda: triplet_margin(GOOD[0], GOOD[0], GOOD[0]), r"anchors \[3\]"),
        (lambda: mahalanobis_distances(GOOD, GOOD, torch.eye(2)), r"factor \[2, 2\].*\[K, 3\]"),
    ],
)
def test_bad_input_is_refused_by_name_and_value(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_zero_vectors_normalised_by_the_caller_stay_finite():
    vectors = torch.zeros(2, 3, requires_grad=True)
    units = F.normalize(vectors, dim=1)
    triplet_margin(units, units.detach(), units.detach()).backward()
    assert vectors.grad.isfinite().all()
