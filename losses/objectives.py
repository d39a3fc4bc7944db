"""Adversarial losses for generators of pictures from noise.

An objective is a pair of functions of logits (no sigmoid applied): the discriminator's loss, the
SUM of its mean over reals and its mean over fakes, and the generator's. Logits of any shape;
results are scalars in float32 or better.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from losses.adversarial import ADVERSARIAL_LOSSES
from losses.common import single_precision


class Objective(NamedTuple):
    """The losses of discriminator and generator, and the meaning of the logits."""

    discriminator: Callable[[Tensor, Tensor], Tensor]  # of the logits of reals and of fakes
    generator: Callable[[Tensor, Tensor | None], Tensor]  # of the logits of fakes and of reals
    compares: bool  # the generator's loss needs the logits of reals
    boundary: float | None  # a logit above it means "real"; None: only differences matter


def _separate(name: str, boundary: float | None, factor: float = 1.0) -> Objective:
    """Return the objective whose losses treat reals and fakes separately, times `factor`."""
    loss = ADVERSARIAL_LOSSES[name]

    def discriminator(real_logits: Tensor, fake_logits: Tensor) -> Tensor:
        return factor * (loss.on_real(real_logits) + loss.on_fake(fake_logits))

    def generator(fake_logits: Tensor, real_logits: Tensor | None = None) -> Tensor:
        return factor * loss.generator(fake_logits)

    return Objective(discriminator, generator, False, boundary)


def _relativistic_discriminator(real_logits: Tensor, fake_logits: Tensor) -> Tensor:
    if real_logits.shape != fake_logits.shape:
        shapes = f"{list(real_logits.shape)} and {list(fake_logits.shape)}"
        raise ValueError(f"logits {shapes}: reals and fakes are paired and need equal shapes")
    return F.softplus(single_precision(fake_logits) - single_precision(real_logits)).mean()


def _relativistic_generator(fake_logits: Tensor, real_logits: Tensor | None = None) -> Tensor:
    if real_logits is None:
        raise ValueError("real_logits None: the relativistic generator needs the logits of reals")
    return _relativistic_discriminator(fake_logits, real_logits)


OBJECTIVES = {
    # The original game (Goodfellow et al. 2014, equation 1); at the equilibrium log 4 and -log 2.
    "minimax": _separate("minimax", 0.0),
    # The same discriminator, generator -log D; at the equilibrium log 4 and log 2.
    "non_saturating": _separate("non_saturating", 0.0),
    # Least squares with the factor 1/2 (Mao et al. 2017, equation 9); at the equilibrium 1/4, 1/8.
    "lsgan": _separate("lsgan", 0.5, factor=0.5),
    # Hinge (Lim and Ye 2017): 2 for any constant D in [-1, 1].
    "hinge": _separate("hinge", 0.0),
    # Wasserstein (Arjovsky et al. 2017); needs a penalty on the gradient.
    "wgan": _separate("wgan", None),
    # Pairs by batch position (Jolicoeur-Martineau 2019, RSGAN; Huang et al. 2024, RpGAN):
    # discriminator -log sigmoid(r - f), generator -log sigmoid(f - r); at the equilibrium log 2.
    "relativistic": Objective(_relativistic_discriminator, _relativistic_generator, True, None),
}


def accuracies(
    real_logits: Tensor, fake_logits: Tensor, boundary: float | None
) -> tuple[Tensor, Tensor]:
    """Return the fraction of reals classified as real and of fakes classified as fake.

    A logit above `boundary` means "real", all others "fake"; boundary None: the midpoint between
    the two means. Logits of any shape; two float32 scalars, detached. NaN counts as wrong; empty
    logits give NaN.
    """
    real_logits = single_precision(real_logits.detach())
    fake_logits = single_precision(fake_logits.detach())
    if boundary is None:
        limit = (real_logits.mean() + fake_logits.mean()) / 2
    else:
        limit = torch.full((), boundary, dtype=real_logits.dtype, device=real_logits.device)
    return (real_logits > limit).float().mean(), (fake_logits <= limit).float().mean()
