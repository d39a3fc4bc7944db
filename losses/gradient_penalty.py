"""Penalties on the discriminator: on the norm of its gradient and the drift of its scores.

All are computed in float32 or better, even under autocast, and with create_graph=True, so that
they can be differentiated with respect to the discriminator's weights.
"""

import torch
from torch import Tensor

from losses.common import check_positive, single_precision


def r1_penalty(pictures: Tensor, logits: Tensor) -> Tensor:
    """Return 1/2 mean_b |grad_x sum(D(x_b))|^2: R1 on reals, R2 on fakes.

    pictures: [B, ...] with requires_grad, fakes detached from the generator; logits: D(pictures),
    [B, ...], float32 or cast to it.
    Source: Mescheder et al. 2018, equations 9 (R1) and 10 (R2) with gamma = 1.

    Raises ValueError if `pictures` do not require a gradient, RuntimeError if the gradient has no
    graph.
    """
    return _gradient(pictures, logits).square().sum(1).mean() / 2


def interpolate(reals: Tensor, fakes: Tensor, weights: Tensor) -> Tensor:
    """Return u x + (1 - u) G, random points between reals x and fakes G for `gradient_penalty`.

    reals, fakes: [B, ...] of the same shape; weights: u, [B], in [0, 1]. The points are float32 or
    better, detached, and require a gradient.
    Source: Gulrajani et al. 2017, algorithm 1.

    Raises ValueError for unequal shapes.
    """
    if reals.shape != fakes.shape or weights.shape != reals.shape[:1]:
        shapes = ", ".join(str(list(x.shape)) for x in (reals, fakes, weights))
        raise ValueError(f"reals, fakes and weights {shapes} are not [B, ...], the same, and [B]")
    reals, fakes = single_precision(reals.detach()), single_precision(fakes.detach())
    weights = weights.detach().to(reals.dtype).view(-1, *[1] * (reals.dim() - 1))
    return (weights * reals + (1 - weights) * fakes).requires_grad_()


def gradient_penalty(points: Tensor, scores: Tensor, *, target: float = 1.0) -> Tensor:
    """Return mean_b (|grad_x sum(D(x_b))| - target)^2 / target^2, |g| = sqrt(sum g^2 + 1e-12).

    points: [B, ...] with requires_grad (`interpolate`); scores: D(points), [B, ...]. The 1e-12
    keeps the derivative of the root finite at 0.
    Source: Gulrajani et al. 2017, equation 3, without its weight of 10; `target` is from Karras et
    al. 2018 (750 for CIFAR-10).

    Raises ValueError if `points` do not require a gradient or the target is not finite and above 0,
    RuntimeError if the gradient has no graph.
    """
    check_positive(target=target)
    norms = (_gradient(points, scores).square().sum(1) + 1e-12).sqrt()
    return (norms - target).square().mean() / target**2


def drift(scores: Tensor) -> Tensor:
    """Return the mean of score^2, which keeps a critic's scores of reals near 0.

    Source: Karras et al. 2018, appendix A.1, without its weight of 0.001.
    """
    return single_precision(scores).square().mean()


def _gradient(points: Tensor, scores: Tensor) -> Tensor:
    """Return the gradient of the summed scores at the points, [B, n], with create_graph=True."""
    if not points.requires_grad:
        raise ValueError("the points of a penalty must require a gradient before D is applied")
    with torch.autocast(points.device.type, enabled=False):
        (gradient,) = torch.autograd.grad(single_precision(scores).sum(), points, create_graph=True)
    if not gradient.requires_grad:  # torch.compile has been seen to return such gradients
        raise RuntimeError(
            "the gradient at the points has no graph, so a penalty on it would not train D; call "
            "D uncompiled, with weights that require a gradient"
        )
    return single_precision(gradient).flatten(1)
