"""MoNCE, hDCE, DCE and SRC against the numbers of their official programs."""

import pytest
import torch

from losses import decoupled_patch_nce, hdce, mo_nce, semantic_relation

LAYERS = [0, 1, 2]


def official_patches(reference, layer):
    arrays = reference("patch_nce")[1]
    queries, keys = (arrays[f"{kind}_{layer}"].view(2, 40, 32) for kind in ("queries", "keys"))
    return queries.clone().requires_grad_(), keys, reference("patch_nce_variants")[1]


def gradient_of_mean(losses, queries):
    return torch.autograd.grad(losses.mean(), queries)[0].flatten(0, 1)


def close(ours, theirs):
    return torch.allclose(ours, theirs, rtol=1e-5, atol=1e-5 * theirs.abs().max().item())


@pytest.mark.parametrize("layer", LAYERS)
@pytest.mark.parametrize(("cost", "epsilon"), [("easy", 1.0), ("hard", 0.1)])
def test_mo_nce_equals_the_official_losses_and_gradients(cost, epsilon, layer, reference):
    queries, keys, theirs = official_patches(reference, layer)
    losses = mo_nce(queries, keys, cost=cost, epsilon=epsilon)
    assert close(losses, theirs[f"monce_{cost}_{layer}"])
    assert close(gradient_of_mean(losses, queries), theirs[f"monce_{cost}_gradient_{layer}"])


@pytest.mark.parametrize("layer", LAYERS)
def test_semantic_relation_equals_the_official_value_and_gradient(layer, reference):
    queries, keys, theirs = official_patches(reference, layer)
    losses = semantic_relation(queries, keys)
    assert losses[0].item() == pytest.approx(theirs[f"src_{layer}"].item(), rel=1e-5)
    gradient = torch.autograd.grad(losses[0], queries)[0][0]
    assert close(gradient, theirs[f"src_gradient_{layer}"])


@pytest.mark.parametrize("layer", LAYERS)
@pytest.mark.parametrize("gamma", ["50", "1", "0.1"])
def test_hdce_has_the_official_gradients(gamma, layer, reference):
    """Their program returns e^(l - l), so that only its gradient tells something."""
    queries, keys, theirs = official_patches(reference, layer)
    losses = hdce(queries[:1], keys[:1], gamma=float(gamma))
    gradient = gradient_of_mean(losses, queries)[:40]
    assert close(gradient, theirs[f"hdce_gamma{gamma}_gradient_{layer}"])


@pytest.mark.parametrize("layer", LAYERS)
def test_the_decoupled_loss_has_the_official_gradient(layer, reference):
    queries, keys, theirs = official_patches(reference, layer)
    gradient = gradient_of_mean(decoupled_patch_nce(queries[:1], keys[:1]), queries)[:40]
    assert close(gradient, theirs[f"dce_gradient_{layer}"])
