"""The options that all training commands share, and checks of option values."""

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from commands.memory import memory_bytes
from errors import UserError


@dataclass(frozen=True)
class RunOptions:
    """The options that all training commands share."""

    run_dir: Path | None = None
    """Folder for everything that the run writes. The same command on the same folder resumes it."""
    total_images: int = 0
    """Images to train on; 0: to the end of the schedule. May be increased when resuming a run."""
    batch_size: int = 1
    """Global batch size, over all processes."""
    seed: int = 0
    """Seed of all randomness."""
    init_from: Path | None = None
    """Weights to start from: a run folder or a checkpoint .pt (all networks), or a .safetensors or
    official .pth file (the generator)."""
    dry_run: bool = False
    """Print the plan, the resolved options and the sizes of the networks, and write nothing."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """auto: a GPU if there is one."""
    precision: Literal["auto", "fp32", "tf32", "bf16"] = "auto"
    """auto: bf16 autocast on a GPU that supports it, else fp32; tf32: fp32 with TF32 matrix
    products, on a GPU that supports them."""
    accelerate: Literal["auto", "off", "graph", "compile"] = "auto"
    """graph: capture the step as CUDA graphs, which saves launches; compile: torch.compile of
    the networks; auto: the faster of graph and off on a GPU, off on a CPU."""
    workers: int = 4
    """Data loading workers per training process; 0 loads in the training process itself."""
    decode: Literal["exact", "fast"] = "exact"
    """exact: training pictures are bit-identical to the official programs'; fast: JPEGs are decoded
    at 1/2, 1/4 or 1/8 size where that is large enough, and resized by a faster method, with a mean
    difference of less than two grey levels."""
    cache_gb: float = 1.0
    """Memory in GB (1e9 bytes) for caching resized training pictures, per training process with its
    workers; 0: no cache, files are read every time."""
    save_every: int = 5000
    """Images between checkpoints; one is also written at the end and when the run is stopped."""
    preview_every: int = 1000
    """Images between previews; 0: none."""
    log_every: int = 100
    """Images between log lines."""
    evaluate_every: int = 0
    """Images between evaluations on the test pictures (and one at the end); 0: none."""


@dataclass(frozen=True)
class GeneratorRunOptions(RunOptions):
    """The options that all commands for training generators share."""

    metrics: str = "fid,kid"
    """Metrics, as in evaluate.py; the first one decides which network is kept as best."""
    protocol: Literal["clean", "torch", "tf"] = "clean"
    """Resizing and value range of the metrics' feature network, as in evaluate.py."""
    layer: int = 2048
    """Layer of the feature network: 64, 192, 768 or 2048."""
    weights: Path | None = None
    """File with the feature network's weights; by default searched for locally, then downloaded."""
    features: str | None = None
    """Another feature network instead of FID's, as in evaluate.py: a run folder of
    train_features.py, efficientnet_lite0, or others."""


# Options that may change when a run is resumed, since they do not change its result.
MAY_CHANGE = frozenset(
    ("run_dir", "total_images", "dry_run", "device", "workers", "cache_gb")
    + ("accelerate", "save_every", "preview_every", "log_every", "evaluate_every")
    + ("metrics", "protocol", "layer", "weights", "features", "evaluate_images")
)

# Values that correspond to runs from before an option existed, so that those can be resumed.
BEFORE_OPTIONS = {"decode": "exact", "conditioning": "concatenation", "adversarial": None}
BEFORE_OPTIONS |= {"epsilon": 8.0, "attack_steps": 7, "trades_weight": 6.0}


def check_run_options(options: RunOptions) -> None:
    """Raise UserError for values that are invalid in every training command."""
    if options.run_dir is None:
        raise UserError("--run_dir is missing; give a folder for the files of the run")
    check_least(options, batch_size=1, total_images=0, workers=0, save_every=1)
    check_least(options, preview_every=0, log_every=1, evaluate_every=0, seed=0)
    check_ranges(options, above_zero=(), at_least_zero=("cache_gb",))
    check_cache(options.cache_gb)


def check_cache(cache_gb: float) -> None:
    """Raise UserError if the caches of all training processes exceed this machine's memory.

    torchrun sets the number of processes on the machine.
    """
    processes = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    memory_gb = memory_bytes() / 1e9
    if cache_gb * processes > memory_gb:
        for_all = f" for each of {processes} processes" if processes > 1 else ""
        raise UserError(
            f"--cache_gb {cache_gb:g}{for_all}: more than this machine's {memory_gb:.1f} GB of "
            f"memory; give less than {memory_gb / processes:.1f}, or 0 for no cache"
        )


def check_least(options: object, **least: int) -> None:
    """Raise UserError for the first option below its minimum."""
    for name, smallest in least.items():
        value = vars(options)[name]
        if value < smallest:
            raise UserError(f"--{name} {value}: below {smallest}; give {smallest} or more")


def check_ranges(
    options: RunOptions, above_zero: Sequence[str], at_least_zero: Sequence[str]
) -> None:
    """Raise UserError if one of the named options is not finite or out of range."""
    values = vars(options)
    for names, least in ((above_zero, "above 0"), (at_least_zero, "0 or more")):
        for name in names:
            value = values[name]
            good = value > 0 if least == "above 0" else value >= 0
            if not (good and math.isfinite(value)):
                raise UserError(f"--{name} {value}: give a number {least}")


def check_read(options: object, readers: Mapping[str, tuple[bool, str]]) -> None:
    """Raise UserError for an option that is set but has no effect.

    readers: option -> whether it has an effect, and the option that it needs.
    """
    for name, (is_read, needed) in readers.items():
        value, default = vars(options)[name], type(options).__dataclass_fields__[name].default
        if value != default and not is_read:
            raise UserError(
                f"--{name} {value}: has no effect without {needed}; give that too, or leave it out"
            )
