"""Growing: continuity at both ends of a fade, and both networks against transcriptions."""

import math

import pytest
import torch
import torch.nn.functional as F

from models import gan
from models.gan.growing import check_level, downsample, upsample
from tests.models.gan.pairs import (
    latents,
    pictures,
    small_discriminator,
    small_generator,
    stirred,
)

LEVELS = (2.0, 3.0)  # of the small networks, whose last is 4.0
STEP = 1e-9
DOUBLE = torch.double
GAIN = math.sqrt(2)


@pytest.fixture(params=[0, 3], ids=["unconditional", "conditional"])
def classes(request):
    return request.param


def labels(classes):
    return torch.tensor([0, 2, 1, 2]) if classes else None


def make(classes, level):
    generator = stirred(small_generator("progressive", classes)).double()
    return generator(latents(generator, dtype=DOUBLE), labels(classes), level=level)


def judge(classes, shown, level):
    discriminator = stirred(small_discriminator("progressive", classes)).double()
    if classes:
        scores, logits = discriminator.forward_with_classes(shown, level=level)
        assert torch.equal(scores, discriminator(shown, labels(classes), level=level))
        assert logits.shape == (len(shown), classes)
        return torch.cat([scores[:, None], logits], 1)
    return discriminator(shown, level=level)


@pytest.mark.parametrize("level", LEVELS)
def test_a_fade_begins_with_the_old_picture_doubled(level, classes):
    old, beginning = make(classes, level), make(classes, level + STEP)
    assert beginning.shape[-1] == 2 * old.shape[-1] == gan.resolution_px(level + STEP)
    assert torch.allclose(beginning, upsample(old), atol=1e-7)


@pytest.mark.parametrize("level", LEVELS)
def test_a_fade_ends_with_the_new_picture(level, classes):
    assert torch.allclose(make(classes, level + 1 - STEP), make(classes, level + 1), atol=1e-7)
    halfway = (upsample(make(classes, level)) + make(classes, level + 1)) / 2
    assert torch.allclose(make(classes, level + 0.5), halfway, atol=1e-12)


@pytest.mark.parametrize("level", LEVELS)
def test_a_fade_begins_with_the_old_judgement_of_the_shrunk_picture(level, classes):
    shown = pictures(size_px=gan.resolution_px(level + STEP), dtype=DOUBLE)
    beginning = judge(classes, shown, level + STEP)
    assert torch.allclose(beginning, judge(classes, downsample(shown), level), atol=1e-7)


@pytest.mark.parametrize("level", LEVELS)
def test_a_fade_ends_with_the_new_judgement(level, classes):
    shown = pictures(size_px=gan.resolution_px(level + 1), dtype=DOUBLE)
    nearly, after = judge(classes, shown, level + 1 - STEP), judge(classes, shown, level + 1)
    assert torch.allclose(nearly, after, atol=1e-7)


@pytest.mark.parametrize("level", LEVELS)
def test_what_the_judge_says_of_a_fake_does_not_jump(level, classes):
    """Both networks grow at once, at the border of a level and all along the fade."""
    steps = [level, level + STEP, level + 0.5, level + 0.5 + STEP, level + 1 - STEP, level + 1]
    said = [judge(classes, make(classes, step), step) for step in steps]
    for before, after in zip(said[::2], said[1::2], strict=True):
        assert torch.allclose(before, after, atol=1e-6)
    assert not torch.allclose(said[0], said[2], atol=1e-3)


def test_the_last_level_is_the_default():
    assert torch.equal(make(0, None), make(0, 4.0)) and make(0, None).shape[-1] == 16


def test_reals_are_shrunk_and_faded():
    shown = pictures(dtype=DOUBLE)
    means = shown.view(4, 3, 4, 4, 4, 4).mean((3, 5))
    assert torch.allclose(gan.shrink_reals(shown, 2.0), means, atol=1e-12)
    assert torch.equal(gan.shrink_reals(shown, 4.0), shown)
    beginning = gan.shrink_reals(shown, 2 + STEP)
    assert torch.allclose(beginning, upsample(means), atol=1e-7)
    faded = 0.3 * gan.shrink_reals(shown, 3.0) + 0.7 * upsample(means)
    assert torch.allclose(gan.shrink_reals(shown, 2.3), faded, atol=1e-12)


