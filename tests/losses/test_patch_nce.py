"""PatchNCE against the official numbers, a literal transcription, and closed forms."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from losses import multilayer_patch_nce, patch_nce
from tests.close import assert_close_in_scale


def unit_vectors(*shape, seed=0, dtype=torch.float32):
    vectors = torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)
    return vectors / vectors.norm(dim=-1, keepdim=True)


def literal(queries, keys, temperature, whole_batch):
    """Equation 2 of the paper, term by term; negatives are the other patches."""
    batch, patches, _ = queries.shape
    losses = []
    for b in range(batch):
        for p in range(patches):
            positive = math.exp(float(queries[b, p] @ keys[b, p]) / temperature)
            negatives = sum(
                math.exp(float(queries[b, p] @ keys[other, n]) / temperature)
                for other in (range(batch) if whole_batch else [b])
                for n in range(patches)
                if (other, n) != (b, p)
            )
            losses.append(-math.log(positive / (positive + negatives)))
    return torch.tensor(losses, dtype=torch.double)


@pytest.mark.parametrize("layer", [0, 1, 2])
def test_equals_the_official_losses(layer, reference):
    arrays = reference("patch_nce")[1]
    queries, keys = (arrays[f"{kind}_{layer}"].view(2, 40, 32) for kind in ("queries", "keys"))
    ours = patch_nce(queries, keys)
    theirs = arrays[f"loss_image_negatives_{layer}"]
    assert_close_in_scale(ours, theirs, 5e-6)
    ours = patch_nce(queries, keys, all_keys=keys.flatten(0, 1))
    theirs = arrays[f"loss_minibatch_negatives_{layer}"]
    assert_close_in_scale(ours, theirs, 5e-6)


@given(
    batch=st.integers(1, 3),
    patches=st.integers(1, 5),
    channels=st.integers(1, 4),
    temperature=st.sampled_from([0.07, 0.5, 2.0]),
    whole_batch=st.booleans(),
    seed=st.integers(0, 100),
)
def test_equals_the_paper_written_out(batch, patches, channels, temperature, whole_batch, seed):
    queries = unit_vectors(batch, patches, channels, seed=seed, dtype=torch.double)
    keys = unit_vectors(batch, patches, channels, seed=seed + 1, dtype=torch.double)
    all_keys = keys.flatten(0, 1) if whole_batch else None
    ours = patch_nce(queries, keys, temperature=temperature, all_keys=all_keys)
    expected = literal(queries, keys, temperature, whole_batch)
    assert torch.allclose(ours.double(), expected, rtol=1e-4, atol=1e-5)


def test_equal_patches_give_the_logarithm_of_their_number():
    vectors = unit_vectors(1, 1, 8).expand(2, 6, 8)
    assert torch.allclose(patch_nce(vectors, vectors), torch.full((12,), math.log(6)))


def test_a_single_candidate_gives_zero():
    vectors = unit_vectors(3, 1, 8)
    assert torch.equal(patch_nce(vectors, -vectors), torch.zeros(3))


def test_part_of_the_batch_with_all_keys_equals_the_whole():
    queries, keys = unit_vectors(4, 5, 8), unit_vectors(4, 5, 8, seed=1)
    all_keys = keys.flatten(0, 1)
    whole = patch_nce(queries, keys, all_keys=all_keys)
    halves = [
        patch_nce(queries[rows], keys[rows], all_keys=all_keys, first_row=5 * rows.start)
        for rows in (slice(0, 2), slice(2, 4))
    ]
    assert torch.allclose(torch.cat(halves), whole)


def test_keys_get_no_gradient_and_queries_the_right_one():
    queries = unit_vectors(2, 3, 4, dtype=torch.double).requires_grad_()
    keys = unit_vectors(2, 3, 4, seed=1, dtype=torch.double).requires_grad_()
    patch_nce(queries, keys, temperature=0.5).sum().backward()
    assert keys.grad is None
    step = 1e-3
    keys = keys.detach()
    moved = queries.detach().clone()
    moved[0, 1, 2] += step
    numeric = literal(moved, keys, 0.5, False).sum()
    moved[0, 1, 2] -= 2 * step
    numeric = (numeric - literal(moved, keys, 0.5, False).sum()) / (2 * step)
    assert queries.grad[0, 1, 2].item() == pytest.approx(numeric.item(), rel=1e-3)


def test_autocast_does_not_reach_the_similarities():
    queries, keys = unit_vectors(2, 16, 32), unit_vectors(2, 16, 32, seed=1)
    with torch.autocast("cpu", torch.bfloat16):
        under = patch_nce(queries, keys)
    assert torch.equal(under, patch_nce(queries, keys))


@pytest.mark.parametrize("temperature", [0.0, -1.0, math.inf])
def test_a_temperature_that_is_not_finite_and_above_zero_is_refused(temperature):
    with pytest.raises(ValueError, match="temperature"):
        patch_nce(unit_vectors(1, 2, 3), unit_vectors(1, 2, 3), temperature=temperature)


@pytest.mark.parametrize("shape", [(1, 3, 3), (2, 3), (1, 2, 4)])
def test_unequal_shapes_are_refused(shape):
    with pytest.raises(ValueError, match="queries and keys"):
        patch_nce(unit_vectors(1, 2, 3), unit_vectors(*shape))


def test_layers_weigh_the_same_whatever_their_patches():
    layers = [torch.tensor([1.0]), torch.tensor([2.0, 4.0, 6.0])]
    assert multilayer_patch_nce(layers).item() == 2.5


@pytest.mark.parametrize(
    ("all_keys", "first_row", "message"),
    [
        (torch.zeros(6, 4), 0, r"all_keys \[6, 4\] is not \[N, 3\]"),
        (torch.zeros(3), 0, r"all_keys \[3\]"),
        (torch.zeros(6, 3).long(), 0, "all_keys are torch.int64"),
        (torch.zeros(6, 3), 3, "first_row 3 leaves no 4 rows"),
        (torch.zeros(6, 3), -1, "first_row -1"),
    ],
)
def test_keys_without_this_batchs_rows_are_refused(all_keys, first_row, message):
    patches = unit_vectors(2, 2, 3)
    with pytest.raises(ValueError, match=message):
        patch_nce(patches, patches, all_keys=all_keys, first_row=first_row)
