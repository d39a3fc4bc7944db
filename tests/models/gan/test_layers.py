"""Layers against closed forms and slow transcriptions."""

import math

import pytest
import torch
import torch.nn.functional as F

from errors import UserError
from models import gan
from models.gan.bilinear import BilinearDown, BilinearUp
from models.gan.equalized import (
    EqualizedConv,
    EqualizedLinear,
    LatentToMap,
    pixel_norm,
    with_minibatch_deviation,
)
from models.gan.inputs import with_one_hot
from models.gan.mlp import Maxout
from models.gan.r3gan_blocks import GroupedBottleneck
from models.gan.residual import ClassNorm, CriticBlock, DoublingBlock
from models.gan.spectral import draw_xavier, normed
from tests.models.gan.pairs import drawn, latents, small_discriminator, small_generator, stirred

SEED = 3


def noise(*shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0), dtype=torch.double)


def seeded():
    return torch.Generator().manual_seed(SEED)


def test_pixel_norm_divides_by_the_root_of_the_mean_square():
    x = noise(2, 5, 3, 4)
    y = pixel_norm(x)
    for b, h, w in ((0, 0, 0), (1, 2, 3)):
        length = math.sqrt(sum(value**2 for value in x[b, :, h, w].tolist()) / 5 + 1e-8)
        assert torch.allclose(y[b, :, h, w], x[b, :, h, w] / length, atol=1e-12)
    assert torch.allclose(y.square().mean(1), torch.ones(2, 3, 4, dtype=torch.double), atol=1e-6)
    assert torch.equal(pixel_norm(torch.zeros(1, 3, 2, 2)), torch.zeros(1, 3, 2, 2))
    assert torch.allclose(pixel_norm(1e-4 * torch.ones(1, 3)), torch.full((1, 3), math.sqrt(0.5)))


def literal_deviation(x, group):
    """The authors' definition by loops: members of a group are `batch / group` apart."""
    batch = len(x)
    members = min(group, batch)
    groups = batch // members
    column = []
    for picture in range(batch):
        same = [other for other in range(batch) if other % groups == picture % groups]
        assert len(same) == members
        deviations = []
        for feature in x.flatten(1).T.tolist():
            values = [feature[other] for other in same]
            mean = sum(values) / members
            variance = sum((value - mean) ** 2 for value in values) / members
            deviations.append(math.sqrt(variance + 1e-8))
        column.append(sum(deviations) / len(deviations))
    return torch.tensor(column, dtype=torch.double)


@pytest.mark.parametrize(("batch", "group"), [(8, 4), (12, 4), (4, 4), (3, 4), (1, 4), (6, 1)])
def test_minibatch_deviation_equals_the_loops(batch, group):
    x = noise(batch, 3, 2, 4)
    y = with_minibatch_deviation(x, group)
    assert torch.equal(y[:, :3], x) and y.shape == (batch, 4, 2, 4)
    expected = literal_deviation(x, group).view(-1, 1, 1).expand(-1, 2, 4)
    assert torch.allclose(y[:, 3], expected, atol=1e-12)


def test_minibatch_deviation_by_hand():
    """Pictures 0 and 2 are 1 and 5, so 2 from their mean; 1 and 3 are equal."""
    x = torch.tensor([1.0, 7.0, 5.0, 7.0]).view(4, 1, 1, 1)
    assert torch.allclose(
        with_minibatch_deviation(x, 2)[:, 1].flatten(), torch.tensor([2, 1e-4, 2, 1e-4])
    )


def test_a_group_that_does_not_divide_the_batch_is_refused():
    with pytest.raises(UserError, match="`batch_size` 6 .*groups of 4"):
        with_minibatch_deviation(torch.zeros(6, 1, 4, 4), 4)


