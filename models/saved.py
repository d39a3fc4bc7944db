"""Writes `generator.safetensors`, with its own description, and reads any generator's file."""

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from torch import nn

from errors import UserError
from models.gan import GAN_GENERATORS
from models.gan.sampler import Sampler
from models.official import read_official_generator
from models.safetensors_file import load_described, save_described

DIRECTIONS = ("a2b", "b2a")


class SavedGenerator(NamedTuple):
    """A generator and the description in its file."""

    network: nn.Module
    description: dict  # empty for an official file


def save_generator(path: Path, network: nn.Module, about: Mapping) -> None:
    """Write weights, architecture and sizes; `about` is further JSON metadata (preprocessing, ...).

    For a generator of pictures from noise, `about` may hold arguments of `Sampler`: class_names,
    class_shares and level.
    """
    save_described(path, network, about)


def load_generator(
    path: Path | str,
    option: str = "`checkpoint`",
    direction: str | None = None,
    remedy: str = "give a translator",
) -> SavedGenerator:
    """Read a translator; see `read_saved` for the arguments.

    Raises UserError, which names `option`, for anything else; for a generator from noise the
    message ends with `remedy`.
    """
    saved = read_saved(path, option, direction)
    if makes_from_noise(saved):
        raise UserError(f"{option} {path}: makes pictures from noise, not translations; {remedy}")
    return saved


def load_sampler(
    path: Path | str,
    option: str = "`checkpoint`",
    remedy: str = "give a generator from noise",
) -> Sampler:
    """Read a generator that makes pictures from noise: a run folder or a `.safetensors` file.

    The network is on the CPU; `sampler.network.to(device)` moves it.
    Raises UserError, which names `option`, for anything else. No code from the file is run.
    """
    path = Path(path)
    both_ways = any((path / f"generator_{name}.safetensors").exists() for name in DIRECTIONS)
    saved = None if both_ways else read_saved(path, option)
    if saved is None or not makes_from_noise(saved):
        raise UserError(f"{option} {path}: a translator, not a generator from noise; {remedy}")
    return sampler_of(saved, path, option)


def sampler_of(saved: SavedGenerator, path: Path, option: str) -> Sampler:
    """Return the sampler of a generator from noise; UserError for a description that is wrong."""
    about = saved.description
    try:
        return Sampler(
            saved.network,
            class_names=_texts(about.get("class_names", [])),
            class_shares=about.get("class_shares", []),
            level=about.get("level"),
            description=about,
        )
    except (TypeError, ValueError, OverflowError) as error:
        raise UserError(
            f"{option} {path}: its description does not fit its network ({error}); give another"
        ) from error


def read_saved(path: Path | str, option: str, direction: str | None = None) -> SavedGenerator:
    """Read a run folder, a `.safetensors` file of ours or an official `.pth` state dict.

    `direction`, a2b or b2a, chooses between the two generators of a CycleGAN run; it is required
    there and refused otherwise. The network is returned in eval mode on the CPU. Raises UserError,
    which names `option`, for anything else. No code from the file is run.
    """
    path = Path(path)
    if path.is_dir():
        path = _file_of_run(path, option, direction)
    elif direction:
        raise UserError(
            f"`direction` {direction}: {option} {path} holds one generator only; leave it out"
        )
    if not path.is_file():
        raise UserError(f"{option} {path}: no such file; give a run folder, .safetensors or .pth")
    if path.suffix == ".safetensors":
        saved = _load_safetensors(path, option)
    else:
        saved = SavedGenerator(read_official_generator(path, option), {})
    saved.network.eval()
    return saved


def makes_from_noise(saved: SavedGenerator) -> bool:
    """Return whether a generator makes pictures from noise, and is no translator."""
    return saved.description.get("architecture") in GAN_GENERATORS


def _texts(values: object) -> list[str]:
    if not isinstance(values, list) or not all(isinstance(value, str) for value in values):
        raise TypeError(f"class_names {str(values)[:100]}: not a list of strings")
    return values


def _file_of_run(folder: Path, option: str, direction: str | None) -> Path:
    both_ways = [folder / f"generator_{name}.safetensors" for name in DIRECTIONS]
    one_way = folder / "generator.safetensors"
    file = folder / f"generator_{direction}.safetensors" if direction else one_way
    if file.exists():
        return file
    if direction and one_way.exists():
        raise UserError(
            f"`direction` {direction}: the run {option} {folder} translates in one direction only; "
            "leave it out"
        )
    if not direction and any(path.exists() for path in both_ways):
        raise UserError(
            f"{option} {folder}: translates in both directions; give `direction` a2b or b2a, or "
            "one of its .safetensors files"
        )
    raise UserError(f"{option} {folder}: no {file.name} in it; give a run that has saved one")


def _load_safetensors(path: Path, option: str) -> SavedGenerator:
    return SavedGenerator(*load_described(path, option, "a generator"))
