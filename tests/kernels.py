"""Triton kernels without a GPU: run by Triton's interpreter, or compiled for one."""

import os
import subprocess
import sys
from importlib.util import find_spec

import pytest

from tests.processes import ROOT

NEEDS_TRITON = pytest.mark.skipif(
    not find_spec("triton"), reason="Triton comes with PyTorch's CUDA builds alone"
)


def run_interpreted(*lines):
    """Run Python in a process of its own: Triton looks at the variable when kernels are defined."""
    environment = {**os.environ, "TRITON_INTERPRET": "1", "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", "\n".join(lines)]
    finished = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert finished.returncode == 0, finished.stderr


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
