"""MoNCE, hDCE, DCE and SRC against the numbers of their official programs."""

import pytest
import torch

from losses import decoupled_patch_nce, hdce, mo_nce, semantic_relation
from tests.close import assert_close_in_scale

LAYERS = [0, 1, 2]


def official_patches(reference, layer):
    """In float64, so that the rounding of the recorded runs is all that differs: up to 7e-6."""
    arrays = reference("patch_nce")[1]
    queries, keys = (
        arrays[f"{kind}_{layer}"].view(2, 40, 32).double() for kind in ("queries", "keys")
    )
    return queries.requires_grad_(), keys, reference("patch_nce_variants")[1]


def gradient_of_mean(losses, queries):
    return torch.autograd.grad(losses.mean(), queries)[0].flatten(0, 1)


@pytest.mark.parametrize("layer", LAYERS)
@pytest.mark.parametrize(("cost", "epsilon"), [("easy", 1.0), ("hard", 0.1)])
def test_mo_nce_equals_the_official_losses_and_gradients(cost, epsilon, layer, reference):
    queries, keys, theirs = official_patches(reference, layer)
    losses = mo_nce(queries, keys, cost=cost, epsilon=epsilon)
    assert_close_in_scale(losses, theirs[f"monce_{cost}_{layer}"], 1e-5)
    assert_close_in_scale(
        gradient_of_mean(losses, queries), theirs[f"monce_{cost}_gradient_{layer}"], 1e-5
    )


@pytest.mark.parametrize("layer", LAYERS)
def test_semantic_relation_equals_the_official_value_and_gradient(layer, reference):
    queries, keys, theirs = official_patches(reference, layer)
    losses = semantic_relation(queries, keys)
    assert losses[0].item() == pytest.approx(theirs[f"src_{layer}"].item(), rel=1e-5)
    gradient = torch.autograd.grad(losses[0], queries)[0][0]
    assert_close_in_scale(gradient, theirs[f"src_gradient_{layer}"], 1e-5)


@pytest.mark.parametrize("layer", LAYERS)
@pytest.mark.parametrize("gamma", ["50", "1", "0.1"])
def test_hdce_has_the_official_gradients(gamma, layer, reference):
    """Their program returns e^(l - l), so that only its gradient tells something."""
    queries, keys, theirs = official_patches(reference, layer)
    losses = hdce(queries[:1], keys[:1], gamma=float(gamma))
    gradient = gradient_of_mean(losses, queries)[:40]
    assert_close_in_scale(gradient, theirs[f"hdce_gamma{gamma}_gradient_{layer}"], 1e-5)


@pytest.mark.parametrize("layer", LAYERS)
def test_the_decoupled_loss_has_the_official_gradient(layer, reference):
    queries, keys, theirs = official_patches(reference, layer)
    gradient = gradient_of_mean(decoupled_patch_nce(queries[:1], keys[:1]), queries)[:40]
    assert_close_in_scale(gradient, theirs[f"dce_gradient_{layer}"], 1e-5)
