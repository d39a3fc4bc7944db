"""Functions that return classifiers, for `attack.py --checkpoint module:function`."""

import copy

import torch
from torch import Tensor, nn

from tests.attacks.classifiers import CLASSES, classifier


def trained() -> nn.Module:
    """The small trained classifier."""
    return copy.deepcopy(classifier())


def one_class() -> nn.Module:
    """A model with one output."""
    return nn.Sequential(nn.Flatten(), nn.Linear(3 * 8 * 8, 1))


class Saturated(nn.Module):
    """Right, and without a gradient: logits are rounded to whole numbers."""

    def __init__(self):
        super().__init__()
        self.model = trained()

    def forward(self, pictures: Tensor) -> Tensor:
        """Return rounded logits."""
        return torch.round(self.model(pictures))


def saturated() -> nn.Module:
    """A model that masks its gradient."""
    return Saturated()


NAMES = [f"kind{number}" for number in range(CLASSES)]
