"""Sets of images to numbers: images -> features -> statistics -> FID, KID, IS and others."""

from metrics.collection import ALONE, Collection, Sharing
from metrics.comparison import (
    Found,
    check_counts,
    check_statistics_suffice,
    compare,
    headline,
    is_better,
)
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
from metrics.kernel_distance import KernelDistance, kernel_distance
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
from metrics.pairs import PairMeans
from metrics.protocols import PROTOCOLS, Protocol
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
    "MANY_IMAGES",
    "OF_FEATURES",
    "OF_PAIRS",
    "OF_PICTURES",
    "PROTOCOLS",
    "WITHOUT_REALS",
    "Collection",
    "CustomExtractor",
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
    "Sharing",
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
    "inception_score",
    "is_better",
    "kernel_distance",
    "l1",
    "load_inception_weights",
    "load_lpips",
    "load_statistics",
    "ms_ssim",
    "nearest",
    "neighbour_classes",
    "precision_recall",
    "psnr",
    "save_statistics",
    "sliced_wasserstein",
    "ssim",
]
