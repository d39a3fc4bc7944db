"""The options of the commands that train translators."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from commands.options import GeneratorRunOptions, check_ranges, check_run_options
from errors import UserError


@dataclass(frozen=True)
class TranslatorOptions(GeneratorRunOptions):
    """The options that all commands for training translators share."""

    dataroot: Path | None = None
    """Folder with the pictures, laid out as in docs/data.md."""
    source_dir: Path | None = None
    """Any folder of source pictures, instead of --dataroot; needs --target_dir."""
    target_dir: Path | None = None
    """Any folder of target pictures, instead of --dataroot; needs --source_dir."""
    preprocess: Literal[
        "resize_and_crop", "crop", "scale_width", "scale_width_and_crop", "scale_shortside", "none"
    ] = "resize_and_crop"
    """How image files are resized and cropped."""
    load_size: int = 286
    """Size in pixels to which pictures are resized before the crop."""
    crop_size: int = 256
    """Size of the crop in pixels."""
    flip: bool = True
    """Flip each picture horizontally with probability 1/2."""

    constant_epochs: float = 100
    """Epochs at the full learning rate."""
    decay_epochs: float = 100
    """Further epochs, during which the learning rate decays linearly towards 0."""
    epoch_images: int = 0
    """Images per epoch; 0: the number of files (in the larger folder if there are two)."""
    learning_rate: float = 2e-4
    """Adam's learning rate, for all networks."""
    betas: tuple[float, float] = (0.5, 0.999)
    """Adam's decay rates."""
    ema_halflife_images: float = 0
    """Half-life, in images, of the moving average of the generator's weights, which is then the one
    exported; 0: off."""

    base_channels: int = 64
    """Width of the generator (the papers' ngf)."""
    discriminator_channels: int = 64
    """Width of the discriminator (the papers' ndf)."""
    discriminator_layers: int = 3
    """Downsampling layers of the patch discriminator; 3 gives a receptive field of 70 px (84 with
    anti-aliasing)."""
    generator_norm: Literal["instance", "batch", "none"] = "instance"
    """Norm of a ResNet or U-Net generator."""
    discriminator_norm: Literal["instance", "batch", "none"] = "instance"
    """Norm of a patch or pixel discriminator."""
    antialias: bool = False
    """Anti-aliased down- and upsampling in a ResNet generator and the discriminator."""
    dropout: bool = False
    """Dropout with probability 1/2 in the generator."""
    initialization: Literal["normal", "xavier", "kaiming", "orthogonal"] = "normal"
    """Initialization of all networks except the StyleGAN2-style ones."""
    initialization_gain: float = 0.02
    """Gain of the initialization."""

    adversarial: Literal["lsgan", "minimax", "non_saturating", "hinge", "wgan"] = "lsgan"
    """The adversarial losses of generator and discriminator."""


@dataclass(frozen=True)
class UnpairedOptions(TranslatorOptions):
    """The options of translators trained without pairs; a term whose weight is 0 is off."""

    jitter_in_decay: bool = False
    """Keep resizing to load_size while the learning rate decays; the official CUT program then
    resizes to crop_size instead."""
    identity_weight: float = 0.0
    """Weight of the L1 identity loss, between a target picture and its translation; 0: off."""
    nce_weight: float = 0.0
    """Weight of the patch loss; 0: off, without a projector."""
    nce_layers: tuple[int, ...] = ()
    """Generator layers whose features the patch loss compares."""
    nce_temperature: float = 0.07
    """Temperature of the softmax over patches."""
    nce_patches: int = 256
    """Patches per layer and picture."""
    nce_channels: int = 256
    """Dimension of the projected patch features."""


# Modes of --preprocess after which pictures may differ in size.
MIXED_SIZES = ("scale_width", "scale_shortside", "none")


def check_translator_options(options: TranslatorOptions) -> None:
    """Raise UserError for invalid values."""
    check_run_options(options)
    if options.accelerate == "graph" and options.preprocess in MIXED_SIZES:
        raise UserError(
            f"--accelerate graph: --preprocess {options.preprocess} gives pictures of several "
            "sizes, each of which would need a graph; use a mode that crops, or --accelerate off"
        )
    check_ranges(
        options,
        above_zero=("initialization_gain", "load_size"),
        at_least_zero=(
            *("constant_epochs", "decay_epochs", "epoch_images", "learning_rate"),
            "ema_halflife_images",
        ),
    )
    if not all(0 <= beta < 1 for beta in options.betas):
        raise UserError(f"--betas {options.betas}: give two numbers in [0, 1)")
    if not (options.total_images or options.constant_epochs + options.decay_epochs):
        raise UserError("--total_images 0: there are no epochs either; give one of them")


def check_unpaired_options(options: UnpairedOptions) -> None:
    """Raise UserError for invalid values of training without pairs."""
    check_translator_options(options)
    check_ranges(
        options,
        above_zero=("nce_temperature", "nce_channels"),
        at_least_zero=("identity_weight", "nce_weight"),
    )


def check_negatives(options: UnpairedOptions, pictures: int = 1, alternative: str = "") -> None:
    """Raise UserError if the patches of so many pictures give a patch no negatives."""
    if options.nce_weight and (options.nce_patches < 1 or options.nce_patches * pictures < 2):
        raise UserError(
            f"--nce_patches {options.nce_patches}: gives a patch no negatives; give 2 or "
            f"more{alternative}"
        )
