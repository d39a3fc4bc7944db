"""The loop and what it needs: checkpoints, logs, schedules, seeds, processes."""

from training.adaptive import AdaptiveAugmentation
from training.checkpoint import (
    Stateful,
    list_checkpoints,
    read_checkpoint,
    read_newest_checkpoint,
    read_weights,
    restore,
)
from training.distributed import (
    Processes,
    add_over_processes,
    average_gradients,
    average_statistics,
    choose_device,
    choose_precision,
    first_process_first,
    gather_objects,
    gather_rows,
    places_from_environment,
    process_group,
)
from training.ema import MovingAverage, ema_decay
from training.files import write_atomically, write_output
from training.growing import GrowingSchedule
from training.health import pairwise_distance, warnings
from training.history import FakePool, RefinedHistory
from training.log import log_lines, peak_memory_gb
from training.loop import Method, Pace, Watch, fit
from training.modules import (
    adam,
    autocast,
    descend,
    descend_if_finite,
    frozen,
    set_learning_rate,
)
from training.pictures import save_sheet, sheet
from training.randomness import generator_for, seed_for
from training.run_folder import RunFolder
from training.schedules import anneal, linear_decay
from training.untouched import restore_unless, running_statistics, untouched, untracked

__all__ = [
    "AdaptiveAugmentation",
    "FakePool",
    "GrowingSchedule",
    "Method",
    "MovingAverage",
    "Pace",
    "Processes",
    "RefinedHistory",
    "RunFolder",
    "Stateful",
    "Watch",
    "adam",
    "add_over_processes",
    "anneal",
    "autocast",
    "average_gradients",
    "average_statistics",
    "choose_device",
    "choose_precision",
    "descend",
    "descend_if_finite",
    "ema_decay",
    "first_process_first",
    "fit",
    "frozen",
    "gather_objects",
    "gather_rows",
    "generator_for",
    "linear_decay",
    "list_checkpoints",
    "log_lines",
    "pairwise_distance",
    "peak_memory_gb",
    "places_from_environment",
    "process_group",
    "read_checkpoint",
    "read_newest_checkpoint",
    "read_weights",
    "restore",
    "restore_unless",
    "running_statistics",
    "save_sheet",
    "seed_for",
    "set_learning_rate",
    "sheet",
    "untouched",
    "untracked",
    "warnings",
    "write_atomically",
    "write_output",
]
