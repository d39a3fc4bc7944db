"""Files with the mean and covariance of a set of images, ours and those of other tools."""

import json
import pickle
import re
import struct
import sys
import tokenize
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from errors import UserError
from metrics.weights import PUBLISHED_SHA256


class Origin(NamedTuple):
    """How features were computed; None for what a file does not state."""

    protocol: str | None = None
    layer: int | None = None
    weights_sha256: str | None = None
    features: str | None = None  # the name of an extractor other than the FID network
    preprocessing: str | None = None  # of such an extractor, where it is known


class SavedStatistics(NamedTuple):
    """Mean [D] and unbiased covariance [D, D], float64, of `count` images."""

    mean: Tensor
    covariance: Tensor
    count: int | None
    origin: Origin
    label: str = ""  # its name in messages


def save_statistics(path: Path, statistics: SavedStatistics) -> None:
    """Write mu and sigma as pytorch-fid does, and how they were computed."""
    about = {"n": statistics.count, **statistics.origin._asdict()}
    with open(path, "wb") as file:  # a path would get .npz appended
        np.savez_compressed(
            file,
            mu=statistics.mean.cpu().numpy(),
            sigma=statistics.covariance.cpu().numpy(),
            about=np.array(json.dumps(about)),
        )


def load_statistics(path: Path, option: str) -> SavedStatistics:
    """Read an .npz of ours, pytorch-fid, clean-fid, EDM or ADM, or a .pkl of StyleGAN2-ADA or 3.

    Code in a file is never run: .npz files are read without pickled objects, and from a pickle only
    arrays and plain values are built. StyleGAN's covariance, divided by N, is rescaled to N - 1.
    Raises UserError, which names `option`, for all other files.
    """
    try:
        entries = _read_pickle(path) if path.suffix.lower() == ".pkl" else _read_npz(path)
        mean, covariance, count = _moments(entries)
        origin = _origin_by_name(path)
        if "about" in entries:
            about = {"preprocessing": None, **json.loads(str(entries["about"]))}  # once absent
            count, origin = about["n"], Origin(*(about[name] for name in Origin._fields))
    except OSError as error:
        reason = error.strerror or "not a NumPy file"
        raise UserError(f"{option} {path}: cannot be read ({reason}); give another") from error
    except _DAMAGES as error:
        words = " ".join(str(error).split())[:200] or type(error).__name__
        raise UserError(
            f"{option} {path}: contains no statistics ({words}); give an .npz with mu and sigma"
        ) from error
    return SavedStatistics(mean, covariance, count, origin, f"{option} {path}")


def check_comparable(saved: SavedStatistics, wanted: Origin, published: bool) -> None:
    """Raise UserError if the statistics were computed differently from `wanted`.

    published: whether the weights of `wanted` are the published ones. What the file does not state
    is taken on trust, and a message on stderr says so.
    """
    made = saved.origin
    if made.features != wanted.features and (made.features or made.weights_sha256):
        raise UserError(
            f"{saved.label}: made with {_network(made)}, but {_network(wanted)} is requested; give "
            "the same `features`, or matching statistics"
        )
    if len(saved.mean) != (wanted.layer or len(saved.mean)):
        raise UserError(
            f"{saved.label}: statistics of {len(saved.mean)} channels, but `layer` {wanted.layer} "
            "is requested; give that layer or matching statistics"
        )
    unknown = []
    for name, old, new in zip(Origin._fields, made, wanted, strict=True):
        if name == "weights_sha256" and old in PUBLISHED_SHA256 and published:
            continue
        if old is None and new is not None and name != "layer":
            unknown.append(name)
        elif old != new and not (old is None and name == "layer"):
            raise UserError(
                f"{saved.label}: made with {name} {old}, but {new} is requested; numbers of two "
                f"kinds cannot be compared: give {_OPTIONS[name]} or matching statistics"
            )
    if unknown:
        print(
            f"{saved.label}: does not state its {' and '.join(unknown)}; assumed to be "
            f"{wanted.protocol or wanted.features} with the same network",
            file=sys.stderr,
        )


def _network(origin: Origin) -> str:
    return f"`features` {origin.features}" if origin.features else "FID's network"


_OPTIONS = {
    "protocol": "the `protocol`",
    "layer": "the `layer`",
    "weights_sha256": "these `weights`",
    "features": "the `features`",
    "preprocessing": "the `features`",
}
_ROUNDING = 1e-4  # of the largest entry; some tools accumulate in float32
# What the readers raise for damaged files: RuntimeError for an unknown kind of compression,
# TokenError for the header of an array.
_DAMAGES = (
    *(ValueError, LookupError, TypeError, EOFError, AttributeError, ArithmeticError),
    *(MemoryError, RuntimeError, zipfile.BadZipFile, zlib.error, tokenize.TokenError),
    *(pickle.UnpicklingError, struct.error),
)


