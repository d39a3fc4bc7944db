"""Sinkhorn's plan: closed forms, the iterations written out, extreme kernels, bad input."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from losses import sinkhorn_log_plan


def random_kernel(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.double)


def test_two_points_have_a_plan_in_closed_form():
    """[[a, b], [c, d]] has p_00 = sqrt(ad) / (sqrt(ad) + sqrt(bc))."""
    kernel = torch.tensor([[3.0, 1.0], [2.0, 5.0]], dtype=torch.double)
    plan = sinkhorn_log_plan(kernel.log(), 200).exp()
    own, other = math.sqrt(15), math.sqrt(2)
    expected = torch.tensor([[own, other], [other, own]], dtype=torch.double) / (own + other)
    assert torch.allclose(plan, expected)


@given(size=st.integers(1, 5), iterations=st.integers(1, 4), seed=st.integers(0, 50))
def test_equals_the_iterations_written_out(size, iterations, seed):
    log_kernel = random_kernel(2, size, size, seed=seed)
    kernel = log_kernel.exp()
    v = torch.ones(2, size, dtype=torch.double)
    for _ in range(iterations):
        u = 1 / torch.einsum("bij,bj->bi", kernel, v)
        v = 1 / torch.einsum("bij,bi->bj", kernel, u)
    expected = torch.einsum("bi,bij,bj->bij", u, kernel, v)
    assert torch.allclose(sinkhorn_log_plan(log_kernel, iterations).exp(), expected)


def test_rows_and_columns_sum_to_one():
    plan = sinkhorn_log_plan(random_kernel(3, 20, 20)).exp()
    for dim in (1, 2):
        assert torch.allclose(plan.sum(dim), torch.ones(3, 20, dtype=torch.double))


def test_factors_of_rows_and_columns_do_not_matter():
    kernel = random_kernel(6, 6)
    shifted = kernel + random_kernel(6, 1, seed=1) + random_kernel(1, 6, seed=2)
    assert torch.allclose(sinkhorn_log_plan(shifted, 200), sinkhorn_log_plan(kernel, 200))


def test_forbidden_pairs_and_huge_kernels_give_a_plan():
    """e^1000 overflows in every float; its logarithm does not."""
    kernel = 1000 * torch.eye(4).roll(1, 0)
    kernel.fill_diagonal_(-torch.inf)
    plan = sinkhorn_log_plan(kernel).exp()
    assert torch.allclose(plan, torch.eye(4).roll(1, 0), atol=1e-6)


def test_the_gradient_is_that_of_finite_differences():
    kernel = random_kernel(2, 4, 4).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: sinkhorn_log_plan(x, 100), kernel)


def test_the_gradient_is_that_of_the_unrolled_iterations():
    ours, unrolled = (random_kernel(5, 5).requires_grad_() for _ in range(2))
    direction = random_kernel(5, 5, seed=1)
    (sinkhorn_log_plan(ours) * direction).sum().backward()
    plan = unrolled
    for _ in range(50):
        plan = plan.log_softmax(-1).log_softmax(-2)
    (plan * direction).sum().backward()
    assert torch.allclose(ours.grad, unrolled.grad)


@pytest.mark.parametrize("shape", [(3,), (2, 3), (0, 0)])
def test_kernels_that_are_not_square_or_empty_are_refused(shape):
    with pytest.raises(ValueError, match="log_kernel"):
        sinkhorn_log_plan(torch.zeros(shape))


def test_no_iteration_is_refused():
    with pytest.raises(ValueError, match="iterations 0"):
        sinkhorn_log_plan(torch.zeros(2, 2), 0)
