"""Prototypes that follow their classes, the loss around them, the energy of logits."""

import math

import pytest
import torch

from losses import OpenWorldPrototypes, common, energy, open_world, open_world_contrastive


def batch(count=8, channels=3, classes=4, seed=0, dtype=torch.float32):
    generator = torch.Generator().manual_seed(seed)
    features = torch.randn(count, channels, generator=generator, dtype=dtype)
    prototypes = torch.randn(classes, channels, generator=generator, dtype=dtype)
    return features, torch.arange(count) % classes, prototypes


def literal(features, labels, prototypes, margin):
    total = 0.0
    for f, y in zip(features.double(), labels.tolist(), strict=True):
        for i, p in enumerate(prototypes.double()):
            distance = math.sqrt(
                sum((a - b) ** 2 for a, b in zip(f.tolist(), p.tolist(), strict=True))
            )
            total += distance if i == y else max(margin - distance, 0)
    return total / len(features)


@pytest.mark.parametrize("margin", [0.5, 2.0, 10.0])
@pytest.mark.parametrize(("count", "classes"), [(1, 1), (1, 4), (8, 4), (5, 1)])
def test_equals_the_paper_written_out(count, classes, margin):
    features, labels, prototypes = batch(count, classes=classes)
    found = open_world_contrastive(features, labels, prototypes, margin=margin)
    expected = literal(features, labels, prototypes, margin)
    assert found.item() == pytest.approx(expected, rel=1e-5)


def test_equals_torchs_hinge_embedding_loss_with_its_gradient():
    features, labels, prototypes = batch()
    theirs = torch.nn.HingeEmbeddingLoss(margin=2.0, reduction="sum")
    signs = 2 * torch.nn.functional.one_hot(labels, 4) - 1
    ours_at, theirs_at = (features.clone().requires_grad_() for _ in range(2))
    ours = open_world_contrastive(ours_at, labels, prototypes, margin=2.0)
    expected = theirs(torch.cdist(theirs_at, prototypes), signs) / len(features)
    ours.backward()
    expected.backward()
    assert ours.item() == pytest.approx(expected.item(), rel=1e-5)
    assert torch.allclose(ours_at.grad, theirs_at.grad, rtol=1e-5, atol=1e-6)


def test_the_official_programs_norm_and_margin_give_another_value():
    """Its margin of 10 is taken for the order of the norm, and 2 is the margin."""
    features, labels, prototypes = batch()
    signs = 2 * torch.nn.functional.one_hot(labels, 4) - 1
    theirs = torch.nn.HingeEmbeddingLoss(margin=2, reduction="sum")
    official = theirs(torch.cdist(features, prototypes, p=10), signs) / len(features)
    ours = open_world_contrastive(features, labels, prototypes)
    assert abs(ours - official) > 1


def test_gradients_are_those_of_finite_differences_and_prototypes_get_none():
    features, labels, prototypes = batch(dtype=torch.double)
    prototypes.requires_grad_()
    assert torch.autograd.gradcheck(
        lambda x: open_world_contrastive(x, labels, prototypes.detach(), margin=2.0),
        features.requires_grad_(),
    )
    open_world_contrastive(features, labels, prototypes, margin=2.0).backward()
    assert prototypes.grad is None


def test_a_feature_on_its_prototype_and_the_others_far_costs_nothing():
    prototypes = 20 * torch.eye(3)
    features = prototypes.clone().requires_grad_()
    loss = open_world_contrastive(features, torch.arange(3), prototypes)
    loss.backward()
    assert loss.item() == 0 and torch.equal(features.grad, torch.zeros(3, 3))


def test_prototypes_are_set_first_and_followed_then():
    means = OpenWorldPrototypes(3, 2, momentum=0.9)
    means.update(torch.tensor([[1.0, 0.0], [3.0, 0.0], [0.0, 5.0]]), torch.tensor([0, 0, 2]))
    assert torch.equal(means.prototypes, torch.tensor([[2.0, 0.0], [0.0, 0.0], [0.0, 5.0]]))
    assert means.seen.tolist() == [True, False, True]
    for _ in range(3):
        means.update(torch.tensor([[4.0, 0.0]]), torch.tensor([0]))
    expected = 0.9**3 * 2 + (1 - 0.9**3) * 4
    assert means.prototypes[0, 0].item() == pytest.approx(expected)
    assert means.prototypes[2].tolist() == [0.0, 5.0]


def test_prototypes_travel_with_the_state_and_give_the_functions_loss():
    features, labels, _ = batch()
    means = OpenWorldPrototypes(4, 3, margin=2.0)
    means.update(features, labels)
    again = OpenWorldPrototypes(4, 3, margin=2.0)
    again.load_state_dict(means.state_dict())
    expected = open_world_contrastive(features, labels, means.prototypes, margin=2.0)
    assert torch.equal(again(features, labels), expected)
    assert not list(means.parameters())