def _moments(entries: dict) -> tuple[Tensor, Tensor, int | None]:
    count = None
    if "raw_mean" in entries:
        count = int(entries["num_items"])
        if count < 2:
            raise ValueError(f"of {count} images; a covariance needs at least 2")
        mean = np.asarray(entries["raw_mean"], np.float64) / count
        covariance = np.asarray(entries["raw_cov"], np.float64) / count - np.outer(mean, mean)
        covariance *= count / (count - 1)
    else:
        for name in ("mu", "sigma"):
            if name not in entries:
                raise ValueError(f"no array {name} among {', '.join(entries) or 'no arrays'}")
        mean, covariance = (np.asarray(entries[name], np.float64) for name in ("mu", "sigma"))
    if mean.ndim != 1 or covariance.shape != (mean.size, mean.size):
        raise ValueError(f"mu of shape {mean.shape} with sigma of shape {covariance.shape}")
    if not (np.isfinite(mean).all() and np.isfinite(covariance).all()):
        raise ValueError("its values are not all finite")
    mean, covariance = torch.from_numpy(mean), torch.from_numpy(covariance)
    largest = covariance.abs().max()
    asymmetry = (covariance - covariance.T).abs().max()
    lowest = torch.linalg.eigvalsh((covariance + covariance.T) / 2).min()
    if asymmetry > _ROUNDING * largest or lowest < -_ROUNDING * largest:
        raise ValueError("its sigma is no covariance: not symmetric or not positive semi-definite")
    return mean, covariance, count


def _read_npz(path: Path) -> dict:
    with open(path, "rb") as file:
        if not zipfile.is_zipfile(file):
            raise ValueError("not an .npz file")
    with np.load(path, allow_pickle=False) as file:
        # Other tools' files may contain the images as well: read only what is needed.
        found = {name: file[name] for name in file.files if name in ("mu", "sigma", "about")}
        if not found:
            raise ValueError(f"no array mu among {', '.join(file.files) or 'no arrays'}")
        return found


def _origin_by_name(path: Path) -> Origin:
    """Return what clean-fid's file names say about how the statistics were computed."""
    for mark, protocol in (
        ("_clean_", "clean"),
        ("_legacy_pytorch_", "torch"),
        ("_legacy_tensorflow_", "tf"),
    ):
        if mark in path.name:
            return Origin(protocol=protocol)
    return Origin()


class _NumberType:
    """Stands in for numpy's dtype, whose own state may claim that numbers are pointers."""

    def __init__(self, name: str, *_flags: object):
        if not re.fullmatch("b1|[iuf][1248]", name):
            raise pickle.UnpicklingError(f"it holds arrays of type {name[:20]}")
        self.dtype = np.dtype(name)

    def __setstate__(self, state: tuple) -> None:
        self.dtype = self.dtype.newbyteorder(state[1])


class _PickledArray:
    """Stands in for an array during unpickling, and builds it from its bytes alone."""

    def __init__(self, values: np.ndarray):
        self.values = values

    def __setstate__(self, state: tuple) -> None:
        _, shape, kind, is_fortran, content = state
        self.values = _array(content, kind, shape, "F" if is_fortran else "C").values

    def __array__(self, dtype: object = None, copy: bool | None = None) -> np.ndarray:
        return np.array(self.values, dtype)


def _array(
    content: bytes, kind: _NumberType, shape: tuple[int, ...], order: str, *_axes: object
) -> _PickledArray:
    return _PickledArray(np.frombuffer(content, kind.dtype).reshape(shape, order=order))


def _number(kind: _NumberType, content: bytes) -> np.generic:
    return np.frombuffer(content, kind.dtype)[0]


def _encode_latin1(text: str, encoding: str = "latin1") -> bytes:
    """Pickles of protocol 2 hold bytes as text."""
    if encoding != "latin1":
        raise pickle.UnpicklingError(f"bytes as {encoding}")
    return text.encode("latin1")


# The names that pickled arrays and numpy's numbers refer to.
_ALLOWED: dict[tuple[str, str], Callable] = {
    ("numpy", "ndarray"): _PickledArray,
    ("numpy", "dtype"): _NumberType,
    ("numpy._core.multiarray", "_reconstruct"): lambda *_: _PickledArray(np.empty(0)),
    ("numpy._core.multiarray", "scalar"): _number,
    ("numpy._core.numeric", "_frombuffer"): _array,
    ("_codecs", "encode"): _encode_latin1,
    ("dnnlib.util", "EasyDict"): dict,
}


class _ArraysOnly(pickle.Unpickler):
    """Builds arrays and single values of numbers, strings, lists and dicts; refuses the rest."""

    def find_class(self, module: str, name: str) -> Callable:
        try:
            return _ALLOWED[module.replace("numpy.core", "numpy._core"), name]
        except KeyError:
            raise pickle.UnpicklingError(f"it refers to {module}.{name}") from None


def _read_pickle(path: Path) -> dict:
    with open(path, "rb") as file:
        entries = _ArraysOnly(file).load()
    if not isinstance(entries, dict):
        raise ValueError("it is not a dict of arrays")
    if isinstance(entries.get("fid"), dict):  # EDM2 keeps several metrics' statistics in a file
        return entries["fid"]
    return entries
