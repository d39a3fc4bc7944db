"""The loop and what it needs: checkpoints, logs, schedules, seeds, processes."""

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
from training.ema import MovingAverage
from training.files import write_atomically, write_output
from training.history import FakePool, RefinedHistory
from training.log import log_lines, peak_memory_gb
from training.loop import Method, Pace, fit
from training.modules import adam, autocast, descend, frozen, set_learning_rate
from training.pictures import save_sheet, sheet
from training.randomness import generator_for, seed_for
from training.run_folder import RunFolder
from training.schedules import linear_decay

__all__ = [
    "FakePool",
    "Method",
    "MovingAverage",
    "Pace",
    "Processes",
    "RefinedHistory",
    "RunFolder",
    "Stateful",
    "adam",
    "add_over_processes",
    "autocast",
    "average_gradients",
    "average_statistics",
    "choose_device",
    "choose_precision",
    "descend",
    "first_process_first",
    "fit",
    "frozen",
    "gather_objects",
    "gather_rows",
    "generator_for",
    "linear_decay",
    "list_checkpoints",
    "log_lines",
    "peak_memory_gb",
    "places_from_environment",
    "process_group",
    "read_checkpoint",
    "read_newest_checkpoint",
    "read_weights",
    "restore",
    "save_sheet",
    "seed_for",
    "set_learning_rate",
    "sheet",
    "write_atomically",
    "write_output",
]
