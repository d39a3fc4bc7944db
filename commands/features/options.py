"""The options of train_features.py, and the checks that need no data."""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import tyro

import models
from commands.options import RunOptions, check_least, check_ranges, check_run_options
from errors import UserError

WITH_LABELS = ("sup_con", "cross_entropy")  # objectives that need classes
WITH_QUEUE = ("moco", "nnclr")


@dataclass(frozen=True)
class FeatureOptions(RunOptions):
    """Every option but --preset."""

    dataroot: Path | None = None
    """Folder of pictures, including subfolders; or one with folders train and test."""
    labels: Literal["folders"] | None = None
    """folders: the first-level subfolders are classes. Methods without labels use them to measure
    only."""
    classes: tyro.conf.Suppress[int] = 0
    epoch_images: tyro.conf.Suppress[int] = 0
    held_out: float = 0.0
    """Share of the pictures that is kept from training, to measure on; for a folder without
    train and test."""
    channels: Literal[1, 3] = 3
    """1: grey pictures, 3: RGB."""
    load_size: int = 0
    """Size in pixels to which the short side is resized before the views are cut; 0: --crop_size,
    and no picture may be smaller."""
    crop_size: int = 32
    """Size in pixels of the views."""
    probe: bool = False
    """Train nothing: fit a linear classifier to the features of the finished run in --run_dir, and
    measure it."""
    trust: bool = False
    """Train nothing: try on the pictures which degradations the features of the finished run in
    --run_dir see, and write trust.json there, which evaluate.py --features quotes."""

    objective: Literal["nt_xent", "moco", "nnclr", "sup_con", "cross_entropy"] = "nt_xent"
    """The loss: of SimCLR, MoCo, NNCLR, SupCon, or of a classifier."""
    encoder: Literal[tuple(models.ENCODERS)] = "resnet18"
    """Architecture of the encoder; for crops of at most 64 px its first layer does not reduce the
    resolution."""
    base_channels: int = 64
    """Channels of the encoder's first layer; features have 8 times as many (resnet50: 32)."""
    norm: Literal["batch", "group"] = "batch"
    """Norm of the encoder and the heads; batch couples the pictures of a batch (of one process),
    group does not."""
    hidden_channels: int = 0
    """Width of the projection's hidden layers; 0: that of the features."""
    embedding_channels: int = 128
    """Length of the embeddings that the loss compares."""
    temperature: float = 0.5
    """Divides the similarities."""
    queue_size: int = 4096
    """moco, nnclr: embeddings of earlier batches to compare with, a multiple of --batch_size."""
    momentum: float = 0.99
    """moco: of the moving average that encodes the keys."""

    least_area: float = 0.08
    """Least area of a random crop, relative to the picture's."""
    flip: bool = True
    """Mirror each view with probability 1/2."""
    jitter: float = 0.5
    """Strength of the random changes of colour; 0: off."""
    grey: float = 0.2
    """Probability that a view is grey."""
    blur: float = 0.0
    """Probability that a view is blurred; 0.5 is usual for large pictures."""

    adversarial: Literal["pgd", "fast", "trades"] | None = None
    """supervised: train on pictures attacked in each step, by pgd (Madry et al. 2018) or fast, one
    step from a random start (Wong et al. 2020); or with the loss of trades (Zhang et al. 2019)."""
    epsilon: float = 8.0
    """--adversarial: bound of each value's change, in grey levels of 255."""
    attack_steps: int = 7
    """--adversarial pgd, trades: steps of the attack, each of length 2.5 epsilon / steps."""
    trades_weight: float = 6.0
    """--adversarial trades: weight of the divergence; larger is more robust and less accurate."""

    batch_size: int = 512
    """Global batch size, over all processes."""
    epochs: float = 200.0
    """Length of the schedule in passes through the pictures."""
    warm_up_epochs: float = 10.0
    """Passes over which the learning rate rises linearly from 0."""
    learning_rate: float = 0.06
    """Highest learning rate for batches of 128; it is proportional to --batch_size."""
    optimizer: Literal["sgd", "lars"] = "sgd"
    """lars: SGD whose steps are scaled by layer, for batches of thousands."""
    sgd_momentum: float = 0.9
    """Momentum of SGD."""
    weight_decay: float = 5e-4
    """Weight decay of SGD."""

    @property
    def policy(self) -> models.Policy:
        """How views are made."""
        flip = 0.5 if self.flip else 0.0
        return models.Policy(self.least_area, flip, self.jitter, grey=self.grey, blur=self.blur)

    @property
    def preprocessing_px(self) -> int:
        """The size from which the views are cut."""
        return self.load_size or self.crop_size


