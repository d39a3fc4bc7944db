"""The networks that our files hold: for each architecture its class and that of its sizes."""

from collections.abc import Mapping

from torch import nn

from models.colorizer import Colorizer
from models.gan import GAN_GENERATORS
from models.resnet_encoder import ClassifierSizes, EncoderSizes, ResnetClassifier, ResnetEncoder
from models.resnet_generator import ResnetGenerator, ResnetSizes
from models.stylegan2 import Stylegan2Generator, Stylegan2GeneratorSizes
from models.unet import UnetGenerator, UnetSizes

GENERATORS: Mapping[str, tuple[type[nn.Module], type]] = {
    "resnet": (ResnetGenerator, ResnetSizes),
    "stylegan2": (Stylegan2Generator, Stylegan2GeneratorSizes),
    "unet": (UnetGenerator, UnetSizes),
    "colorizer": (Colorizer, UnetSizes),
    **GAN_GENERATORS,
}
KINDS = {
    "a generator": GENERATORS,
    "an encoder": {"resnet_encoder": (ResnetEncoder, EncoderSizes)},
    "a classifier": {"resnet_classifier": (ResnetClassifier, ClassifierSizes)},
}
