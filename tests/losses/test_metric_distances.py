"""Distances: closed forms, the axioms of a metric, digits kept."""

import torch
from hypothesis import given
from hypothesis import strategies as st

from losses import mahalanobis_distances
from losses.distances import pairwise_distances
from tests.losses.test_metric import rows


def test_mahalanobis_equals_the_quadratic_form():
    x, y, factor = rows(dtype=torch.double), rows(seed=1, dtype=torch.double), rows(3).double()
    difference, matrix = x - y, factor.T @ factor
    expected = torch.einsum("nd,de,ne->n", difference, matrix, difference).sqrt()
    assert torch.allclose(mahalanobis_distances(x, y, factor), expected)
    euclidean = mahalanobis_distances(x, y, torch.eye(4, dtype=torch.double))
    assert torch.allclose(euclidean, difference.norm(dim=1))


@given(
    count=st.integers(1, 30),
    channels=st.integers(1, 5),
    squared=st.booleans(),
    far=st.sampled_from([0.0, 10.0]),
    seed=st.integers(0, 50),
)
def test_pairwise_distances_equal_the_differences(count, channels, squared, far, seed):
    """Far from the origin too, and 0 to itself exactly, where float32 products would not."""
    points = rows(count, channels, seed) + far
    points[-1] = points[0]
    expected = (points.double().unsqueeze(1) - points.double()).norm(dim=2)
    expected = expected.square() if squared else expected
    found = pairwise_distances(points, points, squared=squared)
    assert torch.allclose(found, expected, rtol=1e-5, atol=1e-6)
    assert (found.diagonal() == 0).all() and found[0, -1] == 0
