"""Networks: generators, discriminators, the patch projector; reading, writing and using them."""

from models.build import build_discriminator, build_generator, check_picture_size, describe
from models.colorizer import join_lab, split_lab
from models.features import feature_channels
from models.inference import translate
from models.initialization import initialize
from models.official import official_options, official_state, save_official
from models.patch_projector import PatchProjector, draw_positions
from models.saved import SavedGenerator, load_generator, save_generator
from models.together import couples_a_batch, run_together

__all__ = [
    "PatchProjector",
    "SavedGenerator",
    "build_discriminator",
    "build_generator",
    "check_picture_size",
    "couples_a_batch",
    "describe",
    "draw_positions",
    "feature_channels",
    "initialize",
    "join_lab",
    "load_generator",
    "official_options",
    "official_state",
    "run_together",
    "save_generator",
    "save_official",
    "split_lab",
    "translate",
]
