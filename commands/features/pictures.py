"""The pictures of train_features.py, opened and checked before training."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path

from torch import nn

import data
import models
from commands import launch, pictures
from commands.features.measuring import FeatureMonitor
from commands.features.options import FeatureOptions, warn_of_queue
from commands.features.parts import open_parts
from commands.gan.images import fingerprint
from errors import UserError

SHOWN = 8  # pictures in a preview


def open_pictures(options: FeatureOptions) -> launch.Data:
    """Open the pictures for a training."""
    parts = open_parts(options)
    files, labels = parts.train
    warn_of_queue(options, len(files))
    size = options.preprocessing_px
    preprocessing = data.Preprocessing("centre_crop", size, size, False, size_multiple=1)
    dataset = data.ImageFolder(
        files,
        labels,
        preprocessing,
        seed=options.seed,
        content=data.Content("colour", options.channels),
        loading=pictures.loading(options),
    )
    schedule_images = round(options.epochs * len(files))
    if options.total_images > schedule_images:
        raise UserError(
            f"--total_images {options.total_images}: the learning rate is 0 from the end of the "
            f"schedule on, at {schedule_images} images; give more --epochs instead"
        )
    description = {"images": data.fingerprint(files), "classes": fingerprint(labels)}
    if parts.test.files:
        description["test"] = data.fingerprint(parts.test.files)
    return launch.Data(
        dataset,
        dataset.preview(SHOWN),
        description,
        schedule_images,
        {"classes": len(labels.names), "epoch_images": len(files)},
        lambda images_seen: about(options, labels.names),
        export=export,
        monitor=partial(FeatureMonitor, options, parts),
    )


def about(options: FeatureOptions, class_names: Sequence[str]) -> dict[str, object]:
    """Return what an encoder's file says of its method and of the pictures that it takes."""
    return {
        "method": options.preset,
        "preprocessing": {
            "size_px": options.crop_size,
            "resize": "bicubic",
            "crop": "centre",
            "channels": options.channels,
        },
        "class_names": list(class_names),
    }


def export(path: Path, network: nn.Module, description: dict) -> None:
    """Write an encoder or a classifier."""
    is_classifier = isinstance(network, models.ResnetClassifier)
    (models.save_classifier if is_classifier else models.save_encoder)(path, network, description)
