"""State dicts (`.pth`) of the official CycleGAN, pix2pix and CUT programs, read and written.

Our parameter names are the same. Reading only strips what those files have in addition (prefixes,
constant filters, unused statistics); writing adds the constant filters again.
"""

import io
import pickle
import warnings
from pathlib import Path

import torch
from torch import Tensor, nn

from errors import UserError
from models.architecture import build_like
from models.described import build_to_fit, check_stored
from models.resampling import FixedFilter

PREFIXES = ("module.", "_orig_mod.")
CONSTANT_FILTERS = (".filt", ".kernel")
STATISTICS = ("running_mean", "running_var", "num_batches_tracked")


def read_official_generator(path: Path, option: str) -> nn.Module:
    """Read a generator's state dict; architecture and sizes are inferred from names and shapes.

    Raises UserError, which names `option`, for any other file. Only tensors and plain values are
    unpickled.
    """
    content = _load_state(path, option)
    try:
        check_stored(content)
        state = normalize_state(content)
        network = build_to_fit(lambda: build_like(state), _header(state))
        network.load_state_dict(state)
        _check_filters(content, network)
    except (KeyError, IndexError, RuntimeError, ValueError) as error:
        reason = " ".join(str(error).split())[:200]
        raise UserError(
            f"{option} {path}: not a generator that this program knows ({reason})"
        ) from error
    return network


def normalize_state(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return the state with the parameter names that our networks use.

    Strips the prefixes of wrapper modules, drops the constant blur filters and the running
    statistics that PyTorch before 0.4 saved for instance norm, and adds the `num_batches_tracked`
    that old files lack.
    """
    clean = {
        name: value
        for name, value in _without_prefixes(state).items()
        if not name.endswith(CONSTANT_FILTERS)
    }
    for name in list(clean):
        layer, _, kind = name.rpartition(".")
        if kind in STATISTICS and f"{layer}.weight" not in clean:
            del clean[name]
    for name in list(clean):
        if name.endswith(".running_mean"):
            counter = name.replace("running_mean", "num_batches_tracked")
            clean.setdefault(counter, torch.tensor(0))
    return clean


def official_state(network: nn.Module) -> dict[str, Tensor]:
    """Return a generator's or discriminator's state dict as the official program saves it.

    That is the network's own state and the constant filters of its resampling layers, on the CPU.
    For a network on the CPU the tensors are shared, not copied.
    """
    state = network.state_dict() | _filters(network)
    return {name: value.detach().cpu() for name, value in state.items()}


def save_official(path: Path, network: nn.Module) -> None:
    """Write `official_state(network)` as the official programs do; raises OSError on failure."""
    content = io.BytesIO()  # writing to a path, torch.save raises RuntimeError for a full disk
    torch.save(official_state(network), content)
    path.write_bytes(content.getbuffer())


def _load_state(path: Path, option: str) -> dict[str, Tensor]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # about old pickle protocols
            content = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, EOFError, RuntimeError, ValueError, KeyError, pickle.UnpicklingError) as error:
        raise UserError(
            f"{option} {path}: no state dict can be read from it ({type(error).__name__}: damaged, "
            "not a checkpoint, or it holds code, which is not run); give a .pth of the official "
            "code"
        ) from error
    if not isinstance(content, dict) or not all(
        isinstance(name, str) and isinstance(value, Tensor) for name, value in content.items()
    ):
        raise UserError(
            f"{option} {path}: not a state dict of one network; give a run folder or a *_net_G*.pth"
        )
    return content


def _header(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return the state on the meta device, as float32 and int64: loading converts other dtypes."""
    return {
        name: value.to("meta", torch.float32 if value.is_floating_point() else torch.int64)
        for name, value in state.items()
    }


def _without_prefixes(state: dict[str, Tensor]) -> dict[str, Tensor]:
    clean = {}
    for name, value in state.items():
        while name.startswith(PREFIXES):
            name = name.split(".", 1)[1]
        clean[name] = value
    return clean


def _filters(network: nn.Module) -> dict[str, Tensor]:
    """Return the constant filters that the official program saves with the network, by name."""
    found = {}
    for name, layer in network.named_modules():
        if isinstance(layer, FixedFilter):
            found[f"{name}.{layer.official_name}"] = layer.official_filter()
    return found


def _check_filters(state: dict[str, Tensor], network: nn.Module) -> None:
    """Raise ValueError if a filter in the file differs from the network's; all are optional."""
    known = _filters(network)
    for name, value in _without_prefixes(state).items():
        if not name.endswith(CONSTANT_FILTERS):
            continue
        expected = known.get(name)
        same = expected is not None and value.shape == expected.shape
        if not same or not torch.allclose(value.float(), expected):
            raise ValueError(f"{name} is not the filter that the official programs use there")
