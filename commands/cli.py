"""From a frozen dataclass of options to a command line, and from exceptions to exit codes."""

import argparse
import json
import math
import os
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import Literal, TypeVar

import tyro

from errors import PairlessError, UserError

Options = TypeVar("Options")


@dataclass(frozen=True)
class RunOptions:
    """The options that all training commands share."""

    run_dir: Path | None = None
    """Folder for everything that the run writes. The same command on it goes on where it was."""
    total_images: int = 0
    """Images to train on; 0: to the end of the schedule. May grow when a run goes on."""
    batch_size: int = 1
    """Images a step, over all processes together."""
    seed: int = 0
    """All randomness follows from it."""
    init_from: Path | None = None
    """Start from these weights: a run folder or a checkpoint .pt (all networks), or a .safetensors
    or official .pth (the generator)."""
    dry_run: bool = False
    """Print the plan, the resolved options and the sizes; touch nothing."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """auto: a GPU where there is one."""
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    """auto: bf16 autocast on a GPU that has it, fp32 elsewhere."""
    workers: int = 4
    """Reading processes of each training process; 0 reads in the training process itself."""
    save_every: int = 5000
    """Images between checkpoints; one is also written at the end and when the run is stopped."""
    preview_every: int = 1000
    """Images between preview sheets; 0: none."""
    log_every: int = 100
    """Images between log lines."""
    evaluate_every: int = 0
    """Images between measurements on the test pictures, at the end as well; 0: none."""
    metrics: str = "fid,kid"
    """What evaluate.py calls --metrics; the first one decides which network is kept as best."""
    protocol: Literal["clean", "torch", "tf"] = "clean"
    """Resizing and value range before the network of the metrics, as in evaluate.py."""
    layer: int = 2048
    """Layer of that network: 64, 192, 768 or 2048."""
    weights: Path | None = None
    """File with that network's weights; without it they are looked for, then downloaded."""


@dataclass(frozen=True)
class TranslatorOptions(RunOptions):
    """The options that all trainings of translators share."""

    dataroot: Path | None = None
    """Folder with the pictures; see docs/data.md for what it holds."""
    source_dir: Path | None = None
    """Any folder of source pictures, instead of --dataroot; needs --target_dir."""
    target_dir: Path | None = None
    """Any folder of target pictures, instead of --dataroot; needs --source_dir."""
    preprocess: Literal[
        "resize_and_crop", "crop", "scale_width", "scale_width_and_crop", "scale_shortside", "none"
    ] = "resize_and_crop"
    """How a file becomes a training picture."""
    load_size: int = 286
    """Pixels that a picture is resized to before the crop."""
    crop_size: int = 256
    """Pixels of the training picture's side."""
    flip: bool = True
    """Mirror each picture with probability one half."""

    constant_epochs: float = 100
    """Epochs at the full learning rate."""
    decay_epochs: float = 100
    """Epochs after that, in which the learning rate falls by equal steps towards 0."""
    epoch_images: int = 0
    """Images an epoch; 0: the number of files, of the larger folder where there are two."""
    learning_rate: float = 2e-4
    """Adam's step size, for all networks."""
    betas: tuple[float, float] = (0.5, 0.999)
    """Adam's decay rates."""
    ema_halflife_images: float = 0
    """Half-life of the generator's moving average, which is then the one to use; 0: none."""

    base_channels: int = 64
    """Width of the generator (the papers' ngf)."""
    discriminator_channels: int = 64
    """Width of the discriminator (the papers' ndf)."""
    discriminator_layers: int = 3
    """Halvings in the patch discriminator; 3 judges patches of 70 px (84 with anti-aliasing)."""
    generator_norm: Literal["instance", "batch", "none"] = "instance"
    """Norm of a ResNet or U-Net generator."""
    discriminator_norm: Literal["instance", "batch", "none"] = "instance"
    """Norm of a patch or pixel discriminator."""
    antialias: bool = False
    """Blur before halving and double smoothly, in a ResNet generator and the discriminator."""
    dropout: bool = False
    """Dropout of one half in the generator."""
    initialization: Literal["normal", "xavier", "kaiming", "orthogonal"] = "normal"
    """First weights of all networks but those of the StyleGAN2 kind."""
    initialization_gain: float = 0.02
    """Gain of the first weights."""

    adversarial: Literal["lsgan", "minimax", "non_saturating", "hinge", "wgan"] = "lsgan"
    """The two players' losses."""


# Options that a run may go on with under another value: they do not change its result.
MAY_CHANGE = frozenset(
    ("run_dir", "total_images", "dry_run", "device", "workers")
    + ("save_every", "preview_every", "log_every", "evaluate_every")
    + ("metrics", "protocol", "layer", "weights", "evaluate_images")
)


def check_run_options(options: RunOptions) -> None:
    """Raise UserError for a value that no training command can use."""
    if options.run_dir is None:
        raise UserError("--run_dir is missing; name a folder for what the run writes")
    check_least(options, batch_size=1, total_images=0, workers=0, save_every=1)
    check_least(options, preview_every=0, log_every=1, evaluate_every=0, seed=0)


