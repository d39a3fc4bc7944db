"""Triton kernels without a GPU: compiled for one."""

from importlib.util import find_spec

import pytest

NEEDS_TRITON = pytest.mark.skipif(
    not find_spec("triton"), reason="Triton comes with PyTorch's CUDA builds alone"
)


def compile_for_a_gpu(kernel, constants, types):
    """Compile a kernel for compute capability 9.0; Triton carries its own assembler.

    types: of the arguments that are neither constants nor integers.
    """
    from triton import compile
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    kinds = dict.fromkeys(constants, "constexpr") | types
    signature = {name: kinds.get(name, "i32") for name in kernel.arg_names}
    numbered = {(kernel.arg_names.index(name),): value for name, value in constants.items()}
    source = ASTSource(kernel, signature=signature, constexprs=numbered)
    assert compile(source, target=GPUTarget("cuda", 90, 32)).asm["cubin"]
