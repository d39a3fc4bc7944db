"""Encoders and classifiers of pictures: built by name, written to files and read from them."""

import hashlib
from collections.abc import Mapping
from pathlib import Path

from torch import Tensor, nn

from errors import UserError
from models.resnet_encoder import EncoderSizes, ResnetClassifier, ResnetEncoder
from models.safetensors_file import load_described, save_described

ENCODERS = {"resnet18": 18, "resnet50": 50}
SMALL_PX = 64  # up to here the first convolution does not reduce the resolution
ENCODER_FILE, CLASSIFIER_FILE = "encoder.safetensors", "classifier.safetensors"


def build_encoder(
    name: str,
    image_size: int,
    *,
    in_channels: int = 3,
    base_channels: int = 64,
    norm: str = "batch",
) -> ResnetEncoder:
    """Build an untrained resnet18 or resnet50 without its classifier.

    image_size: pixels of a side of the pictures that it is for; up to 64 px the first convolution
    is 3x3 with stride 1 and there is no max pooling. in_channels: 1 for grey pictures, 3 for RGB.
    base_channels: channels of the first convolution; the usual 64 gives features of length 512 or,
    for resnet50, 2048. norm: batch, or group (Wu and He 2018), which does not couple the pictures
    of a batch.

    The encoder maps float [B, C, H, W] in [-1, 1] to features [B, `channels`]; it is in training
    mode, with PyTorch's own initial weights (`draw_layers` draws them from a seed).
    Raises UserError for sizes below 1 and ValueError for an unknown name or norm.
    """
    if name not in ENCODERS:
        raise ValueError(f"unknown encoder {name!r}: not one of {', '.join(ENCODERS)}")
    for option, value in (("base_channels", base_channels), ("image_size", image_size)):
        if value < 1:
            raise UserError(f"`{option}` {value}: below 1; give 1 or more")
    return ResnetEncoder(
        EncoderSizes(ENCODERS[name], in_channels, base_channels, image_size <= SMALL_PX, norm)
    )


class SavedEncoder(nn.Module):
    """An encoder from a file, in eval mode and frozen.

    `description`: what the file says: architecture, sizes, value_range, method, images_seen, and
    preprocessing: size_px (a side of the pictures that it was trained for), resize (the filter, of
    the short side to size_px), crop (centre) and channels. `sha256`: of the file, in hexadecimal.
    `channels`: D.
    """

    def __init__(self, network: ResnetEncoder, description: Mapping, sha256: str):
        super().__init__()
        self.network = network
        self.description, self.sha256 = dict(description), sha256
        self.channels: int = network.channels
        self.eval().requires_grad_(False)

    def forward(self, images: Tensor) -> Tensor:
        """Return features [B, D] of images float [B, C, H, W] in [-1, 1]; C is 3 (1 if grey).

        Raises ValueError for images of another shape.
        """
        return self.network(_checked(images, self.network.sizes))


class SavedClassifier(nn.Module):
    """A classifier from a file, in eval mode and frozen.

    `class_names`: of the K classes, by index; `description` and `sha256` as of `SavedEncoder`.
    """

    def __init__(self, network: ResnetClassifier, description: Mapping, sha256: str):
        super().__init__()
        self.network = network
        self.description, self.sha256 = dict(description), sha256
        self.class_names: tuple[str, ...] = tuple(description["class_names"])
        self.eval().requires_grad_(False)

    def forward(self, images: Tensor) -> Tensor:
        """Return logits [B, K] of images float [B, C, H, W] in [-1, 1]; C is 3 (1 if grey).

        Raises ValueError for images of another shape.
        """
        return self.network(_checked(images, self.network.sizes))


def save_encoder(path: Path, encoder: ResnetEncoder, description: Mapping) -> None:
    """Write an encoder's weights and sizes; `description` is further JSON (preprocessing, ...)."""
    save_described(path, encoder, description)


def save_classifier(path: Path, classifier: ResnetClassifier, description: Mapping) -> None:
    """Write a classifier; `description` holds `class_names`, one for each class, and more JSON."""
    if len(description["class_names"]) != classifier.sizes.classes:
        raise ValueError(f"{classifier.sizes.classes} classes, {description['class_names']}")
    save_described(path, classifier, description)


def load_encoder(path: Path | str, option: str = "`encoder`") -> SavedEncoder:
    """Read an encoder from a run folder or an `encoder.safetensors` file, onto the CPU.

    Raises UserError, which names `option`, for anything else. No code from the file is run, and
    the network takes no memory before its sizes have been compared with the file's.
    """
    file = _file(Path(path), ENCODER_FILE, option)
    network, description = load_described(file, option, "an encoder")
    return SavedEncoder(network, description, _sha256(file))


def load_classifier(path: Path | str, option: str = "`classifier`") -> SavedClassifier:
    """Read a classifier from a run folder or a `classifier.safetensors` file, onto the CPU.

    Raises UserError as `load_encoder` does, and if the class names do not fit the network.
    """
    file = _file(Path(path), CLASSIFIER_FILE, option)
    network, description = load_described(file, option, "a classifier")
    names = description.get("class_names")
    fits = isinstance(names, list) and len(names) == network.sizes.classes
    if not fits or not all(isinstance(name, str) for name in names):
        raise UserError(
            f"{option} {file}: its class names do not fit its {network.sizes.classes} classes; "
            "give another"
        )
    return SavedClassifier(network, description, _sha256(file))


def _file(path: Path, name: str, option: str) -> Path:
    file = path / name if path.is_dir() else path
    if not file.is_file():
        within = f"no {name} in it" if path.is_dir() else "no such file"
        raise UserError(
            f"{option} {path}: {within}; give a run folder of train_features.py or its {name}"
        )
    return file


def _checked(images: Tensor, sizes: EncoderSizes) -> Tensor:
    if images.dim() != 4 or images.shape[1] != sizes.in_channels:
        found = f"{images.shape[1]} channels" if images.dim() == 4 else f"{images.dim()} dimensions"
        raise ValueError(
            f"images {list(images.shape)} have {found}: the network takes {sizes.in_channels} "
            "channels, [B, C, H, W]"
        )
    return images


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
