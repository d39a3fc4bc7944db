"""Classes by nearest neighbours: lightly's votes, a loop, and closed forms."""

import importlib.util
import math
from pathlib import Path

import pytest
import torch

import metrics


def features(count, width=6, seed=0):
    random = torch.Generator().manual_seed(seed)
    return torch.randn(count, width, generator=random)


BANK, QUERIES = features(300), features(60, seed=1)
LABELS = torch.arange(300) * 7 % 5


def lightlys_knn():
    """Return the file alone: the package around it wants pytorch-lightning."""
    reason = "lightly is not installed: pip install --no-deps lightly lightly_utils"
    lightly = pytest.importorskip("lightly", reason=reason)
    path = Path(lightly.__path__[0], "utils", "benchmarking", "knn.py")
    spec = importlib.util.spec_from_file_location("lightlys_knn", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(("neighbours", "temperature"), [(1, 0.1), (20, 0.1), (300, 0.5)])
def test_votes_of_lightly(neighbours, temperature):
    theirs = lightlys_knn().knn_predict
    units = [torch.nn.functional.normalize(rows, dim=1) for rows in (QUERIES, BANK)]
    expected = theirs(units[0], units[1].T, LABELS, 5, neighbours, temperature)[:, 0]
    ours = metrics.neighbour_classes(
        QUERIES, BANK, LABELS, 5, neighbours=neighbours, temperature=temperature
    )
    assert torch.equal(ours, expected)


def test_votes_by_loops():
    found = metrics.neighbour_classes(QUERIES, BANK, LABELS, 5, neighbours=9, temperature=0.2)
    for query, label in zip(QUERIES[:10].double(), found[:10], strict=True):
        similarities = [
            (float(query @ row / query.norm() / row.norm()), int(of))
            for row, of in zip(BANK.double(), LABELS, strict=True)
        ]
        votes = [0.0] * 5
        for similarity, of in sorted(similarities, reverse=True)[:9]:
            votes[of] += math.exp(similarity / 0.2)
        assert votes[label] == pytest.approx(max(votes), rel=1e-5)


def test_the_nearest_row_comes_first_and_more_than_all_are_all():
    similarities, places = metrics.nearest(BANK[:4], 3 * BANK, 1000)
    assert places.shape == (4, 300) and torch.equal(places[:, 0], torch.arange(4))
    assert similarities[:, 0].tolist() == pytest.approx([1] * 4)
    assert metrics.neighbour_classes(BANK[:4], BANK, LABELS, 5, temperature=1e-3).equal(LABELS[:4])


def test_bad_arguments():
    for more in ({"neighbours": 0}, {"temperature": 0.0}):
        with pytest.raises(ValueError, match="neighbours"):
            metrics.neighbour_classes(QUERIES, BANK, LABELS, 5, **more)
    with pytest.raises(ValueError, match="299 labels"):
        metrics.neighbour_classes(QUERIES, BANK, LABELS[1:], 5)
