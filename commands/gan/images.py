"""The training pictures of train_gan.py, opened and checked before training."""

import hashlib
from functools import partial

import torch
from torch import nn

import data
import models
from commands import launch, pictures
from commands.gan.options import GanOptions
from commands.gan.plan import Plan
from errors import UserError

PREVIEW_SIDE = 8  # maximum of a preview's rows and columns


def open_images(options: GanOptions) -> launch.Data:
    """Find the pictures and their classes, and check what can be checked before training."""
    files = data.list_images(options.dataroot, "--dataroot")
    labels = data.read_labels(options.labels, options.dataroot, files)
    plan = Plan(options)
    batch = plan.largest_batch
    if len(files) < batch.images:
        raise UserError(
            f"{batch.option}: --dataroot {options.dataroot} has only {len(files)} images; give a "
            "smaller batch or more images"
        )
    preprocessing = data.Preprocessing(
        "centre_crop",
        options.load_size or options.crop_size,
        options.crop_size,
        options.flip,
        size_multiple=1,
    )
    content = data.Content("colour", options.channels)
    dataset = data.ImageFolder(
        files,
        labels,
        preprocessing,
        seed=options.seed,
        content=content,
        loading=pictures.loading(options),
    )
    frequencies = [count / len(files) for count in labels.counts]
    reals = pictures.ReadPictures(
        f"--dataroot {options.dataroot}",
        files,
        files,
        data.names_below(files, options.dataroot),
        partial(data.prepared_levels, preprocessing=preprocessing, content=content),
        options.workers,
    )

    def about(images_seen: int) -> dict[str, object]:
        level = plan.level(images_seen)
        return {"class_names": labels.names, "class_shares": frequencies, "level": level}

    def fakes(
        network: nn.Module, device: torch.device, images_seen: int
    ) -> pictures.SampledPictures:
        sampler = models.Sampler(network, **about(images_seen))
        return pictures.SampledPictures(
            "--evaluate_images", sampler, options.evaluate_images, options.seed
        )

    return launch.Data(
        dataset,
        dataset.preview(PREVIEW_SIDE),
        {"images": data.fingerprint(files), "classes": fingerprint(labels)},
        options.total_images,
        {"classes": len(labels.names)},
        about,
        {"generator.safetensors": launch.Test(fakes, reals)},
        plan.images_a_step,
        data.glance("pictures", [data.Side("pictures", files)], preprocessing),
    )


def fingerprint(labels: data.Labels) -> str:
    """Return what must not change for a resume: the classes and their pictures."""
    if not labels.names:
        return "none"
    digest = hashlib.sha256(repr((labels.names, labels.of_files)).encode()).hexdigest()
    return f"{len(labels.names)} classes, {digest[:16]}"