def test_levels_and_stages():
    assert check_level(2, 16) == (2, 1.0) and check_level(None, 16) == (4, 1.0)
    stage, share = check_level(2.3, 16)
    assert stage == 3 and share == pytest.approx(0.3)
    assert [gan.resolution_px(level) for level in (2, 2.01, 3, 9.5)] == [4, 8, 8, 1024]
    for level in (1.9, 4.1, math.nan):
        with pytest.raises(ValueError, match=r"give 2 \(4 px\) to 4 \(16 px\)"):
            check_level(level, 16)


def test_pictures_of_another_level_are_refused():
    with pytest.raises(ValueError, match=r"takes \[B, 3, 8, 8\] here"):
        judge(0, pictures(size_px=4, dtype=DOUBLE), 2.5)
    with pytest.raises(ValueError, match="has no classes"):
        small_discriminator("progressive").forward_with_classes(pictures())


@pytest.mark.parametrize(("level", "active"), [(2.0, {0}), (2.5, {0, 1}), (3.0, {1}), (4.0, {2})])
def test_only_layers_in_use_learn(level, active):
    generator = stirred(small_generator("progressive"))
    discriminator = stirred(small_discriminator("progressive"))
    discriminator(generator(latents(generator), level=level), level=level).sum().backward()
    for heads in (generator.to_rgb, discriminator.from_rgb):
        assert {i for i, head in enumerate(heads) if head.weight.grad is not None} == active
    grown = math.ceil(level) - 2
    for blocks in (generator.blocks, discriminator.blocks):
        for number, block in enumerate(blocks):
            assert (block.conv1.weight.grad is not None) == (number < grown)


def leaky(x):
    return torch.where(x > 0, x, 0.2 * x)


def normalised(x):
    return x / (x.square().mean(1, keepdim=True) + 1e-8).sqrt()


def convolved(x, layer, gain=GAIN):
    fan_in = layer.weight[0].numel()
    weight = layer.weight * gain / math.sqrt(fan_in)
    return F.conv2d(x, weight, padding=weight.shape[-1] // 2) + layer.bias.view(1, -1, 1, 1)


def doubled(x):
    return x.repeat_interleave(2, 2).repeat_interleave(2, 3)


def test_generator_equals_its_transcription_in_the_middle_of_a_fade():
    network = stirred(small_generator("progressive", 3)).double()
    z = latents(network, dtype=DOUBLE)
    x = normalised(torch.cat([z, F.one_hot(labels(3), 3).double()], 1))
    scale = math.sqrt(2) / 4 / math.sqrt(z.shape[1] + 3)
    x = torch.einsum("bi,iohw->bohw", x, network.start.weight * scale)
    x = normalised(leaky(x + network.start.bias.view(1, -1, 1, 1)))
    x = normalised(leaky(convolved(x, network.start_conv)))
    old = convolved(x, network.to_rgb[0], gain=1)
    block = network.blocks[0]
    x = normalised(leaky(convolved(doubled(x), block.conv1)))
    x = normalised(leaky(convolved(x, block.conv2)))
    new = convolved(x, network.to_rgb[1], gain=1)
    expected = 0.75 * doubled(old) + 0.25 * new
    assert torch.allclose(network(z, labels(3), level=2.25), expected, atol=1e-10)


def test_discriminator_equals_its_transcription_in_the_middle_of_a_fade():
    network = stirred(small_discriminator("progressive", 3)).double()
    shown = pictures(size_px=8, dtype=DOUBLE)
    means = shown.view(4, 3, 4, 2, 4, 2).mean((3, 5))
    block = network.blocks[0]
    x = leaky(convolved(leaky(convolved(shown, network.from_rgb[1])), block.conv1))
    x = leaky(convolved(x, block.conv2))
    new = x.view(4, x.shape[1], 4, 2, 4, 2).mean((3, 5))
    x = 0.75 * leaky(convolved(means, network.from_rgb[0])) + 0.25 * new
    halves = [x[[0, 2]], x[[1, 3]]]  # groups of 2 of a batch of 4 are 2 apart
    spread = [(half.var(0, correction=0) + 1e-8).sqrt().mean() for half in halves]
    column = torch.stack(spread * 2).view(4, 1, 1, 1).expand(4, 1, 4, 4)
    x = leaky(convolved(torch.cat([x, column], 1), network.end_conv)).flatten(1)
    hidden, last = network.end_linear, network.end_scores
    x = leaky(x @ hidden.weight.T * math.sqrt(2 / x.shape[1]) + hidden.bias)
    expected = x @ last.weight.T / math.sqrt(x.shape[1]) + last.bias
    scores, logits = network.forward_with_classes(shown, level=2.25)
    assert torch.allclose(scores, expected[:, 0], atol=1e-10)
    assert torch.allclose(logits, expected[:, 1:], atol=1e-10)
