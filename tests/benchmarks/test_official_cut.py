"""The baseline is what it says it is: names, sizes and three steps of the official program."""

import pytest
import torch

from benchmarks import official_cut
from benchmarks.official_cut import (
    NCE_LAYERS,
    OfficialCut,
    PatchDiscriminator,
    ResnetGenerator,
    instance_norm,
    one_channel_group_norm,
    patch_nce,
)
from tests.close import assert_close_in_scale

NAMES = {
    "CUT": {"G_GAN", "D_real", "D_fake", "G", "NCE", "NCE_Y"},
    "FastCUT": {"G_GAN", "D_real", "D_fake", "G", "NCE"},
}


def tiny(mode: str, **options) -> OfficialCut:
    return OfficialCut(mode=mode, ngf=2, ndf=2, netF_nc=16, num_patches=64, seed=0, **options)


def load_initial(official: OfficialCut, trace) -> None:
    networks = {"G": official.netG, "D": official.netD, "F": official.netF}
    for name, network in networks.items():
        prefix = f"initial/{name}/"
        weights = {k.removeprefix(prefix): v for k, v in trace.items() if k.startswith(prefix)}
        network.load_state_dict(weights, strict=True)
        network.double()


def replay(official: OfficialCut, trace, step: int) -> dict[str, float]:
    prefix = f"step{step}/"
    ids = sum(key.startswith(f"{prefix}patch_ids/") for key in trace)
    return official.step(
        trace[f"{prefix}source"].double(),
        trace[f"{prefix}target"].double(),
        patch_ids=[trace[f"{prefix}patch_ids/{number}"].numpy() for number in range(ids)],
        flipped=bool(trace[f"{prefix}flipped"]) if f"{prefix}flipped" in trace else None,
    )


@pytest.mark.parametrize("mode", ["CUT", "FastCUT"])
def test_three_steps_have_the_official_losses(mode, reference):
    _, trace = reference(f"{mode.lower()}_three_steps")
    official = tiny(mode, norm_layer=one_channel_group_norm)
    load_initial(official, trace)
    for step in (1, 2, 3):
        losses = replay(official, trace, step)
        expected = {name: float(trace[f"step{step}/loss/{name}"]) for name in NAMES[mode]}
        assert losses == pytest.approx(expected, rel=1e-9), f"step {step}"


@pytest.mark.parametrize(
    ("name", "network"), [("generator", ResnetGenerator), ("discriminator", PatchDiscriminator)]
)
def test_official_weights_load_strictly_and_give_the_official_output(name, network, reference):
    weights, numbers = reference(f"cut_{name}")
    net = network(2 if name == "generator" else 4, instance_norm)
    net.load_state_dict(weights, strict=True)
    with torch.no_grad():
        assert_close_in_scale(net(numbers["input"]), numbers["output"], 1e-5)
        if name == "generator":
            taps = net(numbers["input"], NCE_LAYERS, encode_only=True)
            for layer, tap in zip(NCE_LAYERS, taps, strict=True):
                assert_close_in_scale(tap, numbers[f"tap_{layer}"], 1e-5)


def test_full_size_has_the_official_parameters():
    official = OfficialCut(seed=0)
    networks = (official.netG, official.netF, official.netD)
    counts = [sum(p.numel() for p in network.parameters()) for network in networks]
    assert counts == [11_378_179, 560_384, 2_764_737]
    heads = [head[0].in_features for head in official.netF.children()]
    assert heads == [3, 128, 256, 256, 256]
    assert sum(isinstance(m, torch.nn.InstanceNorm2d) for m in official.netG.modules()) == 23
    assert sum(isinstance(m, torch.nn.InstanceNorm2d) for m in official.netD.modules()) == 3


@pytest.mark.parametrize("mode", ["CUT", "FastCUT"])
def test_a_step_draws_for_itself_and_repeats_under_its_seed(mode):
    images = torch.rand(2, 2, 3, 32, 32, generator=torch.Generator().manual_seed(1)) * 2 - 1
    first, second = (tiny(mode).step(*images) for _ in range(2))
    assert first.keys() == NAMES[mode]
    assert first == pytest.approx(second, rel=1e-5)


def test_keys_carry_a_graph_but_no_gradient(monkeypatch):
    carries_graph = []

    def recording(queries, keys, batch_size):
        carries_graph.append(keys.requires_grad)
        return patch_nce(queries, keys, batch_size)

    monkeypatch.setattr(official_cut, "patch_nce", recording)
    official = tiny("CUT")
    source, target = torch.rand(2, 1, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    source.requires_grad_()
    target.requires_grad_()
    official.contrast(source, target, None, False).backward()
    assert carries_graph == [True] * 5
    assert source.grad is None
    assert target.grad.any()
