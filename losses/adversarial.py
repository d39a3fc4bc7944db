"""Adversarial losses for image translation, on the discriminator's logits (no sigmoid applied).

Each loss takes logits of any shape and returns a scalar, the mean over all of them, in float32 or
better. The discriminator's loss is the average of its mean over reals and its mean over fakes, as
in the official programs of CycleGAN, pix2pix and CUT.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch.nn.functional as F
from torch import Tensor

from losses.common import single_precision


class AdversarialLoss(NamedTuple):
    """Three functions of logits; the discriminator's loss is (on_real + on_fake) / 2."""

    on_real: Callable[[Tensor], Tensor]  # discriminator, logits of reals
    on_fake: Callable[[Tensor], Tensor]  # discriminator, logits of fakes
    generator: Callable[[Tensor], Tensor]  # generator, logits of fakes


def _towards(value: float) -> Callable[[Tensor], Tensor]:
    return lambda logits: (single_precision(logits) - value).square().mean()


def _softplus(sign: float) -> Callable[[Tensor], Tensor]:
    return lambda logits: F.softplus(sign * single_precision(logits)).mean()


def _linear(sign: float) -> Callable[[Tensor], Tensor]:
    return lambda logits: sign * single_precision(logits).mean()


def _minimax_generator(logits: Tensor) -> Tensor:
    return -F.softplus(single_precision(logits)).mean()


def _hinge(sign: float) -> Callable[[Tensor], Tensor]:
    return lambda logits: F.relu(1 + sign * single_precision(logits)).mean()


ADVERSARIAL_LOSSES = {
    # Least squares (Mao et al. 2017): real (d - 1)^2, fake d^2, generator (d - 1)^2.
    "lsgan": AdversarialLoss(_towards(1), _towards(0), _towards(1)),
    # The original game (Goodfellow et al. 2014, equation 1), D = sigmoid(d): real -log D, fake
    # -log(1 - D), generator log(1 - D), which saturates while D wins.
    "minimax": AdversarialLoss(_softplus(-1), _softplus(1), _minimax_generator),
    # The same discriminator loss; generator -log D (Goodfellow et al. 2014, end of section 3).
    # `vanilla` and `nonsaturating` in the official programs.
    "non_saturating": AdversarialLoss(_softplus(-1), _softplus(1), _softplus(-1)),
    # Hinge (Lim and Ye 2017): real max(0, 1 - d), fake max(0, 1 + d), generator -d.
    "hinge": AdversarialLoss(_hinge(-1), _hinge(1), _linear(-1)),
    # Wasserstein (Arjovsky et al. 2017): real -d, fake d, generator -d. Needs a penalty such as R1.
    "wgan": AdversarialLoss(_linear(-1), _linear(1), _linear(-1)),
}
