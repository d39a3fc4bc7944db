"""What all metrics together need of a set of pictures, collected in one pass over it."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from errors import UserError
from metrics.extractor import Extractor
from metrics.frechet import Gaussian, gaussian_of_features
from metrics.inception_score import InceptionScore
from metrics.measures import OF_FEATURES, Measures
from metrics.moments import Moments
from metrics.pairs import PairMeans
from metrics.sliced_wasserstein import PatchDescriptors
from metrics.structural import ms_ssim

SWD_IMAGES = 16_384  # of each set; their patches take 1.15 GiB per level


class Sharing(NamedTuple):
    """How the processes that share a set combine their parts."""

    add: Callable[[Tensor], Tensor]  # replaces a tensor by its sum over the processes
    gather: Callable[[object], list]  # every process's value


ALONE = Sharing(lambda tensor: tensor, lambda value: [value])


class KeptFeatures:
    """Features of all pictures, or of a seeded random subset, by index.

    The matrix is allocated at once: many small tensors that stay, between large ones that are
    freed, would fragment the memory.
    """

    def __init__(self, images: int, at_most: int | None, seed: int, channels: int):
        self.all = at_most is None or images <= at_most
        self.places = _chosen(images, at_most, seed)
        self.features = torch.zeros(len(self.places), channels)
        self.present = torch.zeros(len(self.places), dtype=torch.bool)

    def add(self, indices: Sequence[int], features: Tensor) -> None:
        """Keep the rows of features [B, D] whose index is chosen."""
        for index, row in zip(indices, features, strict=True):
            if index in self.places:
                self.features[self.places[index]] = row
                self.present[self.places[index]] = True

    def merge(self, gather: Callable[[object], list]) -> None:
        """Add the rows of all processes."""
        for present, rows in gather((self.present.clone(), self.matrix())):
            self.features[present] = rows
            self.present |= present

    def matrix(self) -> Tensor:
        """Return the features [N, D] in the order of the indices."""
        return self.features[self.present]


def _chosen(images: int, at_most: int | None, seed: int) -> dict[int, int]:
    """Return a seeded random subset of at most `at_most` indices -> their rows in it."""
    indices = range(images)
    if at_most is not None and images > at_most:
        indices = sorted(np.random.RandomState(seed).permutation(images)[:at_most].tolist())
    return {index: place for place, index in enumerate(indices)}


class Diversity:
    """Mean MS-SSIM of the disjoint pairs (0, 1), (2, 3), ... of one set."""

    def __init__(self) -> None:
        self.sums = torch.zeros(2, dtype=torch.double)  # of values, of pairs
        self.waiting: dict[int, Tensor] = {}

    def add(self, indices: Sequence[int], pictures: Sequence[Tensor]) -> None:
        """Add pictures uint8 [C, H, W]; raises UserError for a pair of unequal sizes."""
        for index, picture in zip(indices, pictures, strict=True):
            partner = self.waiting.pop(index ^ 1, None)
            if partner is None:
                self.waiting = {index: picture}  # a partner that could not be read never comes
            elif partner.shape != picture.shape:
                raise UserError(
                    f"`metrics` ms_ssim: pictures of {_size(partner)} and {_size(picture)} pixels "
                    "in one set; leave ms_ssim out or resize them to one size"
                )
            else:
                self.sums += torch.tensor([ms_ssim(partner[None], picture[None]).item(), 1.0])

    def mean(self) -> float:
        """Return the mean; UserError without a pair."""
        value, pairs = self.sums.tolist()
        if not pairs:
            raise UserError("`metrics` ms_ssim: no pair of pictures to compare; give 2 or more")
        return value / pairs


class Collection:
    """One set of pictures: features or their moments, and what other metrics need of it.

    label: the set's name in messages. names: one per picture. keep_at_most: the number of pictures
    whose features are kept, None: all. is_fake: the set gets the Inception score, and patch
    positions other than those of the reals. moments: collect them even where the kept features
    contain them. pairs: for sets in which each picture has a partner.
    """

    def __init__(
        self,
        label: str,
        names: Sequence[str],
        measures: Measures,
        extractor: Extractor | None,
        *,
        keep_at_most: int | None,
        is_fake: bool,
        moments: bool = False,
        pairs: PairMeans | None = None,
    ):
        self.label, self.names, self.measures = label, names, measures
        self.extractor, self.is_fake, self.pairs = extractor, is_fake, pairs
        self.count = 0
        self.kept = self.moments = self.inception_score = self.descriptors = self.diversity = None
        seed = measures.metric_seed
        if moments or measures.needs(*OF_FEATURES):
            self.kept = KeptFeatures(len(names), keep_at_most, seed, extractor.channels)
            if moments or len(names) > extractor.channels or not self.kept.all:
                self.moments = Moments(extractor.channels, extractor.device)
        if is_fake and measures.needs("is"):
            self.inception_score = InceptionScore(
                len(names), splits=measures.is_splits, seed=seed, device=extractor.device
            )
        if measures.needs("ms_ssim"):
            self.diversity = Diversity()
        # Indices of the pictures from which SWD takes patches -> their rows in the descriptors.
        self.described = _chosen(len(names), SWD_IMAGES, seed)

    def add(self, indices: Sequence[int], pictures: Sequence[Tensor]) -> None:
        """Add pictures uint8 [3, H, W] of any size; raises UserError for NaN in features."""
        self.count += len(indices)
        if self.kept or self.inception_score:
            scored = self.inception_score is not None
            features, logits = self.extractor(pictures, logits=scored)
            self._check(indices, features)
            if self.kept:
                self.kept.add(indices, features)
            if self.moments:
                self.moments.add(features)
            if scored:
                self.inception_score.add(indices, logits.to(self.extractor.device))
        if self.measures.needs("swd"):
            self._add_patches(indices, pictures)
        if self.diversity:
            self.diversity.add(indices, pictures)

    def add_pair(self, index: int, picture: Tensor, partner: Tensor) -> None:
        """Add a pair of pictures uint8 [3, H, W]; raises UserError for unequal sizes."""
        if picture.shape != partner.shape:
            raise UserError(
                f"{self.label}: {self.names[index]} has {_size(picture)} pixels and its partner "
                f"{_size(partner)}; resize one, or leave out `metrics` l1, psnr, ssim and lpips"
            )
        self.pairs.add(picture, partner)

    def merge(self, sharing: Sharing) -> None:
        """Combine the parts of all processes; afterwards each process has the whole."""
        self.count = sum(sharing.gather(self.count))
        if self.kept:
            self.kept.merge(sharing.gather)
        for tensor in self._sums(sharing):
            sharing.add(tensor)

    def gaussian(self) -> Gaussian:
        """Return the normal distribution of the features, from the moments or from all features."""
        if self.moments:
            return self.moments.gaussian()
        return gaussian_of_features(self.features())

    def features(self) -> Tensor:
        """Return the kept features [N, D], on the device of the extractor."""
        return self.kept.matrix().to(self.extractor.device)

    def _sums(self, sharing: Sharing) -> list[Tensor]:
        sums = [*self.moments.sums()] if self.moments else []
        if self.inception_score:
            sums += self.inception_score.state()
        if self.pairs:
            sums.append(self.pairs.sums)
        if self.diversity:
            sums.append(self.diversity.sums)
        if self.measures.needs("swd"):
            sides = sharing.gather(max(self.descriptors.levels) if self.descriptors else None)
            sides = sorted({side for side in sides if side})
            if len(sides) > 1:  # within each process all pictures had one size
                raise UserError(
                    f"`metrics` swd: pictures of {sides[0]} and {sides[-1]} pixels a side in "
                    f"{self.label}; leave swd out or resize all pictures to one size"
                )
            if sides and not self.descriptors:  # this process had no picture
                self.descriptors = self._patches(sides[0])
            if self.descriptors:  # None if no process could read a picture
                sums += [*self.descriptors.levels.values(), self.descriptors.added]
        return sums

    def _check(self, indices: Sequence[int], features: Tensor) -> None:
        bad = ~torch.isfinite(features).all(1)
        if bad.any():
            name = self.names[indices[int(bad.nonzero()[0])]]
            raise UserError(
                f"{self.label}: the features of {name} are not finite; repair the picture, or give "
                "other `weights` or `features`"
            )

    def _add_patches(self, indices: Sequence[int], pictures: Sequence[Tensor]) -> None:
        """Take patches from a seeded random subset of the pictures, as large as the paper's."""
        if not self.descriptors:
            height, width = pictures[0].shape[1:]
            if height != width:
                raise UserError(
                    f"`metrics` swd: a picture of {_size(pictures[0])} pixels, and swd needs "
                    "square ones; leave swd out or crop them"
                )
            self.descriptors = self._patches(height)
        for index, picture in zip(indices, pictures, strict=True):
            if index in self.described:
                self.descriptors.add([self.described[index]], picture[None])

    def _patches(self, side_px: int) -> PatchDescriptors:
        seed = self.measures.metric_seed + self.is_fake
        return PatchDescriptors(len(self.described), side_px, seed)


def _size(picture: Tensor) -> str:
    return f"{picture.shape[2]}x{picture.shape[1]}"
