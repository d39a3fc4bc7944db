"""Open-world recognition: clusters of known classes around prototypes, and the energy of logits."""

import torch
from torch import Tensor, nn

from losses.common import (
    Reduction,
    check_finite,
    check_labels,
    check_positive,
    check_rows,
    looked_at,
    reduced,
    single_precision,
)


class OpenWorldPrototypes(nn.Module):
    """The means of all classes, followed slowly, and the loss that gathers features around them.

    p_c <- eta p_c + (1 - eta) mean of the new features of class c; the first ones set p_c.

    The prototypes are buffers: saved with the network, moved by `update`, never by a gradient.
    Source: Joseph et al. 2021 (ORE), algorithm 1; class 0 is their "unknown".
    Their class means run over the last 20 features of a class, here over those of the batch.
    In several processes each sees its own rows alone, and the prototypes drift apart: gather the
    features and labels of all before `update`.
    """

    def __init__(
        self, classes: int, channels: int, *, margin: float = 10.0, momentum: float = 0.99
    ):
        """Start without prototypes.

        margin: the distance D that a feature should keep from other classes; 10 and a momentum of
        0.99 are the paper's. Raises ValueError for a momentum outside [0, 1) and for other numbers
        that are not finite and above 0.
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
        """Move the prototypes of the classes that occur; features [N, D], labels integers [N]."""
        self._check(features, labels)
        features = features.to(self.prototypes)
        sums = torch.zeros_like(self.prototypes).index_add_(0, labels.long(), features)
        counts = labels.long().bincount(minlength=len(self.seen))
        occurs = counts > 0
        means = sums / counts.clamp(min=1).unsqueeze(1)
        kept = self.momentum * self.seen.unsqueeze(1)  # 0 where a class comes for the first time
        moved = kept * self.prototypes + (1 - kept) * means
        self.prototypes.copy_(torch.where(occurs.unsqueeze(1), moved, self.prototypes))
        self.seen |= occurs

    def forward(self, features: Tensor, labels: Tensor, *, reduction: Reduction = "mean") -> Tensor:
        """Return open_world_contrastive of features [N, D] with labels, integers [N].

        Raises ValueError where a class has no prototype yet (on the CPU; NaN comes out on a GPU).
        """
        self._check(features, labels)
        if looked_at(self.seen) and not self.seen.all():
            missing = (~self.seen).nonzero().flatten().tolist()
            raise ValueError(f"classes {missing} have no prototype; update with features of theirs")
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
    """Return the mean over features of the sum over prototypes: own near, others a margin off.

    L = mean_n sum_i l(f_n, p_i), l = D(f_n, p_i) if i is the label of n, else [m - D(f_n, p_i)]_+,
    D the Euclidean distance. The official program hands its margin of 10 to torch.cdist as the
    order of the norm and takes 2 for the margin; the paper is followed here.

    features: [N, D], not normalised; labels: integers [N] in [0, C); prototypes: [C, D], detached.
    Computed in float32 or better. Returns the mean over features, or [N] with reduction "none".
    Source: Joseph et al. 2021 (ORE), section 4.1; a margin of 10 is theirs.

    Raises ValueError for another width, labels of floats, empty tensors, integers, a margin that is
    not finite and above 0, an unknown reduction and, on the CPU, for labels out of range and NaN
    (the mean of an empty cluster, for one).
    """
    check_rows(features=features, prototypes=prototypes, same_width=False)
    check_positive(margin=margin)
    if prototypes.shape[1] != features.shape[1]:
        shapes = f"{list(prototypes.shape)} and {list(features.shape)}"
        raise ValueError(f"prototypes and features {shapes}: the widths must be equal")
    check_labels(labels, len(features), classes=len(prototypes))
    features, prototypes = single_precision(features), single_precision(prototypes.detach())
    # Differences one by one: through a matrix product a feature would not lie 0 from itself.
    distances = (features.unsqueeze(1) - prototypes).norm(dim=2)  # [N, C]
    own = torch.zeros_like(distances, dtype=torch.bool).scatter(1, labels.long().unsqueeze(1), True)
    losses = torch.where(own, distances, (margin - distances).relu()).sum(1)
    return reduced(losses, len(losses), reduction)


def energy(logits: Tensor, *, temperature: float = 1.0) -> Tensor:
    """Return E = -T log sum_i e^(g_i / T) of each row: low for known classes, high for unknown.

    logits: [..., C], float32 or cast to it. Returns [...], with gradient.
    Source: Liu et al. 2020, equation 4; used by Joseph et al. 2021 (ORE).

    Raises ValueError for logits without a class, NaN (on the CPU) and a temperature that is not
    finite and above 0.
    """
    check_positive(temperature=temperature)
    if not logits.dim() or not logits.shape[-1]:
        raise ValueError(f"logits {list(logits.shape)} are not [..., C] with a class or more")
    check_finite("logits", logits)
    return -temperature * (single_precision(logits) / temperature).logsumexp(-1)
