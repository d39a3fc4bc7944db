"""Networks that make pictures from noise, and those that judge them."""

from models.gan import augmentation
from models.gan.dcgan import (
    DcganDiscriminator,
    DcganDiscriminatorSizes,
    DcganGenerator,
    DcganGeneratorSizes,
)
from models.gan.growing import resolution_px, shrink_reals
from models.gan.interface import Discriminator, Generator
from models.gan.latents import draw_labels, draw_latents, interpolate_spherically
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

# For files: a generator's name, its class and its sizes.
GAN_GENERATORS = {
    "mlp": (MlpGenerator, MlpGeneratorSizes),
    "dcgan": (DcganGenerator, DcganGeneratorSizes),
    "sngan": (SnganGenerator, SnganGeneratorSizes),
    "progressive": (ProgressiveGenerator, ProgressiveGeneratorSizes),
    "r3gan": (R3ganGenerator, R3ganGeneratorSizes),
}

__all__ = [
    "GAN_GENERATORS",
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
    "shrink_reals",
]
