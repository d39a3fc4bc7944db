"""GAN networks: generators of pictures from noise, each with its discriminator."""

from typing import NamedTuple

from models.gan import augmentation
from models.gan.dcgan import (
    DcganDiscriminator,
    DcganDiscriminatorSizes,
    DcganGenerator,
    DcganGeneratorSizes,
)
from models.gan.growing import resolution_px, shrink_reals, whole_level
from models.gan.inputs import is_power_of_two
from models.gan.interface import Discriminator, Generator
from models.gan.latents import draw_labels, draw_latents, interpolate_spherically, truncate
from models.gan.mlp import (
    MlpDiscriminator,
    MlpDiscriminatorSizes,
    MlpGenerator,
    MlpGeneratorSizes,
)
from models.gan.progressive import (
    ProgressiveDiscriminator,
    ProgressiveDiscriminatorSizes,
    ProgressiveGenerator,
    ProgressiveGeneratorSizes,
)
from models.gan.r3gan import (
    R3GAN_WIDTHS,
    R3ganDiscriminator,
    R3ganDiscriminatorSizes,
    R3ganGenerator,
    R3ganGeneratorSizes,
)
from models.gan.sampler import Sampler
from models.gan.sngan import (
    SnganDiscriminator,
    SnganDiscriminatorSizes,
    SnganGenerator,
    SnganGeneratorSizes,
)


class NetworkPair(NamedTuple):
    """A generator and a discriminator of one architecture, each with the dataclass of its sizes."""

    generator: type[Generator]
    generator_sizes: type
    discriminator: type[Discriminator]
    discriminator_sizes: type


NETWORKS = {
    "mlp": NetworkPair(MlpGenerator, MlpGeneratorSizes, MlpDiscriminator, MlpDiscriminatorSizes),
    "dcgan": NetworkPair(
        DcganGenerator, DcganGeneratorSizes, DcganDiscriminator, DcganDiscriminatorSizes
    ),
    "sngan": NetworkPair(
        SnganGenerator, SnganGeneratorSizes, SnganDiscriminator, SnganDiscriminatorSizes
    ),
    "progressive": NetworkPair(
        ProgressiveGenerator,
        ProgressiveGeneratorSizes,
        ProgressiveDiscriminator,
        ProgressiveDiscriminatorSizes,
    ),
    "r3gan": NetworkPair(
        R3ganGenerator, R3ganGeneratorSizes, R3ganDiscriminator, R3ganDiscriminatorSizes
    ),
}
# By the architecture named in a generator's file: class, sizes.
GAN_GENERATORS = {name: (pair.generator, pair.generator_sizes) for name, pair in NETWORKS.items()}

__all__ = [
    "GAN_GENERATORS",
    "NETWORKS",
    "R3GAN_WIDTHS",
    "DcganDiscriminator",
    "DcganDiscriminatorSizes",
    "DcganGenerator",
    "DcganGeneratorSizes",
    "Discriminator",
    "Generator",
    "MlpDiscriminator",
    "MlpDiscriminatorSizes",
    "MlpGenerator",
    "MlpGeneratorSizes",
    "NetworkPair",
    "ProgressiveDiscriminator",
    "ProgressiveDiscriminatorSizes",
    "ProgressiveGenerator",
    "ProgressiveGeneratorSizes",
    "R3ganDiscriminator",
    "R3ganDiscriminatorSizes",
    "R3ganGenerator",
    "R3ganGeneratorSizes",
    "Sampler",
    "SnganDiscriminator",
    "SnganDiscriminatorSizes",
    "SnganGenerator",
    "SnganGeneratorSizes",
    "augmentation",
    "draw_labels",
    "draw_latents",
    "interpolate_spherically",
    "resolution_px",
    "is_power_of_two",
    "shrink_reals",
    "truncate",
    "whole_level",
]
