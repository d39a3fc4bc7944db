"""Penalties on the discriminator's gradient."""

import torch
from torch import Tensor

from losses.precision import single_precision


def r1_penalty(real: Tensor, logits: Tensor) -> Tensor:
    """Return 1/2 mean_b |grad_x sum(D(x_b))|^2, the gradient at real pictures.

    real: [B, ...] that requires a gradient; logits: D(real), [B, ...], float32 or cast to it. The
    result keeps its graph, so that its own gradient reaches the discriminator.
    Source: Mescheder et al. 2018, equation 9 with gamma = 1.

    Raises ValueError where `real` requires no gradient.
    """
    if not real.requires_grad:
        raise ValueError("r1_penalty: `real` must require a gradient before it enters D")
    (gradient,) = torch.autograd.grad(single_precision(logits).sum(), real, create_graph=True)
    return single_precision(gradient).square().flatten(1).sum(1).mean() / 2
