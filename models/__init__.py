"""Networks: generators, discriminators, encoders; reading, writing and using them."""

from models import gan
from models.build import build_discriminator, build_generator, check_picture_size, describe
from models.colorizer import join_lab, split_lab
from models.encoders import (
    CLASSIFIER_FILE,
    ENCODER_FILE,
    ENCODERS,
    SMALL_PX,
    SavedClassifier,
    SavedEncoder,
    build_encoder,
    load_classifier,
    load_encoder,
    save_classifier,
    save_encoder,
)
from models.execution import (
    compile_network,
    eagerly,
    few_launches,
    forced_few_launches,
    layout_for,
)
from models.footprint import PassMemory
from models.gan import Sampler
from models.heads import build_head
from models.inference import in_mode, translate, translate_with_gradient, translating
from models.initialization import initialize
from models.noise import NoiseSource
from models.official import official_state, save_official
from models.passes import feature_channels, may_run_together, run_together
from models.patch_projector import PatchProjector, draw_positions
from models.query_selection import route_queries, select_queries
from models.resnet_encoder import (
    ResnetClassifier,
    ResnetEncoder,
    classifier_of,
    draw_layers,
)
from models.safetensors_file import kind_of
from models.saved import (
    SavedGenerator,
    load_generator,
    load_sampler,
    makes_from_noise,
    read_saved,
    sampler_of,
    save_generator,
)
from models.steady import has_instance_norms, steady_norms
from models.stylegan2 import Stylegan2Generator, use_noise_table
from models.unet import UnetGenerator
from models.views import COLOURS, Policy, draw_views, make_views
from models.winograd import use_winograd

__all__ = [
    "CLASSIFIER_FILE",
    "COLOURS",
    "ENCODERS",
    "ENCODER_FILE",
    "SMALL_PX",
    "ResnetClassifier",
    "ResnetEncoder",
    "SavedClassifier",
    "SavedEncoder",
    "build_encoder",
    "classifier_of",
    "draw_layers",
    "load_classifier",
    "load_encoder",
    "save_classifier",
    "save_encoder",
    "NoiseSource",
    "PassMemory",
    "PatchProjector",
    "Policy",
    "Sampler",
    "SavedGenerator",
    "Stylegan2Generator",
    "UnetGenerator",
    "build_discriminator",
    "build_generator",
    "build_head",
    "check_picture_size",
    "compile_network",
    "describe",
    "draw_positions",
    "draw_views",
    "eagerly",
    "feature_channels",
    "few_launches",
    "forced_few_launches",
    "gan",
    "has_instance_norms",
    "in_mode",
    "initialize",
    "join_lab",
    "kind_of",
    "layout_for",
    "load_generator",
    "load_sampler",
    "make_views",
    "makes_from_noise",
    "may_run_together",
    "official_state",
    "read_saved",
    "route_queries",
    "run_together",
    "sampler_of",
    "save_generator",
    "save_official",
    "select_queries",
    "split_lab",
    "steady_norms",
    "translate",
    "translate_with_gradient",
    "translating",
    "use_noise_table",
    "use_winograd",
]
