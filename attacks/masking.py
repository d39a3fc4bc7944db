"""Signs that a model only hides its gradient, so that its robustness is not what it seems."""

import torch
from torch import Tensor

from attacks.common import (
    Model,
    check_labels,
    check_pictures,
    cross_entropy,
    gradient,
    in_eval_mode,
)
from attacks.gradient_sign import fgsm
from attacks.pgd import pgd

STEPS = 20
WHOLE_RANGE = 1.0  # half of [-1, 1]: grey is within reach of every picture
LEAST_SHARE = 0.95  # fooled at that distance, where nothing can be recognised


def masked_gradients(
    model: Model, pictures: Tensor, labels: Tensor, *, epsilon: float, generator: torch.Generator
) -> list[str]:
    """Return signs that the model masks its gradient, in words; an empty list where there is none.

    - the gradient of the cross entropy is 0 for some pictures,
    - one step of FGSM fools the model more often than 20 steps of PGD at the same epsilon,
    - PGD fools it on fewer than 95 % of the pictures at epsilon 1, where each may become all grey.

    Arguments and errors are those of `pgd`. Source: Athalye et al. 2018, section 3.1; Carlini et
    al. 2019.
    """
    check_pictures(pictures)
    signs = []
    with in_eval_mode(model):
        check_labels(model, pictures, labels)
        slopes = gradient(cross_entropy(model, labels), pictures)
    zero = int((slopes.flatten(1).abs().amax(1) == 0).sum())
    if zero:
        signs.append(
            f"the gradient is zero for {zero} of {len(pictures)} pictures, so that a step cannot "
            "find their errors"
        )
    once = _fooled(model, fgsm(model, pictures, labels, epsilon=epsilon), labels)
    often = _fooled(model, _attacked(model, pictures, labels, epsilon, generator), labels)
    if once > often:
        signs.append(
            f"one step fools the model on {once:.1%} of the pictures, {STEPS} steps only on "
            f"{often:.1%}"
        )
    far = _fooled(model, _attacked(model, pictures, labels, WHOLE_RANGE, generator), labels)
    if far < LEAST_SHARE:
        signs.append(
            f"at epsilon {WHOLE_RANGE:g}, where every picture may become all grey, only {far:.1%} "
            "of the pictures fool the model"
        )
    return signs


def _attacked(
    model: Model, pictures: Tensor, labels: Tensor, epsilon: float, generator: torch.Generator
) -> Tensor:
    step = 2.5 * epsilon / STEPS
    return pgd(
        model, pictures, labels, epsilon=epsilon, step=step, steps=STEPS, generator=generator
    )


def _fooled(model: Model, pictures: Tensor, labels: Tensor) -> float:
    """Return the share of pictures that the model gets wrong."""
    with in_eval_mode(model), torch.no_grad():
        return (model(pictures).argmax(1) != labels).double().mean().item()