def check(options: FeatureOptions) -> None:
    """Raise UserError for invalid values and combinations; warn of a strange one."""
    check_run_options(options)
    positive = ("crop_size", "base_channels", "embedding_channels", "temperature", "queue_size")
    check_ranges(
        options,
        above_zero=(*positive, "epochs", "least_area"),
        at_least_zero=(
            *("load_size", "hidden_channels", "jitter", "warm_up_epochs", "learning_rate"),
            *("weight_decay", "grey", "blur", "momentum", "sgd_momentum", "held_out"),
        ),
    )
    if options.probe and options.trust:
        raise UserError("--probe and --trust: one at a time; leave one out")
    if options.dataroot is None:
        raise UserError("--dataroot is missing; give a folder of pictures")
    for name in ("least_area", "grey", "blur", "momentum"):
        if vars(options)[name] > 1:
            raise UserError(f"--{name} {vars(options)[name]}: above 1; give a number up to 1")
    for name in ("held_out", "sgd_momentum"):
        if vars(options)[name] >= 1:
            raise UserError(f"--{name} {vars(options)[name]}: give a number below 1")
    if options.warm_up_epochs >= options.epochs:
        raise UserError(
            f"--warm_up_epochs {options.warm_up_epochs:g}: not below --epochs {options.epochs:g}; "
            "give fewer"
        )
    if options.load_size and options.load_size < options.crop_size:
        raise UserError(
            f"--crop_size {options.crop_size}: larger than --load_size {options.load_size}, from "
            "which views are cut; give a smaller one"
        )
    if options.objective in WITH_LABELS and not options.labels:
        raise UserError(
            f"--preset {options.preset}: needs classes; give --labels folders, with a subfolder "
            "for each class"
        )
    if options.evaluate_every and not options.labels:
        raise UserError(
            f"--evaluate_every {options.evaluate_every}: measures the accuracy of classes; give "
            "--labels folders, or leave it out"
        )
    if options.accelerate in ("graph", "compile"):
        raise UserError(
            f"--accelerate {options.accelerate}: the step of this command is neither captured nor "
            "compiled; use auto or off, which are the same here"
        )
    _check_queue(options)
    _check_adversarial(options)


def _check_adversarial(options: FeatureOptions) -> None:
    check_least(options, attack_steps=1)
    if not 0 <= options.epsilon <= 255:
        raise UserError(
            f"--epsilon {options.epsilon:g}: outside 0 to 255 grey levels, the range of pictures"
        )
    check_ranges(options, above_zero=(), at_least_zero=("trades_weight",))
    if options.adversarial and options.objective != "cross_entropy":
        raise UserError(
            f"--adversarial {options.adversarial}: trains a classifier, and --preset "
            f"{options.preset} has none; use --preset supervised, or leave it out"
        )
    for name, value in (("epsilon", 8.0), ("attack_steps", 7), ("trades_weight", 6.0)):
        given = vars(options)[name]
        if given != value and not options.adversarial:
            raise UserError(f"--{name} {given}: is for --adversarial; give it, or leave this out")


def _check_queue(options: FeatureOptions) -> None:
    if options.objective == "moco" and options.norm == "batch":
        raise UserError(
            "--norm batch: queries and keys would recognise one another by their batch's "
            "statistics, which MoCo's program prevents by shuffling over GPUs; use --norm group"
        )
    if options.objective in WITH_QUEUE and options.queue_size % options.batch_size:
        raise UserError(
            f"--queue_size {options.queue_size}: not a multiple of --batch_size "
            f"{options.batch_size}; give one, such as "
            f"{max(1, options.queue_size // options.batch_size) * options.batch_size}"
        )


def warn_of_queue(options: FeatureOptions, pictures: int) -> None:
    """Tell on stderr if the queue holds several embeddings of each picture."""
    if options.objective in WITH_QUEUE and options.queue_size > pictures:
        print(
            f"--queue_size {options.queue_size}: more than the {pictures} pictures, so that it "
            "holds older embeddings of the batch's own pictures, as negatives",
            file=sys.stderr,
        )
