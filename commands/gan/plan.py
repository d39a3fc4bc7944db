"""The settings of train_gan.py by the images seen."""

import math
from typing import NamedTuple

import models
import training
from commands.gan.options import GanOptions
from errors import UserError


class Settings(NamedTuple):
    """The settings of one step."""

    level: float | None  # how far a progressive GAN has grown; None for the others
    batch_size: int  # of one update, over all processes
    learning_rate: float
    betas: tuple[float, float]
    penalty_factor: float
    augment_probability: float
    ema_decay: float


class Batch(NamedTuple):
    """The number of images in one update, and the option that sets it."""

    images: int
    option: str


class Plan:
    """The settings as pure functions of the images seen."""

    def __init__(self, options: GanOptions):
        self.options = options
        self.growing = None
        if options.generator == "progressive":
            self.growing = training.GrowingSchedule(
                models.gan.whole_level(options.first_px),
                models.gan.whole_level(options.crop_size),
                options.stable_images,
                options.fade_images,
            )
        self._batches = self._batch_table()

    def level(self, images_seen: int) -> float | None:
        """Return log2 of the resolution of a progressive GAN, see `models.gan.growing`."""
        return self.growing.level(images_seen) if self.growing else None

    def images_a_step(self, images_seen: int) -> int:
        """Return the images of the step that begins there: a batch per discriminator update."""
        return self._batch_size(images_seen) * self.options.discriminator_steps

    def settings(self, images_seen: int) -> Settings:
        """Return the settings of the step that begins there."""
        options = self.options
        images = self.images_a_step(images_seen)
        learning_rate = self._annealed(
            images_seen,
            dict(options.learning_rate_at).get(self._px(images_seen), options.learning_rate),
            options.learning_rate_end,
        )
        if images_seen < options.rampup_images:
            learning_rate *= math.exp(-5 * (1 - images_seen / options.rampup_images) ** 2)
        halflife = self._annealed(
            images_seen, options.ema_halflife_images, options.ema_halflife_end
        )
        beta1, beta2 = options.betas
        return Settings(
            self.level(images_seen),
            self._batch_size(images_seen),
            learning_rate,
            (beta1, self._annealed(images_seen, beta2, options.beta2_end)),
            self._annealed(images_seen, 1.0, options.penalty_end),
            self._annealed(
                images_seen, options.augment_probability, options.augment_probability_end
            ),
            options.ema_decay or training.ema_decay(images, halflife),
        )

    def resets_optimizers(self, before: int, after: int) -> bool:
        """Return whether Adam is reset between two steps: when a fade begins or ends."""
        return self.growing is not None and self.growing.resets_optimizer(before, after)

    def check_batches(self, world_size: int) -> None:
        """Raise UserError for batch sizes not divisible by the processes or deviation groups."""
        options = self.options
        for batch in self._batches.values():
            if batch.images % world_size:
                raise UserError(
                    f"{batch.option}: not divisible by the {world_size} processes that share it; "
                    f"use a multiple of {world_size}"
                )
            own = batch.images // world_size
            if self.growing and own > options.deviation_group and own % options.deviation_group:
                raise UserError(
                    f"{batch.option}: {own} on one device is not a multiple of --deviation_group "
                    f"{options.deviation_group}; give a multiple, or fewer than a group"
                )

    @property
    def uses_batch_size(self) -> bool:
        """Whether some resolution uses --batch_size, not --batch_size_at."""
        return not self._batches.keys() <= dict(self.options.batch_size_at).keys()

    @property
    def largest_batch(self) -> Batch:
        """The largest number of images in one update."""
        return max(self._batches.values())

    def _batch_table(self) -> dict[int, Batch]:
        """Return the batch at each resolution in pixels."""
        options = self.options
        sides, sizes = [options.crop_size], dict(options.batch_size_at)
        if self.growing:
            levels = range(self.growing.first_level, self.growing.last_level + 1)
            sides = [models.gan.resolution_px(level) for level in levels]
        usual = Batch(options.batch_size, f"--batch_size {options.batch_size}")
        return {
            px: Batch(sizes[px], f"--batch_size_at {px} {sizes[px]}") if px in sizes else usual
            for px in sides
        }

    def _batch_size(self, images_seen: int) -> int:
        return self._batches[self._px(images_seen)].images

    def _px(self, images_seen: int) -> int:
        level = self.level(images_seen)
        return self.options.crop_size if level is None else models.gan.resolution_px(level)

    def _annealed(self, images_seen: int, start: float, end: float | None) -> float:
        if end is None:
            return start
        return training.anneal(
            images_seen,
            start,
            end,
            over_images=self.options.schedule_images,
            shape=self.options.schedule,
        )
