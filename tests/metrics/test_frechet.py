"""The Frechet distance against closed forms, other tools, and a second way to compute it."""

import numpy as np
import pytest
import pytorch_fid.fid_score
import torch
from torch_fidelity.metric_fid import fid_statistics_to_metric

from metrics.frechet import (
    Gaussian,
    frechet_distance,
    frechet_infinity,
    gaussian_of_covariance,
    gaussian_of_features,
)


def features(images, channels, seed, *, rank=None, scale=1.0):
    """Like a network's: float64, mostly positive, of order 1; of a covariance of `rank` at most."""
    random = np.random.default_rng(seed)
    rank = rank or channels
    mixing = random.standard_normal((rank, channels)) / rank**0.5
    values = random.standard_normal((images, rank)) @ mixing
    return torch.from_numpy(scale * values + random.random(channels))


def statistics(rows):
    rows = rows.numpy()
    return rows.mean(0), np.atleast_2d(np.cov(rows, rowvar=False))


def by_covariances(one, other):
    pair = [map(torch.from_numpy, statistics(rows)) for rows in (one, other)]
    return frechet_distance(*(gaussian_of_covariance(*arrays) for arrays in pair))


def by_features(one, other):
    return frechet_distance(gaussian_of_features(one), gaussian_of_features(other))


def by_pytorch_fid(one, other):
    return pytorch_fid.fid_score.calculate_frechet_distance(*statistics(one), *statistics(other))


def by_torch_fidelity(one, other):
    pair = [dict(zip(("mu", "sigma"), statistics(rows), strict=True)) for rows in (one, other)]
    return fid_statistics_to_metric(*pair, verbose=False)["frechet_inception_distance"]


def by_triangles(one, other):
    """A way that never forms a covariance: nuclear norm of R1 Q1^T Q2 R2^T of QR factors."""

    def factor(rows):
        centred = (rows - rows.mean(0)).numpy() / (len(rows) - 1) ** 0.5
        return np.linalg.qr(centred.T)

    (q1, r1), (q2, r2) = factor(one), factor(other)
    overlap = np.linalg.svd(r1.T @ (q1.T @ q2) @ r2, compute_uv=False).sum()
    shift = (one.mean(0) - other.mean(0)).square().sum().item()
    return shift + (r1**2).sum() + (r2**2).sum() - 2 * overlap


def ways(gaussian_pair):
    """The distance, also from the covariances of the two."""
    again = [gaussian_of_covariance(g.mean, g.factor @ g.factor.T) for g in gaussian_pair]
    return frechet_distance(*gaussian_pair), frechet_distance(*again)


# ---- Closed forms ----


@pytest.mark.parametrize("channels", [1, 2, 64])
def test_normals_with_diagonal_covariances(channels):
    """|m1 - m2|^2 + sum (s1 - s2)^2 over the standard deviations."""
    random = np.random.default_rng(channels)
    m1, m2 = torch.from_numpy(random.standard_normal((2, channels)))
    s1, s2 = torch.from_numpy(random.random((2, channels)))
    expected = ((m1 - m2).square().sum() + (s1 - s2).square().sum()).item()
    one = gaussian_of_covariance(m1, s1.square().diag())
    other = gaussian_of_covariance(m2, s2.square().diag())
    assert frechet_distance(one, other) == pytest.approx(expected, rel=1e-12)


def test_a_shift_of_the_mean_alone():
    rows = features(100, 20, seed=0)
    shift = torch.linspace(-1, 2, 20, dtype=torch.float64)
    expected = shift.square().sum().item()
    assert by_features(rows, rows + shift) == pytest.approx(expected, rel=1e-11)
    assert by_covariances(rows, rows + shift) == pytest.approx(expected, rel=1e-11)


def test_scaled_identities():
    """I against 9 I in 30 dimensions: 30 * (1 - 3)^2 = 120."""
    mean, identity = torch.zeros(30), torch.eye(30)
    one, other = (gaussian_of_covariance(mean, scale * identity) for scale in (1, 9))
    assert frechet_distance(one, other) == pytest.approx(120, rel=1e-13)


def test_two_covariances_that_do_not_commute_by_hand():
    """Eigenvalues of [[2,1],[1,2]] [[1,0],[0,4]] are 5 +- sqrt 13, product 12: trace of the root
    is sqrt(10 + 2 sqrt 12).
    """
    mean = torch.zeros(2)
    one = gaussian_of_covariance(mean, torch.tensor([[2.0, 1.0], [1.0, 2.0]]))
    other = gaussian_of_covariance(mean, torch.tensor([[1.0, 0.0], [0.0, 4.0]]))
    expected = 4 + 5 - 2 * (10 + 2 * 12**0.5) ** 0.5
    assert frechet_distance(one, other) == pytest.approx(expected, rel=1e-12)


