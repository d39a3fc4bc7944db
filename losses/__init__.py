"""Losses: mathematics on tensors."""

from losses.adversarial import ADVERSARIAL_LOSSES, AdversarialLoss
from losses.gradient_penalty import r1_penalty
from losses.patch_nce import multilayer_patch_nce, patch_nce
from losses.reconstruction import l1

__all__ = [
    "ADVERSARIAL_LOSSES",
    "AdversarialLoss",
    "l1",
    "multilayer_patch_nce",
    "patch_nce",
    "r1_penalty",
]
