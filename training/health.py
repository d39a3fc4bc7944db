"""Signs that the training of a GAN or of an encoder is failing."""

from collections.abc import Mapping

import torch
from torch import Tensor

WON = 0.99  # both accuracies
EVEN = 0.05  # spread of embeddings, relative to that of uniform directions
COLLAPSED = 0.1  # distance between fakes relative to that between reals


def pairwise_distance(pictures: Tensor) -> Tensor:
    """Return the root mean square difference between two pictures of a batch.

    sqrt(mean over i != j and pixels of (x_i - x_j)^2), which equals sqrt(2 * unbiased variance over
    the batch, averaged over pixels). pictures: [B, ...]. Returns a float32 scalar, detached; 0 for
    fewer than two.
    """
    if len(pictures) < 2:
        return torch.zeros((), device=pictures.device)
    return (2 * pictures.detach().float().flatten(1).var(0).mean()).sqrt()


def warnings(values: Mapping[str, float]) -> list[str]:
    """Return a sentence for each sign of trouble in the mean values of a log line.

    values: `real_accuracy` and `fake_accuracy` (fractions classified correctly), `real_distance`
    and `fake_distance` (`pairwise_distance` of reals and fakes), `skipped_updates` (a fraction).
    Others are ignored, as are checks of values that are missing or NaN.
    """
    unknown = float("nan")  # compares false with everything
    real, fake = values.get("real_accuracy", unknown), values.get("fake_accuracy", unknown)
    spread, fake_spread = values.get("real_distance", unknown), values.get("fake_distance", unknown)
    skipped = values.get("skipped_updates", unknown)
    found = []
    if real >= WON and fake >= WON:
        found.append(
            f"the discriminator has won: it classifies {real:.1%} of the reals and {fake:.1%} of "
            "the fakes correctly, and the generator learns little; in a new run try a penalty "
            "(`r1`), a lower `discriminator_learning_rate`, or `augment` if there are few pictures"
        )
    if fake_spread < COLLAPSED * spread:
        found.append(
            f"the generator has collapsed: two fakes differ by {fake_spread:.3g}, two reals by "
            f"{spread:.3g}; in a new run try a penalty (`r1`), a lower `learning_rate`, or earlier "
            "weights (`init_from`)"
        )
    if skipped > 0:
        found.append(
            f"{skipped:.2%} of the updates were skipped because a loss or gradient was not finite; "
            "if it persists, try a lower `learning_rate`, a smaller penalty, or `precision` fp32"
        )
    return found


def collapse_warnings(values: Mapping[str, float]) -> list[str]:
    """Return a sentence if the embeddings of a contrastive method have collapsed.

    values: the mean values of a log line; `spread`, the standard deviation of normalised embeddings
    relative to 1 / sqrt(D), is read, and nothing is said where it is missing or NaN.
    """
    spread = values.get("spread", float("nan"))
    if not spread < EVEN:
        return []
    return [
        f"the embeddings have collapsed: their deviation is {spread:.2%} of that of even "
        "directions, so all pictures look alike to the encoder; if it lasts, try a lower "
        "`learning_rate`, a larger `batch_size` or `queue_size`, or a lower `temperature`"
    ]
