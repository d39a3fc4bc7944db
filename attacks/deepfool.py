"""DeepFool: the nearest linearised boundary, crossed step by step."""

import torch
from torch import Tensor

from attacks.common import (
    TINY,
    Model,
    Norm,
    check_labels,
    check_pictures,
    check_settings,
    in_eval_mode,
    rows,
)


def deepfool(
    model: Model,
    pictures: Tensor,
    labels: Tensor,
    *,
    steps: int = 50,
    overshoot: float = 0.02,
    norm: Norm = "l2",
) -> Tensor:
    """Return pictures just beyond the nearest decision boundary, by a change as small as possible.

    While the model gives x its label y: with f_k = z_k - z_y and w_k = grad_x f_k, the nearest
    boundary of the linearised model is that of l = argmin_k≠y |f_k| / |w_k|_q, and
    x <- clip(x + (1 + overshoot) |f_l| w_l / |w_l|_2^2) for norm l2 (q = 2), or
    x <- clip(x + (1 + overshoot) |f_l| sign(w_l) / |w_l|_1) for linf (q = 1); clip is to [-1, 1].
    Pictures that the model gets wrong stay as they are. All pictures of a batch move at once; each
    step takes one backward pass per class.

    pictures: float [B, C, H, W] in [-1, 1]; labels: long [B]. Returns the same shape, detached.
    Raises UserError for pictures outside the range, labels that are no classes, and steps below 1.
    Source: Moosavi-Dezfooli et al. 2016, algorithm 2; the overshoot is applied in every step, as in
    most programs, and not once at the end.
    """
    check_pictures(pictures)
    check_settings(0.0, steps=steps)
    x = pictures.detach()
    with in_eval_mode(model):
        check_labels(model, x, labels)
        for _ in range(steps):
            with torch.no_grad():
                is_right = model(x).argmax(1) == labels
            places = is_right.nonzero()[:, 0]
            if not len(places):
                break
            change = _to_boundary(model, x[places], labels[places], norm)
            x = x.index_copy(0, places, (x[places] + (1 + overshoot) * change).clamp(-1, 1))
    return x


def _to_boundary(model: Model, pictures: Tensor, labels: Tensor, norm: Norm) -> Tensor:
    """Return the smallest changes that reach a boundary of the model linearised at each picture."""
    logits, jacobian = _logits_and_jacobian(model, pictures)
    classes = torch.arange(len(labels), device=labels.device)
    differences = logits - logits[classes, labels][:, None]  # f_k, [B, K]
    slopes = jacobian - jacobian[classes, labels][:, None]  # w_k, [B, K, C, H, W]
    order = 2 if norm == "l2" else 1
    lengths = slopes.flatten(2).norm(p=order, dim=2)  # [B, K]
    distances = differences.abs() / lengths.clamp_min(TINY)
    distances[classes, labels] = torch.inf
    nearest = distances.argmin(1)
    slope, length = slopes[classes, nearest], rows(lengths[classes, nearest]).clamp_min(TINY)
    gap = rows(differences[classes, nearest].abs())
    if norm == "l2":
        return gap * slope / length**2
    return gap * slope.sign() / length


def _logits_and_jacobian(model: Model, pictures: Tensor) -> tuple[Tensor, Tensor]:
    """Return logits [B, K] and their gradients by the picture [B, K, C, H, W], detached."""
    with torch.enable_grad():
        x = pictures.detach().requires_grad_()
        logits = model(x)
        of_classes = [
            torch.autograd.grad(logits[:, k].sum(), x, retain_graph=True)[0]
            for k in range(logits.shape[1])
        ]
    return logits.detach(), torch.stack(of_classes, dim=1)
