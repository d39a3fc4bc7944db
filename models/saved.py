"""`generator.safetensors`: a network that explains itself; and any file that holds a generator."""

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import NamedTuple

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import nn

from errors import UserError
from models.colorizer import Colorizer
from models.official import read_official_generator
from models.resnet_generator import ResnetGenerator, ResnetSizes
from models.stylegan2 import Stylegan2Generator, Stylegan2GeneratorSizes
from models.unet import UnetGenerator, UnetSizes

GENERATORS = {
    "resnet": (ResnetGenerator, ResnetSizes),
    "stylegan2": (Stylegan2Generator, Stylegan2GeneratorSizes),
    "unet": (UnetGenerator, UnetSizes),
    "colorizer": (Colorizer, UnetSizes),
}
DIRECTIONS = ("a2b", "b2a")


class SavedGenerator(NamedTuple):
    """A generator and what its file says of it."""

    network: nn.Module
    description: dict  # empty for an official file


def save_generator(path: Path, network: nn.Module, about: Mapping) -> None:
    """Write weights with architecture and sizes; `about` is further JSON (preprocessing, ...)."""
    architecture = next(name for name, (kind, _) in GENERATORS.items() if type(network) is kind)
    description = {
        "architecture": architecture,
        "sizes": asdict(network.sizes),
        "value_range": [-1, 1],
        **about,
    }
    state = network.state_dict()
    weights = {name: value.detach().cpu().contiguous() for name, value in state.items()}
    save_file(weights, path, metadata={"pairless": json.dumps(description)})


def load_generator(path: Path, option: str, direction: str | None = None) -> SavedGenerator:
    """Read a run folder, a `.safetensors` file of ours or an official `.pth` state dict.

    `direction`, a2b or b2a, chooses between the two generators of a run that learns both; it is
    needed there and refused elsewhere. The network comes back in eval mode on the CPU. Raises
    UserError, which names `option`, for anything else. No code of the file is run.
    """
    if path.is_dir():
        path = _file_of_run(path, option, direction)
    elif direction:
        raise UserError(
            f"--direction {direction}: {option} {path} holds one generator; leave --direction out"
        )
    if not path.is_file():
        raise UserError(f"{option} {path}: no such file; name a run folder, .safetensors or .pth")
    if path.suffix == ".safetensors":
        saved = _load_safetensors(path, option)
    else:
        saved = SavedGenerator(read_official_generator(path, option), {})
    saved.network.eval()
    return saved


def _file_of_run(folder: Path, option: str, direction: str | None) -> Path:
    both_ways = [folder / f"generator_{name}.safetensors" for name in DIRECTIONS]
    one_way = folder / "generator.safetensors"
    file = folder / f"generator_{direction}.safetensors" if direction else one_way
    if file.exists():
        return file
    if direction and one_way.exists():
        raise UserError(
            f"--direction {direction}: the run {option} {folder} translates one way; leave "
            "--direction out"
        )
    if not direction and any(path.exists() for path in both_ways):
        raise UserError(
            f"{option} {folder}: translates both ways; give --direction a2b or b2a, or name one of "
            "its .safetensors files"
        )
    raise UserError(f"{option} {folder}: holds no {file.name}; name a run that has saved")


def _load_safetensors(path: Path, option: str) -> SavedGenerator:
    try:
        with safe_open(path, "pt") as file:
            metadata = file.metadata() or {}
            weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise UserError(
            f"{option} {path}: not a whole safetensors file ({error}); name another"
        ) from error
    try:
        description = json.loads(metadata["pairless"])
        kind, sizes = GENERATORS[description["architecture"]]
        network = kind(sizes(**description["sizes"]))
        network.load_state_dict(weights)
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        reason = " ".join(str(error).split())[:200]
        raise UserError(
            f"{option} {path}: not a generator of this program ({reason}); name another"
        ) from error
    return SavedGenerator(network, description)
