"""The training loop and its parts: checkpoints, logs, schedules, seeds, processes."""

from training.adaptive import AdaptiveAugmentation
from training.capture import Recording, StepCapture, can_capture
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
    gather_with_gradient,
    places_from_environment,
    process_group,
)
from training.ema import MovingAverage, ema_decay
from training.files import write_atomically, write_output
from training.growing import GrowingSchedule
from training.health import collapse_warnings, pairwise_distance, warnings
from training.history import FakePool, RefinedHistory
from training.live_line import LiveLine
from training.log import log_lines, peak_memory_gb
from training.loop import Method, Pace, Reports, Watch, fit
from training.modules import (
    adam,
    autocast,
    frozen,
    optimizer_step,
    optimizer_step_if_finite,
    set_learning_rate,
    sgd,
    tf32_products,
    weights_cast_once,
)
from training.pictures import save_sheet, sheet
from training.randomness import StepRandomness, generator_for, seed_for
from training.run_folder import RunFolder
from training.schedules import anneal, linear_decay, warm_up_cosine
from training.terms import Term, backward, total
from training.untouched import restore_unless, running_statistics, untouched, untracked

__all__ = [
    "AdaptiveAugmentation",
    "FakePool",
    "GrowingSchedule",
    "LiveLine",
    "Method",
    "MovingAverage",
    "Pace",
    "Processes",
    "Recording",
    "RefinedHistory",
    "Reports",
    "RunFolder",
    "Stateful",
    "StepCapture",
    "StepRandomness",
    "Term",
    "Watch",
    "adam",
    "add_over_processes",
    "anneal",
    "autocast",
    "average_gradients",
    "average_statistics",
    "backward",
    "can_capture",
    "choose_device",
    "choose_precision",
    "collapse_warnings",
    "ema_decay",
    "first_process_first",
    "fit",
    "frozen",
    "gather_objects",
    "gather_rows",
    "gather_with_gradient",
    "generator_for",
    "linear_decay",
    "list_checkpoints",
    "log_lines",
    "optimizer_step",
    "optimizer_step_if_finite",
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
    "sgd",
    "sheet",
    "tf32_products",
    "total",
    "untouched",
    "untracked",
    "warm_up_cosine",
    "warnings",
    "weights_cast_once",
    "write_atomically",
    "write_output",
]