def check_least(options: object, **least: int) -> None:
    """Raise UserError for the first option below its least value."""
    for name, smallest in least.items():
        value = vars(options)[name]
        if value < smallest:
            raise UserError(f"--{name} {value}: below {smallest}; give {smallest} or more")


def check_translator_options(options: TranslatorOptions) -> None:
    """Raise UserError for a value that no training of a translator can use."""
    check_run_options(options)
    check_ranges(
        options,
        above_zero=("initialization_gain", "load_size"),
        at_least_zero=(
            *("constant_epochs", "decay_epochs", "epoch_images", "learning_rate"),
            "ema_halflife_images",
        ),
    )
    if not all(0 <= beta < 1 for beta in options.betas):
        raise UserError(f"--betas {options.betas}: give two numbers from 0 to below 1")
    if not (options.total_images or options.constant_epochs + options.decay_epochs):
        raise UserError("--total_images 0: no epochs either; give one of them")


def check_ranges(
    options: RunOptions, above_zero: Sequence[str], at_least_zero: Sequence[str]
) -> None:
    """Raise UserError where one of the named options is not finite or out of its range."""
    values = vars(options)
    for names, least in ((above_zero, "above 0"), (at_least_zero, "0 or more")):
        for name in names:
            value = values[name]
            good = value > 0 if least == "above 0" else value >= 0
            if not (good and math.isfinite(value)):
                raise UserError(f"--{name} {value}: give a number {least}")


def check_read(options: object, readers: Mapping[str, tuple[bool, str]]) -> None:
    """Raise UserError for an option, not at its default, that nothing reads.

    readers: option -> whether something reads it, and what would.
    """
    for name, (is_read, needed) in readers.items():
        value, default = vars(options)[name], type(options).__dataclass_fields__[name].default
        if value != default and not is_read:
            raise UserError(
                f"--{name} {value}: does nothing without {needed}; give that too, or leave it out"
            )


def parse(
    options_type: type[Options],
    arguments: Sequence[str] | None = None,
    presets: Mapping[str, Mapping] | None = None,
) -> Options:
    """Read the command line into the dataclass; `--preset NAME` replaces the defaults first.

    `-` and `_` are the same in option names. A value that does not fit an option ends the program
    with exit code 2 and a message on stderr.
    """
    default = None
    if presets:
        default = options_type()
        early = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
        early.add_argument("--preset", default=default.preset)
        name = early.parse_known_args(arguments)[0].preset
        # An unknown name is left to the full parser, which knows the choices.
        default = options_type(**{**presets.get(name, {}), "preset": default.preset})
    return tyro.cli(
        options_type,
        args=arguments,
        default=default,
        description=sys.modules[options_type.__module__].__doc__,
        config=(tyro.conf.OmitArgPrefixes,),
    )


def parse_one_of(
    options_types: Sequence[type], arguments: Sequence[str] | None, description: str
) -> object:
    """Read a sub-command, named after its dataclass in lower case, with its options."""
    return tyro.extras.subcommand_cli_from_dict(
        {kind.__name__.lower(): kind for kind in options_types},
        args=arguments,
        description=description,
    )


def run(main: Callable[[Sequence[str] | None], None]) -> None:
    """Run a command and end the process with its exit code.

    0 done; 2 the user's mistake and 1 a run that could not go on, each told in one line on stderr;
    128 + N after signal N. Any other exception is our bug: a traceback, exit code 1.
    """
    try:
        main(None)
    except PairlessError as end:
        rank = os.environ.get("RANK", "0")
        prefix = end.prefix if rank == "0" else f"rank {rank}: {end.prefix}"
        print(prefix + " ".join(str(end).split()), file=sys.stderr, flush=True)
        sys.exit(end.exit_code)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        sys.exit(128 + signal.SIGINT)


def config(options: RunOptions, data_description: Mapping[str, str]) -> dict:
    """Return what config.json holds: command, resolved options, data, versions."""
    return {
        "command": Path(sys.modules[type(options).__module__].__file__).name,
        "options": plain_values(options),
        "data": dict(data_description),
        "versions": versions(),
    }


def plain_values(options: object) -> dict:
    """Return the options as JSON values: paths as absolute strings, tuples as lists."""
    values = asdict(options)
    for name, value in values.items():
        if isinstance(value, Path):
            values[name] = str(value.resolve())
    return json.loads(json.dumps(values))


def describe(values: Mapping) -> str:
    """Lay out names and values, a line each, for people."""
    width = max(len(str(name)) for name in values)
    return "\n".join(f"  {name:<{width}}  {value}" for name, value in values.items())


def versions() -> dict[str, str]:
    """Return the versions that a result depends on, of Python and of the installed packages."""
    names = ("torch", "numpy", "pillow")
    return {"python": sys.version.split()[0], **{name: metadata.version(name) for name in names}}
