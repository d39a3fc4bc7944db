"""Inception score: confident classes for each image, varied classes over all of them."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from errors import UserError
from metrics.inception import CLASSES


def check_splits(images: int, splits: int) -> None:
    """Raise UserError for fewer than one split or fewer images than splits."""
    if splits < 1:
        raise UserError(f"`is_splits` {splits}: below 1; give 10, the usual number, or at least 1")
    if images < splits:
        raise UserError(
            f"`is_splits` {splits}: more than the {images} images; give fewer splits or more "
            "images, or leave is out of `metrics`"
        )


class InceptionScore:
    """The score of images that come in batches, in any order, on any number of processes.

    score of a split = exp( mean_rows sum_c p_c (log p_c - log q_c) ), p the softmax of an image's
    logits and q the mean of p over the split; between 1 and the number of classes.

    Images are permuted by numpy's RandomState(seed); split i is the permuted rows
    [i * images // splits, (i + 1) * images // splits). So an image's split depends only on its
    index. Indices that are never added (unreadable files) do not count.
    The sums are float64 on `device` and can be added over processes: counts [splits] of images,
    sums [splits, classes] of p, plogp [splits] of sum_c p_c log p_c.

    Raises UserError for fewer than one split or fewer images than splits.

    Source: Salimans et al. 2016 (section 4); splits and permutation as in torch-fidelity.
    """

    def __init__(
        self,
        images: int,
        *,
        splits: int = 10,
        seed: int = 2020,
        classes: int = CLASSES,
        device: torch.device | str = "cpu",
    ):
        check_splits(images, splits)
        self._plan = (images, splits, seed)
        self._split_of = _splits_of_images(images, splits, seed)
        self.counts = torch.zeros(splits, dtype=torch.float64, device=device)
        self.sums = torch.zeros(splits, classes, dtype=torch.float64, device=device)
        self.plogp = torch.zeros(splits, dtype=torch.float64, device=device)

    def add(self, indices: Sequence[int] | Tensor, logits: Tensor) -> None:
        """Add the images of a batch: their indices [B] in 0 .. images - 1, each index only once.

        logits: [B, classes] of any float dtype, before the softmax (and without the head's bias
        for the usual score). An empty batch changes nothing.

        Raises ValueError for other shapes or an index out of range.
        """
        indices = torch.as_tensor(indices, dtype=torch.int64, device="cpu")
        if logits.shape != (len(indices), self.sums.shape[1]):
            raise ValueError(
                f"logits {list(logits.shape)} are not [{len(indices)}, {self.sums.shape[1]}]"
            )
        if ((indices < 0) | (indices >= len(self._split_of))).any():
            raise ValueError(f"an index is outside 0 .. {len(self._split_of) - 1}")
        p = logits.to(self.sums.device, torch.float64).softmax(dim=1)
        splits = torch.arange(len(self.counts))
        member = (splits[:, None] == self._split_of[indices]).to(p)  # [splits, B]
        self.counts += member.sum(1)
        self.sums += member @ p
        self.plogp += member @ torch.xlogy(p, p).sum(1)  # 0 where p = 0

    def state(self) -> tuple[Tensor, Tensor, Tensor]:
        """Return counts, sums and plogp, not copies: they may be summed in place over processes."""
        return self.counts, self.sums, self.plogp

    def merge(self, other: "InceptionScore") -> None:
        """Add the sums of another score over the same set; ValueError if its splits differ."""
        if other._plan != self._plan:
            raise ValueError(f"images, splits, seed {other._plan} are not {self._plan}")
        for mine, theirs in zip(self.state(), other.state(), strict=True):
            mine += theirs.to(mine.device)

    def result(self) -> tuple[float, float]:
        """Return mean and standard deviation (dividing by their number) of the splits' scores.

        Raises UserError if a split has no image, ValueError if images were added twice.
        """
        planned = torch.bincount(self._split_of, minlength=len(self.counts))
        counts = self.counts.cpu()
        if (counts > planned).any():
            raise ValueError(f"{int(counts.sum())} images added, some of them twice")
        if (counts == 0).any():
            raise UserError(
                f"`is_splits` {len(counts)}: a split has no image left of the "
                f"{int(counts.sum())} that were read; give fewer splits"
            )
        q = self.sums / self.counts[:, None]
        scores = (self.plogp / self.counts - torch.xlogy(q, q).sum(1)).exp().cpu().numpy()
        return float(np.mean(scores)), float(np.std(scores))


def inception_score(logits: Tensor, *, splits: int = 10, seed: int = 2020) -> tuple[float, float]:
    """Return mean and standard deviation over splits of the Inception score; see InceptionScore.

    logits: [N, C] of any float dtype, row i the image of index i. Computed in float64.
    Raises UserError for fewer than one split or fewer images than splits.
    """
    images, classes = logits.shape
    score = InceptionScore(images, splits=splits, seed=seed, classes=classes, device=logits.device)
    score.add(range(images), logits)
    return score.result()


def _splits_of_images(images: int, splits: int, seed: int) -> Tensor:
    """Return the split of each image, [images] int64."""
    permuted = torch.from_numpy(np.random.RandomState(seed).permutation(images))
    split_of = torch.empty(images, dtype=torch.int64)
    for split in range(splits):
        split_of[permuted[split * images // splits : (split + 1) * images // splits]] = split
    return split_of
