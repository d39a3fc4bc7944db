"""One step and several along the sign of the gradient: FGSM and its iterated and targeted forms."""

import torch
from torch import Tensor

from attacks.ascent import ascend
from attacks.common import (
    Model,
    check_classes,
    check_labels,
    check_pictures,
    check_settings,
    cross_entropy,
    in_eval_mode,
    negative,
)
from errors import UserError


def fgsm(model: Model, pictures: Tensor, labels: Tensor, *, epsilon: float) -> Tensor:
    """Return clip(x + epsilon sign(grad_x L(model(x), y))), the fast gradient sign method.

    pictures: float [B, C, H, W] in [-1, 1]; labels: long [B], the true classes; epsilon: bound of
    the L-infinity norm of the change, in units of [-1, 1]. L is cross entropy; clip is to [-1, 1].
    The result is detached and of the same shape; with epsilon 0 it equals the pictures bit for bit.

    Raises UserError for pictures outside [-1, 1], labels that are no classes of the model, and an
    epsilon outside 0 to 2. Source: Goodfellow et al. 2015, section 4.
    """
    return iterative_fgsm(model, pictures, labels, epsilon=epsilon, step=epsilon, steps=1)


def targeted_fgsm(model: Model, pictures: Tensor, targets: Tensor, *, epsilon: float) -> Tensor:
    """Return clip(x - epsilon sign(grad_x L(model(x), t))): one step towards classes t.

    Arguments and errors are those of `fgsm`; a target that the model already predicts is refused,
    too. Source: Kurakin et al. 2017, section 2.3.
    """
    check_pictures(pictures)
    check_settings(epsilon)
    with in_eval_mode(model):
        check_targets(model, pictures, targets)
        towards = negative(cross_entropy(model, targets))
        return ascend(towards, pictures, epsilon=epsilon, step=epsilon, steps=1)


def iterative_fgsm(
    model: Model, pictures: Tensor, labels: Tensor, *, epsilon: float, step: float, steps: int
) -> Tensor:
    """Return x_steps of x_0 = x, x_t+1 = clip(x_t + step sign(grad L(model(x_t), y))).

    clip is to [x - epsilon, x + epsilon] and then to [-1, 1]. Arguments and errors are those of
    `fgsm`. Source: Kurakin et al. 2017, section 2.2 (the basic iterative method, BIM).
    """
    check_pictures(pictures)
    check_settings(epsilon, steps=steps)
    with in_eval_mode(model):
        check_labels(model, pictures, labels)
        loss = cross_entropy(model, labels)
        return ascend(loss, pictures, epsilon=epsilon, step=step, steps=steps)


def least_likely(
    model: Model, pictures: Tensor, *, epsilon: float, step: float, steps: int
) -> Tensor:
    """Iterate towards the class with the smallest logit, t = argmin_k model(x)_k, of each picture.

    x_t+1 = clip(x_t - step sign(grad L(model(x_t), t))). Arguments and errors are those of
    `iterative_fgsm`. Source: Kurakin et al. 2017, section 2.3.
    """
    check_pictures(pictures)
    check_settings(epsilon, steps=steps)
    with in_eval_mode(model):
        with torch.no_grad():
            logits = model(pictures)
        targets = logits.argmin(1)
        check_classes(logits, targets)
        towards = negative(cross_entropy(model, targets))
        return ascend(towards, pictures, epsilon=epsilon, step=step, steps=steps)


def check_targets(model: Model, pictures: Tensor, targets: Tensor) -> None:
    """Raise UserError for targets that are no classes, or that the model already gives."""
    with torch.no_grad():
        logits = model(pictures)
    check_classes(logits, targets, "targets")
    same = (logits.argmax(1) == targets).nonzero()
    if len(same):
        place = same[0].item()
        raise UserError(
            f"`targets` {targets[place].item()}: the model already gives picture {place} this "
            "class; give another target"
        )
