"""Inception score against torch-fidelity, a literal transcription, and closed forms."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch_fidelity.metric_isc import isc_features_to_metric

from errors import UserError
from metrics.inception_score import InceptionScore, inception_score


def random_logits(images, classes=1008, *, seed=0, scale=3.0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(images, classes, generator=generator) * scale


def literal(logits, splits, seed):
    """The score written out: Kullback-Leibler divergences of rows from the mean of their split."""
    order = np.random.RandomState(seed).permutation(len(logits))
    probabilities = [[math.exp(value) for value in row] for row in logits.double().tolist()]
    probabilities = [[value / sum(row) for value in row] for row in probabilities]
    scores = []
    for i in range(splits):
        rows = [probabilities[n] for n in order[i * len(order) // splits :]]
        rows = rows[: (i + 1) * len(order) // splits - i * len(order) // splits]
        mean = [sum(column) / len(rows) for column in zip(*rows, strict=True)]
        divergences = [
            sum(p * math.log(p / q) for p, q in zip(row, mean, strict=True)) for row in rows
        ]
        scores.append(math.exp(sum(divergences) / len(rows)))
    return float(np.mean(scores)), float(np.std(scores))


@pytest.mark.parametrize(
    ("images", "classes", "splits", "seed"),
    [(200, 1008, 10, 2020), (37, 1008, 10, 2020), (10, 1008, 10, 7), (101, 20, 1, 0)],
)
def test_equals_torch_fidelity(images, classes, splits, seed):
    logits = random_logits(images, classes)
    theirs = isc_features_to_metric(logits, splits=splits, rng_seed=seed)
    mean, std = inception_score(logits, splits=splits, seed=seed)
    assert mean == pytest.approx(theirs["inception_score_mean"], rel=1e-9)
    assert std == pytest.approx(theirs["inception_score_std"], rel=1e-9, abs=1e-9)


def test_defaults_equal_torch_fidelitys():
    logits = random_logits(64)
    theirs = isc_features_to_metric(logits)
    expected = theirs["inception_score_mean"], theirs["inception_score_std"]
    assert inception_score(logits) == pytest.approx(expected, rel=1e-9)


@given(
    images=st.integers(1, 12),
    classes=st.integers(1, 5),
    splits=st.integers(1, 4),
    seed=st.integers(0, 100),
)
@settings(deadline=None, max_examples=60)
def test_equals_the_paper_written_out(images, classes, splits, seed):
    splits = min(splits, images)
    logits = random_logits(images, classes, seed=seed)
    ours = inception_score(logits, splits=splits, seed=seed)
    assert ours == pytest.approx(literal(logits, splits, seed), rel=1e-9, abs=1e-9)
    assert 1 - 1e-9 <= ours[0] <= classes + 1e-9
    shifted = inception_score(logits[:, torch.arange(classes - 1, -1, -1)] + 5, splits=splits)
    unshifted = inception_score(logits, splits=splits)
    assert shifted == pytest.approx(unshifted, rel=1e-5, abs=1e-5)  # classes have no order


@pytest.mark.parametrize("present", [1, 4, 10])
@pytest.mark.parametrize("certain", [800.0, torch.inf])
def test_sure_predictions_give_the_number_of_classes_present(present, certain):
    labels = torch.arange(40) % present
    chosen = torch.nn.functional.one_hot(labels, 20).bool()
    logits = torch.zeros(40, 20).masked_fill(~chosen, -certain)
    assert inception_score(logits, splits=1) == pytest.approx((present, 0), abs=1e-12)


@pytest.mark.parametrize("logits", [torch.zeros(30, 1008), random_logits(1, 1008).repeat(30, 1)])
def test_equal_predictions_give_one(logits):
    assert inception_score(logits) == pytest.approx((1, 0), abs=1e-12)


@given(batch=st.integers(1, 9), processes=st.integers(1, 4))
@settings(deadline=None, max_examples=30)
def test_batches_of_processes_add_up(batch, processes):
    logits = random_logits(23, 6)
    scores = [InceptionScore(23, splits=3, classes=6) for _ in range(processes)]
    for process, score in enumerate(scores):
        for part in torch.arange(process, 23, processes).flip(0).split(batch):
            score.add(part, logits[part])
    summed = InceptionScore(23, splits=3, classes=6)
    for score in scores:
        for mine, theirs in zip(summed.state(), score.state(), strict=True):
            mine += theirs
    for score in scores[1:]:
        scores[0].merge(score)
    expected = inception_score(logits, splits=3)
    assert scores[0].result() == pytest.approx(expected, rel=1e-12)
    assert summed.result() == pytest.approx(expected, rel=1e-12)


def test_the_state_is_the_attributes_of_float64():
    score = InceptionScore(20, splits=2)
    assert [list(part.shape) for part in score.state()] == [[2], [2, 1008], [2]]
    assert all(part.dtype == torch.float64 for part in score.state())
    assert score.state()[0] is score.counts
    assert score.state()[1] is score.sums and score.state()[2] is score.plogp
    score.add([3, 7], random_logits(2))
    assert score.counts.sum() == 2 and score.sums.sum() == pytest.approx(2)


def test_images_that_are_never_added_do_not_count():
    """The others keep their splits."""
    logits = random_logits(20, 5)
    order = torch.from_numpy(np.random.RandomState(2020).permutation(20))
    score = InceptionScore(20, splits=2, classes=5)
    read = [index for index in range(20) if index not in (order[0], order[15])]
    score.add(read, logits[read])
    expected = []
    for rows in (order[1:10], torch.cat([order[10:15], order[16:]])):
        expected.append(isc_features_to_metric(logits[rows], splits=1)["inception_score_mean"])
    found = score.result()
    assert found == pytest.approx((np.mean(expected), np.std(expected)), rel=1e-9)


def test_an_empty_batch_changes_nothing():
    score = InceptionScore(20, classes=5)
    score.add([], torch.zeros(0, 5))
    assert not any(part.any() for part in score.state())


def test_half_precision_logits_are_computed_in_float64():
    logits = random_logits(20).bfloat16()
    assert inception_score(logits) == inception_score(logits.double())


def test_the_seed_decides_the_splits():
    logits = random_logits(40, 5)
    assert inception_score(logits) == inception_score(logits)
    assert inception_score(logits) != inception_score(logits, seed=1)


@pytest.mark.parametrize(("images", "splits"), [(9, 10), (0, 1), (1, 2)])
def test_fewer_images_than_splits_are_refused(images, splits):
    with pytest.raises(UserError, match=f"`is_splits` {splits}: more than the {images} images"):
        InceptionScore(images, splits=splits)
    with pytest.raises(UserError, match="`is_splits`"):
        inception_score(torch.zeros(images, 5), splits=splits)


@pytest.mark.parametrize("splits", [0, -1])
def test_no_splits_are_refused(splits):
    with pytest.raises(UserError, match=f"`is_splits` {splits}: below 1"):
        InceptionScore(10, splits=splits)


def test_a_split_without_images_is_refused():
    score = InceptionScore(10, classes=5)
    score.add(range(9), random_logits(9, 5))
    with pytest.raises(UserError, match="`is_splits` 10: .* 9 that were read"):
        score.result()


def test_an_image_that_is_added_twice_is_refused():
    score = InceptionScore(10, splits=2, classes=5)
    score.add(range(10), random_logits(10, 5))
    score.add([3], random_logits(1, 5))
    with pytest.raises(ValueError, match="twice"):
        score.result()


@pytest.mark.parametrize("index", [-1, 10])
def test_an_index_out_of_range_is_refused(index):
    with pytest.raises(ValueError, match="index"):
        InceptionScore(10, classes=5).add([index], torch.zeros(1, 5))


@pytest.mark.parametrize("shape", [(2, 6), (3, 5), (2,)])
def test_logits_of_another_shape_are_refused(shape):
    with pytest.raises(ValueError, match="logits"):
        InceptionScore(10, classes=5).add([0, 1], torch.zeros(shape))


def test_scores_of_other_splits_do_not_merge():
    with pytest.raises(ValueError, match="splits"):
        InceptionScore(20).merge(InceptionScore(20, seed=1))
