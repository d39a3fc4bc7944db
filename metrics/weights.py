"""The weights of FID's Inception network: found on this machine or downloaded, always checked.

They are published twice, as a state dict (pytorch-fid, torch-fidelity) and as a TorchScript archive
(StyleGAN2-ADA, clean-fid), with the same numbers; the archive only lacks the scale of the batch
norms, which is always one. Their eps is 1e-3 in both.
"""

import logging
import os
import pickle
import struct
import sys
import zipfile
import zlib
from pathlib import Path
from typing import NamedTuple

import pooch
import torch
from torch import Tensor

from errors import UserError
from metrics.inception import FidInception
from metrics.torchscript import MisfitError, is_torchscript, load_tensors, read_torchscript

STATE_DICT_NAMES = (
    "pt_inception-2015-12-05-6726825d.pth",  # pytorch-fid's name
    "weights-inception-2015-12-05-6726825d.pth",  # torch-fidelity's, byte for byte the same
)
CACHE_VARIABLE = "PAIRLESS_CACHE"
CHUNK_BYTES = 1 << 18


class Source(NamedTuple):
    """A published file: its address, size and checksum."""

    url: str
    size_bytes: int
    sha256: str


PUBLISHED = Source(
    "https://github.com/mseitzer/pytorch-fid/releases/download/fid_weights/" + STATE_DICT_NAMES[0],
    95_628_359,
    "6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2",
)
PUBLISHED_TORCHSCRIPT = Source(
    "https://nvlabs-fi-cdn.nvidia.com/stylegan2-ada-pytorch/pretrained/metrics/"
    "inception-2015-12-05.pt",
    95_607_719,
    "f58cb9b6ec323ed63459aa4fb441fe750cfe39fafad6da5cb504a16f19e958f4",
)
PUBLISHED_NAMES = {
    **dict.fromkeys(STATE_DICT_NAMES, PUBLISHED),
    "inception-2015-12-05.pt": PUBLISHED_TORCHSCRIPT,
}


PUBLISHED_SHA256 = frozenset((PUBLISHED.sha256, PUBLISHED_TORCHSCRIPT.sha256))


class InceptionWeights(NamedTuple):
    """The state dict for `FidInception`, and the checksum of its file."""

    state: dict[str, Tensor]
    sha256: str
    published: bool  # whether it is one of the two published files


def load_inception_weights(
    path: Path | None, *, option: str = "`weights`", source: Source = PUBLISHED
) -> InceptionWeights:
    """Read the weights from `path`; without one, find them on this machine or download `source`.

    The state fits `FidInception().load_state_dict` strictly: float32 on the CPU, in the network's
    shapes, every value finite. A file with a published name must be the published one; with
    another name any file that fits is accepted, and `published` says which it is. No code of a
    file is run. Raises UserError, which names `option`, for a file that is damaged or of another
    network, and if the download fails.
    """
    if path is None:
        path, sha256 = find_or_download(source, option), source.sha256
    else:
        sha256 = _checked_sha256(path, option)
    state = _read(path, option)
    return InceptionWeights(state, sha256, sha256 in PUBLISHED_SHA256)


# ---- Finding the file ----


def cache_folder() -> Path:
    """Return the folder for downloads: PAIRLESS_CACHE, or the system's cache folder."""
    return Path(os.environ.get(CACHE_VARIABLE) or pooch.os_cache("pairless")).expanduser()


def find_or_download(source: Source = PUBLISHED, option: str = "`weights`") -> Path:
    """Return a file with the checksum of `source`, downloaded only if none is found.

    Looks in the cache folder, then in torch.hub's, where other tools leave the same file. A wrong
    file is reported on stderr; it is replaced only in the cache. Raises UserError, which names
    `option`, if the download fails.
    """
    cache, hub = cache_folder(), Path(torch.hub.get_dir(), "checkpoints")
    for file in (folder / name for folder in (cache, hub) for name in STATE_DICT_NAMES):
        if os.path.isfile(file):  # also False if the folder may not be read
            defect = _defect(file, source)
            if defect is None:
                return file
            print(f"warning: {file} {defect}; ignored", file=sys.stderr)
    return _download(source, cache / STATE_DICT_NAMES[0], option)


def _download(source: Source, file: Path, option: str) -> Path:
    failure = _fetch(source, file)
    # Outside the except clause, so that the progress bar is gone and has ended its line.
    if failure is not None:
        raise UserError(
            f"{option}: the Inception weights are not on this machine and {failure}; get "
            f"{source.url} (sha256 {source.sha256[:8]}...) and put it into {file.parent} "
            f"(environment {CACHE_VARIABLE}: another folder), or pass it by {option} FILE"
        )
    file.chmod(0o644)  # only its owner may read a temporary file, but a cache may be shared
    return file


