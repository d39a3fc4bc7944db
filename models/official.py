"""State dicts (`.pth`) of the official CycleGAN, pix2pix and CUT programs, read and written.

Our parameter names are theirs; this file only takes off what they add (prefixes, constant filters,
unused statistics), and adds the constant filters again.
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
    """Read a generator's state dict; architecture and sizes come from its names and shapes.

    Raises UserError, which names `option`, for a file that holds anything else. Only tensors and
    plain values are unpickled.
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
            f"{option} {path}: no generator that this program knows ({reason})"
        ) from error
    return network


def normalize_state(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return the state under the names that our networks use.

    Takes off prefixes of wrappers, drops the constant blur filters and the statistics that PyTorch
    before 0.4 kept for instance norm, and adds the batch counters that old files lack.
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

    The network's own state and the constant filters of its resampling layers, on the CPU. The
    tensors of a network on the CPU are its own, not copies.
    """
    state = network.state_dict() | _filters(network)
    return {name: value.detach().cpu() for name, value in state.items()}


def save_official(path: Path, network: nn.Module) -> None:
    """Write `official_state(network)` as the official programs do; OSError where that fails."""
    content = io.BytesIO()  # PyTorch's own writer tells of a full disk by a RuntimeError
    torch.save(official_state(network), content)
    path.write_bytes(content.getbuffer())


def _load_state(path: Path, option: str) -> dict[str, Tensor]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # on the protocol of a foreign pickle
            content = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, EOFError, RuntimeError, ValueError, KeyError, pickle.UnpicklingError) as error:
        raise UserError(
            f"{option} {path}: no state dict can be read from it ({type(error).__name__}: damaged, "
            "no checkpoint, or it holds code, which is not run); name a .pth of the official code"
        ) from error
    if not isinstance(content, dict) or not all(
        isinstance(name, str) and isinstance(value, Tensor) for name, value in content.items()
    ):
        raise UserError(
            f"{option} {path}: not a state dict of one network; name a run folder or a *_net_G*.pth"
        )
    return content


def _header(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return the shapes on the meta device; other precisions become ours where they are loaded."""
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
    """Return the constant filters that the official program keeps for the network, by name."""
    found = {}
    for name, layer in network.named_modules():
        if isinstance(layer, FixedFilter):
            found[f"{name}.{layer.official_name}"] = layer.official_filter()
    return found


def _check_filters(state: dict[str, Tensor], network: nn.Module) -> None:
    """Raise ValueError for a filter in the file that is not the network's; none is needed."""
    known = _filters(network)
    for name, value in _without_prefixes(state).items():
        if not name.endswith(CONSTANT_FILTERS):
            continue
        expected = known.get(name)
        same = expected is not None and value.shape == expected.shape
        if not same or not torch.allclose(value.float(), expected):
            raise ValueError(f"{name} is not the filter that the official programs have there")
