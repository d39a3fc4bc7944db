"""The value of the original GAN's game, and the divergence that it implies."""

import math

import torch.nn.functional as F
from torch import Tensor

from losses.common import single_precision


def game_value(real_logits: Tensor, fake_logits: Tensor) -> Tensor:
    """Return V = E log D(x) + E log(1 - D(G(z))), D = sigmoid(logit), a scalar of at most 0.

    Logits of any shape; means over all of them, in float32 or better. V is -log 4 = -1.386 if D is
    1/2 everywhere, and approaches 0 if D classifies all pictures correctly.
    Source: Goodfellow et al. 2014, equation 1.
    """
    on_reals = F.softplus(-single_precision(real_logits)).mean()
    on_fakes = F.softplus(single_precision(fake_logits)).mean()
    return -(on_reals + on_fakes)


def implied_jensen_shannon(value: Tensor) -> Tensor:
    """Return (V + log 4) / 2, the Jensen-Shannon divergence in nats if D were optimal.

    Any other D has a smaller V, so this is a lower bound; it may be negative and is at most log 2.
    Source: Goodfellow et al. 2014, theorem 1.
    """
    return (value + math.log(4)) / 2
