"""The options of train_gan.py, and the checks that need no data."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import tyro

import losses
import models
from commands.options import (
    GeneratorRunOptions,
    check_ranges,
    check_read,
    check_run_options,
)
from errors import UserError

Network = Literal[tuple(models.gan.NETWORKS)]


@dataclass(frozen=True)
class GanOptions(GeneratorRunOptions):
    """Every option but --preset; options of one architecture are ignored by the others."""

    dataroot: Path | None = None
    """Folder with the pictures, including subfolders."""
    labels: str | None = None
    """Train a conditional GAN: `folders` takes the names of first-level subfolders as classes, a
    JSON file maps each picture's name to its class."""
    classes: tyro.conf.Suppress[int] = 0
    channels: Literal[1, 3] = 3
    """1: grey pictures, 3: RGB."""
    load_size: int = 0
    """Size in pixels to which the short side is resized; 0: --crop_size."""
    crop_size: int = 32
    """Size in pixels of the centre crop, a power of two (mlp: any)."""
    flip: bool = False
    """Flip each picture horizontally with probability 1/2."""

    generator: Network = "dcgan"
    """Architecture of the generator."""
    discriminator: Network = "dcgan"
    """Architecture of the discriminator; a progressive one needs a progressive generator."""
    latent_channels: int = 128
    """Dimension of the latent, drawn from N(0, I)."""
    base_channels: int = 64
    """Width of the generator: the papers' ngf for dcgan and sngan, of the hidden layers for mlp, at
    4 px for r3gan; for progressive the base that is halved at every doubling."""
    discriminator_channels: int = 64
    """Width of the discriminator (the papers' ndf), with the same meaning."""
    most_channels: int = 512
    """progressive: maximum number of channels."""
    deviation_group: int = 4
    """progressive: group size of the minibatch standard deviation; must divide the batch."""
    widest_px: int = 32
    """r3gan: full width up to this resolution, halved at each doubling beyond it."""
    group_channels: int = 16
    """r3gan: channels per group in the 3x3 convolutions."""
    discriminator_norm: Literal["batch", "instance", "none"] = "batch"
    """dcgan: batch norm couples the pictures of a batch and excludes gradient penalties."""
    conditioning: Literal["concatenation", "projection"] = "concatenation"
    """dcgan with --labels. concatenation: one-hot labels are concatenated to the inputs;
    projection: class-conditional norms in the generator and a projection in the discriminator,
    which learns the classes sooner."""
    spectral_norm: bool = True
    """sngan: spectral norm in the discriminator."""

    objective: Literal[tuple(losses.OBJECTIVES)] = "non_saturating"
    """Losses of generator and discriminator."""
    r1: float = 0.0
    """Weight gamma of the R1 penalty, gamma/2 |grad D|^2 at reals; 0: off."""
    r2: float = 0.0
    """The same at fakes (R2)."""
    gradient_penalty: float = 0.0
    """Weight of WGAN-GP's (|grad D| - target)^2 / target^2 between reals and fakes; 0: off."""
    gradient_target: float = 1.0
    """Target gradient norm of this penalty."""
    drift: float = 0.0
    """Weight of the mean squared score of reals; 0: off."""
    class_weight: float = 1.0
    """progressive with --labels: weight of the classification loss (AC-GAN)."""
    discriminator_steps: int = 1
    """Discriminator updates, each on its own batch, per generator update."""

    learning_rate: float = 2e-4
    """Adam's learning rate."""
    discriminator_learning_rate: float = 0.0
    """The discriminator's, which follows the same schedule; 0: as --learning_rate."""
    betas: tuple[float, float] = (0.5, 0.999)
    """Adam's decay rates."""
    schedule: Literal["constant", "linear", "cosine"] = "constant"
    """How settings are annealed to the values of the ..._end options below."""
    schedule_images: int = 0
    """Images over which settings are annealed; constant afterwards."""
    learning_rate_end: float | None = None
    """Learning rate at the end; None, here and below: as at the start."""
    beta2_end: float | None = None
    """Adam's second decay rate at the end."""
    penalty_end: float = 1.0
    """Factor of --r1, --r2 and --gradient_penalty at the end."""
    rampup_images: int = 0
    """Images of learning rate warm-up, by the factor e^(-5 (1 - t)^2), t from 0 to 1."""
    ema_halflife_images: float = 0.0
    """Half-life of the moving average of the generator's weights, then the one exported; 0: off."""
    ema_halflife_end: float | None = None
    """Its half-life at the end of the schedule."""
    ema_decay: float = 0.0
    """Instead of a half-life: the decay of the average per step (ProGAN's 0.999)."""

    first_px: int = 4
    """progressive: the first resolution."""
    stable_images: int = 600_000
    """progressive: images at each resolution before the next one fades in."""
    fade_images: int = 600_000
    """progressive: images over which each resolution fades in."""
    batch_size_at: tuple[tuple[int, int], ...] = ()
    """progressive: pixels, batch size, pixels, batch size, ...; others use --batch_size."""
    learning_rate_at: tuple[tuple[int, float], ...] = ()
    """progressive: pixels, learning rate, ...; other resolutions use --learning_rate."""

    augment: str = ""
    """Differentiable augmentation (DiffAugment): a list from colour,translation,cutout."""
    augment_probability: float = 1.0
    """Probability of each augmentation."""
    augment_probability_end: float | None = None
    """The same at the end of the schedule."""
    ada_target: float = 0.0
    """Adapt the probability to keep the mean sign of the logits of reals at this value (ADA; the
    paper's is 0.6); 0: off."""
    ada_images: int = 500_000
    """Images over which the adapted probability can rise from 0 to 1."""
    evaluate_images: int = 10_000
    """Pictures generated for --evaluate_every, compared with all of --dataroot."""

    @property
    def policies(self) -> tuple[str, ...]:
        """The policies in --augment."""
        return tuple(name.strip() for name in self.augment.split(",") if name.strip())

    @property
    def penalises(self) -> bool:
        """Whether a gradient penalty is used."""
        return bool(self.r1 or self.r2 or self.gradient_penalty)


