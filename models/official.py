"""Generators from the state dicts (`.pth`) of the official CycleGAN and CUT programs.

Our parameter names are theirs; this file only takes off what they add (prefixes, constant filters,
unused statistics) and reads the architecture from the names and shapes that are left.
"""

import pickle
import re
import warnings
from pathlib import Path

import torch
from torch import Tensor, nn

from errors import UserError
from models.resnet_generator import ResnetGenerator, ResnetSizes
from models.stylegan2 import Stylegan2Generator, Stylegan2GeneratorSizes

PREFIXES = ("module.", "_orig_mod.")
CONSTANT_FILTERS = (".filt", ".kernel")
STATISTICS = ("running_mean", "running_var", "num_batches_tracked")


def read_official_generator(path: Path, option: str) -> nn.Module:
    """Read a generator's state dict; architecture and sizes come from its names and shapes.

    Raises UserError, which names `option`, for a file that holds anything else. Only tensors and
    plain values are unpickled.
    """
    try:
        content = _load(path)
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
    state = normalize_state(content)
    try:
        network = build_like(state)
        network.load_state_dict(state)
    except (KeyError, IndexError, RuntimeError, ValueError) as error:
        reason = " ".join(str(error).split())[:200]
        raise UserError(
            f"{option} {path}: no generator that this program knows ({reason})"
        ) from error
    return network


def _load(path: Path) -> object:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # on the protocol of a foreign pickle
        return torch.load(path, map_location="cpu", weights_only=True)


def normalize_state(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return the state under the names that our networks use.

    Takes off prefixes of wrappers, drops the constant blur filters and the statistics that PyTorch
    before 0.4 kept for instance norm, and adds the batch counters that old files lack.
    """
    clean = {}
    for name, value in state.items():
        while name.startswith(PREFIXES):
            name = name.split(".", 1)[1]
        if not name.endswith(CONSTANT_FILTERS):
            clean[name] = value
    for name in list(clean):
        layer, _, kind = name.rpartition(".")
        if kind in STATISTICS and f"{layer}.weight" not in clean:
            del clean[name]
    for name in list(clean):
        if name.endswith(".running_mean"):
            counter = name.replace("running_mean", "num_batches_tracked")
            clean.setdefault(counter, torch.tensor(0))
    return clean


def build_like(state: dict[str, Tensor]) -> nn.Module:
    """Build the generator that a normalised state belongs to.

    Raises KeyError or ValueError where it belongs to none.
    """
    if "encoder.convs.1.0.weight" in state:
        return Stylegan2Generator(_stylegan2_sizes(state))
    if "model.1.weight" in state:
        return ResnetGenerator(_resnet_sizes(state))
    raise ValueError(f"unknown names such as {next(iter(state), 'none at all')}")


def _resnet_sizes(state: dict[str, Tensor]) -> ResnetSizes:
    block_numbers = sorted({int(m[1]) for m in _matches(r"model\.(\d+)\.conv_block\.", state)})
    if not block_numbers:
        raise ValueError("no residual blocks")
    first, last = block_numbers[0], block_numbers[-1]
    tops = {int(m[1]) for m in _matches(r"model\.(\d+)\.weight", state) if state[m[0]].dim() == 4}
    # Strided downs end at layer 9, anti-aliased ones (one layer more each) at 11; an anti-aliased
    # up begins with its resampling layer, a transposed convolution stands first in its own.
    up_numbers = sorted(number for number in tops if number > last)
    head, tail = state["model.1.weight"], state[f"model.{up_numbers[-1]}.weight"]
    return ResnetSizes(
        in_channels=head.shape[1],
        out_channels=tail.shape[0],
        base_channels=head.shape[0],
        blocks=len(block_numbers),
        norm=_resnet_norm(state),
        antialias_down=first == 12,
        antialias_up=up_numbers[0] == last + 2,
        dropout=f"model.{first}.conv_block.6.weight" in state
        and state[f"model.{first}.conv_block.6.weight"].dim() == 4,
    )


def _resnet_norm(state: dict[str, Tensor]) -> str:
    if "model.2.weight" in state:
        return "batch"
    return "instance" if "model.1.bias" in state else "none"


def _stylegan2_sizes(state: dict[str, Tensor]) -> Stylegan2GeneratorSizes:
    """Read widths and depth; the training size and ngf are the ones that give these widths."""
    doublings = _matches(r"decoder\.convs\.(\d+)\.conv\.weight", state)
    plain = {int(m[1]) for m in _matches(r"decoder\.convs\.(\d+)\.conv1\.0\.weight", state)}
    first = state["encoder.convs.1.0.weight"].shape[0]
    last = state[doublings[0][0]].shape[2]
    noise = bool(_matches(r"decoder\.convs\.(\d+)\.noise\.weight", state))
    for size_px in (2**k for k in range(3, 11)):
        for base_channels in range(1, 257):
            sizes = Stylegan2GeneratorSizes(
                base_channels, size_px, len(doublings), 2 * len(plain), noise
            )
            if (sizes.widths[0], sizes.widths[-1]) == (first, last):
                return sizes
    raise ValueError(f"no training size gives the widths {first} and {last}")


def _matches(pattern: str, state: dict[str, Tensor]) -> list[re.Match]:
    found = (re.match(pattern, name) for name in state)
    return [match for match in found if match]
