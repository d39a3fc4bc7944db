"""What is attacked: a classifier, a translator, the two of a CycleGAN, or a GAN's discriminator."""

import json
from collections.abc import Callable, Sequence
from dataclasses import fields
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn

import data
import losses
import models
import training
from commands.attacking.options import AttackOptions
from commands.extractors import load_code
from commands.gan.networks import build_networks
from commands.gan.options import GanOptions
from errors import UserError

OPTION = "--checkpoint"


class Classifier(NamedTuple):
    """A network from pictures to logits, and the pictures that it takes."""

    model: Callable[[Tensor], Tensor]
    class_names: Sequence[str]  # empty: numbers
    size_px: int  # 0: as they are
    channels: int


class Translator(NamedTuple):
    """A translator, and what its inputs and outputs hold."""

    network: nn.Module
    source: data.Content
    target: data.Content


class Cycle(NamedTuple):
    """Two translators, there and back."""

    there: Translator
    back: Translator


class Gan(NamedTuple):
    """A generator from noise, and the discriminator of its run."""

    sampler: models.Sampler
    discriminator: nn.Module
    boundary: float | None  # a logit above it means real; None: only differences matter

    def logits(self, pictures: Tensor, labels: Tensor | None) -> Tensor:
        """Return the discriminator's logits [B], in eval mode."""
        grown = {} if self.sampler.level is None else {"level": self.sampler.level}
        if labels is not None and grown:
            return self.discriminator.forward_with_classes(pictures, **grown)[0].float()
        return self.discriminator(pictures, labels, **grown).float()


Target = Classifier | Translator | Cycle | Gan


def open_target(options: AttackOptions, device: torch.device) -> Target:
    """Read --checkpoint onto the device; raises UserError for what cannot be attacked."""
    path = Path(options.checkpoint)
    if not path.exists() and ":" in options.checkpoint:
        return _function(options, device)
    if not path.exists():
        raise UserError(
            f"{OPTION} {path}: no such file or folder; give a run folder, .safetensors, .pth or "
            "module:function"
        )
    if path.suffix == ".pt":
        raise UserError(
            f"{OPTION} {path}: is for resuming a training; give its run folder, or the "
            ".safetensors in it"
        )
    kind = _kind(path)
    if kind == "a classifier":
        return _classifier(path, device)
    if kind not in ("a generator", "two generators"):
        raise UserError(
            f"{OPTION} {path}: {kind or 'no network of ours'}; give a classifier "
            "(train_features.py --preset supervised), a translator or a run of train_gan.py"
        )
    if options.objective == "hidden":
        return _cycle(path, options.direction or "a2b", device)
    saved = models.read_saved(path, OPTION, options.direction)
    if models.makes_from_noise(saved):
        return _gan(path, device)
    return _translator(saved, device)


def _kind(path: Path) -> str:
    if path.is_file():
        return "a generator" if path.suffix == ".pth" else models.kind_of(path, OPTION)
    for name in (models.CLASSIFIER_FILE, "generator.safetensors", models.ENCODER_FILE):
        if (path / name).is_file():
            return models.kind_of(path / name, OPTION)
    return "two generators" if (path / "generator_a2b.safetensors").is_file() else ""


def _function(options: AttackOptions, device: torch.device) -> Classifier:
    model, _ = load_code(options.checkpoint, device, OPTION)
    if isinstance(model, nn.Module):
        model.requires_grad_(False)
    return Classifier(model, options.class_names, options.crop_size, 3)


def _classifier(path: Path, device: torch.device) -> Classifier:
    saved = models.load_classifier(path, OPTION)
    taken = saved.description.get("preprocessing", {})
    try:
        size, channels = int(taken["size_px"]), int(taken["channels"])
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(
            f"{OPTION} {path}: does not say what pictures it takes; give another"
        ) from error
    return Classifier(saved.to(device), saved.class_names, size, channels)


def _translator(saved: models.SavedGenerator, device: torch.device) -> Translator:
    network = saved.network.to(device).requires_grad_(False)
    source, target = data.contents_of(
        saved.description, network.in_channels, network.out_channels, OPTION
    )
    if source.kind == "labels":
        raise UserError(
            f"{OPTION}: translates label maps, which cannot change a little; give a translator of "
            "pictures"
        )
    return Translator(network, source, target)


def _cycle(path: Path, direction: str, device: torch.device) -> Cycle:
    files = [path / f"generator_{name}.safetensors" for name in ("a2b", "b2a")]
    if not all(file.is_file() for file in files):
        raise UserError(
            f"--objective hidden: {OPTION} {path} is no run of train_cyclegan.py, with generators "
            "there and back; give one, or another objective"
        )
    parts = [_translator(models.read_saved(file, OPTION), device) for file in files]
    return Cycle(*(parts if direction == "a2b" else parts[::-1]))


def _gan(path: Path, device: torch.device) -> Gan:
    if not path.is_dir():
        raise UserError(
            f"{OPTION} {path}: a generator from noise without its discriminator; give its run "
            "folder"
        )
    sampler = models.load_sampler(path, OPTION)
    options = _gan_options(path)
    discriminator = build_networks(options)["discriminator"]
    checkpoint = training.read_weights(path, OPTION)
    if sampler.level is not None and checkpoint.images_seen != sampler.description["images_seen"]:
        raise UserError(
            f"{OPTION} {path}: its checkpoint and generator.safetensors differ in level; let the "
            "training save again"
        )
    states = {name: state for name, state in checkpoint.states.items() if name == "discriminator"}
    training.restore({"discriminator": discriminator}, states, f"{OPTION} {path}")
    sampler.network.to(device)
    boundary = losses.OBJECTIVES[options.objective].boundary
    return Gan(sampler, discriminator.to(device).eval().requires_grad_(False), boundary)


def _gan_options(folder: Path) -> GanOptions:
    """Return the options of a run of train_gan.py, as its config.json has them."""
    known = {field.name for field in fields(GanOptions)}
    try:
        options = json.loads((folder / "config.json").read_text(encoding="utf-8"))["options"]
        found = GanOptions(**{name: value for name, value in options.items() if name in known})
        if found.objective not in losses.OBJECTIVES:
            raise ValueError(f"objective {found.objective!r}")
        return found
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(
            f"{OPTION} {folder}: its config.json is not that of a run of train_gan.py ({error}); "
            "give another"
        ) from error
