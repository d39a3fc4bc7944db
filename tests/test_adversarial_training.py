"""train_features.py --adversarial: each method's step by hand, bf16, resume."""

import copy

import pytest
import torch
import torch.nn.functional as F

import attacks
import training
from tests.test_train_features import labels, method, pictures, train
from tests.training_runs import assert_gradients_agree, assert_same_run, kept_gradients, noise

METHODS = ["pgd", "fast", "trades"]
EPSILON = 16 * attacks.LEVEL


def trained_on(kind, *more):
    chosen = ["--adversarial", kind, "--epsilon", "16", "--attack_steps", "2", *more]
    return method("supervised", *chosen, "--learning_rate", "0")


def loss_by_hand(kind, model, images, classes, random):
    """The loss of each paper for images [B, C, H, W], with the command's own random numbers."""
    if kind == "trades":
        steps = {"step": 2.5 * EPSILON / 2, "steps": 2, "weight": 6.0, "generator": random}
        return attacks.trades_loss(model, images, classes, epsilon=EPSILON, **steps)
    start = (images + torch.empty_like(images).uniform_(-EPSILON, EPSILON, generator=random)).clamp(
        -1, 1
    )
    step, steps = (1.25 * EPSILON, 1) if kind == "fast" else (2.5 * EPSILON / 2, 2)
    model.eval()
    for _ in range(steps):
        x = start.clone().requires_grad_()
        (slope,) = torch.autograd.grad(F.cross_entropy(model(x), classes, reduction="sum"), x)
        change = (start + step * slope.sign() - images).clamp(-EPSILON, EPSILON)
        start = (images + change).clamp(-1, 1)
    model.train()
    return F.cross_entropy(model(start), classes)


@pytest.mark.numeric
@pytest.mark.parametrize("kind", METHODS)
def test_a_step_is_that_of_its_paper(kind):
    ours = trained_on(kind)
    model = copy.deepcopy(ours.classifier)
    images, found = noise(8, 3, 8, 8), kept_gradients(ours)
    ours.trained.random.start(8)
    value = ours.update([images], labels())["loss"].item()
    random = training.generator_for(images.device, ours.options.seed, 8, "attack 0")
    expected = loss_by_hand(kind, model, images, labels(), random)
    assert value == pytest.approx(expected.item(), rel=1e-4)
    expected.backward()
    named = {f"encoder.{key}": p.grad.double() for key, p in model.encoder.named_parameters()}
    named |= {f"head.{key}": p.grad.double() for key, p in model.head.named_parameters()}
    assert_gradients_agree(found, named, 1e-3)


def test_every_weight_has_a_gradient_in_bf16():
    """Before PyTorch 2.11 autocast's cache could hold the attack's casts, which have none."""
    ours = method("supervised", "--adversarial", "trades", "--learning_rate", "0", precision="bf16")
    found = kept_gradients(ours)
    ours.trained.random.start(8)
    ours.update([noise(8, 3, 8, 8)], labels())
    assert len(found) > 20 and all(gradient.abs().sum() > 0 for gradient in found.values())


def test_a_resumed_run_is_that_of_a_whole_one(tmp_path):
    """With pgd; the others draw from the same generator."""
    dataroot, more = pictures(tmp_path / "data"), ["--adversarial", "pgd", "--attack_steps", "2"]
    train(dataroot, tmp_path / "whole", "supervised", *more, "--total_images", "32")
    for total in ("16", "32"):
        train(dataroot, tmp_path / "parts", "supervised", *more, "--total_images", total)
    assert_same_run(tmp_path / "whole", tmp_path / "parts", 32, log_lines_expected=4)
