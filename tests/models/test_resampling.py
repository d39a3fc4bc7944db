"""Linear maps: equal to PyTorch's, right to the second derivative, and they keep nothing."""

import pytest
import torch
import torch.nn.functional as F

import models
from models.normalization import NormReLU
from models.resampling import blur_and_halve, double, reflection_pad
from tests.kernels import NEEDS_TRITON, compile_for_a_gpu

TAPS = torch.tensor([1.0, 2.0, 1.0], dtype=torch.double) / 4
KERNEL = TAPS[:, None] * TAPS
SIZES = [(4, 5), (5, 4), (5, 5), (6, 4)]


def picture(*shape):
    random = torch.Generator().manual_seed(0)
    return torch.randn(*shape, generator=random, dtype=torch.double, requires_grad=True)


MAPS = {
    "pad": lambda x: reflection_pad(x, 3),
    "halve": lambda x: blur_and_halve(x, KERNEL),
    "double": double,
}


@pytest.mark.parametrize("few_launches", [False, True])
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("name", MAPS)
@pytest.mark.slow
def test_first_and_second_derivatives(name, size, few_launches):
    x = picture(1, 2, *size)
    with models.forced_few_launches(few_launches):
        assert torch.autograd.gradcheck(MAPS[name], x)
        assert torch.autograd.gradgradcheck(MAPS[name], x)


def check_kernel(name, shape, dtype, layout):
    """Compare the map of a GPU and its gradient with float64; both keep the layout."""
    random = torch.Generator().manual_seed(sum(shape))
    exact = torch.randn(shape, generator=random).to(dtype).double().requires_grad_()
    x = exact.detach().to(dtype).contiguous(memory_format=layout).requires_grad_()
    expected = MAPS[name](exact)
    gradient = torch.randn(expected.shape, generator=random).to(dtype)
    expected.backward(gradient.double())
    with models.forced_few_launches(True):
        found = MAPS[name](x)
        found.backward(gradient.contiguous(memory_format=layout))
    # bf16 keeps 8 bits, and Triton's interpreter cuts the others off instead of rounding.
    rounding = 2**-7 if dtype == torch.bfloat16 else 16 * 2**-23
    for ours, theirs in ((found, expected), (x.grad, exact.grad)):
        assert ours.dtype == dtype and ours.is_contiguous(memory_format=layout)
        assert (ours.double() - theirs).abs().max() <= rounding * theirs.abs().max()


# batch, channels, height, width: odd sizes, batch 1, more than a tile, the smallest that can be
SHAPES = [(1, 5, 9, 7), (2, 20, 12, 14), (3, 1, 4, 5), (1, 2, 40, 33)]
LAYOUTS = [torch.contiguous_format, torch.channels_last]


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("name", MAPS)
def test_the_form_of_a_gpu_equals_float64_and_keeps_the_layout(name, dtype, layout):
    for shape in SHAPES:
        check_kernel(name, shape, dtype, layout)


def check_kernels():
    """Compare the kernel in each of its forms with float64."""
    from models import triton_resample

    assert triton_resample.runs_on(torch.zeros(1))
    for name in MAPS:
        for layout in LAYOUTS:
            check_kernel(name, (1, 3, 5, 7), torch.float32, layout)
        check_kernel(name, (2, 18, 6, 4), torch.bfloat16, torch.channels_last)
        check_kernel(name, (1, 1, 20, 33), torch.float32, torch.contiguous_format)


@NEEDS_TRITON
@pytest.mark.parametrize("kind", range(6))
def test_the_kernel_compiles_for_a_gpu(kind):
    from models import triton_resample

    taps = triton_resample.TAPS[kind]
    constants = {"KIND": kind, "TAPS": taps, "CHANNELS": 64, "PIXELS": 16}
    compile_for_a_gpu(triton_resample._resample, constants, {"x": "*bf16", "y": "*bf16"})


@pytest.mark.parametrize("pixels", [1, 3])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_padding_and_its_gradient_equal_those_of_pytorch(pixels, layout):
    x = picture(2, 3, 6, 5)
    upstream = torch.randn(2, 3, 6 + 2 * pixels, 5 + 2 * pixels, dtype=torch.double)
    gradients = []
    for pad in (lambda y: reflection_pad(y, pixels), lambda y: F.pad(y, (pixels,) * 4, "reflect")):
        output = pad(x.contiguous(memory_format=layout))
        gradients.append(torch.autograd.grad(output, x, upstream)[0])
        assert torch.equal(output, F.pad(x, (pixels,) * 4, "reflect"))
    assert torch.allclose(*gradients, atol=1e-12)


def test_they_keep_no_input():
    x = picture(1, 2, 8, 8)
    kept = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t) or t, lambda t: t):
        reflection_pad(x * 1, 1)
        blur_and_halve(x * 1, KERNEL)
    assert not [tensor for tensor in kept if tensor.numel() > 1]


@pytest.mark.parametrize("batch", [1, 2])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_norm_and_relu_equal_the_two_written_out_and_keep_one_picture(batch, layout):
    x = picture(batch, 3, 5, 6)
    upstream = torch.randn(batch, 3, 5, 6, dtype=torch.double).contiguous(memory_format=layout)
    mean = x.mean((2, 3), keepdim=True)
    variance = (x - mean).square().mean((2, 3), keepdim=True)
    expected = F.relu((x - mean) / (variance + 1e-5).sqrt())
    kept = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t) or t, lambda t: t):
        output = NormReLU.apply(x.contiguous(memory_format=layout))
    assert sum(tensor.numel() == x.numel() for tensor in kept) == 1
    assert torch.allclose(output, expected, atol=1e-12)
    ours, theirs = (torch.autograd.grad(y, x, upstream)[0] for y in (output, expected))
    assert torch.allclose(ours, theirs, atol=1e-12)
