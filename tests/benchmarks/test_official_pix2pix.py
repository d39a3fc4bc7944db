"""The pix2pix baseline: names, sizes, dropout and three steps of the official program."""

import pytest
import torch
from torch import nn

from benchmarks.official_networks import PatchDiscriminator
from benchmarks.official_pix2pix import OfficialPix2Pix, UnetGenerator
from tests.close import assert_close_in_scale, in_float64

NAMES = ("G_GAN", "G_L1", "D_real", "D_fake")


def tiny(**options) -> OfficialPix2Pix:
    return OfficialPix2Pix(ngf=2, ndf=4, num_downs=7, **options)


def noise() -> torch.Tensor:
    return torch.rand(2, 1, 3, 128, 128, generator=torch.Generator().manual_seed(1)) * 2 - 1


def test_three_steps_have_the_official_losses(reference):
    trace = in_float64(reference("pix2pix_three_steps")[1])
    official = tiny(dropout=False)
    for name in ("G", "D"):
        prefix = f"initial/{name}/"
        weights = {k.removeprefix(prefix): v for k, v in trace.items() if k.startswith(prefix)}
        getattr(official, f"net{name}").double().load_state_dict(weights, strict=True)
    for step in (1, 2, 3):
        losses = official.step(trace[f"step{step}/source"], trace[f"step{step}/target"])
        expected = {name: trace[f"step{step}/loss/{name}"].item() for name in NAMES}
        # Networks in float64, but its labels are float32, and so is the cross-entropy with them.
        assert losses == pytest.approx(expected, rel=1e-6), f"step {step}"
    for name in ("G", "D"):
        for key, value in getattr(official, f"net{name}").state_dict().items():
            if "running" in key or "num_batches" in key:
                assert_close_in_scale(value, trace[f"final/{name}/{key}"], 1e-9)


@pytest.mark.parametrize(
    ("name", "network"),
    [
        ("generator", UnetGenerator(2, num_downs=7)),
        ("discriminator", PatchDiscriminator(6, 4, nn.BatchNorm2d, bias=False)),
    ],
)
def test_official_weights_load_strictly_and_give_the_official_output(reference, name, network):
    weights, numbers = reference(f"pix2pix_{name}")
    network.load_state_dict(weights, strict=True)
    with torch.no_grad():
        output = network.eval()(numbers["input"])
    assert_close_in_scale(output, numbers["output"], 1e-5)


def test_full_size_has_the_official_parameters_and_initial_weights():
    official = OfficialPix2Pix()
    networks = (official.netG, official.netD)
    counts = [sum(p.numel() for p in network.parameters()) for network in networks]
    assert counts == [54_413_955, 2_768_705]
    assert sum(isinstance(m, nn.Dropout) for m in official.netG.modules()) == 3
    for network in networks:
        drawn = torch.cat([p.flatten() for p in network.parameters() if p.ndim == 4])
        assert drawn.std().item() == pytest.approx(0.02, rel=0.01)
        norms = [m for m in network.modules() if isinstance(m, nn.BatchNorm2d)]
        scales = torch.cat([norm.weight for norm in norms])
        assert scales.mean().item() == pytest.approx(1, abs=0.01)
        assert scales.std().item() == pytest.approx(0.02, rel=0.1)


def test_dropout_stands_at_the_levels_around_the_innermost():
    where = [
        name.count(".3.")
        for name, module in tiny().netG.named_modules()
        if isinstance(module, nn.Dropout)
    ]
    assert sorted(where) == [3, 4]  # levels 4 and 5: the first ".3." leads to level 2
    assert not any(isinstance(m, nn.Dropout) for m in tiny(dropout=False).netG.modules())


def test_a_step_draws_its_dropout_from_the_global_generator():
    runs = []
    for seed in (1, 1, 2):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            runs.append(tiny(seed=3).step(*noise()))
    assert tuple(runs[0]) == NAMES
    assert runs[0] == pytest.approx(runs[1], rel=1e-5)
    assert runs[0]["G_L1"] != pytest.approx(runs[2]["G_L1"], rel=1e-5)


def test_weight_of_the_distance():
    once, twice = (tiny(dropout=False, lambda_L1=weight).step(*noise()) for weight in (50, 100))
    assert twice["G_L1"] == pytest.approx(2 * once["G_L1"], rel=1e-5)
    assert twice["G_GAN"] == pytest.approx(once["G_GAN"], rel=1e-5)
