"""Projected gradient ascent on a loss of pictures: what the gradient attacks share."""

import torch
from torch import Tensor

from attacks.common import TINY, LossOfPictures, Norm, gradient, norms, project


def ascend(
    loss: LossOfPictures,
    pictures: Tensor,
    *,
    epsilon: float | Tensor,
    step: float | Tensor,
    steps: int,
    norm: Norm = "linf",
    start: Tensor | None = None,
    decay: float | None = None,
) -> Tensor:
    """Return pictures near the given ones with a larger loss, detached.

    x_t+1 = clip(x + P(x_t + step d_t - x)), where P projects onto the ball of radius epsilon and
    clip is to [-1, 1]. d_t is the sign of the gradient (linf), or the gradient over its norm (l2).
    decay: of the momentum m_t = decay m_t-1 + g_t / mean |g_t|, which then replaces the gradient
    g_t. start: x_0, by default the pictures.

    loss: float [B, C, H, W] in [-1, 1] -> [B], one loss for each picture that depends on it alone.
    It need not be a classifier's: a distance between two translations is as good. epsilon and step:
    numbers, or one for each picture, [B, 1, 1, 1].
    """
    pictures = pictures.detach()
    x = pictures if start is None else start
    momentum = torch.zeros_like(x)
    for _ in range(steps):
        direction = gradient(loss, x)
        if decay is not None:
            size = direction.abs().mean((1, 2, 3), keepdim=True).clamp_min(TINY)
            direction = momentum = direction / size + decay * momentum
        if norm == "linf":
            direction = direction.sign()
        else:
            direction = direction / norms(direction).clamp_min(TINY)
        change = project(x + step * direction - pictures, epsilon, norm)
        x = (pictures + change).clamp(-1, 1)
    return x


def random_start(
    pictures: Tensor, epsilon: float, norm: Norm, generator: torch.Generator
) -> Tensor:
    """Return pictures changed at random within epsilon, clipped to [-1, 1].

    linf: each value uniformly in [-epsilon, epsilon]; l2: a uniform direction, and a radius uniform
    in [0, epsilon].
    """
    if norm == "linf":
        change = torch.empty_like(pictures).uniform_(-epsilon, epsilon, generator=generator)
    else:
        change = torch.empty_like(pictures).normal_(generator=generator)
        lengths = norms(change)
        radii = torch.zeros_like(lengths).uniform_(0, 1, generator=generator)
        change *= radii / lengths * epsilon
    return (pictures + change).clamp(-1, 1)
