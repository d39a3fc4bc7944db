"""Values and gradients of pytorch-metric-learning, and of lightly where it is installed."""

import pytest
import torch
from pytorch_metric_learning import distances, regularizers
from pytorch_metric_learning import losses as peers

import losses
from tests.losses.contrasts import rows

SIZES = [(2, 3), (8, 16), (33, 5)]


@pytest.fixture
def lightly():
    """Return lightly's package of losses; it wants pytorch-lightning, so it is no requirement."""
    return pytest.importorskip(
        "lightly.loss",
        reason="lightly is not installed: pip install --no-deps lightly lightly_utils",
    )


def views(number, width):
    return [rows(number, width, seed, torch.float32).requires_grad_() for seed in (0, 1)]


def assert_equal(ours, theirs, inputs):
    """Values to 1e-5, gradients to 1e-5 of the largest."""
    assert torch.allclose(ours, theirs, rtol=1e-5, atol=1e-6)
    our_gradients = torch.autograd.grad(ours, inputs)
    their_gradients = torch.autograd.grad(theirs, inputs)
    for our, their in zip(our_gradients, their_gradients, strict=True):
        assert (our - their).abs().max() <= 1e-5 * their.abs().max() + 1e-7


@pytest.mark.parametrize(("number", "width"), SIZES)
@pytest.mark.parametrize("temperature", [0.07, 0.5])
def test_nt_xent(number, width, temperature):
    a, b = views(number, width)
    ours = losses.nt_xent(a, b, temperature=temperature)
    peer, labels = peers.NTXentLoss(temperature=temperature), torch.arange(number).repeat(2)
    assert_equal(ours, peer(torch.cat([a, b]), labels), (a, b))
    ours = losses.nt_xent(a, b, temperature=temperature)
    assert_equal(ours, peers.SelfSupervisedLoss(peer)(a, b), (a, b))


@pytest.mark.parametrize(("number", "width"), SIZES)
@pytest.mark.parametrize("temperature", [0.07, 0.5])
def test_sup_con(number, width, temperature):
    (z, _), peer = views(number, width), peers.SupConLoss(temperature=temperature)
    generator = torch.Generator().manual_seed(number)
    labels = torch.randint(0, max(2, number // 4), (number,), generator=generator)
    labels[:2] = torch.tensor([7, 7])  # the peer gives 0 where there are no positives
    if number == 2:
        labels = torch.tensor([7, 7])
        assert peer(z, labels).item() == 0  # nor where there are no negatives; ours does not
        assert losses.sup_con(z, labels).item() == pytest.approx(0, abs=1e-6)
        return
    assert_equal(losses.sup_con(z, labels, temperature=temperature), peer(z, labels), (z,))


@pytest.mark.parametrize("number", [2, 8])
def test_sup_con_of_views_is_nt_xent(number):
    a, b = views(number, 6)
    labels = torch.arange(number).repeat(2)
    ours, theirs = (
        losses.nt_xent(a, b),
        peers.SupConLoss(temperature=0.5)(torch.cat([a, b]), labels),
    )
    assert_equal(ours, theirs, (a, b))
    with_labels = losses.sup_con(torch.cat([a, b]), labels, temperature=0.5)
    assert_equal(with_labels, losses.nt_xent(a, b), (a, b))


@pytest.mark.parametrize("number", [2, 8])
@pytest.mark.parametrize("penalty", [0.0, 0.3])
def test_n_pair(number, penalty):
    a, b = views(number, 6)
    peer = peers.NPairsLoss(
        distance=distances.DotProductSimilarity(normalize_embeddings=False),
        embedding_regularizer=regularizers.LpRegularizer(power=2),
        embedding_reg_weight=penalty,
    )
    interleaved = torch.stack([a, b], 1).flatten(0, 1)
    theirs = peer(interleaved, torch.arange(number).repeat_interleave(2))
    assert_equal(losses.n_pair(a, b, penalty=penalty), theirs, (a, b))


@pytest.mark.parametrize(("number", "width"), SIZES)
def test_views_of_lightly(lightly, number, width):
    for ours, peer in (
        (losses.nt_xent, lightly.NTXentLoss(temperature=0.5)),
        (losses.decoupled_nt_xent, lightly.DCLLoss(temperature=0.1)),
    ):
        a, b = views(number, width)
        assert_equal(ours(a, b), peer(a, b), (a, b))


def test_moco_of_lightly(lightly):
    q, k = views(8, 16)
    peer = lightly.NTXentLoss(temperature=0.07, memory_bank_size=(32, 16))
    ours = losses.moco(q, k, peer.memory_bank.bank.clone())
    assert_equal(ours, peer(q, k.detach()), (q,))


def test_queue_of_lightly_where_batches_fill_it_exactly(lightly):
    memory = pytest.importorskip("lightly.models.modules.memory_bank", reason="lightly is too old")
    bank, queue = memory.MemoryBankModule(size=(12, 5)), losses.FeatureQueue(12, 5)
    for number in range(5):
        batch = losses.similarity.unit(rows(4, seed=number, dtype=torch.float32))
        bank(batch, update=True)
        queue.push(batch)
        written = min(4 * (number + 1), 12)
        assert torch.allclose(bank.bank[:written], queue.features[:written], atol=1e-6)


def test_momentum_update_of_lightly(lightly):
    utils = pytest.importorskip("lightly.models.utils", reason="lightly is too old")
    online, ours, theirs = (torch.nn.Linear(4, 3) for _ in range(3))
    theirs.load_state_dict(ours.state_dict())
    for _ in range(3):
        losses.momentum_update(online, ours, momentum=0.9)
        utils.update_momentum(online, theirs, 0.9)
    for our, their in zip(ours.parameters(), theirs.parameters(), strict=True):
        assert torch.allclose(our, their, atol=1e-7)
