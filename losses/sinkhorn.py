"""Transport plans between two equal sets, in log space."""

from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable


def sinkhorn_log_plan(log_kernel: Tensor, iterations: int = 50) -> Tensor:
    """Return log P of the plan P_ij = u_i K_ij v_j whose rows and columns sum to 1.

    Sinkhorn's algorithm: divide each row by its sum, then each column, `iterations` times. In log
    space each step is a log-softmax, which neither overflows nor underflows. In the result the
    columns sum to 1 and the rows approximately; the error decreases geometrically with
    `iterations`.

    log_kernel: [..., P, P], log K, float32 or better; -inf forbids a pair, but every row and every
    column needs an allowed one. Returns the same shape. The gradient is that of the limit, computed
    by implicit differentiation with the same number of iterations, and saves only the plan; once
    differentiable. For similarities divided by epsilon and 50 iterations it is exact for epsilon
    0.1 or more, up to 1.3 % off at 0.03, 6 to 13 % at 0.01.
    Source: Cuturi 2013, algorithm 1, with uniform marginals; 50 iterations as in the official
    program of MoNCE.

    Raises ValueError for a kernel that is empty or not square, and for less than one iteration.
    """
    square = log_kernel.dim() >= 2 and log_kernel.shape[-1] == log_kernel.shape[-2]
    if not square or not log_kernel.numel():
        raise ValueError(f"log_kernel {list(log_kernel.shape)} is not [..., P, P], P at least 1")
    if iterations < 1:
        raise ValueError(f"iterations {iterations}: must be at least 1")
    return _LogPlan.apply(log_kernel, iterations)


class _LogPlan(Function):
    """The plan, with an implicit gradient instead of one through all iterations.

    log P = log K + f_i + g_j, where f and g make rows and columns sum to 1. So for a gradient G of
    log P, that of log K is G - P (a_i + b_j), with a + P b = G 1 and P^T a + b = G^T 1.
    """

    @staticmethod
    def forward(ctx: Any, log_kernel: Tensor, iterations: int) -> Tensor:
        log_plan = log_kernel
        for _ in range(iterations):
            log_plan = log_plan.log_softmax(-1).log_softmax(-2)
        ctx.save_for_backward(log_plan)
        ctx.iterations = iterations
        return log_plan

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        (log_plan,) = ctx.saved_tensors
        plan = log_plan.exp().view(-1, *log_plan.shape[-2:])  # [N, P, P]
        gradients = gradient.reshape(plan.shape)
        rows = gradients.sum(-1, keepdim=True)  # [N, P, 1]
        columns = gradients.sum(-2).unsqueeze(-1)
        # From b = 0, alternate a = rows - P b and b = columns - P^T a, with a substituted into b.
        b = first = torch.baddbmm(columns, plan.mT, rows, alpha=-1)
        both = plan.mT @ plan
        for _ in range(ctx.iterations - 1):
            b = torch.baddbmm(first, both, b)
        a = torch.baddbmm(rows, plan, b, alpha=-1)
        return (gradients - plan * (a + b.mT)).view(gradient.shape), None
