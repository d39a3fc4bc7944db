"""The TorchScript archive of FID's Inception network, read without running any of its code."""

import io
import warnings
import zipfile
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor

from metrics.inception import CLASSES


class MisfitError(Exception):
    """The file can be read, but its contents do not fit the network."""


def load_tensors(file: Path | io.BytesIO) -> object:
    """Read a file of torch.save: tensors and plain values, never code."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about the protocol of another's pickle
        return torch.load(file, map_location="cpu", weights_only=True)


class _ScriptObject:
    """Stands in for any class of an archive: it keeps the attributes and has no methods."""

    def __setstate__(self, attributes: object) -> None:
        self.attributes = attributes


def _keep(value: object, *_type: object) -> object:
    """Stand in for TorchScript's annotations of typed lists and dicts."""
    return value


def is_torchscript(path: Path) -> bool:
    """Return whether a file is a TorchScript archive, by its content, not by its name."""
    if not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        return any(_is_code(name) for name in archive.namelist())


def read_torchscript(path: Path) -> dict[str, Tensor]:
    """Return its tensors under the names of `FidInception`; MisfitError if one is missing."""
    return rename(_tensors_by_name(path))


def _is_code(record: str) -> bool:
    """Return whether a record is code or its constants; its first part is the archive's name."""
    inside = record.partition("/")[2]
    return inside == "constants.pkl" or inside.startswith(("code/", "constants/"))


def _tensors_by_name(path: Path) -> dict[str, Tensor]:
    """Read the tensors of an archive by their dotted names, and none of its code.

    torch.jit.load would run the archive's own `__setstate__`, which can write files. Without its
    code an archive is a file of torch.save, whose classes only need stand-ins of the same names.
    """
    file = _without_code(path)
    unknown = torch.serialization.get_unsafe_globals_in_checkpoint(file)
    stand_ins = [(_ScriptObject, name) for name in unknown if name.startswith("__torch__.")]
    stand_ins += [(_keep, name) for name in unknown if name.startswith("torch.jit._pickle.")]
    file.seek(0)
    with torch.serialization.safe_globals(stand_ins):
        return dict(_tensors(load_tensors(file)))


def _without_code(path: Path) -> io.BytesIO:
    """Return the archive as a file in memory that contains only the data."""
    file = io.BytesIO()
    with zipfile.ZipFile(path) as archive, zipfile.ZipFile(file, "w") as data:
        for record in archive.infolist():
            if not _is_code(record.filename):
                data.writestr(record.filename, archive.read(record))
    file.seek(0)
    return file


def _tensors(module: object, prefix: str = "") -> Iterator[tuple[str, Tensor]]:
    if not isinstance(module, _ScriptObject) or not isinstance(module.attributes, dict):
        raise MisfitError("a TorchScript archive without tensors by name")
    for name, value in module.attributes.items():
        if isinstance(value, Tensor):
            yield prefix + name, value
        elif isinstance(value, _ScriptObject):
            yield from _tensors(value, f"{prefix}{name}.")


def _tower(tower: str, branch: str, length: int) -> dict[str, str]:
    """Map the convolutions of a branch: conv, conv_1, ... of the archive to our _1, _2, ..."""
    return {f"{tower}.{_numbered('conv', k)}": f"{branch}_{k + 1}" for k in range(length)}


def _numbered(name: str, k: int) -> str:
    """Return TensorFlow's name of the k-th layer of a kind; the first has no number."""
    return f"{name}_{k}" if k else name


_POOLED = {"tower_2.conv": "branch_pool"}
_BRANCHES = {
    "A": {"conv": "branch1x1"}
    | _tower("tower", "branch5x5", 2)
    | _tower("tower_1", "branch3x3dbl", 3)
    | _POOLED,
    "B": {"conv": "branch3x3"} | _tower("tower", "branch3x3dbl", 3),
    "C": {"conv": "branch1x1"}
    | _tower("tower", "branch7x7", 3)
    | _tower("tower_1", "branch7x7dbl", 5)
    | _POOLED,
    "D": _tower("tower", "branch3x3", 2) | _tower("tower_1", "branch7x7x3", 4),
    "E": {
        "conv": "branch1x1",
        "tower_conv": "branch3x3_1",
        "tower_mixed_conv": "branch3x3_2a",
        "tower_mixed_conv_1": "branch3x3_2b",
        "tower_1_conv": "branch3x3dbl_1",
        "tower_1_conv_1": "branch3x3dbl_2",
        "tower_1_mixed_conv": "branch3x3dbl_3a",
        "tower_1_mixed_conv_1": "branch3x3dbl_3b",
        "tower_2_conv": "branch_pool",
    },
}
_STEM = ("1a_3x3", "2a_3x3", "2b_3x3", "3b_1x1", "4a_3x3")
_BLOCKS = ("5b", "5c", "5d", "6a", "6b", "6c", "6d", "6e", "7a", "7b", "7c")
_KINDS = "AAABCCCCDEE"
_PARTS = {
    "weight": "conv.weight",
    "beta": "bn.bias",
    "mean": "bn.running_mean",
    "var": "bn.running_var",
}


def _convolutions() -> Iterator[tuple[str, str]]:
    """Yield each convolution's name in the archive and in `FidInception`."""
    for k, place in enumerate(_STEM):
        yield f"layers.{_numbered('conv', k)}", f"Conv2d_{place}"
    for k, (block, kind) in enumerate(zip(_BLOCKS, _KINDS, strict=True)):
        for name, branch in _BRANCHES[kind].items():
            yield f"layers.{_numbered('mixed', k)}.{name}", f"Mixed_{block}.{branch}"


def rename(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Rename the archive's tensors to ours; the norms' scale, which it lacks, is one."""
    state = {}
    try:
        for theirs, ours in _convolutions():
            for name, part in _PARTS.items():
                state[f"{ours}.{part}"] = tensors[f"{theirs}.{name}"]
            state[f"{ours}.bn.weight"] = torch.ones(state[f"{ours}.bn.bias"].shape)
        weight, state["fc.bias"] = tensors["output.weight"], tensors["output.bias"]
    except KeyError as error:
        raise MisfitError(f"{error.args[0]} is missing") from error
    is_transposed = weight.shape == (2048, CLASSES)
    state["fc.weight"] = weight.T if is_transposed else weight
    return state
