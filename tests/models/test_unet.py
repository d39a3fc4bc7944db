"""The U-Net against the official numbers, a literal transcription in float64, and its limits."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from errors import UserError
from models import build_generator, check_picture_size, initialize
from models.unet import UnetGenerator, UnetSizes
from tests.close import assert_close_in_scale

TINY = {"base_channels": 2, "halvings": 6}


def weights(network) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def drawn(sizes: UnetSizes, gain: float = 0.2) -> UnetGenerator:
    """Build a network with weights large enough for every layer to count."""
    random = torch.Generator().manual_seed(0)
    return initialize(UnetGenerator(sizes), random, "normal", gain)


def noise(*shape) -> torch.Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(1)) * 2 - 1


@torch.no_grad()
def test_output_equals_the_official_one(reference):
    state, arrays = reference("pix2pix_generator")
    network = UnetGenerator(UnetSizes(base_channels=2, halvings=7))
    network.load_state_dict(state)
    assert network.state_dict().keys() == state.keys()
    assert_close_in_scale(network.eval()(arrays["input"]), arrays["output"], 1e-5)


@torch.no_grad()
def test_first_training_pass_gives_the_official_loss(reference):
    """In train mode, batch 1: the L1 loss that the official program reports, weight 100."""
    arrays = reference("pix2pix_three_steps")[1]
    prefix = "initial/G/"
    state = {k.removeprefix(prefix): v for k, v in arrays.items() if k.startswith(prefix)}
    network = UnetGenerator(UnetSizes(base_channels=2, halvings=7, dropout=False))
    network.load_state_dict(state)
    translated = network.train()(arrays["step1/source"])
    loss = 100 * F.l1_loss(translated, arrays["step1/target"])
    assert loss.item() == pytest.approx(arrays["step1/loss/G_L1"].item(), rel=1e-5)


@pytest.mark.parametrize(("name", "count"), [("unet_256", 54_413_955), ("unet_128", 41_828_995)])
def test_full_size_weight_counts(name, count):
    with torch.device("meta"):
        network = build_generator(
            *(name,), base_channels=64, norm="batch", antialias=True, dropout=True, crop_px=256
        )
    assert weights(network) == count
    assert network.size_multiple == network.smallest_size_px == int(name.removeprefix("unet_"))


def literal(state: dict, x: torch.Tensor, norm: str, prefix="model.model", level=0):
    """The network as the paper draws it, from a state dict: nothing in place, raw skips."""

    def weight_of(number):
        return state[f"{prefix}.{number}.weight"], state.get(f"{prefix}.{number}.bias")

    def normed(y, number):
        if norm == "none":
            return y
        scale, shift = (1, 0)
        if norm == "batch":
            scale, shift = (value[:, None, None] for value in weight_of(number))
        over = (0, 2, 3) if norm == "batch" else (2, 3)
        mean = y.mean(over, keepdim=True)
        variance = (y - mean).square().mean(over, keepdim=True)
        return (y - mean) / (variance + 1e-5).sqrt() * scale + shift

    innermost = level and f"{prefix}.5.weight" not in state
    down = 1 if level else 0
    up = 3 if innermost or level == 0 else 5
    y = F.leaky_relu(x, 0.2) if level else x
    y = F.conv2d(y, *weight_of(down), stride=2, padding=1)
    if not innermost:
        y = normed(y, 2) if level else y
        y = literal(state, y, norm, f"{prefix}.{3 if level else 1}.model", level + 1)
    y = F.conv_transpose2d(F.relu(y), *weight_of(up), stride=2, padding=1)
    return torch.cat([x, normed(y, up + 1)], 1) if level else y.tanh()


@pytest.mark.parametrize("norm", ["batch", "instance", "none"])
@pytest.mark.parametrize("batch", [1, 2])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.float64, 1e-12)])
def test_output_and_gradients_equal_those_of_a_literal_network_in_float64(
    norm, batch, dtype, tolerance
):
    network = drawn(UnetSizes(in_channels=2, out_channels=1, norm=norm, dropout=False, **TINY))
    pictures, upstream = noise(batch, 2, 64, 128), noise(batch, 1, 64, 128).flip(3) + 0.5
    state = {
        name: value.detach().double().requires_grad_()
        for name, value in network.state_dict().items()
        if value.is_floating_point()
    }
    exact_pictures = pictures.double().clone().requires_grad_()
    exact = literal(state, exact_pictures, norm)
    exact.backward(upstream.double())

    ours = pictures.to(dtype).requires_grad_()
    output = network.to(dtype)(ours)
    output.backward(upstream.to(dtype))
    pairs = [(output, exact), (ours.grad, exact_pictures.grad)]
    trained = [(name, value) for name, value in network.named_parameters() if value.requires_grad]
    pairs += [(value.grad, state[name].grad) for name, value in trained]
    for number, (value, truth) in enumerate(pairs):
        assert (value - truth).norm() < tolerance * truth.norm(), number
    for name, value in network.named_parameters():
        if not value.requires_grad:  # a norm cancels it
            assert norm == "instance" and name.endswith(".bias")
            assert state[name].grad.abs().max() < 1e-12


@pytest.mark.parametrize("halvings", [5, 7, 8])
@pytest.mark.parametrize("norm", ["batch", "instance", "none"])
def test_one_picture_of_the_smallest_size_trains(halvings, norm):
    network = drawn(UnetSizes(base_channels=1, halvings=halvings, norm=norm)).train()
    side = network.smallest_size_px
    translated = network(noise(1, 3, side, side))
    assert translated.shape == (1, 3, side, side) and translated.std() > 0
    translated.square().mean().backward()
    trained = [p for p in network.parameters() if p.requires_grad]
    assert len(trained) > 10
    assert all(p.grad is not None and p.grad.isfinite().all() for p in trained)


@pytest.mark.parametrize(("width", "height"), [(32, 64), (64, 32), (65, 64), (100, 100)])
def test_pictures_that_do_not_halve_are_refused_with_their_size(width, height):
    network = UnetGenerator(UnetSizes(**TINY))
    with pytest.raises(ValueError, match=f"{width}x{height} px.* multiples of 64"):
        network(torch.zeros(1, 3, height, width))


def test_sizes_that_make_no_unet_are_refused():
    for halvings in (0, 4, 13):
        with pytest.raises(ValueError, match=f"{halvings} halvings"):
            UnetSizes(halvings=halvings)
    with pytest.raises(ValueError, match="norm 'layer'"):
        UnetGenerator(UnetSizes(norm="layer"))
    with pytest.raises(UserError, match="`crop_size` 32 px: UnetGenerator needs at least 64 px"):
        check_picture_size(32, "`crop_size`", UnetGenerator(UnetSizes(**TINY)))


def test_dropout_is_seeded_differs_between_steps_and_is_off_in_eval_mode():
    network, pictures = drawn(UnetSizes(**TINY)), noise(1, 3, 64, 64)

    def step(seed):
        network.noise.reseed(seed, rows=1)
        with torch.no_grad():
            return network(pictures)

    assert torch.equal(step(3), step(3))
    assert not torch.equal(step(3), step(4))
    network.eval()
    assert torch.equal(step(3), step(4))


@pytest.mark.parametrize(("halvings", "dropped_levels"), [(5, 0), (6, 1), (7, 2), (8, 3)])
def test_dropout_stands_last_in_the_levels_of_the_official_program(halvings, dropped_levels):
    network = UnetGenerator(UnetSizes(base_channels=1, halvings=halvings))
    levels = [m.model for m in network.modules() if isinstance(m, type(network.model))]
    assert [len(level) for level in levels] == [5, 7, 7, 7, *[8] * dropped_levels, 5]
    names = network.state_dict().keys()
    bare = UnetGenerator(UnetSizes(base_channels=1, halvings=halvings, dropout=False))
    assert names == bare.state_dict().keys()


@torch.no_grad()
def test_two_processes_drop_what_one_would():
    network, pictures = drawn(UnetSizes(norm="instance", **TINY)), noise(2, 3, 64, 64)
    network.noise.reseed(5, rows=2)
    whole = network(pictures)
    for rank in (0, 1):
        network.noise.reseed(5, rows=1, rank=rank, world_size=2)
        part = network(pictures[rank : rank + 1])
        assert torch.allclose(part, whole[rank : rank + 1], atol=1e-5)


def test_initial_weights_follow_the_official_rule():
    network = drawn(UnetSizes(base_channels=16, halvings=6), gain=0.02)
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d) and layer.weight.numel() > 5000:
            assert layer.weight.std().item() == pytest.approx(0.02, rel=0.1)
            assert layer.bias is None or not layer.bias.any()
    norms = [layer for layer in network.modules() if isinstance(layer, nn.BatchNorm2d)]
    scales = torch.cat([layer.weight for layer in norms])
    assert scales.mean().item() == pytest.approx(1, abs=0.01)
    assert scales.std().item() == pytest.approx(0.02, rel=0.2)
    assert not any(layer.bias.any() for layer in norms)
