"""Two collected sets to numbers."""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from errors import UserError
from metrics import floor
from metrics.collection import Collection
from metrics.floor import prdc
from metrics.frechet import (
    Gaussian,
    frechet_distance,
    frechet_infinity,
    gaussian_of_covariance,
    gaussian_of_features,
)
from metrics.inception_score import check_splits
from metrics.kernel_distance import FEWEST_IMAGES, checked_subset_size, kernel_distance
from metrics.manifold import check_neighbours
from metrics.measures import MANY_IMAGES, OF_PAIRS, WITHOUT_REALS, Measures
from metrics.sliced_wasserstein import sliced_wasserstein
from metrics.statistics_file import SavedStatistics

Found = Collection | SavedStatistics | None  # what is known about a set

HIGHER_IS_BETTER = frozenset(
    ("is_mean", "precision", "recall", "density", "coverage", "psnr", "ssim", "knn_accuracy")
)
COVERAGE_NEIGHBOURS = 5
# Pictures per channel from which on c/N describes FID's bias.
IMAGES_A_CHANNEL = 2
# The number that represents a metric where a single one is needed.
HEADLINES = {"kid": "kid_mean", "is": "is_mean", "prdc": "precision"}
# The metrics that a noise floor is measured of, each with one of its numbers.
FLOORED = {"fid": "fid", "kid": "kid_mean", "prdc": "precision"}
# Names of the numbers if the features are not those of FID's network.
OTHER_NETWORK = {
    "fid": "frechet_distance",
    "fid_bias": "frechet_distance_bias",
    "fid_infinity": "frechet_distance_infinity",
    "fid_of_real_halves": "frechet_distance_of_real_halves",
    "kid_mean": "kernel_distance_mean",
    "kid_std": "kernel_distance_std",
    "kid_interval": "kernel_distance_interval",
    "kid_subset_size": "kernel_distance_subset_size",
}


def headline(measures: Measures) -> str:
    """Return the name of the number that represents the first metric."""
    name = HEADLINES.get(measures.names[0], measures.names[0])
    return OTHER_NETWORK.get(name, name) if measures.features else name


def is_better(name: str, new: float, old: float) -> bool:
    """Return whether a number is better than another one of the same name."""
    return new > old if name in HIGHER_IS_BETTER else new < old


def compare(real: Found, fake: Found, measures: Measures) -> dict:
    """Return every number that `measures` asks for, by its name.

    Raises UserError if a metric needs more than a set provides: a file of statistics, or too few
    pictures.
    """
    numbers: dict = {}
    if measures.needs("fid", "kid", "prdc", "fid_infinity"):
        numbers |= _of_features(real, fake, measures)
    if measures.needs("is"):
        mean, std = _collected(fake, "is").inception_score.result()
        numbers |= {"is_mean": mean, "is_std": std}
    if measures.needs("swd"):
        numbers |= _sliced_wasserstein(_collected(real, "swd"), _collected(fake, "swd"), measures)
    if measures.needs("ms_ssim"):
        numbers["ms_ssim"] = _collected(fake, "ms_ssim").diversity.mean()
        if isinstance(real, Collection):
            numbers["ms_ssim_real"] = real.diversity.mean()
    if measures.needs(*OF_PAIRS):
        numbers |= _collected(fake, measures.metrics).pairs.means()
    if measures.noise_floor:
        kinds = [kind for kind, name in FLOORED.items() if name in numbers]
        numbers |= _floors(_collected(real, "noise_floor"), fake, measures, kinds)
    return _renamed(numbers) if measures.features else numbers


def _of_features(real: Found, fake: Found, measures: Measures) -> dict[str, float]:
    numbers = {}
    _check_channels(real, fake)
    few = few_images(real, fake)
    if measures.needs("fid"):
        numbers["fid"] = frechet_distance(gaussian(real), gaussian(fake))
        if few:
            numbers |= _bias(numbers["fid"], real, fake, measures.metric_seed)
    if measures.needs("fid_infinity"):
        features = _collected(fake, "fid_infinity").features()
        _check_line(len(features))
        numbers["fid_infinity"] = frechet_infinity(
            gaussian(real), features, seed=measures.metric_seed
        )
    if measures.needs("kid", "prdc"):
        pair = (_collected(real, "kid,prdc").features(), _collected(fake, "kid,prdc").features())
        numbers |= _of_kept(*pair, measures)
    elif few >= FEWEST_IMAGES and all(_holds_features(found) for found in (real, fake)):
        numbers |= _kid(real.features(), fake.features(), measures)
    return numbers