@pytest.mark.parametrize(
    ("layer", "fan_in", "gain"),
    [
        (EqualizedConv(24, 60, 3), 24 * 9, math.sqrt(2)),
        (EqualizedConv(200, 60, 1, gain=1.0), 200, 1.0),
        (EqualizedLinear(120, 100), 120, math.sqrt(2)),
        (EqualizedLinear(120, 100, gain=1.0), 120, 1.0),
        (LatentToMap(100, 10), 100, math.sqrt(2) / 4),
    ],
)
def test_equalised_weights_have_their_deviation_at_run_time(layer, fan_in, gain):
    """Measured from what the layer does to unit vectors; the stored weight is N(0, 1)."""
    layer.draw_weights(seeded())
    assert layer.weight.std().item() == pytest.approx(1, rel=0.05)
    if isinstance(layer, EqualizedConv):
        side = layer.weight.shape[-1]
        unit = torch.eye(fan_in).view(fan_in, -1, side, side)
        used = layer(unit)[:, :, side // 2, side // 2]
    else:
        used = layer(torch.eye(fan_in))
    assert used.std().item() == pytest.approx(gain / math.sqrt(fan_in), rel=0.05)
    torch.nn.init.ones_(layer.bias)
    zeros = torch.zeros_like(unit if isinstance(layer, EqualizedConv) else torch.eye(fan_in))
    assert torch.equal(layer(zeros), torch.ones_like(layer(zeros)))  # the bias is not scaled


def test_bilinear_doubling_and_halving():
    x = noise(2, 3, 6, 8)
    up = BilinearUp().double()(x)
    inner = F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)[..., 2:-2, 2:-2]
    assert torch.allclose(up[..., 2:-2, 2:-2], inner, atol=1e-12)
    assert up[0, 0, 0, 2].item() == pytest.approx(
        0.75 * (0.75 * x[0, 0, 0, 1] + 0.25 * x[0, 0, 0, 0]).item()
    )
    down = BilinearDown().double()
    other = noise(2, 3, 3, 4)
    assert torch.allclose((down(x) * other).sum(), (x * BilinearUp().double()(other)).sum() / 4)
    assert torch.allclose(down(torch.ones_like(x))[..., 1:-1, 1:-1], torch.ones(1).double())


def test_one_hot_labels_join_latents_and_pictures():
    labels = torch.tensor([2, 0])
    joined = with_one_hot(noise(2, 4), labels, 3)
    assert torch.equal(joined[:, :4], noise(2, 4))
    assert joined[:, 4:].tolist() == [[0, 0, 1], [1, 0, 0]]
    maps = with_one_hot(noise(2, 1, 2, 2), labels, 3)[:, 1:]
    assert torch.equal(maps, joined[:, 4:, None, None].expand(-1, -1, 2, 2))


def test_maxout_is_the_largest_of_its_pieces():
    layer = Maxout(4, 3, 2).double()
    x = noise(5, 4)
    weight, bias = layer.linear.weight.view(3, 2, 4), layer.linear.bias.view(3, 2)
    expected = torch.maximum(x @ weight[:, 0].T + bias[:, 0], x @ weight[:, 1].T + bias[:, 1])
    assert torch.allclose(layer(x), expected, atol=1e-12)


@pytest.mark.parametrize("layer", [torch.nn.Conv2d(3, 8, 3), torch.nn.Embedding(6, 5)])
def test_spectral_norm_divides_by_the_largest_singular_value(layer):
    layer = normed(layer, True)
    draw_xavier(layer, seeded(), math.sqrt(2))
    layer.train()
    for _ in range(100):
        weight = layer.weight
    assert torch.linalg.matrix_norm(weight.flatten(1), 2).item() == pytest.approx(1, rel=1e-4)
    before = layer.eval().weight.clone()
    assert torch.equal(layer.weight, before)  # no iteration in eval mode


def test_spectral_norm_is_near_from_the_start():
    network = small_discriminator("sngan")
    for layer in (network.blocks[0].conv1, network.blocks[2].conv2, network.linear):
        largest = torch.linalg.matrix_norm(layer.weight.flatten(1), 2).item()
        assert largest == pytest.approx(1, abs=0.1)


def test_xavier_keeps_its_bound_and_deviation():
    conv = torch.nn.Conv2d(20, 30, 3)
    draw_xavier(conv, seeded(), math.sqrt(2))
    bound = math.sqrt(2) * math.sqrt(6 / (9 * 50))
    assert 0.99 * bound < conv.weight.abs().max() < bound and not conv.bias.any()
    assert conv.weight.std().item() == pytest.approx(bound / math.sqrt(3), rel=0.02)


