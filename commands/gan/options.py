"""The options of train_gan.py, and what can be said of them before anything is read."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import tyro

import losses
import models
from commands.options import RunOptions, check_ranges, check_read, check_run_options
from errors import UserError

Network = Literal[tuple(models.gan.NETWORKS)]


@dataclass(frozen=True)
class GanOptions(RunOptions):
    """Every option but --preset; the networks' own ones are passed over by the others."""

    dataroot: Path | None = None
    """Folder with the pictures, its sub-folders included."""
    labels: str | None = None
    """Train by classes: `folders` for the names of the first sub-folders, or a JSON file of
    name -> class."""
    classes: tyro.conf.Suppress[int] = 0
    channels: Literal[1, 3] = 3
    """1: grey pictures, 3: RGB."""
    load_size: int = 0
    """Pixels that the short side is resized to; 0: --crop_size."""
    crop_size: int = 32
    """Pixels of the centred square that is learned, a power of two (mlp: any)."""
    flip: bool = False
    """Mirror each picture with probability one half."""

    generator: Network = "dcgan"
    """Architecture of the generator."""
    discriminator: Network = "dcgan"
    """Architecture of the discriminator; a progressive one needs a progressive generator."""
    latent_channels: int = 128
    """Numbers that a picture is made from, each from N(0, 1)."""
    base_channels: int = 64
    """Width of the generator: dcgan and sngan as the papers' ngf, mlp the hidden layers', r3gan at
    4 px, progressive the base that is halved with every doubling."""
    discriminator_channels: int = 64
    """Width of the discriminator (the papers' ndf), in the same way."""
    most_channels: int = 512
    """progressive: channels at most."""
    deviation_group: int = 4
    """progressive: pictures whose difference the discriminator sees; they divide the batch."""
    widest_px: int = 32
    """r3gan: the full width up to this size, halved with each doubling from there."""
    group_channels: int = 16
    """r3gan: channels of a group of the 3x3 convolutions."""
    discriminator_norm: Literal["batch", "instance", "none"] = "batch"
    """dcgan: batch norm mixes pictures and allows no penalty on the gradient."""
    spectral_norm: bool = True
    """sngan: divide the discriminator's weights by their largest singular values."""

    objective: Literal[tuple(losses.OBJECTIVES)] = "non_saturating"
    """The two players' losses."""
    r1: float = 0.0
    """Weight gamma of gamma/2 |grad D|^2 at reals; 0: off."""
    r2: float = 0.0
    """The same at fakes."""
    gradient_penalty: float = 0.0
    """Weight of (|grad D| - target)^2 / target^2 between reals and fakes; 0: off."""
    gradient_target: float = 1.0
    """The norm that this penalty asks for."""
    drift: float = 0.0
    """Weight of the reals' mean squared score."""
    class_weight: float = 1.0
    """progressive with --labels: weight of the cross-entropy of classes (AC-GAN)."""
    discriminator_steps: int = 1
    """Updates of the discriminator, each on a batch of its own, for one of the generator."""

    learning_rate: float = 2e-4
    """Adam's step size."""
    discriminator_learning_rate: float = 0.0
    """That of the discriminator, which goes the same way; 0: as --learning_rate."""
    betas: tuple[float, float] = (0.5, 0.999)
    """Adam's decay rates."""
    schedule: Literal["constant", "linear", "cosine"] = "constant"
    """How all settings below go from their values to their ..._end."""
    schedule_images: int = 0
    """Images over which they go; then they stay."""
    learning_rate_end: float | None = None
    """None: as at the start, here and below."""
    beta2_end: float | None = None
    """Adam's second decay rate at the end."""
    penalty_end: float = 1.0
    """Factor of --r1, --r2 and --gradient_penalty at the end."""
    rampup_images: int = 0
    """Images over which the learning rate first rises: by e^(-5 (1 - t)^2), t from 0 to 1."""
    ema_halflife_images: float = 0.0
    """Half-life of the generator's moving average, which is then the one to use; 0: none."""
    ema_halflife_end: float | None = None
    """Its half-life at the end of the schedule."""
    ema_decay: float = 0.0
    """Instead of a half-life: what the average keeps of itself at each step (the paper's 0.999)."""

    first_px: int = 4
    """progressive: the first resolution."""
    stable_images: int = 600_000
    """progressive: images at each resolution before the next one fades in."""
    fade_images: int = 600_000
    """progressive: images over which it fades in."""
    batch_size_at: tuple[tuple[int, int], ...] = ()
    """progressive: pixels and batch size, pixels and batch size, ...; others take --batch_size."""
    learning_rate_at: tuple[tuple[int, float], ...] = ()
    """progressive: pixels and learning rate, ...; others take --learning_rate."""

    augment: str = ""
    """Change what the discriminator sees: some of colour,translation,cutout."""
    augment_probability: float = 1.0
    """How often each of them is done."""
    augment_probability_end: float | None = None
    """The same at the end of the schedule."""
    ada_target: float = 0.0
    """Turn the probability by itself so that the mean sign of the reals' logits stays here (the
    paper's 0.6); 0: off."""
    ada_images: int = 500_000
    """Images in which the probability can go from 0 to 1."""
    evaluate_images: int = 10_000
    """Pictures to make for --evaluate_every; they are compared with all of --dataroot."""

    @property
    def policies(self) -> tuple[str, ...]:
        """What --augment names."""
        return tuple(name.strip() for name in self.augment.split(",") if name.strip())

    @property
    def penalises(self) -> bool:
        """Whether the discriminator's gradient is penalised."""
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
    """Raise UserError for values and combinations that cannot train."""
    check_run_options(options)
    check_ranges(options, above_zero=POSITIVE, at_least_zero=NOT_NEGATIVE)
    if options.dataroot is None:
        raise UserError("--dataroot is missing; name a folder of pictures")
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
    """Numbers that lie between 0 and 1."""
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
            f"--discriminator_learning_rate {options.discriminator_learning_rate}: goes as "
            "--learning_rate, which is 0; give that above 0"
        )
    for name in ("learning_rate_end", "ema_halflife_end"):
        value = vars(options)[name]
        if value is not None and not 0 <= value < math.inf:
            raise UserError(f"--{name} {value}: give a number 0 or more")
    ends = ("learning_rate_end", "beta2_end", "ema_halflife_end", "augment_probability_end")
    given = [name for name in ends if vars(options)[name] is not None]
    given += ["penalty_end"] if options.penalty_end != 1 else []
    given += ["schedule_images"] if options.schedule_images else []
    if options.schedule == "constant" and given:
        raise UserError(
            f"--{given[0]} {vars(options)[given[0]]}: --schedule constant never gets there; give "
            "--schedule linear or cosine"
        )
    if options.schedule != "constant" and not options.schedule_images:
        raise UserError(
            f"--schedule {options.schedule}: over how many images? Give --schedule_images"
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
                    f"--{name} {px} {value}: give a power of two from 4 on (pixels) and a number "
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
                    f"--{name} {value}: batch norm mixes the pictures whose gradients are "
                    "penalised; give --discriminator_norm instance or none"
                )
    bounded = options.discriminator == "sngan" and options.spectral_norm
    if options.objective == "wgan" and not (options.penalises or bounded):
        raise UserError(
            f"--objective wgan: nothing bounds the slope of a {options.discriminator} "
            "discriminator; give --gradient_penalty 10"
        )


def _check_unused(options: GanOptions) -> None:
    """Options that would do nothing without another one."""
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
            f"--augment_probability {options.augment_probability}: --ada_target turns it by "
            "itself; leave one out"
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
            f"--ada_target {options.ada_target}: nothing to turn; give --augment "
            f"{','.join(models.gan.augmentation.POLICIES)}"
        )
    if options.objective in ("wgan", "relativistic"):
        raise UserError(
            f"--ada_target {options.ada_target}: the signs of --objective {options.objective} "
            "mean nothing; give a fixed --augment_probability"
        )
