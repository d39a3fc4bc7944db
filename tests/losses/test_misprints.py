"""Where a misprint is in circulation: the printed form has another value or direction."""

import math

import pytest
import torch

import losses
from losses import CosFaceHead, class_softmax, contrastive, mahalanobis_distances, triplet_margin
from losses.distances import pairwise_distances, row_distances
from tests.losses.contrasts import rows
from tests.losses.papers import dwibedi, li, simclr
from tests.losses.test_metric import FORMS
from tests.losses.test_metric_classes import batch, random


def test_info_nce_with_two_minus_signs_pushes_positives_apart():
    q, k = rows(4, 3).requires_grad_(), rows(4, 3, seed=1)
    probabilities = (q @ k.T).softmax(1).diagonal()
    printed = -(-probabilities.log()).mean()
    ours = losses.info_nce(q, k)
    assert printed.item() == pytest.approx(-ours.item()) and ours.item() > 0
    for loss, closer in ((ours, True), (printed, False)):
        (gradient,) = torch.autograd.grad(loss, q)
        moved = q - 1e-3 * gradient
        assert (
            (moved @ k.T).softmax(1).diagonal().log().mean() > probabilities.log().mean()
        ) == closer


def test_nt_xent_without_temperature_is_that_of_temperature_one():
    a, b = rows(4), rows(4, seed=1)
    printed = simclr(a, b, 1.0)
    assert losses.nt_xent(a, b, temperature=1.0).item() == pytest.approx(printed)
    assert losses.nt_xent(a, b).item() != pytest.approx(printed, rel=0.01)


def test_nnclr_neighbour_stands_for_one_view_and_not_for_both():
    """Read as "rather than augmenting", the neighbour of a view meets that same view."""
    a, b, support = rows(4), rows(4, seed=1), rows(9, seed=2)
    printed = (dwibedi(a, a, a, a, support, 0.1) + dwibedi(b, b, b, b, support, 0.1)) / 2
    ours = losses.nnclr(a, b, support).item()
    assert ours == pytest.approx(dwibedi(a, b, a, b, support, 0.1))
    assert ours != pytest.approx(printed, rel=0.01)


def test_nnclr_argmin_is_a_row_of_the_support_set():
    z, support = rows(4) * 7, rows(9, seed=2)
    units = support / support.norm(dim=1, keepdim=True)
    nearest = torch.cdist(z / z.norm(dim=1, keepdim=True), units).argmin(1)
    assert torch.allclose(losses.nearest_neighbours(z, support), units[nearest])


def test_proto_nce_without_the_concentrations_is_another_loss():
    v, prototypes, assignments = rows(6), [rows(3, seed=1)], [torch.arange(6) % 3]
    ones = [torch.ones(3).double()]
    printed = li(v, v, prototypes, assignments, ones, 0.1) - li(v, v, [], [], [], 0.1)
    phi = losses.concentrations(v, prototypes[0], assignments[0])
    assert losses.proto_nce(v, prototypes, assignments, ones).item() == pytest.approx(printed)
    ours = losses.proto_nce(v, prototypes, assignments, [phi]).item()
    assert ours != pytest.approx(printed, rel=0.01)


@pytest.mark.parametrize("form", FORMS)
def test_contrastive_pushes_unlike_pairs_apart(form):
    """With the misprinted minus before the hinge the step would bring them together."""
    first, second, unlike = torch.zeros(1, 2), torch.tensor([[0.3, 0.4]]), torch.tensor([False])

    def distance_after_a_step(sign):
        moved = second.clone().requires_grad_()
        (sign * contrastive(first, moved, unlike, form=form)).backward()
        return (moved.detach() - 0.01 * moved.grad).norm().item()

    assert distance_after_a_step(1) > 0.5 > distance_after_a_step(-1)


def test_contrastive_without_a_hinge_falls_without_end():
    """The "simple" loss q d - (1 - q) d, which pays unlike pairs for every step apart."""
    near, far, unlike = torch.zeros(1, 1), torch.full((1, 1), 1e6), torch.tensor([False])
    assert -row_distances(near, far).item() == -1e6
    assert all(contrastive(near, far, unlike, form=form) == 0 for form in FORMS)


def test_an_easy_triplet_costs_nothing_where_the_form_without_a_hinge_goes_below_zero():
    anchor, positive, negative = torch.zeros(1, 2), torch.zeros(1, 2), torch.full((1, 2), 3.0)
    assert triplet_margin(anchor, positive, negative).item() == 0
    printed = row_distances(anchor, positive) + 0.2 - row_distances(anchor, negative)
    assert printed.item() < -4


def test_mahalanobis_obeys_the_axioms_as_they_should_be_printed():
    """The triangle inequality is also printed with >, and squares, which break it."""
    x, y, z, factor = (rows(50, 4, seed=seed) for seed in range(4))
    factor = factor[:3]
    xy, yz, xz = (mahalanobis_distances(*pair, factor) for pair in ((x, y), (y, z), (x, z)))
    assert (xz <= xy + yz + 1e-5).all() and (xy >= 0).all()
    assert torch.equal(mahalanobis_distances(y, x, factor), xy)
    assert torch.equal(mahalanobis_distances(x, x, factor), torch.zeros(50).double())
    line = torch.tensor([[0.0], [1.0], [2.0]])
    squares = pairwise_distances(line, line, squared=True)
    assert squares[0, 2] > squares[0, 1] + squares[1, 2]


def test_cosface_with_a_parenthesis_lost_gives_another_value():
    """e^(s cos t - m) instead of e^(s (cos t - m)) there; it can even make the loss negative."""
    head = CosFaceHead(2, 2, generator=random(), scale=8.0, margin=0.35)
    head.weights.data = torch.eye(2)
    embeddings, labels = torch.tensor([[1.0, 0.0]]), torch.tensor([0])
    own = math.exp(8 * (1 - 0.35))
    printed = -math.log(own / (math.exp(8 - 0.35) + 1))
    right = -math.log(own / (own + 1))
    assert head(embeddings, labels).item() == pytest.approx(right, rel=1e-4)
    assert printed > 100 * right


def test_weights_of_the_misprinted_shape_are_refused():
    """[C, D] it is: printed with the batch for the classes."""
    embeddings, labels, weights = batch()
    with pytest.raises(ValueError, match="weights"):
        class_softmax(embeddings, labels, weights.T)