def test_a_critic_block_does_not_spoil_its_shortcut():
    """relu only in front of the convolutions; the shortcut carries x itself."""
    x, kept = noise(2, 4, 6, 6), noise(2, 4, 6, 6)
    plain = CriticBlock(4, 4, first=False, halve=False, spectral=False).double()
    residual = plain.conv2(F.relu(plain.conv1(F.relu(x))))
    assert torch.allclose(plain(x), residual + x, atol=1e-12)
    assert torch.equal(x, kept)
    halving = CriticBlock(4, 5, first=True, halve=True, spectral=False).double()
    convolved = halving.conv2(F.relu(halving.conv1(x)))
    expected = F.avg_pool2d(convolved + halving.shortcut(x), 2)
    assert torch.allclose(halving(x), expected, atol=1e-12) and torch.equal(x, kept)


def test_a_doubling_block_equals_its_transcription():
    x, labels = noise(3, 4, 2, 2), torch.tensor([1, 0, 1])
    block = stirred(DoublingBlock(4, 5, 2).double())

    def normalised(y, norm):
        y = (y - y.mean((0, 2, 3), keepdim=True)) / (
            y.var((0, 2, 3), correction=0, keepdim=True) + 1e-5
        ).sqrt()
        rows = zip(y, labels.tolist(), strict=True)
        return torch.stack(
            [
                picture * norm.scale.weight[k][:, None, None] + norm.shift.weight[k][:, None, None]
                for picture, k in rows
            ]
        )

    def doubled(y):
        return y.repeat_interleave(2, 2).repeat_interleave(2, 3)

    residual = block.conv1(doubled(F.relu(normalised(x, block.norm1))))
    residual = block.conv2(F.relu(normalised(residual, block.norm2)))
    expected = residual + block.shortcut(doubled(x))
    assert torch.allclose(block(x, labels), expected, atol=1e-10)


def test_class_norm_without_classes_is_batch_norm():
    layer, x = ClassNorm(3, 0).double(), noise(4, 3, 2, 2)
    assert torch.equal(layer(x, None), torch.nn.BatchNorm2d(3).double()(x))


def test_projection_adds_the_class_vector_times_the_features():
    network = stirred(small_discriminator("sngan", 3)).double().eval()
    x, labels = noise(4, 3, 16, 16), torch.tensor([0, 1, 2, 1])
    features = x
    for block in network.blocks:
        features = block(features)
    features = F.relu(features).sum((2, 3))
    logits = network.linear(features)[:, 0]
    for picture, label in enumerate(labels.tolist()):
        logits[picture] += network.embedding.weight[label] @ features[picture]
    assert torch.allclose(network(x, labels), logits, atol=1e-10)


def test_r3gan_blocks_start_as_the_identity_and_work_once_stirred():
    block, x = GroupedBottleneck(8, 4).double(), noise(2, 8, 5, 5)
    block.draw_weights(seeded(), blocks=16)
    assert torch.equal(block(x), x)
    gain = math.sqrt(2 / 1.04) / 2  # 16^(-1/4)
    assert block.expand.weight.std().item() == pytest.approx(gain / math.sqrt(8), rel=0.1)
    assert block.conv.weight.std().item() == pytest.approx(gain / math.sqrt(9 * 4), rel=0.1)
    stirred(block)
    inner = F.leaky_relu(block.expand(x) + block.activate1.bias, 0.2)
    parts = [
        F.conv2d(part, weight, padding=1)
        for part, weight in zip(inner.chunk(4, 1), block.conv.weight.chunk(4), strict=True)
    ]
    inner = F.leaky_relu(torch.cat(parts, 1) + block.activate2.bias, 0.2)
    assert torch.allclose(block(x), x + block.project(inner), atol=1e-10)


def test_r3gan_generator_starts_as_a_blend_of_its_basis():
    """With every block the identity: colours of the basis, enlarged and narrowed."""
    generator = small_generator("r3gan")
    z = latents(generator)
    x = torch.einsum("bi,ci,chw->bchw", z, generator.weights_of_basis.weight, generator.basis)
    for layer in generator.stages:
        if not isinstance(layer, GroupedBottleneck):
            x = layer(x)
    assert torch.allclose(generator(z), generator.to_rgb(x), atol=1e-6)