def _of_kept(real: Tensor, fake: Tensor, measures: Measures) -> dict[str, float]:
    """Return the metrics that need the features of single pictures."""
    numbers = {}
    if measures.needs("kid"):
        numbers |= _kid(real, fake, measures)
    if measures.needs("prdc"):
        numbers |= prdc(real, fake)
    return numbers


def _kid(real: Tensor, fake: Tensor, measures: Measures) -> dict[str, float]:
    found = kernel_distance(
        real,
        fake,
        subsets=measures.kid_subsets,
        subset_size=measures.kid_subset_size,
        seed=measures.metric_seed,
    )
    return {
        "kid_mean": found.mean,
        "kid_std": found.std,
        "kid_interval": [found.low, found.high],
        "kid_subset_size": found.subset_size,
    }


def _sliced_wasserstein(real: Collection, fake: Collection, measures: Measures) -> dict:
    found = sliced_wasserstein(real.descriptors, fake.descriptors, seed=measures.metric_seed)
    levels = {f"swd_{side_px}": value for side_px, value in found.levels.items()}
    return {**levels, "swd": found.mean}


def noise_floor(real: Collection, measures: Measures) -> dict:
    """Return the metrics of features in `measures` between halves of the reals."""
    kinds = [kind for kind in FLOORED if measures.needs(kind)]
    found = _floors(real, None, measures, kinds)
    return _renamed(found) if measures.features else found


def _floors(real: Collection, fake: Found, measures: Measures, kinds: Sequence[str]) -> dict:
    return floor.noise_floor(
        real.features(),
        fake.features() if _all_kept(fake) else None,
        kinds,
        splits=measures.noise_splits,
        seed=measures.metric_seed,
    )


def few_images(real: Found, fake: Found) -> int:
    """Return the number of pictures in the smaller set, or 0 if both are large or unknown."""
    counts = [found.count for found in (real, fake) if found and found.count]
    smallest = min(counts, default=MANY_IMAGES)
    return smallest if smallest < MANY_IMAGES else 0


def _bias(fid: float, real: Found, fake: Found, seed: int) -> dict[str, float]:
    """Return a number that shows how large the bias of FID is at this number of pictures.

    The bias is c/N if both sets have well more pictures than channels. Below that it flattens out
    and the estimate would be several times too small: then the distance between two halves of the
    reals, which is nothing but bias, gives its order of magnitude.
    """
    sizes = [found.count / found.extractor.channels for found in (real, fake) if _all_kept(found)]
    if sizes and min(sizes) >= IMAGES_A_CHANNEL:
        bias = fid_bias(fid, real, fake, seed)
        return {} if bias is None else {"fid_bias": bias}
    if _all_kept(real) and real.count >= 4:
        return {"fid_of_real_halves": frechet_distance(*_halves(real, seed))}
    return {}


def fid_bias(fid: float, real: Found, fake: Found, seed: int) -> float | None:
    """Estimate the bias of the distance at this number of pictures.

    FID(N) is about FID_infinity + c/N (Chong and Forsyth 2020), so half of the pictures give twice
    the bias: c/N = FID(N/2) - FID(N), the first averaged over both halves, since otherwise the
    noise of their means would hide it. If one side is a file of statistics, only the other one is
    halved. None if no features are kept, or fewer than 4.
    """
    sides = [
        _halves(found, seed) if _all_kept(found) and found.count >= 4 else None
        for found in (real, fake)
    ]
    if sides == [None, None]:
        return None
    firsts, seconds = (
        halves or [gaussian(found)] * 2 for halves, found in zip(sides, (real, fake), strict=True)
    )
    distances = [frechet_distance(*pair) for pair in zip(firsts, seconds, strict=True)]
    return sum(distances) / 2 - fid


