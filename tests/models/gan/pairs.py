"""Every pair of networks, small."""

import json
from dataclasses import asdict

import torch

from models import gan

PAIRS = ("mlp", "dcgan", "dcgan_projection", "sngan", "progressive", "r3gan")
SIZE_PX = 16
BATCH = 4


def small_generator(name, classes=0):
    sizes = {
        "mlp": lambda: gan.MlpGeneratorSizes(SIZE_PX, 3, 5, 12, classes),
        "dcgan": lambda: gan.DcganGeneratorSizes(SIZE_PX, 3, 5, 4, classes),
        "dcgan_projection": lambda: gan.DcganGeneratorSizes(
            SIZE_PX, 3, 5, 4, classes, "projection"
        ),
        "sngan": lambda: gan.SnganGeneratorSizes(SIZE_PX, 3, 5, 6, classes),
        "progressive": lambda: gan.ProgressiveGeneratorSizes(SIZE_PX, 3, 5, 64, 8, classes),
        "r3gan": lambda: gan.R3ganGeneratorSizes(SIZE_PX, 3, 5, 3, 8, 8, 4, 1, classes),
    }[name]()
    kind = gan.GAN_GENERATORS[name.removesuffix("_projection")][0]
    return drawn(kind(sizes))


def small_discriminator(name, classes=0, norm="none"):
    build = {
        "mlp": lambda: gan.MlpDiscriminator(gan.MlpDiscriminatorSizes(SIZE_PX, 3, 6, 3, classes)),
        "dcgan": lambda: gan.DcganDiscriminator(
            gan.DcganDiscriminatorSizes(SIZE_PX, 3, 4, norm, classes)
        ),
        "dcgan_projection": lambda: gan.DcganDiscriminator(
            gan.DcganDiscriminatorSizes(SIZE_PX, 3, 4, norm, classes, "projection")
        ),
        "sngan": lambda: gan.SnganDiscriminator(
            gan.SnganDiscriminatorSizes(SIZE_PX, 3, 6, classes=classes)
        ),
        "progressive": lambda: gan.ProgressiveDiscriminator(
            gan.ProgressiveDiscriminatorSizes(SIZE_PX, 3, 64, 8, classes, deviation_group=2)
        ),
        "r3gan": lambda: gan.R3ganDiscriminator(
            gan.R3ganDiscriminatorSizes(SIZE_PX, 3, 8, 8, 4, 1, classes)
        ),
    }[name]
    return drawn(build())


def drawn(network, seed=0):
    network.draw_weights(torch.Generator().manual_seed(seed))
    return network


def stirred(network, seed=1):
    """Move every weight a little, so that nothing that starts at 0 or 1 hides a mistake."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in network.parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            parameter += 0.1 * noise.to(parameter.dtype)
    return network


def rebuilt(network):
    """Build a network of the same kind from its sizes as JSON."""
    sizes = type(network.sizes)(**json.loads(json.dumps(asdict(network.sizes))))
    return type(network)(sizes)


def latents(generator, batch=BATCH, seed=0, dtype=torch.float32):
    noise = torch.Generator().manual_seed(seed)
    return torch.randn(batch, generator.latent_channels, generator=noise, dtype=dtype)


def pictures(batch=BATCH, size_px=SIZE_PX, seed=0, dtype=torch.float32):
    noise = torch.Generator().manual_seed(seed)
    return torch.rand(batch, 3, size_px, size_px, generator=noise, dtype=dtype) * 2 - 1
