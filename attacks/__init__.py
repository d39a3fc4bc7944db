"""Small changes of pictures that fool a network, and training against them."""

from attacks.ascent import ascend, random_start
from attacks.common import LEVEL, LossOfPictures, Model, Norm
from attacks.deepfool import deepfool
from attacks.gradient_sign import fgsm, iterative_fgsm, least_likely, targeted_fgsm
from attacks.masking import masked_gradients
from attacks.one_pixel import one_pixel
from attacks.pgd import momentum, pgd
from attacks.training import fast_adversarial, trades_loss
from attacks.universal import UniversalPerturbation, universal_perturbation

__all__ = [
    "LEVEL",
    "LossOfPictures",
    "Model",
    "Norm",
    "UniversalPerturbation",
    "ascend",
    "deepfool",
    "fast_adversarial",
    "fgsm",
    "iterative_fgsm",
    "least_likely",
    "masked_gradients",
    "momentum",
    "one_pixel",
    "pgd",
    "random_start",
    "targeted_fgsm",
    "trades_loss",
    "universal_perturbation",
]
