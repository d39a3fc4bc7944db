"""Softmax, modified softmax, CosFace, ArcFace: the peer's classes, the formulas written out."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pytorch_metric_learning.distances import DotProductSimilarity
from pytorch_metric_learning.losses import ArcFaceLoss, CosFaceLoss, NormalizedSoftmaxLoss

from losses import ArcFaceHead, CosFaceHead, class_softmax, common, modified_softmax

HEADS = [CosFaceHead, ArcFaceHead]


def random(seed=0):
    return torch.Generator().manual_seed(seed)


def batch(count=7, channels=5, classes=4, dtype=torch.float32, seed=0):
    embeddings = torch.randn(count, channels, generator=random(seed), dtype=dtype)
    labels = torch.randint(classes, (count,), generator=random(seed))
    weights = torch.randn(classes, channels, generator=random(seed + 1), dtype=dtype)
    return embeddings, labels, weights


def literal_margin(embeddings, labels, weights, scale, right):
    """Mean of -log of the right class's share; `right` makes its exponent of an angle."""
    total = 0.0
    for z, y in zip(embeddings.double(), labels.tolist(), strict=True):
        angles = [
            math.acos(max(-1, min(1, float(z @ w / (z.norm() * w.norm())))))
            for w in weights.double()
        ]
        own = math.exp(right(angles[y]))
        others = sum(math.exp(scale * math.cos(t)) for j, t in enumerate(angles) if j != y)
        total -= math.log(own / (own + others))
    return total / len(labels)


def close(ours, theirs):
    return all(
        torch.allclose(a, b, rtol=1e-5, atol=1e-6) for a, b in zip(ours, theirs, strict=True)
    )


@given(
    count=st.integers(1, 5),
    channels=st.integers(2, 4),
    classes=st.integers(1, 4),
    scale=st.sampled_from([1.0, 8.0]),
    margin=st.sampled_from([0.1, 0.5, 2.0]),
    seed=st.integers(0, 50),
)
def test_equal_the_papers_written_out(count, channels, classes, scale, margin, seed):
    embeddings, labels, _ = batch(count, channels, classes, torch.double, seed)
    options = {"generator": random(seed), "scale": scale, "margin": margin}

    def cosine_margin(angle):
        return scale * (math.cos(angle) - margin)

    def angle_margin(angle):
        if angle > math.pi - margin:
            return scale * (math.cos(angle) - margin * math.sin(margin))
        return scale * math.cos(angle + margin)

    for head, right in zip(HEADS, (cosine_margin, angle_margin), strict=True):
        head = head(classes, channels, **options).double()
        expected = literal_margin(embeddings, labels, head.weights.detach(), scale, right)
        # Next to an angle of 0, rounding of the cosine by 1e-16 turns the angle by 1e-8.
        assert head(embeddings, labels).item() == pytest.approx(expected, abs=scale * 1e-7)


@pytest.mark.parametrize(
    ("head", "peer", "margins"),
    [
        (CosFaceHead, CosFaceLoss, (0.35, 0.35)),
        (ArcFaceHead, ArcFaceLoss, (0.5, math.degrees(0.5))),
    ],
)
@pytest.mark.parametrize("scale", [4.0, 64.0])
def test_heads_equal_the_peers(head, peer, margins, scale):
    embeddings, labels, weights = batch(40, dtype=torch.double)
    ours = head(4, 5, generator=random(), scale=scale, margin=margins[0]).double()
    theirs = peer(4, 5, scale=scale, margin=margins[1]).double()
    ours.weights.data, theirs.W.data = weights.clone(), weights.T.clone()
    ours_at, theirs_at = (embeddings.clone().requires_grad_() for _ in range(2))
    our_loss, their_loss = ours(ours_at, labels), theirs(theirs_at, labels)
    our_loss.backward()
    their_loss.backward()
    assert close(
        [our_loss, ours_at.grad, ours.weights.grad],
        [their_loss, theirs_at.grad, theirs.W.grad.T],
    )


def test_modified_softmax_equals_the_peer():
    embeddings, labels, weights = batch()
    theirs = NormalizedSoftmaxLoss(
        4, 5, temperature=1, distance=DotProductSimilarity(normalize_embeddings=False)
    )
    theirs.W.data = weights.T.clone()
    ours_at, theirs_at = (embeddings.clone().requires_grad_() for _ in range(2))
    ours, expected = modified_softmax(ours_at, labels, weights), theirs(theirs_at, labels)
    ours.backward()
    expected.backward()
    assert close([ours, ours_at.grad], [expected, theirs_at.grad])