def _fetch(source: Source, file: Path) -> str | None:
    """Download to a temporary file, check, rename; return what went wrong, or None."""
    print(f"downloading {source.url} to {file.parent}", file=sys.stderr, flush=True)
    pooch.get_logger().setLevel(logging.WARNING)
    downloader = pooch.HTTPDownloader(progressbar=True, chunk_size=CHUNK_BYTES)
    try:
        pooch.retrieve(
            source.url, f"sha256:{source.sha256}", file.name, file.parent, downloader=downloader
        )
    except OSError as error:  # every error of the network and of the disk
        return f"cannot be downloaded ({_reason(error)})"
    except ValueError:
        return "the download has another checksum (a damaged transfer or a proxy's page)"
    return None


def _defect(file: Path, expected: Source) -> str | None:
    """Return what is wrong with a file that should be the expected one, or None."""
    try:
        size_bytes = file.stat().st_size
        if size_bytes < expected.size_bytes:
            return f"holds {size_bytes:,} of {expected.size_bytes:,} bytes: an interrupted download"
        if size_bytes > expected.size_bytes:
            return f"holds {size_bytes:,} bytes, the published file {expected.size_bytes:,}"
        sha256 = pooch.file_hash(file)
    except OSError as error:
        return f"cannot be read ({_reason(error)})"
    if sha256 != expected.sha256:
        return f"has the sha256 {sha256[:8]}..., the published file {expected.sha256[:8]}..."
    return None


def _checked_sha256(path: Path, option: str) -> str:
    if not os.path.isfile(path):
        raise UserError(
            f"{option} {path}: no such file; give a file with the Inception weights, or leave "
            f"{option} out to download them"
        )
    expected = PUBLISHED_NAMES.get(path.name)
    defect = _defect(path, expected) if expected else None
    if defect:
        raise UserError(
            f"{option} {path}: {defect}; delete it and get {expected.url} again, or rename it if "
            "it holds other weights on purpose"
        )
    try:
        return expected.sha256 if expected else pooch.file_hash(path)
    except OSError as error:
        raise UserError(f"{option} {path}: cannot be read ({_reason(error)})") from error


# ---- Reading the file ----


# What PyTorch's readers raise for damaged files; ValueError for text that is not UTF-8,
# RuntimeError for endless nesting.
_DAMAGE = (
    AssertionError,
    AttributeError,
    EOFError,
    LookupError,
    MemoryError,
    OSError,
    OverflowError,
    RuntimeError,
    TypeError,
    ValueError,
    pickle.UnpicklingError,
    struct.error,
    zipfile.BadZipFile,
    zlib.error,
)


def _read(path: Path, option: str) -> dict[str, Tensor]:
    try:
        if is_torchscript(path):
            return _fit(read_torchscript(path))
        return _fit(_strip_prefix(load_tensors(path)))
    except MisfitError as error:
        raise UserError(
            f"{option} {path}: not the weights of FID's Inception network ({error}); give a file "
            f"such as {STATE_DICT_NAMES[0]}, or leave {option} out to download it"
        ) from error
    except _DAMAGE as error:
        raise UserError(
            f"{option} {path}: no weights can be read from it ({type(error).__name__}: damaged, "
            "another format, or it contains code, which is not run); give another file, or leave "
            f"{option} out to download it"
        ) from error


def _strip_prefix(content: object) -> dict[str, object]:
    if not isinstance(content, dict) or not all(isinstance(name, str) for name in content):
        raise MisfitError("not a state dict")
    return {name.removeprefix("module."): value for name, value in content.items()}


def _fit(state: dict[str, object]) -> dict[str, Tensor]:
    """Return the state as the network expects it: every name, shape and type is checked."""
    with torch.device("meta"):
        wanted = FidInception().state_dict()
    fitting = {}
    for name, like in wanted.items():
        if name not in state and name.endswith(".num_batches_tracked"):
            fitting[name] = torch.zeros(like.shape, dtype=like.dtype)
        else:
            fitting[name] = _fit_tensor(name, state.get(name), like)
    unknown = next((name for name in state if name not in wanted), None)
    if unknown is not None:
        raise MisfitError(f"{unknown} is not part of it")
    return fitting


def _fit_tensor(name: str, value: object, like: Tensor) -> Tensor:
    if value is None:
        raise MisfitError(f"{name} is missing")
    if not isinstance(value, Tensor) or value.layout != torch.strided or value.is_quantized:
        raise MisfitError(f"{name} is not a plain tensor")
    if value.shape != like.shape:
        raise MisfitError(f"{name} is {list(value.shape)}, not {list(like.shape)}")
    if value.is_floating_point() != like.is_floating_point():
        raise MisfitError(f"{name} is {value.dtype}, not {like.dtype}")
    if not torch.isfinite(value).all():
        raise MisfitError(f"{name} has values that are not finite")
    return value.detach().to(like.dtype)


def _reason(error: BaseException) -> str:
    """Return the original cause of an error, in one short line."""
    while error.__context__ is not None:
        error = error.__context__
    return " ".join(f"{type(error).__name__}: {error}".split())[:200]
