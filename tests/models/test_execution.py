"""The two forms that functions have, for little memory and for few launches, give equal numbers."""

import pytest
import torch

import models
from models.resampling import blur_and_halve, reflection_pad

KERNEL = torch.tensor([[1.0, 2, 1], [2, 4, 2], [1, 2, 1]], dtype=torch.double) / 16


def test_a_cpu_saves_memory_and_a_gpu_launches():
    assert not models.few_launches(torch.device("cpu"))
    assert models.few_launches(torch.device("cuda", 1))
    with models.forced_few_launches(True):
        assert models.few_launches(torch.device("cpu"))
        with models.forced_few_launches(False):
            assert not models.few_launches(torch.device("cuda"))
        assert models.few_launches(torch.device("cpu"))
    assert not models.few_launches(torch.device("cpu"))


@pytest.mark.parametrize("size", [(5, 7), (8, 8), (1, 4)])
@pytest.mark.parametrize(
    "function", [lambda x: reflection_pad(x, 3), lambda x: blur_and_halve(x, KERNEL)]
)
def test_both_forms_have_one_gradient(size, function):
    height, width = (side + 3 for side in size)
    found = []
    for few in (False, True):
        x = torch.arange(2.0 * 3 * height * width, dtype=torch.double).sin()
        x = x.view(2, 3, height, width).requires_grad_()
        with models.forced_few_launches(few):
            y = function(x)
            (first,) = torch.autograd.grad(y.pow(3).sum(), x, create_graph=True)
            (second,) = torch.autograd.grad(first.pow(2).sum(), x)
        found.append((y, first, second))
    for memory, launches in zip(*found, strict=True):
        assert torch.allclose(memory, launches, rtol=1e-12, atol=1e-12)
