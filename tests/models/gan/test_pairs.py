"""What every pair of networks must do: shapes, labels, start by seed, state, refusals."""

import copy

import pytest
import torch

from models import gan
from tests.models.gan.pairs import (
    BATCH,
    PAIRS,
    drawn,
    latents,
    pictures,
    rebuilt,
    small_discriminator,
    small_generator,
    stirred,
)

LABELS = torch.tensor([0, 2, 1, 2])
SMALL = {"generator": small_generator, "discriminator": small_discriminator}


def run(network, labels=None):
    is_generator = isinstance(network, tuple(kind for kind, _ in gan.GAN_GENERATORS.values()))
    return network(latents(network) if is_generator else pictures(), labels)


@pytest.mark.parametrize("classes", [0, 3])
@pytest.mark.parametrize("name", PAIRS)
def test_shapes_and_gradients(name, classes):
    labels = LABELS if classes else None
    generator, discriminator = small_generator(name, classes), small_discriminator(name, classes)
    made = generator(latents(generator), labels)
    assert made.shape == (BATCH, generator.out_channels, generator.size_px, generator.size_px)
    logits = discriminator(made, labels)
    assert logits.shape == (BATCH,)
    stirred(generator)
    discriminator(generator(latents(generator), labels), labels).sum().backward()
    idle = {"to_rgb.0", "to_rgb.1"} if name == "progressive" else set()
    for parameter_name, parameter in generator.named_parameters():
        if any(parameter_name.startswith(prefix) for prefix in idle):
            assert parameter.grad is None
        else:
            assert parameter.grad.isfinite().all() and parameter.grad.abs().max() > 0


@pytest.mark.parametrize("name", ["mlp", "dcgan", "sngan"])
def test_bounded_generators_stay_within_the_range(name):
    generator = stirred(small_generator(name))
    made = generator(10 * latents(generator))
    assert made.abs().max() <= 1 and made.std() > 0.01


@pytest.mark.parametrize("part", SMALL)
@pytest.mark.parametrize("name", PAIRS)
def test_a_label_changes_its_own_picture_only(name, part):
    """Progressive scores know no labels: there the logits of the classes take their place."""
    network = stirred(SMALL[part](name, 3)).eval()
    changed = LABELS.clone()
    changed[1] = 0
    with torch.no_grad():
        first, second = run(network, LABELS), run(network, changed)
    difference = (first - second).abs().flatten(1 if first.dim() > 1 else 0)
    difference = difference.amax(1) if difference.dim() > 1 else difference
    if (name, part) == ("progressive", "discriminator"):
        assert difference.max() == 0
    else:
        assert difference[1] > 1e-4 and difference[[0, 2, 3]].max() < 1e-5


@pytest.mark.parametrize("classes", [0, 3])
@pytest.mark.parametrize("part", SMALL)
@pytest.mark.parametrize("name", PAIRS)
def test_the_start_depends_on_the_seed_alone(name, part, classes):
    first = SMALL[part](name, classes)
    torch.manual_seed(12)
    again = drawn(rebuilt(stirred(copy.deepcopy(first))))
    redrawn = drawn(copy.deepcopy(again))
    other = drawn(rebuilt(first), seed=5)
    states = [network.state_dict() for network in (first, again, redrawn, other)]
    differ = 0
    for key, value in states[0].items():
        assert torch.equal(value, states[1][key]) and torch.equal(value, states[2][key])
        differ += not torch.equal(value, states[3][key])
    assert differ > 1


@pytest.mark.parametrize("classes", [0, 3])
@pytest.mark.parametrize("part", SMALL)
@pytest.mark.parametrize("name", PAIRS)
def test_state_and_sizes_go_through_a_file(name, part, classes, tmp_path):
    network = stirred(SMALL[part](name, classes))
    labels = LABELS if classes else None
    run(network, labels)  # running statistics and singular vectors move
    torch.save(network.state_dict(), tmp_path / "state.pt")
    other = rebuilt(network)
    other.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
    for _ in range(2):  # in training mode the second run starts where the first has led
        assert torch.equal(run(network, labels), run(other, labels))
    assert torch.equal(run(network.eval(), labels), run(other.eval(), labels))


@pytest.mark.parametrize("part", SMALL)
@pytest.mark.parametrize("name", PAIRS)
def test_a_network_runs_in_bfloat16(name, part):
    network = stirred(SMALL[part](name, 3)).eval()
    exact = run(network, LABELS)
    with torch.autocast("cpu", torch.bfloat16):
        rounded = run(network, LABELS)
    assert (rounded.float() - exact).norm() < 0.1 * exact.norm()


@pytest.mark.parametrize("part", SMALL)
@pytest.mark.parametrize("name", PAIRS)
def test_wrong_inputs_are_refused(name, part):
    unconditional, conditional = SMALL[part](name), SMALL[part](name, 3)
    with pytest.raises(ValueError, match="unconditional"):
        run(unconditional, LABELS)
    with pytest.raises(ValueError, match="int64"):
        run(conditional, LABELS[:1])
    with pytest.raises(ValueError, match="int64"):
        run(conditional, LABELS.int())
    with pytest.raises(ValueError, match="takes"):
        unconditional(torch.zeros(2, 4))
    if (name, part) != ("progressive", "discriminator"):
        with pytest.raises(ValueError, match="3 classes"):
            run(conditional, None)
        with pytest.raises(IndexError):
            run(conditional, LABELS + 1)


@pytest.mark.parametrize("size_px", [12, 2, 0])
@pytest.mark.parametrize("name", ["dcgan", "sngan", "progressive", "r3gan"])
def test_sizes_that_are_no_power_of_two_are_refused(name, size_px):
    with pytest.raises(ValueError, match=f"{size_px} px: not a power of two from"):
        gan.GAN_GENERATORS[name][1](size_px=size_px)


def test_sizes_that_leave_no_channels_are_refused():
    with pytest.raises(ValueError, match="channels 0: below 1"):
        gan.ProgressiveGeneratorSizes(64, base_channels=16)
    with pytest.raises(ValueError, match="groups of 16"):
        gan.R3ganGeneratorSizes(base_channels=12)
    with pytest.raises(ValueError, match="latent_channels 0"):
        gan.MlpGeneratorSizes(latent_channels=0)


@pytest.mark.parametrize("size_px", [16, 32, 128])
@pytest.mark.parametrize("name", ["dcgan", "sngan"])
def test_other_sizes_make_pictures_of_that_size(name, size_px):
    kind, sizes = gan.GAN_GENERATORS[name]
    generator = kind(sizes(size_px, base_channels=1, latent_channels=3))
    judge = {"dcgan": gan.DcganDiscriminator, "sngan": gan.SnganDiscriminator}[name]
    judge_sizes = type(judge().sizes)(size_px, base_channels=1)
    made = generator(latents(generator))
    assert made.shape == (BATCH, 3, size_px, size_px)
    assert judge(judge_sizes)(made).shape == (BATCH,)