def test_a_point_against_a_normal_is_the_shift_and_its_variance():
    rows = features(40, 8, seed=1)
    point = gaussian_of_covariance(torch.zeros(8), torch.zeros(8, 8))
    mean, covariance = statistics(rows)
    expected = (mean**2).sum() + np.trace(covariance)
    for distance in ways((point, gaussian_of_features(rows))):
        assert distance == pytest.approx(expected, rel=1e-12)


def test_turning_both_sets_changes_nothing_and_scaling_them_scales_by_the_square():
    one, other = features(30, 12, seed=2), features(50, 12, seed=3)
    turn = torch.linalg.qr(features(12, 12, seed=4)).Q
    distance = by_features(one, other)
    assert by_features(one @ turn, other @ turn) == pytest.approx(distance, rel=1e-11)
    assert by_features(3 * one, 3 * other) == pytest.approx(9 * distance, rel=1e-11)


# ---- Other tools ----


@pytest.mark.filterwarnings("ignore:The `disp` argument")
@pytest.mark.parametrize(("channels", "images"), [(4, 12), (64, 400), (128, 600)])
def test_full_rank_equals_pytorch_fid_and_torch_fidelity(channels, images):
    one, other = features(images, channels, 0), features(images + 50, channels, 1, scale=1.3)
    theirs = by_pytorch_fid(one, other)
    assert by_torch_fidelity(one, other) == pytest.approx(theirs, rel=1e-9)
    assert by_features(one, other) == pytest.approx(theirs, rel=1e-9)
    assert by_covariances(one, other) == pytest.approx(theirs, rel=1e-9)


@pytest.mark.filterwarnings("ignore:The `disp` argument")
@pytest.mark.parametrize(("channels", "images"), [(64, 20), (128, 12), (192, 100)])
def test_fewer_images_than_channels_equal_the_others_up_to_their_noise(channels, images):
    one, other = features(images, channels, 0), features(images + 5, channels, 1, scale=1.3)
    ours = by_features(one, other)
    assert by_pytorch_fid(one, other) == pytest.approx(ours, abs=1e-3)
    assert by_torch_fidelity(one, other) == pytest.approx(ours, abs=1e-3)


@pytest.mark.parametrize(
    ("channels", "images", "rank"), [(64, 20, None), (128, 12, None), (96, 300, 30), (64, 2, None)]
)
def test_singular_covariances_are_exact(channels, images, rank):
    one = features(images, channels, 0, rank=rank)
    other = features(images + 5, channels, 1, rank=rank, scale=1.3)
    exact = by_triangles(one, other)
    assert by_features(one, other) == pytest.approx(exact, rel=1e-11)
    assert by_covariances(one, other) == pytest.approx(exact, rel=1e-10)


@pytest.mark.parametrize(("one_images", "other_images"), [(20, 20), (20, 90), (90, 90), (3, 40)])
def test_features_and_their_covariance_give_the_same_distance(one_images, other_images):
    one, other = features(one_images, 32, 0), features(other_images, 32, 1, scale=1.3)
    distance = by_features(one, other)
    assert by_covariances(one, other) == pytest.approx(distance, rel=1e-10)
    mixed = frechet_distance(
        gaussian_of_features(one), gaussian_of_covariance(*map(torch.from_numpy, statistics(other)))
    )
    assert mixed == pytest.approx(distance, rel=1e-10)


def test_features_of_few_images_are_kept_instead_of_a_covariance():
    found = gaussian_of_features(features(5, 40, 0).float())
    assert found.factor.shape == (40, 5)
    assert found.factor.dtype == found.mean.dtype == torch.float64


# ---- Never not a number, never below zero ----


