"""Heads on an encoder's features: projections and predictors of contrastive methods."""

from collections.abc import Sequence

from torch import nn

HEAD_NORMS = {"batch": nn.BatchNorm1d, "group": nn.LayerNorm}


def build_head(widths: Sequence[int], norm: str, *, last_norm: bool = False) -> nn.Sequential:
    """Build linear layers from widths[0] to widths[-1], each but the last followed by ReLU.

    norm: batch or group (here layer norm, a single group), between each hidden layer and its ReLU,
    and with last_norm after the last layer too; "none" for no norm. A layer has a bias if no norm
    follows it. [B, widths[0]] -> [B, widths[-1]].
    """
    layers: list[nn.Module] = []
    last = len(widths) - 2
    for number, (before, after) in enumerate(zip(widths[:-1], widths[1:], strict=True)):
        normed = norm != "none" and (number < last or last_norm)
        layers.append(nn.Linear(before, after, bias=not normed))
        if normed:
            layers.append(HEAD_NORMS[norm](after))
        if number < last:
            layers.append(nn.ReLU(inplace=True))
    return nn.Sequential(*layers)
