"""Published numbers of weights."""

import pytest
import torch

from models import gan


def weights(network) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def counted(generator, discriminator) -> tuple[int, int]:
    """Count without giving the weights memory."""
    with torch.device("meta"):
        return weights(generator()), weights(discriminator())


def test_dcgan_at_64_px():
    assert counted(gan.DcganGenerator, gan.DcganDiscriminator) == (3_576_704, 2_765_568)


def test_sngan_at_32_px():
    assert counted(gan.SnganGenerator, gan.SnganDiscriminator) == (4_276_739, 1_053_825)


def test_the_first_gan_for_mnist():
    """784 pixels: 100-1200-1200-784 and 784-240x5-240x5-1, with biases."""
    found = counted(
        lambda: gan.MlpGenerator(gan.MlpGeneratorSizes(28, 1)),
        lambda: gan.MlpDiscriminator(gan.MlpDiscriminatorSizes(28, 1)),
    )
    generator = 100 * 1200 + 1200 * 1200 + 1200 * 784 + 2 * 1200 + 784
    assert found == (generator, 784 * 1200 + 240 * 1200 + 240 + 2 * 1200 + 1)


@pytest.mark.parametrize(
    ("size_px", "base_channels", "most_channels", "generator", "discriminator"),
    [
        (1024, 8192, 512, 23_079_115, 23_087_249),
        (256, 8192, 512, 23_044_309, 23_052_353),
        (128, 8192, 512, 22_933_394, 22_941_313),
        (64, 8192, 512, 22_490_383, 22_498_049),
        (32, 8192, 512, 20_719_628, 20_726_785),
        (128, 2048, 512, 13_629_810, 13_636_897),
        (32, 4096, 128, 1_296_908, 1_298_689),
    ],
)
def test_progressive(size_px, base_channels, most_channels, generator, discriminator):
    widths = {"base_channels": base_channels, "most_channels": most_channels}
    latent_channels = most_channels
    found = counted(
        lambda: gan.ProgressiveGenerator(
            gan.ProgressiveGeneratorSizes(size_px, latent_channels=latent_channels, **widths)
        ),
        lambda: gan.ProgressiveDiscriminator(gan.ProgressiveDiscriminatorSizes(size_px, **widths)),
    )
    assert found == (generator, discriminator)


def test_progressive_at_1024_px_with_the_last_heads_only():
    with torch.device("meta"):
        generator, discriminator = gan.ProgressiveGenerator(), gan.ProgressiveDiscriminator()
    assert weights(generator) - weights(generator.to_rgb[:-1]) == 23_071_507
    assert weights(discriminator) - weights(discriminator.from_rgb[:-1]) == 23_077_137


@pytest.mark.parametrize(
    ("size_px", "widths", "classes", "millions"),
    [
        (32, "base", 10, (20.8, 21.3)),
        (64, "base", 0, (22.4, 22.4)),
        (256, "base", 0, (23.06, 23.01)),
        (32, "wide", 1000, (82.9, 86.5)),
        (64, "wide64", 1000, (103.6, 107.2)),
    ],
)
def test_r3gan(size_px, widths, classes, millions):
    row = gan.R3GAN_WIDTHS[widths]
    found = counted(
        lambda: gan.R3ganGenerator(gan.R3ganGeneratorSizes(size_px, classes=classes, **row)),
        lambda: gan.R3ganDiscriminator(
            gan.R3ganDiscriminatorSizes(size_px, classes=classes, **row)
        ),
    )
    digits = 2 if size_px == 256 else 1
    assert tuple(round(count / 1e6, digits) for count in found) == millions


@pytest.mark.parametrize("size_px", [8, 32, 256])
@pytest.mark.parametrize("widths", gan.R3GAN_WIDTHS)
def test_every_row_of_r3gan_divides_into_its_groups(size_px, widths):
    sizes = gan.R3ganGeneratorSizes(size_px, **gan.R3GAN_WIDTHS[widths])
    assert all(2 * width % sizes.group_channels == 0 for width in sizes.widths)
