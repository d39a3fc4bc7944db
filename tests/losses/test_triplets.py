"""Mining: every triplet looked at, the peer's index sets, and the mean that lists none."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pytorch_metric_learning.distances import LpDistance
from pytorch_metric_learning.losses import TripletMarginLoss
from pytorch_metric_learning.miners import BatchHardMiner, TripletMarginMiner
from pytorch_metric_learning.reducers import MeanReducer

import losses.triplets
from losses import mine_triplets, mined_triplet_margin, triplet_margin

CLASSES_OF_TRIPLETS = ["hard", "semi_hard", "easy"]
KINDS = ["all", *CLASSES_OF_TRIPLETS, "batch_hard"]


def batch(count=24, classes=4, channels=5, seed=0, dtype=torch.float32):
    generator = torch.Generator().manual_seed(seed)
    embeddings = torch.randn(count, channels, generator=generator, dtype=dtype)
    return embeddings / channels**0.5, torch.randint(classes, (count,), generator=generator)


def literal(embeddings, labels, kind, margin, squared):
    """All triplets of one kind, by three loops."""
    points, found = embeddings.double(), []
    count = len(labels)

    def distance(i, j):
        difference = points[i] - points[j]
        return float(difference @ difference if squared else (difference @ difference).sqrt())

    for a in range(count):
        for p in range(count):
            for n in range(count):
                if p == a or labels[p] != labels[a] or labels[n] == labels[a]:
                    continue
                near, far = distance(a, p), distance(a, n)
                hard, easy = far <= near, far > near + margin
                of_kind = {"all": True, "hard": hard, "easy": easy}
                if of_kind.get(kind, not hard and not easy):
                    found.append((a, p, n))
    return found


def listed(triplets):
    return list(zip(*(index.tolist() for index in triplets), strict=True))


@settings(deadline=None, max_examples=30)
@given(
    count=st.integers(1, 9),
    classes=st.integers(1, 9),
    kind=st.sampled_from(["all", *CLASSES_OF_TRIPLETS]),
    margin=st.sampled_from([0.2, 1.0]),
    squared=st.booleans(),
    seed=st.integers(0, 50),
)
def test_equal_three_loops(count, classes, kind, margin, squared, seed):
    embeddings, labels = batch(count, classes, 2, seed)
    expected = literal(embeddings, labels, kind, margin, squared)
    options = {"margin": margin, "squared": squared}
    assert listed(mine_triplets(embeddings, labels, kind=kind, **options)) == expected
    loss = mined_triplet_margin(embeddings, labels, kind=kind, **options)
    chosen = torch.tensor(expected, dtype=torch.int64).view(-1, 3).T
    rows = triplet_margin(*(embeddings[index] for index in chosen), **options)
    assert loss.item() == pytest.approx(rows.item(), rel=1e-5, abs=1e-6)


@pytest.mark.parametrize("chunk", [1, 100, 2**18])
@pytest.mark.parametrize("kind", KINDS)
def test_the_size_of_a_chunk_does_not_matter(kind, chunk, monkeypatch):
    embeddings, labels = batch()
    triplets = mine_triplets(embeddings, labels, kind=kind)
    loss = mined_triplet_margin(embeddings, labels, kind=kind)
    monkeypatch.setattr(losses.triplets, "CHUNK", chunk)
    assert listed(mine_triplets(embeddings, labels, kind=kind)) == listed(triplets)
    assert torch.allclose(mined_triplet_margin(embeddings, labels, kind=kind), loss)


@pytest.mark.parametrize("squared", [False, True])
def test_hard_semi_hard_and_easy_part_all_triplets(squared):
    embeddings, labels = batch(seed=1)
    parts = [
        listed(mine_triplets(embeddings, labels, kind=kind, squared=squared))
        for kind in CLASSES_OF_TRIPLETS
    ]
    assert all(parts)
    assert sorted(sum(parts, [])) == listed(mine_triplets(embeddings, labels, kind="all"))


def test_the_ends_of_the_three_classes():
    """A positive at 1, a margin of 1/2: hard up to 1, semi-hard up to 3/2, easy at 7/4."""
    embeddings = torch.tensor([[0.0], [1.0], [-1.0], [-1.5], [-1.75]])
    labels = torch.tensor([0, 0, 1, 2, 3])
    for kind, negative in zip(CLASSES_OF_TRIPLETS, (2, 3, 4), strict=True):
        found = listed(mine_triplets(embeddings, labels, kind=kind, margin=0.5))
        assert [triplet for triplet in found if triplet[0] == 0] == [(0, 1, negative)]


@pytest.mark.parametrize("squared", [False, True])
@pytest.mark.parametrize("kind", CLASSES_OF_TRIPLETS)
def test_index_sets_are_the_peers(kind, squared):
    embeddings, labels = batch(40)
    distance = LpDistance(normalize_embeddings=False, power=2 if squared else 1)
    their_kind = kind.replace("_", "")
    miner = TripletMarginMiner(margin=0.3, type_of_triplets=their_kind, distance=distance)
    ours = mine_triplets(embeddings, labels, kind=kind, margin=0.3, squared=squared)
    assert listed(ours) == sorted(listed(miner(embeddings, labels)))


def test_batch_hard_triplets_are_the_peers():
    embeddings, labels = batch(40)
    miner = BatchHardMiner(distance=LpDistance(normalize_embeddings=False))
    ours = listed(mine_triplets(embeddings, labels, kind="batch_hard"))
    assert ours == sorted(listed(miner(embeddings, labels)))


@pytest.mark.parametrize("squared", [False, True])
@pytest.mark.parametrize("kind", ["all", "hard", "semi_hard", "batch_hard"])
def test_the_mean_and_its_gradient_are_the_peers(kind, squared):
    embeddings, labels = batch(30, dtype=torch.double)
    distance = LpDistance(normalize_embeddings=False, power=2 if squared else 1)
    theirs = TripletMarginLoss(margin=0.4, distance=distance, reducer=MeanReducer())
    triplets = mine_triplets(embeddings, labels, kind=kind, margin=0.4, squared=squared)
    ours_at, theirs_at = (embeddings.clone().requires_grad_() for _ in range(2))
    ours = mined_triplet_margin(ours_at, labels, kind=kind, margin=0.4, squared=squared)
    expected = theirs(theirs_at, labels, tuple(triplets))
    (2 * ours).backward()
    (2 * expected).backward()
    assert ours.item() == pytest.approx(expected.item(), rel=1e-6)
    assert torch.allclose(ours_at.grad, theirs_at.grad, rtol=1e-5, atol=1e-8)


@pytest.mark.parametrize("squared", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_the_gradient_is_that_of_finite_differences(kind, squared):
    embeddings, labels = batch(10, dtype=torch.double)
    embeddings.requires_grad_()
    assert torch.autograd.gradcheck(
        lambda x: mined_triplet_margin(x, labels, kind=kind, margin=0.4, squared=squared),
        embeddings,
    )


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("labels", [[0], [3, 3, 3], [0, 1, 2]])
def test_without_a_triplet_the_loss_is_zero_with_a_graph(kind, labels):
    embeddings = torch.randn(len(labels), 2, generator=torch.Generator().manual_seed(0))
    embeddings.requires_grad_()
    labels = torch.tensor(labels)
    triplets = mine_triplets(embeddings, labels, kind=kind)
    assert all(index.dtype == torch.int64 and index.shape == (0,) for index in triplets)
    loss = mined_triplet_margin(embeddings, labels, kind=kind)
    loss.backward()
    assert loss.item() == 0 and torch.equal(embeddings.grad, torch.zeros_like(embeddings))


@pytest.mark.parametrize("kind", KINDS)
def test_a_collapsed_batch_costs_the_margin_and_moves_nothing(kind):
    embeddings = torch.ones(6, 3, requires_grad=True)
    labels = torch.arange(6) // 2
    loss = mined_triplet_margin(embeddings, labels, kind=kind, margin=0.3)
    loss.backward()
    hard = kind in ("all", "hard", "batch_hard")
    assert loss.item() == pytest.approx(0.3 if hard else 0.0)
    assert torch.equal(embeddings.grad, torch.zeros(6, 3))


@pytest.mark.parametrize("kind", KINDS)
def test_the_order_of_rows_and_the_names_of_classes_do_not_matter(kind):
    embeddings, labels = batch()
    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(1))
    loss = mined_triplet_margin(embeddings, labels, kind=kind)
    moved = mined_triplet_margin(embeddings[order], 100 - 7 * labels[order], kind=kind)
    assert torch.allclose(moved, loss)


def test_a_common_shift_does_not_matter_even_to_close_rows():
    embeddings, labels = batch(dtype=torch.double)
    embeddings = embeddings * 1e-4
    for kind in KINDS:
        options = {"kind": kind, "margin": 2e-5}
        loss = mined_triplet_margin(embeddings, labels, **options).item()
        moved = mined_triplet_margin(embeddings + 1000, labels, **options).item()
        assert moved == pytest.approx(loss, rel=1e-5) and (loss > 0 or kind == "easy")


def test_half_precision_changes_little_and_autocast_nothing():
    embeddings, labels = batch(64, 8, 16)
    for kind in ("all", "hard", "batch_hard"):
        loss = mined_triplet_margin(embeddings, labels, kind=kind)
        with torch.autocast("cpu", torch.bfloat16):
            assert torch.equal(mined_triplet_margin(embeddings, labels, kind=kind), loss)
        half = mined_triplet_margin(embeddings.bfloat16(), labels, kind=kind)
        assert half.dtype == torch.float32 and half.item() == pytest.approx(loss.item(), rel=0.01)


GOOD, LABELS = torch.zeros(2, 3), torch.tensor([0, 1])


@pytest.mark.parametrize("function", [mine_triplets, mined_triplet_margin])
@pytest.mark.parametrize(
    ("embeddings", "labels", "margin", "message"),
    [
        (GOOD[:0], LABELS[:0], 0.2, r"embeddings \[0, 3\]"),
        (GOOD[0], LABELS, 0.2, r"embeddings \[3\]"),
        (GOOD / 0, LABELS, 0.2, r"embeddings hold nan at \[0, 0\]"),
        (GOOD.int(), LABELS, 0.2, "embeddings are torch.int32"),
        (GOOD, LABELS[:1], 0.2, r"labels \[1\].*\[2\]"),
        (GOOD, LABELS.float(), 0.2, "labels are torch.float32"),
        (GOOD, LABELS, -1.0, "margin -1.0"),
        (GOOD, LABELS, math.nan, "margin nan"),
        (GOOD, LABELS, math.inf, "margin inf"),
    ],
)
def test_bad_input_is_refused_by_name_and_value(function, embeddings, labels, margin, message):
    with pytest.raises(ValueError, match=message):
        function(embeddings, labels, margin=margin)


def test_an_unknown_kind_is_refused():
    with pytest.raises(ValueError, match="kind 'semihard' is none of 'all'"):
        mine_triplets(GOOD, LABELS, kind="semihard")
    with pytest.raises(ValueError, match="kind 'semihard' is none of 'all'"):
        mined_triplet_margin(GOOD, LABELS, kind="semihard")
