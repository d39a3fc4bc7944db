"""Sets of images to numbers: images -> features -> statistics -> FID, KID, IS and others."""

from metrics.collection import ALONE, Collection, Sharing
from metrics.comparison import (
    FLOORED,
    Found,
    check_counts,
    check_statistics_suffice,
    compare,
    headline,
    images_for_floor,
    is_better,
    noise_floor,
)
from metrics.degradations import DEGRADATIONS, Degradation
from metrics.extractor import CustomExtractor, Extractor, InceptionExtractor
from metrics.frechet import (
    Gaussian,
    frechet_distance,
    frechet_infinity,
    gaussian_of_covariance,
    gaussian_of_features,
)
from metrics.inception import FidInception
from metrics.inception_score import InceptionScore, inception_score
from metrics.kernel_distance import KernelDistance, kernel_distance, squared_mmd
from metrics.lpips import Lpips, load_lpips
from metrics.manifold import density_coverage, precision_recall
from metrics.measures import (
    MANY_IMAGES,
    OF_FEATURES,
    OF_PAIRS,
    OF_PICTURES,
    WITHOUT_REALS,
    Measures,
)
from metrics.moments import Moments
from metrics.neighbours import nearest, neighbour_classes
from metrics.orderings import Series, bands, orderings
from metrics.pairs import PairMeans
from metrics.protocols import PROTOCOLS, Protocol, resized
from metrics.sliced_wasserstein import PatchDescriptors, sliced_wasserstein
from metrics.statistics_file import (
    Origin,
    SavedStatistics,
    check_comparable,
    load_statistics,
    save_statistics,
)
from metrics.structural import l1, ms_ssim, psnr, ssim
from metrics.weights import InceptionWeights, load_inception_weights

__all__ = [
    "ALONE",
    "DEGRADATIONS",
    "FLOORED",
    "MANY_IMAGES",
    "OF_FEATURES",
    "OF_PAIRS",
    "OF_PICTURES",
    "PROTOCOLS",
    "WITHOUT_REALS",
    "Collection",
    "CustomExtractor",
    "Degradation",
    "Extractor",
    "FidInception",
    "Found",
    "Gaussian",
    "InceptionExtractor",
    "InceptionScore",
    "InceptionWeights",
    "KernelDistance",
    "Lpips",
    "Measures",
    "Moments",
    "Origin",
    "PairMeans",
    "PatchDescriptors",
    "Protocol",
    "SavedStatistics",
    "Series",
    "Sharing",
    "bands",
    "check_comparable",
    "check_counts",
    "check_statistics_suffice",
    "compare",
    "density_coverage",
    "frechet_distance",
    "frechet_infinity",
    "gaussian_of_covariance",
    "gaussian_of_features",
    "headline",
    "images_for_floor",
    "inception_score",
    "is_better",
    "kernel_distance",
    "l1",
    "load_inception_weights",
    "load_lpips",
    "load_statistics",
    "ms_ssim",
    "noise_floor",
    "orderings",
    "nearest",
    "neighbour_classes",
    "precision_recall",
    "psnr",
    "resized",
    "save_statistics",
    "sliced_wasserstein",
    "squared_mmd",
    "ssim",
]