def test_softmax_equals_its_formula_and_the_modified_one_its_angles():
    embeddings, labels, weights = batch(dtype=torch.double)
    bias = torch.arange(4.0).double()
    plain, modified = 0.0, 0.0
    for z, y in zip(embeddings, labels.tolist(), strict=True):
        scores = [math.exp(float(w @ z + b)) for w, b in zip(weights, bias, strict=True)]
        plain -= math.log(scores[y] / sum(scores)) / len(labels)
        scores = [math.exp(float(z.norm() * torch.cosine_similarity(w, z, dim=0))) for w in weights]
        modified -= math.log(scores[y] / sum(scores)) / len(labels)
    assert class_softmax(embeddings, labels, weights, bias).item() == pytest.approx(plain)
    assert modified_softmax(embeddings, labels, weights).item() == pytest.approx(modified)
    assert torch.allclose(
        modified_softmax(embeddings, labels, 7 * weights),
        modified_softmax(embeddings, labels, weights),
    )


def test_equal_classes_give_the_logarithm_of_their_number():
    embeddings, labels, _ = batch()
    weights = torch.ones(4, 5)
    for loss in (class_softmax, modified_softmax):
        assert loss(embeddings, labels, weights).item() == pytest.approx(math.log(4))


@pytest.mark.parametrize("head", HEADS)
def test_a_margin_makes_the_task_harder_and_lengths_do_not_matter(head):
    embeddings, labels, _ = batch()
    small, large = (
        head(4, 5, generator=random(), scale=4.0, margin=margin) for margin in (0.01, 0.4)
    )
    assert large(embeddings, labels) > small(embeddings, labels)
    assert torch.allclose(large(3 * embeddings, labels), large(embeddings, labels))
    large.weights.data *= 5
    again = head(4, 5, generator=random(), scale=4.0, margin=0.4)
    assert torch.allclose(large(embeddings, labels), again(embeddings, labels))


def test_arcface_never_rises_with_the_cosine():
    head = ArcFaceHead(2, 2, generator=random(), scale=1.0, margin=0.5)
    head.weights.data = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    angles = torch.linspace(0.0, math.pi, 200)
    moved = head._with_margin(angles.cos())
    assert (moved.diff() < 1e-6).all()


@pytest.mark.parametrize("head", HEADS)
def test_gradients_of_heads_are_those_of_finite_differences(head):
    embeddings, labels, _ = batch(5, 3, 4, torch.double)
    head = head(4, 3, generator=random(9), scale=4.0).double()
    assert torch.autograd.gradcheck(
        lambda x, _: head(x, labels), (embeddings.requires_grad_(), head.weights)
    )


def test_gradients_of_functions_are_those_of_finite_differences():
    embeddings, labels, weights = batch(5, 3, 4, torch.double)
    leaves = embeddings.requires_grad_(), weights.requires_grad_()
    assert torch.autograd.gradcheck(lambda x, w: class_softmax(x, labels, w, w.sum(1)), leaves)
    assert torch.autograd.gradcheck(lambda x, w: modified_softmax(x, labels, w), leaves)


@pytest.mark.parametrize("head", HEADS)
def test_zero_vectors_aligned_ones_and_opposite_ones_stay_finite(head):
    head = head(3, 4, generator=random())
    embeddings = torch.stack([torch.zeros(4), *head.weights.detach()[:2]])
    embeddings[2] *= -1
    embeddings.requires_grad_()
    loss = head(embeddings, torch.tensor([0, 0, 1]))
    loss.backward()
    assert loss.isfinite()
    assert embeddings.grad.isfinite().all() and head.weights.grad.isfinite().all()


@pytest.mark.parametrize("head", HEADS)
def test_a_single_class_costs_nothing(head):
    embeddings, _, _ = batch()
    assert head(1, 5, generator=random())(embeddings, torch.zeros(7).long()).item() == 0


def test_the_order_of_rows_does_not_matter_and_weights_come_from_the_generator():
    embeddings, labels, _ = batch()
    order = torch.tensor([3, 1, 6, 0, 2, 5, 4])
    for head in HEADS:
        head, again = (head(4, 5, generator=random(3)) for _ in range(2))
        assert torch.equal(head.weights, again.weights)
        assert torch.allclose(head(embeddings[order], labels[order]), head(embeddings, labels))


