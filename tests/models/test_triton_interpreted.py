"""The Triton kernels against float64 in Triton's interpreter, all in one process."""

import os
import subprocess
import sys

import pytest

from tests.kernels import NEEDS_TRITON
from tests.processes import ROOT

# Triton looks at the variable when kernels are defined: the process is a new one.
CHECKS = """
from tests.models import test_fused_norm, test_resampling
test_fused_norm.check_kernels()
test_resampling.check_kernels()
print("all kernels checked")
"""


@NEEDS_TRITON
@pytest.mark.slow
def test_the_kernels_equal_float64():
    environment = {**os.environ, "TRITON_INTERPRET": "1", "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", CHECKS]
    finished = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert finished.returncode == 0, finished.stderr
    assert finished.stdout.endswith("all kernels checked\n")
