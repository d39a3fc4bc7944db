"""The schedule by which the networks of a progressive GAN grow."""

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class GrowingSchedule:
    """The level as a pure function of the images seen: stable, fade to twice the side, stable, ...

    The last resolution is stable for the rest of the run. Source: Karras et al. 2018, section 2 and
    appendix A.1. A level is log2 of a resolution. Raises ValueError for levels below 0 or in the
    wrong order, and for counts below 1.
    """

    first_level: int
    last_level: int
    stable_images: int  # at each resolution except the last
    fade_images: int  # from each resolution to twice its side

    def __post_init__(self):
        if not 0 <= self.first_level <= self.last_level:
            raise ValueError(
                f"first_level {self.first_level}: outside 0 to last_level {self.last_level}"
            )
        counts = (("stable_images", self.stable_images), ("fade_images", self.fade_images))
        for name, count in counts:
            if count < 1:
                raise ValueError(f"{name} {count} is below 1")

    @property
    def grown_at_images(self) -> int:
        """The images seen when the last resolution is fully faded in."""
        return (self.last_level - self.first_level) * (self.stable_images + self.fade_images)

    def level(self, images_seen: int) -> float:
        """Return the level: 2.0 is 4 x 4; 2.3 is 8 x 8 with weight 0.3, fading in.

        A whole number exactly while the resolution is stable.
        """
        if images_seen >= self.grown_at_images:
            return float(self.last_level)
        grown, inside = divmod(images_seen, self.stable_images + self.fade_images)
        alpha = max(0, inside - self.stable_images) / self.fade_images
        return self.first_level + grown + alpha

    def resets_optimizer(self, before: int, after: int) -> bool:
        """Return whether a fade began or ended between two steps, by the images seen at each.

        Adam's moments then no longer match the networks.
        """
        old, new = self.level(before), self.level(after)
        return (math.floor(old), math.ceil(old)) != (math.floor(new), math.ceil(new))
