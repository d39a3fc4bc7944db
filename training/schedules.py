"""Learning rates as pure functions of the images seen."""


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