def random_pair(seed):
    """Two sets of statistics: few images, few dimensions, dead channels, no spread, equal sets."""
    random = np.random.default_rng(seed)
    channels = int(random.choice([1, 2, 8, 40, 96]))
    images = int(random.choice([2, 3, channels // 2 + 2, channels + 1, 4 * channels + 2]))
    rank = int(random.integers(1, channels + 1)) if random.random() < 0.3 else None
    scale = float(random.choice([1e-6, 0.3, 1.0, 10.0]))
    one = features(images, channels, seed, rank=rank, scale=scale)
    kind = random.choice(["other", "same", "near", "reordered", "constant"])
    if kind == "same":
        other = one.clone()
    elif kind == "near":
        other = one + 1e-9 * features(images, channels, seed + 1000)
    elif kind == "reordered":
        other = one.flip(0)
    elif kind == "constant":
        other = one[:1].expand(images, -1).clone()
    else:
        other = features(images + 3, channels, seed + 1000, scale=scale)
    if random.random() < 0.3:  # channels that a ReLU never lets through
        every = int(random.integers(1, 4))
        for rows in (one, other):
            rows[:, ::every] = 0
    return kind, one, other


def test_200_random_pairs_are_symmetric_and_never_nan_or_below_zero():
    kinds = set()
    for seed in range(200):
        kind, one, other = random_pair(seed)
        kinds.add(kind)
        spread = sum(np.trace(statistics(rows)[1]) for rows in (one, other))
        for way in (by_features, by_covariances):
            distance, turned = way(one, other), way(other, one)
            assert np.isfinite(distance), seed
            assert distance > -1e-9, seed
            assert distance > -1e-13 * (1 + spread), seed
            assert abs(distance - turned) < 1e-12 * (1 + spread), seed
            if kind in ("same", "reordered"):
                assert abs(distance) < 1e-12 * (1 + spread), seed
    assert kinds == {"other", "same", "near", "reordered", "constant"}


def test_two_points_are_as_far_apart_as_their_means():
    nothing = torch.zeros(3, 3)
    one = gaussian_of_covariance(torch.tensor([1.0, 2.0, 3.0]), nothing)
    other = gaussian_of_covariance(torch.tensor([1.0, 0.0, 0.0]), nothing)
    assert frechet_distance(one, other) == 13
    assert frechet_distance(one, one) == 0


def test_a_covariance_that_rounding_made_slightly_negative_counts_as_singular():
    covariance = torch.diag(torch.tensor([1.0, 1e-17, -1e-17], dtype=torch.float64))
    found = gaussian_of_covariance(torch.zeros(3), covariance)
    assert found.factor.shape == (3, 1)
    assert frechet_distance(found, found) == pytest.approx(0, abs=1e-15)


def test_an_eigenvalue_that_is_rounding_noise_is_left_out_though_cholesky_would_take_it():
    noisy = torch.diag(torch.tensor([1.0, 1e-17], dtype=torch.float64))
    assert not torch.linalg.cholesky_ex(noisy).info
    assert gaussian_of_covariance(torch.zeros(2), noisy).factor.shape == (2, 1)


# ---- Infinitely many images ----


def test_the_distance_of_infinitely_many_images_is_found_from_few():
    """Reals N(0, I), fakes N(0.1, 1.21 I) in 16 dimensions: 16 * (0.1^2 + 0.1^2) = 0.32."""
    channels = 16
    true = channels * (0.1**2 + 0.1**2)
    real = gaussian_of_covariance(torch.zeros(channels), torch.eye(channels))
    plain, extrapolated = [], []
    for seed in range(8):
        random = np.random.default_rng(seed)
        fake = torch.from_numpy(1.1 * random.standard_normal((1000, channels)) + 0.1)
        plain.append(frechet_distance(real, gaussian_of_features(fake)))
        extrapolated.append(frechet_infinity(real, fake, seed=seed))
    errors = np.array(extrapolated) - true
    assert np.mean(plain) - true > 0.05  # what 1000 images alone add
    assert abs(np.mean(errors)) < 0.02
    assert abs(errors).max() < 0.12


def test_the_line_is_that_of_numpys_least_squares_over_subsets():
    """Without randomness: every distance is c + d/n by a mean that moves with the subset's size."""
    real = Gaussian(torch.zeros(1).double(), torch.zeros(1, 0).double())
    rows = torch.zeros(100, 1)
    rows[0] = 1.0
    first = frechet_infinity(real, rows, points=5, seed=3)
    random, sizes, distances = np.random.RandomState(3), np.linspace(10, 100, 5).astype(int), []
    for size in sizes:
        chosen = rows[torch.from_numpy(random.choice(100, size, replace=False))].double()
        distances.append((chosen.mean() ** 2 + chosen.var()).item())
    assert first == pytest.approx(np.polyfit(1 / sizes, distances, 1)[1], rel=1e-10, abs=1e-14)
    assert frechet_infinity(real, rows, points=5, seed=3) == first
    assert frechet_infinity(real, rows, points=5, seed=4) != first
