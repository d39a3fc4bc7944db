"""Adversarial training: examples to train on, and the loss of TRADES."""

import torch
import torch.nn.functional as F
from torch import Tensor

from attacks.ascent import ascend, random_start
from attacks.common import (
    Model,
    check_classes,
    check_labels,
    check_pictures,
    check_settings,
    cross_entropy,
    in_eval_mode,
)


def fast_adversarial(
    model: Model,
    pictures: Tensor,
    labels: Tensor,
    *,
    epsilon: float,
    step: float | None = None,
    generator: torch.Generator,
) -> Tensor:
    """Return examples for training by one step of FGSM from a random start.

    d uniform in [-epsilon, epsilon]; x' = clip(x + P(d + step sign(grad L(model(x + d), y)))) with
    step 1.25 epsilon by default. The random start and the step beyond epsilon keep the training
    from overfitting to FGSM. Arguments, result and errors are those of `fgsm`. For training by
    PGD (Madry et al. 2018) use `pgd`: both give the x' of min_weights E max_x' L(model(x'), y).
    Source: Wong et al. 2020, algorithm 3.
    """
    check_pictures(pictures)
    check_settings(epsilon)
    with in_eval_mode(model):
        check_labels(model, pictures, labels)
        step = 1.25 * epsilon if step is None else step
        start = random_start(pictures, epsilon, "linf", generator)
        loss = cross_entropy(model, labels)
        return ascend(loss, pictures, epsilon=epsilon, step=step, steps=1, start=start)


def trades_loss(
    model: Model,
    pictures: Tensor,
    labels: Tensor,
    *,
    epsilon: float,
    step: float,
    steps: int,
    weight: float = 6.0,
    generator: torch.Generator,
) -> Tensor:
    """Return the mean of L(model(x), y) + weight KL(p(x) || p(x')), a scalar with a graph.

    p is the softmax of the logits, L cross entropy, x' = argmax KL(p(x) || p(x')) in the
    L-infinity ball of radius epsilon, by `steps` of projected gradient ascent from x + 0.001 n, n
    normal. x' is found in eval mode and detached; the loss is computed in the model's own mode.
    weight: 1 / lambda of the paper; larger is more robust and less accurate on clean pictures.

    Arguments and errors are those of `pgd`. Source: Zhang et al. 2019, equation 5 and algorithm 1;
    there normal noise has the deviation 0.001 in units of [0, 1], which is 0.002 here.
    """
    check_pictures(pictures)
    check_settings(epsilon, steps=steps)
    with in_eval_mode(model):
        with torch.no_grad():
            logits = model(pictures)
        check_classes(logits, labels)
        clean = logits.log_softmax(1)
        noise = torch.empty_like(pictures).normal_(0, 0.002, generator=generator)
        start = (pictures + noise).clamp(-1, 1)
        found = ascend(
            lambda x: _divergence(clean, model(x)),
            pictures,
            epsilon=epsilon,
            step=step,
            steps=steps,
            start=start,
        )
    logits = model(pictures)
    divergence = _divergence(logits.log_softmax(1), model(found)).mean()
    return F.cross_entropy(logits, labels) + weight * divergence


def _divergence(clean: Tensor, logits: Tensor) -> Tensor:
    """Return KL(p || q) of each row, [B]; clean: log p, logits: of q."""
    return F.kl_div(logits.log_softmax(1), clean, reduction="none", log_target=True).sum(1)