def _halves(found: Collection, seed: int) -> list[Gaussian]:
    return [gaussian_of_features(half) for half in _split(found.features(), seed)]


def _split(features: Tensor, seed: int) -> list[Tensor]:
    """Return two random halves of the rows."""
    order = np.random.RandomState(seed).permutation(len(features))
    return [features[torch.from_numpy(half)] for half in np.array_split(order, 2)]


def _holds_features(found: Found) -> bool:
    """Return whether features of single pictures are kept; for large sets they are not."""
    return isinstance(found, Collection) and bool(found.kept.present.any())


def _check_channels(real: Found, fake: Found) -> None:
    """Raise UserError for statistics of another width; a file may not name its network."""
    for saved, other in ((real, fake), (fake, real)):
        if isinstance(saved, SavedStatistics):
            is_saved = isinstance(other, SavedStatistics)
            channels = len(other.mean) if is_saved else other.extractor.channels
            if len(saved.mean) != channels:
                raise UserError(
                    f"{saved.label}: statistics of {len(saved.mean)} channels, compared with "
                    f"features of {channels}; give statistics made with the same `features`"
                )


def _all_kept(found: Found) -> bool:
    return isinstance(found, Collection) and found.kept.all


def gaussian(found: Collection | SavedStatistics) -> Gaussian:
    """Return the normal distribution of a set."""
    if isinstance(found, SavedStatistics):
        return gaussian_of_covariance(found.mean, found.covariance)
    return found.gaussian()


def check_counts(measures: Measures, real: int | None, fake: int | None) -> None:
    """Raise UserError if the sets have too few pictures for a metric, before any is read.

    real, fake: numbers of files; None for a set that is not pictures.
    """
    if fake is not None and measures.needs("is"):
        check_splits(fake, measures.is_splits)
    if fake is not None and measures.needs("fid_infinity"):
        _check_line(fake)
    if measures.noise_floor and real is not None and real < images_for_floor(measures):
        raise UserError(
            f"`noise_floor`: halves of {real} real pictures are too few for `metrics` "
            f"{measures.metrics}; give {images_for_floor(measures)} or more, or leave "
            "`noise_floor` out"
        )
    if real is None or fake is None:
        return
    if measures.needs("kid"):
        checked_subset_size(real, fake, measures.kid_subsets, measures.kid_subset_size)
    if measures.needs("prdc"):
        check_neighbours(real, fake, COVERAGE_NEIGHBOURS)


def images_for_floor(measures: Measures) -> int:
    """Return the number of reals from which their halves suffice for each metric of features."""
    if measures.needs("kid"):
        return 2 * FEWEST_IMAGES
    return 2 * (COVERAGE_NEIGHBOURS + 1) if measures.needs("prdc") else 4


def _check_line(fakes: int) -> None:
    if fakes < FEWEST_IMAGES:
        raise UserError(
            f"`metrics` fid_infinity: {fakes} fakes are too few to fit a line through subsets; "
            f"give at least {FEWEST_IMAGES}, or leave fid_infinity out"
        )


def check_statistics_suffice(measures: Measures, is_fake: bool) -> None:
    """Raise UserError if a metric needs more of a set than a file of statistics holds."""
    suffices = {"fid"} if is_fake else {"fid", "fid_infinity", *WITHOUT_REALS}
    needing = [name for name in measures.names if name not in suffices]
    if needing:
        _collected(None, ",".join(needing))
    if measures.noise_floor and not is_fake:
        _collected(None, "noise_floor")


def _collected(found: Found, metric: str) -> Collection:
    if not isinstance(found, Collection):
        option = "`noise_floor`" if metric == "noise_floor" else f"`metrics` {metric}"
        raise UserError(
            f"{option}: needs the pictures, but a file of statistics holds only mean and "
            "covariance; give a folder"
        )
    return found


def _renamed(numbers: Mapping) -> dict:
    return {
        OTHER_NETWORK.get(name, name): _renamed(value) if isinstance(value, dict) else value
        for name, value in numbers.items()
    }
