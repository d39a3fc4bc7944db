"""Learning rates and other settings as pure functions of the images seen."""

import math


def linear_decay(
    images_seen: int, *, epoch_images: int, constant_epochs: float, decay_epochs: float
) -> float:
    """Return the learning rate's factor in the epoch that `images_seen` lies in.

    In epoch e = 1, 2, ...: 1 - max(0, e - constant_epochs) / (decay_epochs + 1), the schedule of
    CUT and of CycleGAN's program since 2025. It never reaches 0; past the last epoch it stays.
    """
    epoch = images_seen // epoch_images + 1
    past = max(0.0, epoch - constant_epochs)
    return 1 - min(past, decay_epochs) / (decay_epochs + 1)


def anneal(images_seen: int, start: float, end: float, *, over_images: int, shape: str) -> float:
    """Return a setting that goes from `start` to `end` over `over_images`, then stays.

    With t = min(1, images_seen / over_images): `linear` start + (end - start) t, `cosine`
    end + (start - end) (1 + cos(pi t)) / 2, `constant` start for ever. over_images 0: `end` at
    once. Both ends are met exactly.
    Source: Huang et al. 2024 move all settings of a run by one such cosine.

    Raises ValueError for another shape.
    """
    if shape not in ("constant", "linear", "cosine"):
        raise ValueError(f"shape {shape!r} is none of constant, linear, cosine")
    if shape == "constant":
        return start
    passed = images_seen / over_images if images_seen < over_images else 1.0
    share = passed if shape == "linear" else (1 - math.cos(math.pi * passed)) / 2
    return (1 - share) * start + share * end
