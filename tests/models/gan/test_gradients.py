"""First and second derivatives in float64, and the graph that a penalty needs."""

import pytest
import torch
from torch.autograd import gradcheck, gradgradcheck

from tests.models.gan.pairs import (
    PAIRS,
    latents,
    pictures,
    small_discriminator,
    small_generator,
    stirred,
)

LABELS = torch.tensor([1, 0])


@pytest.mark.parametrize("name", PAIRS)
def test_generators_have_the_right_gradient(name):
    generator = stirred(small_generator(name, 3)).double().eval()
    z = latents(generator, batch=2, dtype=torch.double).requires_grad_()
    assert gradcheck(lambda z: generator(z, LABELS), (z,), fast_mode=True)


@pytest.mark.parametrize("name", PAIRS)
def test_discriminators_have_the_right_first_and_second_gradients(name):
    discriminator = stirred(small_discriminator(name, 3)).double().eval()
    shown = pictures(batch=2, dtype=torch.double).requires_grad_()
    assert gradcheck(lambda x: discriminator(x, LABELS), (shown,), fast_mode=True)
    assert gradgradcheck(lambda x: discriminator(x, LABELS), (shown,), fast_mode=True)


def r1_penalty(discriminator, shown, **options):
    shown = shown.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(
        discriminator(shown, LABELS, **options).sum(), shown, create_graph=True
    )
    assert gradient.requires_grad
    return gradient.square().sum((1, 2, 3)).mean() / 2


@pytest.mark.parametrize(
    ("name", "options"),
    [*((name, {}) for name in PAIRS), *(("progressive", {"level": x}) for x in (2.0, 2.6))],
    ids=str,
)
def test_the_gradient_of_a_penalty_reaches_the_weights(name, options):
    """Against the penalty's difference along a direction in the space of all weights."""
    network = stirred(small_discriminator(name, 3)).double().eval()
    size_px = {2.6: 8, 2.0: 4}.get(options.get("level"), 16)
    shown = pictures(batch=2, size_px=size_px, dtype=torch.double)
    r1_penalty(network, shown, **options).backward()
    noise = torch.Generator().manual_seed(4)
    used = [p for p in network.parameters() if p.grad is not None]
    steps = [torch.randn(p.shape, generator=noise, dtype=p.dtype) * 1e-6 for p in used]
    slope = sum((p.grad * step).sum() for p, step in zip(used, steps, strict=True)).item()

    def moved(sign):
        with torch.no_grad():
            for parameter, step in zip(used, steps, strict=True):
                parameter += sign * step
        return r1_penalty(network, shown, **options).item()

    difference = (moved(1) - moved(-2)) / 2
    assert abs(slope) > 1e-9
    assert difference == pytest.approx(slope, rel=1e-4)


@pytest.mark.parametrize("name", PAIRS)
def test_two_forwards_in_training_mode_before_one_backward(name):
    """Reals and fakes, then the penalty: spectral norm's vectors move in between."""
    network = stirred(small_discriminator(name, 3, norm="batch"))
    real, fake = network(pictures(2), LABELS), network(pictures(2, seed=1), LABELS)
    loss = torch.nn.functional.softplus(fake - real).mean() + r1_penalty(network, pictures(2))
    loss.backward()
    grads = [p.grad for p in network.parameters() if p.grad is not None]
    assert len(grads) > 3 and all(grad.isfinite().all() for grad in grads)