def test_order_does_not_matter_and_half_precision_changes_little():
    features, labels, prototypes = batch()
    loss = open_world_contrastive(features, labels, prototypes)
    assert torch.allclose(
        open_world_contrastive(features.flip(0), labels.flip(0), prototypes), loss
    )
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(open_world_contrastive(features, labels, prototypes), loss)
    half = open_world_contrastive(features.bfloat16(), labels, prototypes.bfloat16())
    assert half.dtype == torch.float32 and half.item() == pytest.approx(loss.item(), rel=0.01)


def test_the_mean_is_that_of_the_elements():
    features, labels, prototypes = batch()
    each = open_world_contrastive(features, labels, prototypes, reduction="none")
    alone = [open_world_contrastive(features[[n]], labels[[n]], prototypes) for n in range(8)]
    assert each.shape == (8,) and torch.allclose(each, torch.stack(alone))
    assert torch.allclose(open_world_contrastive(features, labels, prototypes), each.mean())
    means = OpenWorldPrototypes(4, 3)
    means.update(features, labels)
    assert means(features, labels, reduction="none").shape == (8,)
    with pytest.raises(ValueError, match="reduction 'sum'"):
        open_world_contrastive(features, labels, prototypes, reduction="sum")


def test_where_values_are_not_checked_nan_comes_out(monkeypatch):
    """As on a GPU, where a look would wait; so does NaN for a class without a prototype."""
    monkeypatch.setattr(common, "values_are_checked", lambda _: False)
    monkeypatch.setattr(open_world, "values_are_checked", lambda _: False)
    features, labels, prototypes = batch()
    means = OpenWorldPrototypes(4, 3)
    means.update(features[:3], labels[:3])
    assert means(features, labels).isnan()
    features[2, 1] = math.nan
    assert open_world_contrastive(features, labels, prototypes).isnan()
    assert energy(features).isnan().tolist() == [n == 2 for n in range(8)]


def test_energy_equals_its_formula():
    logits = torch.tensor([[0.0, 0.0, 0.0], [5.0, 0.0, -5.0]], dtype=torch.double)
    found = energy(logits, temperature=2.0)
    expected = [-2 * math.log(sum(math.exp(g / 2) for g in row)) for row in logits.tolist()]
    assert found.tolist() == pytest.approx(expected)
    assert energy(torch.zeros(4)).item() == pytest.approx(-math.log(4))
    assert energy(torch.tensor([1000.0, 0.0])).item() == pytest.approx(-1000)
    assert torch.autograd.gradcheck(energy, logits.requires_grad_())


FEATURES, LABELS, PROTOTYPES = torch.zeros(2, 3), torch.tensor([0, 1]), torch.zeros(4, 3)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: open_world_contrastive(FEATURES[:, :2], LABELS, PROTOTYPES),
            r"\[4, 3\] and \[2, 2",
        ),
        (lambda: open_world_contrastive(FEATURES, LABELS[:1], PROTOTYPES), r"labels \[1\]"),
        (lambda: open_world_contrastive(FEATURES, LABELS.float(), PROTOTYPES), "torch.float32"),
        (lambda: open_world_contrastive(FEATURES, LABELS + 3, PROTOTYPES), "labels from 3 to 4"),
        (
            lambda: open_world_contrastive(FEATURES, LABELS, PROTOTYPES / 0),
            r"prototypes hold nan at \[0, 0\]",
        ),
        (
            lambda: open_world_contrastive(FEATURES, LABELS, PROTOTYPES, margin=0),
            "margin 0: expected a finite",
        ),
        (lambda: open_world_contrastive(FEATURES[:0], LABELS[:0], PROTOTYPES), r"\[0, 3\]"),
        (lambda: OpenWorldPrototypes(4, 3)(FEATURES, LABELS), r"classes \[0, 1, 2, 3\] have no"),
        (lambda: OpenWorldPrototypes(4, 3).update(FEATURES[:, :2], LABELS), r"not \[N, 3\]"),
        (lambda: OpenWorldPrototypes(4, 3).update(FEATURES, LABELS - 1), "labels from -1 to 0"),
        (lambda: OpenWorldPrototypes(4, 3, momentum=1.0), "momentum 1.0"),
        (lambda: OpenWorldPrototypes(4, 3, margin=-1.0), "margin -1.0"),
        (lambda: energy(torch.zeros(2, 0)), r"logits \[2, 0\]"),
        (lambda: energy(torch.zeros(2), temperature=0.0), "temperature 0.0"),
        (lambda: energy(torch.zeros(2), temperature=math.inf), "temperature inf"),
        (lambda: energy(torch.tensor([0.0, math.nan])), r"logits hold nan at \[1\]"),
    ],
)
def test_bad_input_is_refused_by_name_and_value(call, message):
    with pytest.raises(ValueError, match=message):
        call()