def test_autocast_and_half_precision_change_little():
    embeddings, labels, weights = batch(32, 16)
    losses = [head(4, 16, generator=random(), scale=16.0) for head in HEADS]
    losses += [
        lambda x, y: class_softmax(x, y, weights),
        lambda x, y: modified_softmax(x, y, weights),
    ]
    for loss in losses:
        plain = loss(embeddings, labels)
        with torch.autocast("cpu", torch.bfloat16):
            assert torch.equal(loss(embeddings, labels), plain)
        half = loss(embeddings.bfloat16(), labels)
        assert half.dtype == torch.float32
        assert half.item() == pytest.approx(plain.item(), rel=0.01)


LOSSES = [
    class_softmax,
    modified_softmax,
    lambda x, y, _, **options: CosFaceHead(4, 5, generator=random())(x, y, **options),
    lambda x, y, _, **options: ArcFaceHead(4, 5, generator=random())(x, y, **options),
]


def test_a_bias_of_another_length_or_of_nan_is_refused():
    with pytest.raises(ValueError, match=r"bias \[3\] is not \[4\]"):
        class_softmax(*batch(), torch.zeros(3))
    with pytest.raises(ValueError, match=r"bias hold nan at \[0\]"):
        class_softmax(*batch(), torch.full((4,), math.nan))


@pytest.mark.parametrize("loss", LOSSES)
def test_the_mean_is_that_of_the_elements(loss):
    embeddings, labels, weights = batch()
    each = loss(embeddings, labels, weights, reduction="none")
    alone = [loss(embeddings[[n]], labels[[n]], weights) for n in range(7)]
    assert each.shape == (7,) and torch.allclose(each, torch.stack(alone), atol=1e-6)
    assert torch.allclose(loss(embeddings, labels, weights), each.mean())
    with pytest.raises(ValueError, match="reduction 'sum'"):
        loss(embeddings, labels, weights, reduction="sum")


@pytest.mark.parametrize("loss", LOSSES)
def test_where_values_are_not_checked_nan_comes_out_and_no_label_is_left_out(loss, monkeypatch):
    """As on a GPU, where a look would wait, and where a place out of range ends the process."""
    monkeypatch.setattr(common, "values_are_checked", lambda _: False)
    embeddings, labels, weights = batch()
    with pytest.raises(RuntimeError, match="out of bounds"):
        loss(embeddings, labels.index_fill(0, torch.tensor([2]), -100), weights)
    embeddings[2, 1] = math.nan
    assert loss(embeddings, labels, weights).isnan()


@pytest.mark.parametrize("loss", LOSSES)
def test_bad_batches_are_refused_by_name_and_value(loss):
    embeddings, labels, weights = batch()
    with pytest.raises(ValueError, match=r"labels \[6\].*\[7\]"):
        loss(embeddings, labels[:6], weights)
    with pytest.raises(ValueError, match="labels are torch.float32"):
        loss(embeddings, labels.float(), weights)
    with pytest.raises(ValueError, match="labels from .* to 9: expected 0 to 3"):
        loss(embeddings, labels.clone().index_fill_(0, torch.tensor([2]), 9), weights)
    with pytest.raises(ValueError, match=r"embeddings \[0, 5\]"):
        loss(embeddings[:0], labels[:0], weights)
    with pytest.raises(ValueError, match=r"embeddings hold nan at \[0, 0\]"):
        loss(embeddings * torch.nan, labels, weights)
    with pytest.raises(ValueError, match=r"weights \[4, 5\]: expected \[classes, 3\]"):
        loss(embeddings[:, :3], labels, weights)


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("option", ["scale", "margin"])
def test_options_that_are_not_positive_are_refused(head, option):
    for value in (0.0, -1.0, math.nan, math.inf):
        with pytest.raises(ValueError, match=f"{option} {value}: expected a finite"):
            head(4, 5, generator=random(), **{option: value})
    with pytest.raises(ValueError, match="classes 0"):
        head(0, 5, generator=random())


def test_an_angle_in_degrees_is_refused():
    with pytest.raises(ValueError, match="margin 28.6: .*radians"):
        ArcFaceHead(4, 5, generator=random(), margin=28.6)
