"""The options of attack.py, and the checks that need no checkpoint."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import attacks
from commands.options import check_least
from errors import UserError

BOUNDED = ("fgsm", "iterative_fgsm", "least_likely", "pgd", "momentum", "universal")
UNBOUNDED = ("deepfool", "one_pixel")  # seek the smallest change, and the best of a few pixels
WITH_L2 = ("pgd", "deepfool", "universal")
WITH_TARGET = ("fgsm", "pgd", "one_pixel")
OF_ANY_LOSS = ("pgd", "momentum")  # which need no classes, and start at random
LEVELS = 255.0  # the whole range
DEFAULT_EPSILONS = {"linf": 8.0, "l2": 128.0}


@dataclass(frozen=True)
class AttackOptions:
    """Every option of attack.py."""

    checkpoint: str
    """What to attack: a classifier of train_features.py (run folder, .safetensors) or
    module:function that returns one; a translator (run folder, .safetensors, official .pth); or a
    run folder of train_gan.py."""
    output: Path
    """Folder for the attacked pictures, the sheet and the plot."""
    input: Path | None = None
    """Picture, or folder of pictures. For a classifier, first-level subfolders with the names of
    its classes give the labels. For a GAN: real pictures, where its discriminator needs them."""
    attack: Literal[BOUNDED + UNBOUNDED] = "pgd"
    """How to search. Translators take pgd and momentum, GANs pgd."""
    objective: Literal["content", "toward", "hidden"] | None = None
    """For a translator. content: ruin the translation; toward: steer it to --target_picture;
    hidden: how much of a CycleGAN's cycle rests on an invisible code."""
    epsilon: tuple[float, ...] = ()
    """Bounds of the change, in grey levels of 255; by default 8. With --norm l2: of the Euclidean
    norm over a picture, by default 128 (the 0.5 of papers with values in [0, 1]). deepfool searches
    without a bound, and its larger changes do not count. hidden: standard deviations of the noise,
    by default 1 2 4 8 16. GANs: the furthest to search, by default 32."""
    steps: int = 20
    """Steps of the attack; for one_pixel generations."""
    step: float = 0.0
    """Length of a step, as --epsilon; 0: 2.5 epsilon / steps."""
    norm: Literal["linf", "l2"] = "linf"
    """Norm that --epsilon bounds; l2 for pgd, deepfool and universal."""
    restarts: int = 1
    """pgd: random starts, of which the best is kept for each picture."""
    pixels: int = 1
    """one_pixel: how many pixels may change."""
    population: int = 400
    """one_pixel: candidates in each generation."""
    target: str | None = None
    """Class to reach, by name or number, instead of any other; for fgsm, pgd and one_pixel."""
    target_picture: Path | None = None
    """For --objective toward: the picture that translations are steered to."""
    class_names: tuple[str, ...] = ()
    """For module:function: names of its classes, in order; by default 0, 1, and so on."""
    crop_size: int = 0
    """For module:function: size in pixels of the pictures; 0: as they are, all of one size."""
    direction: Literal["a2b", "b2a"] | None = None
    """For a CycleGAN run: which generator; for hidden the first one, by default a2b."""
    jpeg: tuple[int, ...] = (95, 85, 75, 50, 25)
    """For --objective hidden: JPEG qualities."""
    num: int = 1000
    """Most pictures to attack, evenly spread over the input; for a GAN, pictures to generate."""
    seed: int = 0
    """Seed of all randomness."""
    batch_size: int = 64
    """Pictures attacked together."""
    json: Path | None = None
    """Write the result to this file as well."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """auto: a GPU if there is one."""

    @property
    def epsilons(self) -> list[float]:
        """The bounds in grey levels, ascending."""
        return sorted(set(self.epsilon)) or [DEFAULT_EPSILONS[self.norm]]

    def step_of(self, epsilon: float) -> float:
        """Return the length of a step within `epsilon`, both in grey levels."""
        return self.step or 2.5 * epsilon / self.steps


def in_units(levels: float) -> float:
    """Return grey levels of 255, of a value or of a norm, in units of pictures in [-1, 1]."""
    return levels * attacks.LEVEL


def check(options: AttackOptions) -> None:
    """Raise UserError for invalid values and combinations."""
    check_least(options, steps=1, restarts=1, pixels=1, population=4, num=1, seed=0, batch_size=1)
    check_least(options, crop_size=0)
    for value in options.epsilon:
        beyond = options.norm == "linf" and value > LEVELS
        if not (value >= 0 and math.isfinite(value)) or beyond:
            raise UserError(
                f"--epsilon {value:g}: outside 0 to 255 grey levels, the range of pictures"
            )
    if not (options.step >= 0 and math.isfinite(options.step)):
        raise UserError(f"--step {options.step:g}: give 0 or more grey levels")
    for quality in options.jpeg:
        if not 1 <= quality <= 100:
            raise UserError(f"--jpeg {quality}: outside 1 to 100; give a quality of JPEG")
    if options.restarts > 1 and options.attack != "pgd":
        raise UserError(
            f"--restarts {options.restarts}: --attack {options.attack} has no random start; use "
            "--attack pgd, or leave it out"
        )
    if options.norm == "l2" and options.attack not in WITH_L2:
        raise UserError(
            f"--norm l2: --attack {options.attack} bounds each value; use one of "
            f"{', '.join(WITH_L2)}"
        )
    if options.target is not None and options.attack not in WITH_TARGET:
        raise UserError(
            f"--target {options.target}: --attack {options.attack} takes no target; use one of "
            f"{', '.join(WITH_TARGET)}"
        )
    if options.attack == "one_pixel" and options.epsilon:
        raise UserError(
            f"--epsilon {options.epsilon[0]:g}: --attack one_pixel bounds the number of pixels; "
            "give --pixels instead"
        )
    _check_files(options)


def _check_files(options: AttackOptions) -> None:
    if options.output.exists() and not options.output.is_dir():
        raise UserError(f"--output {options.output}: is a file; give a folder")
    file = options.json
    if file and (file.is_dir() or not file.absolute().parent.is_dir()):
        reason = "is a folder" if file.is_dir() else "its folder does not exist"
        raise UserError(f"--json {file}: {reason}; give another file")
