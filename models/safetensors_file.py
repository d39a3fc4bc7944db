"""Networks in `.safetensors` files that describe themselves; nothing in a file is trusted."""

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from errors import UserError
from models.described import build_to_fit, checked_sizes
from models.kinds import KINDS

KEY = "pairless"  # of the description in the file's metadata
TYPES = {"F32": torch.float32, "I64": torch.int64}  # dtypes of our networks' weights


def save_described(path: Path, network: nn.Module, about: Mapping) -> None:
    """Write weights, architecture and sizes of a network whose class is one of `KINDS`.

    about: further JSON metadata (preprocessing, ...).
    """
    architecture = next(
        name
        for kinds in KINDS.values()
        for name, (kind, _) in kinds.items()
        if type(network) is kind
    )
    description = {
        "architecture": architecture,
        "sizes": asdict(network.sizes),
        "value_range": [-1, 1],
        **about,
    }
    state = network.state_dict()
    weights = {name: value.detach().cpu().contiguous() for name, value in state.items()}
    save_file(weights, path, metadata={KEY: json.dumps(description)})


def load_described(path: Path, option: str, what: str) -> tuple[nn.Module, dict]:
    """Read what `save_described` wrote: the network, on the CPU, and its description.

    what: of `KINDS`, such as "a generator". The network is built on the meta device and compared
    with the file's header before it takes memory. Raises UserError, which names `option`, for
    anything else; a network of another kind is named.
    """
    try:
        with safe_open(path, "pt") as file:
            description = json.loads((file.metadata() or {})[KEY])
            architecture = description["architecture"]
            for other in KINDS.keys() - {what}:
                if architecture in KINDS[other]:
                    raise UserError(f"{option} {path}: {other}, not {what}; give another")
            kind, sizes_kind = KINDS[what][architecture]
            sizes = checked_sizes(sizes_kind, description["sizes"])
            network = build_to_fit(lambda: kind(sizes), _header(file))
            weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        network.load_state_dict(weights)
    except (SafetensorError, OSError) as error:
        raise UserError(
            f"{option} {path}: not a complete safetensors file ({error}); give another"
        ) from error
    except (KeyError, TypeError, ValueError, RuntimeError, ArithmeticError) as error:
        reason = " ".join(str(error).split())[:200]
        raise UserError(
            f"{option} {path}: not {what} of this program ({reason}); give another"
        ) from error
    return network, description


def kind_of(path: Path, option: str) -> str:
    """Return which of `KINDS` a file says that it holds, such as "a generator"; "" for none.

    Raises UserError, which names `option`, for a file that is no safetensors file.
    """
    try:
        with safe_open(path, "pt") as file:
            description = json.loads((file.metadata() or {}).get(KEY, "{}"))
    except (SafetensorError, OSError, ValueError) as error:
        raise UserError(
            f"{option} {path}: not a complete safetensors file ({error}); give another"
        ) from error
    architecture = description.get("architecture") if isinstance(description, dict) else None
    return next((what for what, kinds in KINDS.items() if architecture in list(kinds)), "")


def _header(file: safe_open) -> dict[str, Tensor]:
    """Return an open file's tensors on the meta device: names, shapes and dtypes only."""
    header = {}
    for name in file.keys():  # noqa: SIM118
        part = file.get_slice(name)
        if part.get_dtype() not in TYPES:
            raise ValueError(f"{name} is {part.get_dtype()}, not one of {', '.join(TYPES)}")
        header[name] = torch.empty(part.get_shape(), dtype=TYPES[part.get_dtype()], device="meta")
    return header
