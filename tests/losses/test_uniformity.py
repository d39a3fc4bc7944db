"""Alignment, uniformity and spread: their definitions by loops, and closed forms."""

import math

import pytest
import torch

import losses


def rows(count=7, width=5, seed=0):
    random = torch.Generator().manual_seed(seed)
    return torch.randn(count, width, generator=random, dtype=torch.double)


def test_the_papers_definitions_by_loops():
    a, b = rows(), rows(seed=1)
    za, zb = (torch.nn.functional.normalize(x, dim=1) for x in (a, b))
    expected = sum((za[i] - zb[i]).square().sum() for i in range(7)) / 7
    torch.testing.assert_close(losses.alignment(a, b), expected)
    terms = [
        math.exp(-2 * (za[i] - za[j]).square().sum()) for i in range(7) for j in range(i + 1, 7)
    ]
    assert losses.uniformity(a).item() == pytest.approx(math.log(sum(terms) / len(terms)))
    deviations = [za[:, d].var(correction=0) ** 0.5 for d in range(5)]
    torch.testing.assert_close(losses.spread(a), sum(deviations) / 5 * 5**0.5)


def test_ends_of_the_scales():
    a = rows(64, 64)
    same = a[:1].expand(8, -1)
    assert losses.alignment(a, 3 * a).item() == pytest.approx(0, abs=1e-12)
    assert losses.alignment(a, -a).item() == pytest.approx(4)
    assert losses.uniformity(same).item() == pytest.approx(0, abs=1e-9)
    assert losses.uniformity(torch.stack([a[0], -a[0]])).item() == pytest.approx(-8)
    assert losses.spread(same).item() == pytest.approx(0, abs=1e-9)
    assert losses.spread(torch.eye(64).double()).item() == pytest.approx(1, rel=0.01)


def test_gradients_and_bad_input():
    a, b = rows(4, 3).requires_grad_(), rows(4, 3, 1).requires_grad_()
    assert torch.autograd.gradcheck(losses.alignment, (a, b))
    assert torch.autograd.gradcheck(losses.uniformity, (a,))
    with pytest.raises(ValueError, match="view_a"):
        losses.alignment(rows(4), rows(3))
    with pytest.raises(ValueError, match="two rows or more"):
        losses.uniformity(rows(1))
    with pytest.raises(ValueError, match="embeddings"):
        losses.uniformity(torch.zeros(3, 2, dtype=torch.int64))