def test_r3gan_widths_halve_above_the_widest_size():
    assert gan.R3ganGeneratorSizes(256).widths == [768, 768, 768, 768, 384, 192, 96]
    assert gan.R3ganDiscriminatorSizes(64, **gan.R3GAN_WIDTHS["wide64"]).widths == [1536] * 5


def test_dcgan_starts_as_the_paper_says():
    generator = drawn(gan.DcganGenerator(gan.DcganGeneratorSizes(base_channels=32)))
    convolution, norm = generator.layers[3], generator.layers[1]
    assert convolution.weight.std().item() == pytest.approx(0.02, rel=0.02)
    assert norm.weight.mean().item() == pytest.approx(1, abs=0.01)
    assert norm.weight.std().item() == pytest.approx(0.02, rel=0.2) and not norm.bias.any()


@pytest.mark.parametrize("norm", ["batch", "instance", "none"])
def test_the_norm_of_a_dcgan_judge_decides_whether_pictures_are_mixed(norm):
    judge = small_discriminator("dcgan", norm=norm)
    x = noise(4, 3, 16, 16).float()
    alone = torch.cat([judge(x[:2]), judge(x[2:])])
    assert torch.allclose(judge(x), alone, atol=1e-5) == (norm != "batch")


def test_a_dcgan_judge_with_projection_adds_the_score_of_the_class():
    """logit = w . f + v_k . f, for the features f of all classes."""
    judge = stirred(small_discriminator("dcgan_projection", classes=3)).double()
    x, labels = noise(4, 3, 16, 16), torch.tensor([2, 0, 1, 2])
    *body, last = judge.layers
    features = torch.nn.Sequential(*body)(x).flatten(1)
    weights = last.weight.flatten(1)  # of no class, then of each
    expected = [f @ weights[0] + f @ weights[1 + k] for f, k in zip(features, labels, strict=True)]
    assert torch.allclose(judge(x, labels), torch.stack(expected), atol=1e-10)


def test_a_dcgan_generator_with_projection_scales_its_norms_by_class():
    generator = stirred(small_generator("dcgan_projection", classes=3)).double()
    z, labels = latents(generator, dtype=torch.double), torch.tensor([2, 0, 1, 2])
    x = generator.layers[0](with_one_hot(z, labels, 3)[:, :, None, None])
    norm = generator.layers[1]
    plain = (x - x.mean((0, 2, 3), keepdim=True)) / (
        x.var((0, 2, 3), correction=0, keepdim=True) + 1e-5
    ).sqrt()
    scale, shift = (part.weight[labels][:, :, None, None] for part in (norm.scale, norm.shift))
    y = torch.relu(plain * scale + shift)
    for layer in generator.layers[3:]:
        y = layer(y, labels) if isinstance(layer, ClassNorm) else layer(y)
    assert torch.allclose(generator(z, labels), y, atol=1e-10)


def test_an_unknown_conditioning_is_refused():
    for sizes in (gan.DcganGeneratorSizes, gan.DcganDiscriminatorSizes):
        with pytest.raises(ValueError, match="conditioning 'sum': give concatenation or"):
            sizes(16, conditioning="sum")


def test_without_spectral_norm_the_sngan_judge_has_plain_weights():
    with_norm = gan.SnganDiscriminator(gan.SnganDiscriminatorSizes(16, 3, 6))
    without = gan.SnganDiscriminator(gan.SnganDiscriminatorSizes(16, 3, 6, spectral=False))
    names = [name for name, _ in without.named_buffers()]
    assert not names and len(list(with_norm.buffers())) > 10
    assert sum(p.numel() for p in without.parameters()) == sum(
        p.numel() for p in with_norm.parameters()
    )


def test_r3gan_blocks_are_scaled_by_the_number_of_all_blocks():
    generator = drawn(gan.R3ganGenerator(gan.R3ganGeneratorSizes(32, base_channels=32)))
    blocks = [layer for layer in generator.stages if isinstance(layer, GroupedBottleneck)]
    assert len(blocks) == 8
    expected = math.sqrt(2 / 1.04) * 8**-0.25 / math.sqrt(32)
    assert blocks[0].expand.weight.std().item() == pytest.approx(expected, rel=0.05)
    assert blocks[-1].expand.weight.std().item() == pytest.approx(expected, rel=0.05)
