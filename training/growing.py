"""The schedule by which the networks of a progressive GAN grow."""

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class GrowingSchedule:
    """Resolutions as a pure function of the images seen: stable, fade to the double, stable, ...

    The last resolution has no end. Source: Karras et al. 2018, section 2 and appendix A.1.
    Raises ValueError for sides that are no powers of two or in the wrong order, and counts below 1.
    """

    first_px: int
    last_px: int
    stable_images: int  # at each resolution but the last
    fade_images: int  # from each resolution to the double

    def __post_init__(self):
        for name, side in (("first_px", self.first_px), ("last_px", self.last_px)):
            if side < 1 or side & (side - 1):
                raise ValueError(f"{name} {side} is not a power of two")
        if self.first_px > self.last_px:
            raise ValueError(f"first_px {self.first_px} is above last_px {self.last_px}")
        counts = (("stable_images", self.stable_images), ("fade_images", self.fade_images))
        for name, count in counts:
            if count < 1:
                raise ValueError(f"{name} {count} is below 1")

    @property
    def grown_at_images(self) -> int:
        """The images seen when the last resolution is fully in."""
        return self._fades * (self.stable_images + self.fade_images)

    def level(self, images_seen: int) -> float:
        """Return log2 of the resolution: 2.0 is 4 x 4; 2.3 is 8 x 8, fading in with share 0.3.

        A whole number while the resolution is stable, and only then.
        """
        if images_seen >= self.grown_at_images:
            return float(_log2(self.last_px))
        grown, inside = divmod(images_seen, self.stable_images + self.fade_images)
        share = max(0, inside - self.stable_images) / self.fade_images
        return _log2(self.first_px) + grown + share

    def resets_optimizer(self, before: int, after: int) -> bool:
        """Tell whether a fade began or ended between two steps, by the images seen at each.

        The moments of an optimiser belong to the networks of before.
        """
        old, new = self.level(before), self.level(after)
        return (math.floor(old), math.ceil(old)) != (math.floor(new), math.ceil(new))

    @property
    def _fades(self) -> int:
        return _log2(self.last_px) - _log2(self.first_px)


def _log2(side: int) -> int:
    return side.bit_length() - 1
