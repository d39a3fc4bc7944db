"""k-means against scikit-learn and by what defines it; concentrations against the paper."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.cluster import KMeans

from losses import concentrations, kmeans, proto_nce
from losses.clustering import _nearest, _spread_rows
from tests.losses.contrasts import rows


def heaps(number=20, seed=0):
    """Return four far heaps of rows, and the heap of each."""
    centres = torch.tensor([[0.0, 0], [10, 0], [0, 10], [10, 10]])
    labels = torch.arange(4).repeat_interleave(number)
    noise = rows(4 * number, 2, seed=seed, dtype=torch.float32)
    return centres[labels] + 0.3 * noise, labels


@pytest.mark.parametrize("seed", range(5))
def test_finds_far_heaps(seed):
    features, labels = heaps()
    centroids, assignments = kmeans(features, 4, seed=seed)
    names = assignments[::20]
    assert len(names.unique()) == 4 and torch.equal(assignments, names[labels])
    assert torch.allclose(centroids[names], features.view(4, 20, 2).mean(1), atol=1e-5)


@pytest.mark.parametrize("seed", range(5))
def test_far_from_the_origin_no_digit_is_lost(seed):
    """Close heaps at 1000, where a float32 product has steps of a tenth."""
    features = heaps()[0] / 64
    near, far = kmeans(features, 8, seed=seed), kmeans(features + 1000, 8, seed=seed)
    assert (near.assignments == far.assignments).float().mean() > 0.9
    squares = torch.cdist(features.double() + 1000, far.centroids.double()).square()
    own = squares.gather(1, far.assignments[:, None])[:, 0]
    assert (own <= squares.min(1).values + 1e-3).all()
    assert torch.allclose(far.centroids.mean(0), near.centroids.mean(0) + 1000, atol=0.1)


@pytest.mark.parametrize("clusters", [1, 3, 8])
def test_equals_scikit_learn_from_the_same_start(clusters):
    features = rows(60, 4, seed=clusters)
    start = _spread_rows(features, clusters, seed=3)
    peer = KMeans(clusters, init=start.numpy(), n_init=1, algorithm="lloyd", tol=0).fit(features)
    centroids, assignments = kmeans(features, clusters, seed=3)
    assert assignments.tolist() == peer.labels_.tolist()
    assert torch.allclose(centroids, torch.from_numpy(peer.cluster_centers_))


@given(
    number=st.integers(1, 12),
    width=st.integers(1, 3),
    share=st.floats(0, 1),
    seed=st.integers(0, 100),
)
@settings(max_examples=60)
def test_is_a_fixed_point_without_empty_clusters(number, width, share, seed):
    features = rows(number, width, seed=seed).round()  # some rows alike
    clusters = max(1, int(share * len(features.unique(dim=0))))
    centroids, assignments = kmeans(features, clusters, seed=seed)
    sizes = torch.bincount(assignments, minlength=clusters)
    assert len(sizes) == clusters and (sizes > 0).all()
    for cluster in range(clusters):
        assert torch.allclose(centroids[cluster], features[assignments == cluster].mean(0))
    squares = torch.cdist(features, centroids).square()
    own = squares.gather(1, assignments[:, None])[:, 0]
    assert (own <= squares.min(1).values + 1e-9).all()


def test_the_seed_alone_decides():
    features = rows(50, 3)
    state = torch.get_rng_state()
    first, again = kmeans(features, 6, seed=1), kmeans(features, 6, seed=1)
    assert all(map(torch.equal, first, again))
    assert not torch.equal(first.assignments, kmeans(features, 6, seed=2).assignments)
    assert torch.equal(torch.get_rng_state(), state)


def test_an_empty_cluster_takes_the_row_farthest_out():
    features = torch.tensor([[0.0], [1.0], [9.0]])
    centroids = torch.tensor([[0.5], [100.0]])
    assert _nearest(features, centroids).tolist() == [0, 0, 1]


@pytest.mark.parametrize(
    ("features", "clusters", "options", "message"),
    [
        (torch.ones(3, 2), 0, {}, "clusters 0: give 1 to 3"),
        (torch.ones(3, 2), 4, {}, "clusters 4: give 1 to 3"),
        (torch.ones(3, 2), 2, {}, "clusters 2: features have only 1 distinct"),
        (torch.ones(3, 2), 1, {"iterations": 0}, "iterations 0"),
        (torch.ones(0, 2), 1, {}, r"features \[0, 2\]"),
        (torch.ones(3, 2) * math.nan, 1, {}, "features hold nan"),
        (torch.ones(3, 2).long(), 1, {}, "torch.int64"),
    ],
)
def test_bad_input_of_kmeans(features, clusters, options, message):
    with pytest.raises(ValueError, match=message):
        kmeans(features, clusters, **options)


def test_concentrations_equal_the_paper():
    features, assignments = rows(7, 3), torch.tensor([0, 1, 0, 1, 1, 0, 1])
    centroids = torch.stack([features[assignments == c].mean(0) for c in (0, 1)])
    phi = []
    for c in (0, 1):
        members = features[assignments == c]
        distances = [math.dist(v, centroids[c]) for v in members.tolist()]
        phi.append(sum(distances) / (len(members) * math.log(len(members) + 10)))
    expected = [0.2 * value / (sum(phi) / 2) for value in phi]
    found = concentrations(features, centroids, assignments, temperature=0.2)
    assert found.tolist() == pytest.approx(expected)
    assert found.mean().item() == pytest.approx(0.2)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int32])
def test_concentrations_take_assignments_of_any_integers(dtype):
    features, assignments = rows(7, 3), torch.tensor([0, 1, 0, 1, 1, 0, 1])
    expected = concentrations(features, rows(2, 3), assignments)
    assert torch.equal(concentrations(features, rows(2, 3), assignments.to(dtype)), expected)


def test_a_dense_cluster_gets_a_lower_temperature_than_a_loose_one():
    features = torch.tensor([[0.0], [0.1], [5.0], [7.0]])
    found = concentrations(features, torch.tensor([[0.05], [6.0]]), torch.tensor([0, 0, 1, 1]))
    assert found[0] < found[1]


def test_clusters_without_extent_take_the_largest():
    features = torch.tensor([[0.0], [2.0], [5.0], [9.0], [9.0]])
    centroids, assignments = torch.tensor([[1.0], [5.0], [9.0]]), torch.tensor([0, 0, 1, 2, 2])
    found = concentrations(features, centroids, assignments, temperature=0.1)
    assert found.tolist() == pytest.approx([0.1, 0.1, 0.1])
    alone = concentrations(features[2:3], centroids[1:2], torch.tensor([0]))
    assert alone.tolist() == pytest.approx([0.1])


@pytest.mark.parametrize(
    ("assignments", "message"),
    [
        ([0, 0, 2], r"centroids \[1\] of 3: no row is assigned"),
        ([0, 1], r"assignments \[2\]: expected \[3\]"),
        ([0, 1, 3], "assignments from 0 to 3: expected 0 to 2"),
    ],
)
def test_bad_assignments_of_concentrations(assignments, message):
    with pytest.raises(ValueError, match=message):
        concentrations(rows(3), rows(3, seed=1), torch.tensor(assignments))


def test_other_bad_input_of_concentrations():
    with pytest.raises(ValueError, match="smoothing 0"):
        concentrations(rows(3), rows(3, seed=1), torch.arange(3), smoothing=0)
    with pytest.raises(ValueError, match=r"features \[3, 5\], centroids \[3, 4\]"):
        concentrations(rows(3), rows(3, 4), torch.arange(3))


def test_prototypes_of_heaps_are_found_by_their_rows():
    features, _ = heaps(seed=1)
    features = features - features.mean(0)  # four directions
    found = [kmeans(features, k) for k in (4, 2)]
    phi = [concentrations(features, *clusters) for clusters in found]
    prototypes, assignments = zip(*found, strict=True)
    right = proto_nce(features, prototypes[:1], assignments[:1], phi[:1])
    wrong = proto_nce(features, prototypes[:1], [assignments[0].roll(20)], phi[:1])
    assert right < 0.01 and wrong > 5
    assert proto_nce(features, prototypes, assignments, phi).isfinite()
