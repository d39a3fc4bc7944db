"""The CycleGAN baseline: names, sizes, history pool and three steps of the official program."""

import random

import pytest
import torch

from benchmarks.official_cut import instance_norm, one_channel_group_norm
from benchmarks.official_cyclegan import (
    LOSS_NAMES,
    ImagePool,
    OfficialCycleGan,
    ResnetGenerator,
)
from benchmarks.official_networks import PatchDiscriminator
from tests.close import assert_close_in_scale, in_float64


def tiny(**options) -> OfficialCycleGan:
    return OfficialCycleGan(ngf=2, ndf=2, **{"blocks": 6, **options})


def noise(size: int = 32) -> torch.Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.rand(2, 1, 3, size, size, generator=generator) * 2 - 1


def test_three_steps_have_the_official_losses(reference):
    """In float64, so that the rounding of the recorded run is all that differs: up to 1e-6."""
    trace = in_float64(reference("cyclegan_three_steps")[1])
    official = tiny(pool_size=0, norm_layer=one_channel_group_norm)
    for name in ("G_A", "G_B", "D_A", "D_B"):
        prefix = f"initial/{name}/"
        weights = {k.removeprefix(prefix): v for k, v in trace.items() if k.startswith(prefix)}
        getattr(official, f"net{name}").double().load_state_dict(weights, strict=True)
    for step in (1, 2, 3):
        losses = official.step(trace[f"step{step}/source"], trace[f"step{step}/target"])
        expected = {name: trace[f"step{step}/loss/{name}"].item() for name in LOSS_NAMES}
        assert losses == pytest.approx(expected, rel=1e-9), f"step {step}"


@pytest.mark.parametrize(
    ("name", "network"),
    [
        ("generator", ResnetGenerator(2, instance_norm, blocks=6)),
        ("discriminator", PatchDiscriminator(3, 4, instance_norm, bias=True)),
    ],
)
def test_official_weights_load_strictly_and_give_the_official_output(reference, name, network):
    weights, numbers = reference(f"cyclegan_{name}")
    network.load_state_dict(weights, strict=True)
    with torch.no_grad():
        output = network(numbers["input"])
    assert_close_in_scale(output, numbers["output"], 1e-5)


def test_full_size_has_the_official_parameters_and_initial_weights():
    official = OfficialCycleGan()
    networks = (official.netG_A, official.netG_B, official.netD_A, official.netD_B)
    counts = [sum(p.numel() for p in network.parameters()) for network in networks]
    assert counts == [11_378_179, 11_378_179, 2_764_737, 2_764_737]
    for network in networks:
        drawn = torch.cat([p.flatten() for p in network.parameters() if p.ndim == 4])
        assert drawn.std().item() == pytest.approx(0.02, rel=0.01)
        assert not any(p.any() for p in network.parameters() if p.ndim == 1)
    assert not torch.equal(official.netG_A.model[1].weight, official.netG_B.model[1].weight)


def test_steps_repeat_under_their_seed():
    images = noise()
    runs = []
    for _ in range(2):
        official = tiny(pool_size=1, seed=3)
        runs.append([official.step(*images) for _ in range(3)])
    assert tuple(runs[0][0]) == LOSS_NAMES
    for first, second in zip(*runs, strict=True):
        assert first == pytest.approx(second, rel=1e-5)


def test_without_identity_its_terms_are_zero_and_the_rest_stands():
    images = noise()
    losses, full = tiny(lambda_identity=0).step(*images), tiny().step(*images)
    assert losses["idt_A"] == losses["idt_B"] == 0
    assert losses["G_A"] == pytest.approx(full["G_A"], rel=1e-5)
    assert losses["cycle_B"] == pytest.approx(full["cycle_B"], rel=1e-5)


def test_pool_fills_then_trades_for_half_of_the_images():
    pool = ImagePool(3, random.Random(5))
    draws = random.Random(5)
    stored = [0.0, 1.0, 2.0]
    for value in stored:
        assert pool.query(torch.full((1, 3, 2, 2), value)).unique().tolist() == [value]
    for batch in range(50):
        values = [10.0 + 2 * batch, 11.0 + 2 * batch]
        expected = list(values)
        for place, value in enumerate(values):
            if draws.uniform(0, 1) > 0.5:
                slot = draws.randint(0, 2)
                expected[place], stored[slot] = stored[slot], value
        images = torch.tensor(values).view(2, 1, 1, 1).expand(2, 3, 2, 2)
        assert pool.query(images)[:, 0, 0, 0].tolist() == expected
    assert [image.unique().item() for image in pool.images] == stored


def test_the_discriminators_see_what_the_pools_return(monkeypatch):
    queried = []

    def recording(self, images):
        queried.append((self, images))
        return torch.zeros_like(images)

    monkeypatch.setattr(ImagePool, "query", recording)
    official = tiny(norm_layer=one_channel_group_norm)
    images = noise()
    with torch.no_grad():
        fakes = official.netG_A(images[0]), official.netG_B(images[1])
    losses = official.step(*images)
    assert [pool for pool, _ in queried] == [official.fake_B_pool, official.fake_A_pool]
    for (_, asked), fake in zip(queried, fakes, strict=True):
        torch.testing.assert_close(asked, fake)
    fresh = tiny(norm_layer=one_channel_group_norm)
    with torch.no_grad():
        d_real = (fresh.netD_A(images[1]) - 1).pow(2).mean()
        d_fake = fresh.netD_A(torch.zeros_like(images[1])).pow(2).mean()
    assert losses["D_A"] == pytest.approx(0.5 * (d_real + d_fake).item(), rel=1e-5)
