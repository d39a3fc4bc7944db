"""Open-world recognition: class prototypes, the loss that clusters features around them, energy."""

import torch
from torch import Tensor, nn

from losses.common import (
    Reduction,
    check_finite,
    check_labels,
    check_positive,
    check_rows,
    reduced,
    single_precision,
    values_are_checked,
)


class OpenWorldPrototypes(nn.Module):
    """Moving averages of all class means, and the loss that clusters features around them.

    p_c <- eta p_c + (1 - eta) mean of the new features of class c; the first ones set p_c.

    The prototypes are buffers: saved with the network, changed by `update`, never by a gradient.
    Source: Joseph et al. 2021 (ORE), algorithm 1; class 0 is their "unknown".
    Their class means are over the last 20 features of a class, here over those of the batch.
    With several processes gather the features and labels of all before `update`, or the prototypes
    will differ.
    """

    def __init__(
        self, classes: int, channels: int, *, margin: float = 10.0, momentum: float = 0.99
    ):
        """Start without prototypes.

        margin: the distance D that features should keep from other classes; 10 and a momentum of
        0.99 are the paper's. Raises ValueError for a momentum outside [0, 1) and for other
        arguments that are not finite and above 0.
        """
        super().__init__()
        check_positive(classes=classes, channels=channels, margin=margin)
        if not 0 <= momentum < 1:
            raise ValueError(f"momentum {momentum} is not in [0, 1)")
        self.register_buffer("prototypes", torch.zeros(classes, channels))
        self.register_buffer("seen", torch.zeros(classes, dtype=torch.bool))
        self.margin, self.momentum = margin, momentum

    @torch.no_grad()
    def update(self, features: Tensor, labels: Tensor) -> None:
        """Update the prototypes of the labels' classes; features [N, D], labels integers [N]."""
        self._check(features, labels)
        features = features.to(self.prototypes)
        sums = torch.zeros_like(self.prototypes).index_add_(0, labels.long(), features)
        counts = labels.long().bincount(minlength=len(self.seen))
        occurs = counts > 0
        means = sums / counts.clamp(min=1).unsqueeze(1)
        kept = self.momentum * self.seen.unsqueeze(1)  # 0 for a class seen for the first time
        moved = kept * self.prototypes + (1 - kept) * means
        self.prototypes.copy_(torch.where(occurs.unsqueeze(1), moved, self.prototypes))
        self.seen |= occurs

    def forward(self, features: Tensor, labels: Tensor, *, reduction: Reduction = "mean") -> Tensor:
        """Return open_world_contrastive of features [N, D] with labels, integers [N].

        Raises ValueError if a class has no prototype yet (on the CPU; on a GPU the loss is NaN).
        """
        self._check(features, labels)
        if values_are_checked(self.seen) and not self.seen.all():
            missing = (~self.seen).nonzero().flatten().tolist()
            raise ValueError(f"classes {missing} have no prototype yet; call update with features")
        prototypes = self.prototypes.masked_fill(~self.seen.unsqueeze(1), torch.nan)
        return open_world_contrastive(
            features, labels, prototypes, margin=self.margin, reduction=reduction
        )

    def _check(self, features: Tensor, labels: Tensor) -> None:
        check_rows(features=features)
        classes, channels = self.prototypes.shape
        if features.shape[1] != channels:
            raise ValueError(f"features {list(features.shape)} are not [N, {channels}]")
        check_labels(labels, len(features), classes=classes)


def open_world_contrastive(
    features: Tensor,
    labels: Tensor,
    prototypes: Tensor,
    *,
    margin: float = 10.0,
    reduction: Reduction = "mean",
) -> Tensor:
    """Return the loss that pulls features to their own prototype and pushes them from the others.

    L = mean_n sum_i l(f_n, p_i), l = D(f_n, p_i) if i is the label of n, else [m - D(f_n, p_i)]_+,
    D the Euclidean distance. The official program passes its margin of 10 to torch.cdist as the
    order of the norm and uses 2 as the margin; this follows the paper.

    features: [N, D], not normalised; labels: integers [N] in [0, C); prototypes: [C, D], detached.
    Computed in float32 or better. Returns the mean over features, or [N] with reduction "none".
    Source: Joseph et al. 2021 (ORE), section 4.1; a margin of 10 is theirs.

    Raises ValueError for unequal widths, floating-point labels, empty tensors, integer features or
    prototypes, a margin that is not finite and above 0, an unknown reduction and, on the CPU, for
    labels out of range and NaN (such as the mean of an empty cluster).
    """
    check_rows(features=features, prototypes=prototypes, same_width=False)
    check_positive(margin=margin)
    if prototypes.shape[1] != features.shape[1]:
        shapes = f"{list(prototypes.shape)} and {list(features.shape)}"
        raise ValueError(f"prototypes and features {shapes}: the widths must be equal")
    check_labels(labels, len(features), classes=len(prototypes))
    features, prototypes = single_precision(features), single_precision(prototypes.detach())
    # Explicit differences: with a matrix product a feature's distance to itself would not be 0.
    distances = (features.unsqueeze(1) - prototypes).norm(dim=2)  # [N, C]
    own = torch.zeros_like(distances, dtype=torch.bool).scatter(1, labels.long().unsqueeze(1), True)
    losses = torch.where(own, distances, (margin - distances).relu()).sum(1)
    return reduced(losses, len(losses), reduction)


def energy(logits: Tensor, *, temperature: float = 1.0) -> Tensor:
    """Return E = -T log sum_i e^(g_i / T) of each row: low for known classes, high for unknown.

    logits: [..., C], float32 or cast to it. Returns [...], with gradient.
    Source: Liu et al. 2020, equation 4; used by Joseph et al. 2021 (ORE).

    Raises ValueError for logits with C = 0, NaN (on the CPU) and a temperature that is not finite
    and above 0.
    """
    check_positive(temperature=temperature)
    if not logits.dim() or not logits.shape[-1]:
        raise ValueError(f"logits {list(logits.shape)} are not [..., C], C at least 1")
    check_finite("logits", logits)
    return -temperature * (single_precision(logits) / temperature).logsumexp(-1)