POSITIVE = (
    *("latent_channels", "base_channels", "discriminator_channels", "most_channels"),
    *("deviation_group", "widest_px", "group_channels", "discriminator_steps", "gradient_target"),
    *("first_px", "stable_images", "fade_images", "ada_images", "crop_size"),
)
NOT_NEGATIVE = (
    *("load_size", "r1", "r2", "gradient_penalty", "drift", "class_weight", "learning_rate"),
    "discriminator_learning_rate",
    *("schedule_images", "penalty_end", "rampup_images", "ema_halflife_images"),
)


def check(options: GanOptions) -> None:
    """Raise UserError for invalid values and combinations."""
    check_run_options(options)
    check_ranges(options, above_zero=POSITIVE, at_least_zero=NOT_NEGATIVE)
    if options.dataroot is None:
        raise UserError("--dataroot is missing; give a folder of pictures")
    if options.evaluate_every and options.evaluate_images < 2:
        raise UserError(f"--evaluate_images {options.evaluate_images}: give 2 or more")
    _check_fractions(options)
    _check_schedule(options)
    _check_networks(options)
    _check_objective(options)
    _check_augmentation(options)
    _check_unused(options)
    if options.accelerate == "compile" and options.generator == "progressive":
        raise UserError(
            "--accelerate compile: progressive networks change in every step while they grow, and "
            "each change would be compiled; use --accelerate off"
        )


def _check_fractions(options: GanOptions) -> None:
    """Check numbers that must lie between 0 and 1."""
    fractions = [
        *(("betas", beta, True) for beta in options.betas),
        ("beta2_end", options.beta2_end, True),
        ("ema_decay", options.ema_decay, True),
        ("augment_probability", options.augment_probability, False),
        ("augment_probability_end", options.augment_probability_end, False),
        ("ada_target", options.ada_target, True),
    ]
    for name, value, open_end in fractions:
        if value is not None and not (0 <= value < 1 or (value == 1 and not open_end)):
            end = "below 1" if open_end else "1"
            raise UserError(f"--{name} {value}: give a number from 0 to {end}")


