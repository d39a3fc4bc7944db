"""Checkpoints: everything needed to resume a run; the last two are kept."""

import pickle
import re
import sys
import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple, Protocol

import torch
from torch import nn

from errors import UserError
from training.files import write_atomically

KEPT = 2
FORMAT = 1


class Stateful(Protocol):
    """Anything that can be saved: a network, an optimiser, an average, a pool, a log."""

    def state_dict(self) -> dict:
        """Return tensors and plain values, nested in dicts and lists."""

    def load_state_dict(self, state: dict) -> object:
        """Restore what `state_dict` returned."""


class DamagedCheckpointError(Exception):
    """A file that is not a complete checkpoint."""


class Checkpoint(NamedTuple):
    """The content of a checkpoint file."""

    images_seen: int
    states: dict[str, dict]


def checkpoint_path(folder: Path, images_seen: int) -> Path:
    """Return the path of the checkpoint at `images_seen`."""
    return folder / f"{images_seen:012d}.pt"


def list_checkpoints(folder: Path) -> list[Path]:
    """Return the checkpoints of a folder, the newest first."""
    found = [path for path in folder.glob("*.pt") if re.fullmatch(r"\d{12}\.pt", path.name)]
    return sorted(found, reverse=True)


def save_checkpoint(folder: Path, images_seen: int, states: Mapping[str, dict]) -> Path:
    """Write the states of all parts at `images_seen`, then delete all but the last two checkpoints.

    Raises OSError if writing fails; the older checkpoints are then kept.
    """
    content = {"format": FORMAT, "images_seen": images_seen, "states": dict(states)}
    path = checkpoint_path(folder, images_seen)
    write_atomically(path, lambda temporary: _write(content, temporary))
    for old in list_checkpoints(folder)[KEPT:]:
        old.unlink()
    return path


def set_aside_beyond(folder: Path, images_seen: int) -> None:
    """Rename checkpoints beyond `images_seen`, which a resume skipped as damaged."""
    for path in list_checkpoints(folder):
        if path > checkpoint_path(folder, images_seen):
            path.rename(path.with_suffix(".damaged"))


def _write(content: dict, path: Path) -> None:
    try:
        torch.save(content, path)
    except RuntimeError as error:  # raised by torch.save for a full disk
        raise OSError(str(error)) from error


def first_not_finite(state: object, name: str = "") -> str | None:
    """Return the name of the first tensor that contains NaN or infinity, None if there is none."""
    if isinstance(state, torch.Tensor):
        good = not state.is_floating_point() or bool(torch.isfinite(state).all())
        return None if good else name
    if isinstance(state, Mapping):
        inner = state.items()
    elif isinstance(state, list | tuple):
        inner = enumerate(state)
    else:
        return None
    found = (first_not_finite(value, f"{name}.{key}".lstrip(".")) for key, value in inner)
    return next((bad for bad in found if bad), None)


def read_checkpoint(path: Path) -> Checkpoint:
    """Read a checkpoint to the CPU; only tensors and plain values are unpickled.

    Raises DamagedCheckpointError with a short reason for any other file.
    """
    try:
        with zipfile.ZipFile(path) as archive:  # torch.load does not verify checksums
            if archive.testzip() is not None:
                raise DamagedCheckpointError(f"{path}: damaged, a checksum does not match")
        content = _load(path)
    except pickle.UnpicklingError as error:
        raise DamagedCheckpointError(
            f"{path}: holds more than tensors and plain values; no code from it was run"
        ) from error
    except (OSError, EOFError, RuntimeError, ValueError, KeyError, zipfile.BadZipFile) as error:
        reason = " ".join(str(error).split())[:100]
        raise DamagedCheckpointError(f"{path}: not a complete checkpoint ({reason})") from error
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise DamagedCheckpointError(f"{path}: not a checkpoint of this program")
    return Checkpoint(content["images_seen"], content["states"])


def _load(path: Path) -> object:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # about old pickle protocols
        return torch.load(path, map_location="cpu", weights_only=True)


def read_newest_checkpoint(folder: Path) -> Checkpoint | None:
    """Read the newest checkpoint; report damaged ones on stderr and try the one before.

    Returns None if there is no checkpoint. Raises UserError if all are damaged.
    """
    paths = list_checkpoints(folder)
    for path in paths:
        try:
            return read_checkpoint(path)
        except DamagedCheckpointError as error:
            print(f"warning: {error}; trying the one before", file=sys.stderr)
    if paths:
        raise UserError(
            f"`run_dir` {folder.parent}: none of its {len(paths)} checkpoints can be read; delete "
            f"{folder} to start again, or give another `run_dir`"
        )
    return None


def read_weights(path: Path, option: str) -> Checkpoint:
    """Read a checkpoint file, or the newest one of a run folder, to initialise another run.

    Raises UserError, which names `option`, if there is none.
    """
    if not path.exists():
        raise UserError(f"{option} {path}: no such file or folder; give a run or a checkpoint")
    if not path.is_dir():
        try:
            return read_checkpoint(path)
        except DamagedCheckpointError as error:
            raise UserError(f"{option} {error}; give another") from error
    checkpoint = read_newest_checkpoint(path / "checkpoints")
    if checkpoint is None:
        raise UserError(f"{option} {path}: holds no checkpoint; give a run that has saved one")
    return checkpoint


def restore(parts: Mapping[str, Stateful], states: Mapping[str, dict], origin: str) -> None:
    """Load saved states into the parts with the same names.

    Raises UserError, which names `origin`, if names or sizes do not match.
    """
    if parts.keys() != states.keys():
        difference = ", ".join(sorted(parts.keys() ^ states.keys()))
        raise UserError(f"{origin}: the saved parts differ from this command's: {difference}")
    for name, part in parts.items():
        if isinstance(part, nn.Module):
            different = part.state_dict().keys() ^ states[name].keys()
            if different:
                raise UserError(
                    f"{origin}: {name} differs from this command's network "
                    f"({len(different)} weights have other names, first {min(different)}); give "
                    "the preset, networks and classes of that run"
                )
        try:
            part.load_state_dict(states[name])
        except (RuntimeError, ValueError, KeyError) as error:
            reason = " ".join(str(error).split())[:300]
            raise UserError(
                f"{origin}: {name} differs in size from this command's: {reason}"
            ) from error
