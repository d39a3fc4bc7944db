"""Shared by all attacks: eval mode, checks of arguments, losses per picture, projections.

Pictures are float [B, C, H, W] in [-1, 1], and so are their changes: a bound of e grey levels of
255 is epsilon = 2 e / 255 here. A model is a module or a function from such pictures to logits
[B, K]; where it was trained on normalised pictures, the model must include the normalisation.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from errors import UserError

Model = Callable[[Tensor], Tensor]
LossOfPictures = Callable[[Tensor], Tensor]  # pictures [B, C, H, W] -> a loss for each, [B]
Norm = Literal["linf", "l2"]

LEVEL = 2 / 255  # one grey level of 255
TINY = 1e-12


@contextmanager
def in_eval_mode(model: Model) -> Iterator[None]:
    """Put all modules of the model into eval mode, and back into the mode that each was in.

    Parameters, buffers and gradients are not touched: running statistics stay in eval mode, and an
    attack differentiates with respect to pictures alone.
    """
    modules = list(model.modules()) if isinstance(model, nn.Module) else []
    before = [module.training for module in modules]
    for module in modules:
        module.training = False
    try:
        yield
    finally:
        for module, mode in zip(modules, before, strict=True):
            module.training = mode


def check_pictures(pictures: Tensor) -> None:
    """Raise UserError unless the pictures are float [B, C, H, W] in [-1, 1]."""
    if pictures.dim() != 4 or not pictures.is_floating_point() or not pictures.numel():
        kind = f"{str(pictures.dtype).removeprefix('torch.')} {list(pictures.shape)}"
        raise UserError(f"`pictures` {kind}: not float [B, C, H, W], each at least 1")
    low, high = (value.item() for value in pictures.aminmax())
    if not (low >= -1 and high <= 1):  # NaN too
        raise UserError(f"`pictures` from {low:g} to {high:g}: not in [-1, 1]; scale them")


def check_classes(logits: Tensor, labels: Tensor, name: str = "labels") -> None:
    """Raise UserError unless these are logits [B, K] of several classes and labels long [B]."""
    if logits.dim() != 2 or logits.shape[1] < 2:
        raise UserError(
            f"`model` output {list(logits.shape)}: not the logits [B, K] of at least 2 classes"
        )
    if labels.dtype != torch.long or labels.shape != logits.shape[:1]:
        kind = f"{str(labels.dtype).removeprefix('torch.')} {list(labels.shape)}"
        raise UserError(f"`{name}` {kind}: not long [{len(logits)}], one for each picture")
    low, high = (value.item() for value in labels.aminmax())
    if low < 0 or high >= logits.shape[1]:
        wrong = low if low < 0 else high
        raise UserError(f"`{name}` {wrong}: not one of the {logits.shape[1]} classes, from 0 on")


def check_labels(model: Model, pictures: Tensor, labels: Tensor) -> None:
    """Raise UserError unless the labels are classes of the model, see `check_classes`."""
    with torch.no_grad():
        check_classes(model(pictures), labels)


def check_settings(epsilon: float, *, norm: Norm = "linf", **at_least_one: int) -> None:
    """Raise UserError for an epsilon below 0 or beyond the range, and for counts below 1.

    The range is 2 in every value; the L2 norm of a change has no bound that is known here.
    """
    if not epsilon >= 0 or (norm == "linf" and epsilon > 2):
        raise UserError(
            f"`epsilon` {epsilon:g}: outside 0 to 2, the whole range of pictures in [-1, 1]"
        )
    for name, value in at_least_one.items():
        if value < 1:
            raise UserError(f"`{name}` {value}: below 1; give 1 or more")


def cross_entropy(model: Model, labels: Tensor) -> LossOfPictures:
    """Return the loss -log softmax(model(x))_y of each picture, which attacks raise."""
    return lambda pictures: F.cross_entropy(model(pictures), labels, reduction="none")


def margin(model: Model, labels: Tensor) -> LossOfPictures:
    """Return max_k≠y z_k - z_y for the logits z of each picture (Carlini and Wagner 2017).

    Above 0 exactly where the model is wrong; unlike cross entropy it has a gradient where the
    softmax is saturated.
    """

    def loss(pictures: Tensor) -> Tensor:
        logits = model(pictures)
        own = logits.gather(1, labels[:, None])[:, 0]
        return logits.scatter(1, labels[:, None], -torch.inf).amax(1) - own

    return loss


def negative(loss: LossOfPictures) -> LossOfPictures:
    """Return -loss: to raise it means to lower the loss, towards a target."""
    return lambda pictures: -loss(pictures)


LOSSES = {"cross_entropy": cross_entropy, "margin": margin}


def gradient(loss: LossOfPictures, pictures: Tensor) -> Tensor:
    """Return the gradient of each picture's loss by that picture, detached, of the same shape."""
    with torch.enable_grad():
        x = pictures.detach().requires_grad_()
        return torch.autograd.grad(loss(x).sum(), x)[0]


def norms(changes: Tensor) -> Tensor:
    """Return the L2 norm of each [C, H, W], as [B, 1, 1, 1]."""
    return changes.flatten(1).norm(dim=1).view(-1, 1, 1, 1)


def project(changes: Tensor, epsilon: float | Tensor, norm: Norm) -> Tensor:
    """Return the nearest changes whose norm is at most epsilon, a number or [B, 1, 1, 1]."""
    if norm == "linf":
        return changes.clamp(-epsilon, epsilon)
    return changes * (epsilon / norms(changes).clamp_min(TINY)).clamp_max(1)


def rows(values: Tensor) -> Tensor:
    """Return one value for each picture [B] as [B, 1, 1, 1]."""
    return values.view(-1, 1, 1, 1)
