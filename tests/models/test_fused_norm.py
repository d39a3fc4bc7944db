"""Instance norm, ReLU and residual in one operator: against float64, in every form that it has."""

import pytest
import torch

from models.fused_norm import fused_instance_norm, instance_norm_forward, normalized
from tests.kernels import NEEDS_TRITON, compile_for_a_gpu

# batch, channels, height, width: odd sizes, batch 1, a single column, more parts than one
SIZES = [(1, 5, 9, 7), (2, 18, 13, 11), (3, 1, 6, 1), (1, 2, 36, 31)]


def pair(shape, dtype=torch.float32, *, channels_last=False):
    """Return x, a residual and a gradient of one layout, far from zero mean."""
    random = torch.Generator().manual_seed(sum(shape))
    layout = torch.channels_last if channels_last else torch.contiguous_format
    tensors = [torch.randn(shape, generator=random) for _ in range(3)]
    tensors[0] = tensors[0] * 3 + 20
    return [tensor.to(dtype).to(memory_format=layout) for tensor in tensors]


def check(shape, dtype, *, channels_last, relu, adds):
    """Compare output and gradients with float64; return nothing."""
    x, residual, gradient = pair(shape, dtype, channels_last=channels_last)
    x.requires_grad_()
    residual = residual.requires_grad_() if adds else None
    y = fused_instance_norm(x, relu=relu, residual=residual)
    assert y.dtype == dtype and y.stride() == x.stride()
    y.backward(gradient)
    exact = x.detach().double().requires_grad_()
    expected = normalized(exact, relu)
    expected = expected + residual.detach().double() if adds else expected
    expected.backward(gradient.double())
    # Float32 keeps 24 bits of x, whose mean of 20 is subtracted; bf16 keeps 8 bits of y, and
    # Triton's interpreter cuts the others off instead of rounding.
    rounding = 2**-7 if dtype == torch.bfloat16 else 40 * 2**-23
    for found, wanted in ((y, expected), (x.grad, exact.grad)):
        assert (found.double() - wanted).abs().max() <= rounding * max(1, wanted.abs().max())
    if adds:
        assert torch.equal(residual.grad, gradient)


@pytest.mark.parametrize("shape", SIZES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("channels_last", [False, True])
def test_equals_float64(shape, dtype, channels_last):
    for relu, adds in ((False, False), (True, False), (False, True), (True, True)):
        check(shape, dtype, channels_last=channels_last, relu=relu, adds=adds)


def check_kernels():
    """Compare the kernels with float64; apart from its neighbours each channel is a program."""
    from models import triton_norm

    assert triton_norm.runs_on(torch.zeros(1))
    for dtype in (torch.float32, torch.bfloat16):
        for shape in SIZES:
            fewer = (shape[0], min(shape[1], 3), *shape[2:])
            check(fewer, dtype, channels_last=False, relu=True, adds=True)
            check(shape, dtype, channels_last=True, relu=False, adds=True)
            check(shape, dtype, channels_last=True, relu=True, adds=False)


@NEEDS_TRITON
def test_the_kernels_compile_for_a_gpu():
    from models import triton_norm

    chosen = {
        triton_norm._moments: {},
        triton_norm._normalize: {"RELU": True, "ADDS": True, "PARTS": 4},
        triton_norm._sums: {"RELU": True},
        triton_norm._gradient: {"RELU": True, "PARTS": 1},
    }
    numbers = ("means", "squares", "rstds", "sums", "products", "mean_out", "rstd_out")
    types = dict.fromkeys(("x", "y", "residual", "gradient", "of_x"), "*bf16")
    types |= {**dict.fromkeys(numbers, "*fp32"), "eps": "fp32"}
    for kernel, constants in chosen.items():
        compile_for_a_gpu(kernel, {**constants, "CHANNELS": 16, "PIXELS": 128}, types)


@pytest.mark.parametrize("relu", [False, True])
@pytest.mark.slow
def test_gradients_of_any_order_are_right(relu):
    x, residual, _ = pair((2, 3, 4, 5), torch.float64)

    def function(x, residual):
        return fused_instance_norm(x, relu=relu, residual=residual)

    inputs = (x.requires_grad_(), residual.requires_grad_())
    assert torch.autograd.gradcheck(function, inputs)
    assert torch.autograd.gradgradcheck(function, inputs)


def test_nan_stays_nan():
    x = torch.ones(1, 2, 3, 3)
    x[0, 1, 0, 0] = torch.nan
    y = fused_instance_norm(x, relu=True)
    assert y[0, 1].isnan().all() and not y[0, 0].isnan().any()


def test_the_operator_is_whole():
    """What torch.compile and tracing rely on."""
    x, residual, _ = pair((1, 3, 4, 5))
    torch.library.opcheck(instance_norm_forward, (x, residual, True))
    torch.library.opcheck(instance_norm_forward, (x, None, False))