def _check_schedule(options: GanOptions) -> None:
    if options.discriminator_learning_rate and not options.learning_rate:
        raise UserError(
            f"--discriminator_learning_rate {options.discriminator_learning_rate}: follows "
            "--learning_rate, which is 0; give that above 0"
        )
    for name in ("learning_rate_end", "ema_halflife_end"):
        value = vars(options)[name]
        if value is not None and not 0 <= value < math.inf:
            raise UserError(f"--{name} {value}: give a number of at least 0")
    ends = ("learning_rate_end", "beta2_end", "ema_halflife_end", "augment_probability_end")
    given = [name for name in ends if vars(options)[name] is not None]
    given += ["penalty_end"] if options.penalty_end != 1 else []
    given += ["schedule_images"] if options.schedule_images else []
    if options.schedule == "constant" and given:
        raise UserError(
            f"--{given[0]} {vars(options)[given[0]]}: has no effect with --schedule constant; give "
            "--schedule linear or cosine"
        )
    if options.schedule != "constant" and not options.schedule_images:
        raise UserError(
            f"--schedule {options.schedule}: needs a length in images; give --schedule_images"
        )
    if options.ema_decay and (options.ema_halflife_images or options.ema_halflife_end):
        raise UserError(
            f"--ema_decay {options.ema_decay}: given together with a half-life; leave one out"
        )
    for name, table in (
        ("batch_size_at", options.batch_size_at),
        ("learning_rate_at", options.learning_rate_at),
    ):
        for px, value in table:
            if not 0 < value < math.inf or not models.gan.is_power_of_two(px, 4):
                raise UserError(
                    f"--{name} {px} {value}: give a power of two (pixels, at least 4) and a number "
                    "above 0"
                )
        if table and options.generator != "progressive":
            raise UserError(f"--{name}: is for the progressive networks; leave it out")


def _check_networks(options: GanOptions) -> None:
    progressive = [
        name for name in (options.generator, options.discriminator) if name == "progressive"
    ]
    if len(progressive) == 1:
        raise UserError(
            f"--generator {options.generator} --discriminator {options.discriminator}: progressive "
            "networks grow together; give progressive for both or neither"
        )
    if progressive:
        for name in ("first_px", "crop_size"):
            side = vars(options)[name]
            if not models.gan.is_power_of_two(side, 4):
                raise UserError(
                    f"--{name} {side}: progressive growing doubles 4, 8, 16, 32, 64, 128, 256, "
                    "512, 1024; give one of these"
                )
        if options.first_px > options.crop_size:
            raise UserError(
                f"--first_px {options.first_px}: above --crop_size {options.crop_size}, where "
                "growing ends; give a smaller one"
            )


def _check_objective(options: GanOptions) -> None:
    if options.discriminator == "dcgan" and options.discriminator_norm == "batch":
        for name in ("r1", "r2", "gradient_penalty"):
            value = vars(options)[name]
            if value:
                raise UserError(
                    f"--{name} {value}: a gradient penalty needs gradients per picture, and batch "
                    "norm couples pictures; give --discriminator_norm instance or none"
                )
    bounded = options.discriminator == "sngan" and options.spectral_norm
    if options.objective == "wgan" and not (options.penalises or bounded):
        raise UserError(
            f"--objective wgan: nothing bounds the gradient of a {options.discriminator} "
            "discriminator; give --gradient_penalty 10"
        )


def _check_unused(options: GanOptions) -> None:
    """Refuse options that have no effect without another one."""
    between = 0 < options.augment_probability < 1
    check_read(
        options,
        {
            "gradient_target": (bool(options.gradient_penalty), "--gradient_penalty"),
            "ada_images": (bool(options.ada_target), "--ada_target"),
            "class_weight": (bool(options.labels), "--labels"),
            "augment_probability": (not between or bool(options.policies), "--augment"),
        },
    )
    if between and options.ada_target:
        raise UserError(
            f"--augment_probability {options.augment_probability}: is set by --ada_target; leave "
            "one out"
        )


def _check_augmentation(options: GanOptions) -> None:
    unknown = [name for name in options.policies if name not in models.gan.augmentation.POLICIES]
    if unknown:
        known = ",".join(models.gan.augmentation.POLICIES)
        raise UserError(f"--augment {options.augment}: no {unknown[0]}; give some of {known}")
    if not options.ada_target:
        return
    if not options.policies:
        raise UserError(
            f"--ada_target {options.ada_target}: has no effect without --augment; give --augment "
            f"{','.join(models.gan.augmentation.POLICIES)}"
        )
    if options.objective in ("wgan", "relativistic"):
        raise UserError(
            f"--ada_target {options.ada_target}: the signs of the logits have no meaning with "
            f"--objective {options.objective}; give a fixed --augment_probability"
        )
