"""Networks: generators, discriminators, the patch projector; reading, writing and using them."""

from models.build import build_discriminator, build_generator, check_picture_size, describe
from models.features import feature_channels
from models.inference import translate
from models.initialization import initialize
from models.patch_projector import PatchProjector, draw_positions
from models.saved import SavedGenerator, load_generator, save_generator

__all__ = [
    "PatchProjector",
    "SavedGenerator",
    "build_discriminator",
    "build_generator",
    "check_picture_size",
    "describe",
    "feature_channels",
    "draw_positions",
    "initialize",
    "load_generator",
    "save_generator",
    "translate",
]
