"""Penalties on the discriminator: the size of its gradient, the drift of its scores.

All are computed in float32 or better, whatever autocast is around them, and keep their graph, so
that their own gradient reaches the discriminator.
"""

import torch
from torch import Tensor

from losses.common import check_positive, single_precision


def r1_penalty(pictures: Tensor, logits: Tensor) -> Tensor:
    """Return 1/2 mean_b |grad_x sum(D(x_b))|^2: R1 where the pictures are real, R2 where fake.

    pictures: [B, ...] that require a gradient, fakes detached from the generator; logits:
    D(pictures), [B, ...], float32 or cast to it.
    Source: Mescheder et al. 2018, equations 9 (R1) and 10 (R2) with gamma = 1.

    Raises ValueError where `pictures` require no gradient, RuntimeError where the gradient has no
    graph.
    """
    return _gradient(pictures, logits).square().sum(1).mean() / 2


def interpolate(reals: Tensor, fakes: Tensor, shares: Tensor) -> Tensor:
    """Return u x + (1 - u) G, points between reals x and fakes G, one on each line.

    reals, fakes: [B, ...] of one shape; shares: u, [B], in [0, 1]. The points are float32 or
    better, detached, and require a gradient: what `gradient_penalty` is taken at.
    Source: Gulrajani et al. 2017, algorithm 1.

    Raises ValueError for unequal shapes.
    """
    if reals.shape != fakes.shape or shares.shape != reals.shape[:1]:
        shapes = ", ".join(str(list(x.shape)) for x in (reals, fakes, shares))
        raise ValueError(f"reals, fakes and shares {shapes} are not [B, ...], the same, and [B]")
    reals, fakes = single_precision(reals.detach()), single_precision(fakes.detach())
    shares = shares.detach().to(reals.dtype).view(-1, *[1] * (reals.dim() - 1))
    return (shares * reals + (1 - shares) * fakes).requires_grad_()


def gradient_penalty(points: Tensor, scores: Tensor, *, target: float = 1.0) -> Tensor:
    """Return mean_b (|grad_x sum(D(x_b))| - target)^2 / target^2, |g| = sqrt(sum g^2 + 1e-12).

    points: [B, ...] that require a gradient (`interpolate`); scores: D(points), [B, ...].
    Source: Gulrajani et al. 2017, equation 3, without its weight of 10; the target is that of
    Karras et al. 2018 (750 for CIFAR-10). The small number keeps the root's derivative finite at 0.

    Raises ValueError where `points` require no gradient or the target is not finite and above 0,
    RuntimeError where the gradient has no graph.
    """
    check_positive(target=target)
    norms = (_gradient(points, scores).square().sum(1) + 1e-12).sqrt()
    return (norms - target).square().mean() / target**2


def drift(scores: Tensor) -> Tensor:
    """Return mean score^2 over all scores, which keeps a critic's scores of reals near 0.

    Source: Karras et al. 2018, appendix A.1, without its weight of 0.001.
    """
    return single_precision(scores).square().mean()


def _gradient(points: Tensor, scores: Tensor) -> Tensor:
    """Return the gradient of the summed scores at the points, [B, n], with its own graph."""
    if not points.requires_grad:
        raise ValueError("the points of a penalty must require a gradient before they enter D")
    with torch.autocast(points.device.type, enabled=False):
        (gradient,) = torch.autograd.grad(single_precision(scores).sum(), points, create_graph=True)
    if not gradient.requires_grad:  # torch.compile has returned such gradients without a word
        raise RuntimeError(
            "the gradient at the points has no graph, so a penalty on it would train nothing; call "
            "D uncompiled, with weights that require a gradient"
        )
    return single_precision(gradient).flatten(1)
