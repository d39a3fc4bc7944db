"""Learning rates and other settings as pure functions of the images seen."""

import math


def linear_decay(
    images_seen: int, *, epoch_images: int, constant_epochs: float, decay_epochs: float
) -> float:
    """Return the factor of the learning rate in the current epoch.

    In epoch e = 1, 2, ...: 1 - max(0, e - constant_epochs) / (decay_epochs + 1), the schedule of
    CUT and of CycleGAN's program since 2025. It never reaches 0 and is constant after the last
    epoch.
    """
    epoch = images_seen // epoch_images + 1
    past = max(0.0, epoch - constant_epochs)
    return 1 - min(past, decay_epochs) / (decay_epochs + 1)


def anneal(images_seen: int, start: float, end: float, *, over_images: int, shape: str) -> float:
    """Return a setting annealed from `start` to `end` over `over_images`, then constant.

    With t = min(1, images_seen / over_images): `linear` start + (end - start) t, `cosine`
    end + (start - end) (1 + cos(pi t)) / 2, `constant` start. over_images 0: `end` at once. Both
    end points are exact.
    Source: Huang et al. 2024, who anneal all settings of a run by one such cosine.

    Raises ValueError for an unknown shape.
    """
    if shape not in ("constant", "linear", "cosine"):
        raise ValueError(f"shape {shape!r} is none of constant, linear, cosine")
    if shape == "constant":
        return start
    passed = images_seen / over_images if images_seen < over_images else 1.0
    share = passed if shape == "linear" else (1 - math.cos(math.pi * passed)) / 2
    return (1 - share) * start + share * end


def warm_up_cosine(images_seen: int, *, warm_up_images: int, total_images: int) -> float:
    """Return the factor of a learning rate: a linear warm-up to 1, then half a cosine to 0.

    images_seen / warm_up_images, then (1 + cos(pi t)) / 2 with t from 0 to 1 at total_images.
    Source: Goyal et al. 2017 (warm-up), Loshchilov and Hutter 2017 (cosine); together in SimCLR.
    """
    if images_seen < warm_up_images:
        return images_seen / warm_up_images
    over = total_images - warm_up_images
    return anneal(images_seen - warm_up_images, 1.0, 0.0, over_images=over, shape="cosine")
