"""Train a GAN that generates pictures from noise, on a folder of pictures.

A discriminator learns to distinguish real pictures from generated ones, and the generator learns to
fool it (Goodfellow et al. 2014). Presets: r3gan (recommended; also r3gan_32, r3gan_tiny), vanilla,
vanilla_conv, dcgan (also dcgan_tiny), sngan, wgan_gp, progressive (also progressive_paper,
progressive_cifar10).
"""

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

import data
import losses
import models
import training
from commands import cli, launch
from commands.gan import options as gan_options
from commands.gan.health import EQUILIBRIUM, GAMES, game_values, nan_if_skipped, watch
from commands.gan.images import PREVIEW_SIDE, open_images
from commands.gan.networks import build_networks
from commands.gan.noise import Noise
from commands.gan.plan import Plan, Settings
from commands.gan.presets import PRESETS
from commands.trained import TrainedNetworks
from errors import UserError
from models.gan import augmentation

PREVIEW_PX = 2048  # maximum side of a preview


@dataclass(frozen=True)
class Options(gan_options.GanOptions):
    """All options of this command."""

    preset: Literal[tuple(PRESETS)] = "r3gan"
    """Set of defaults, which the other options override."""


class DiscriminatorOutput(NamedTuple):
    """The discriminator's output for a batch."""

    logits: Tensor  # [B]
    class_logits: Tensor | None  # [B, K], of an AC-GAN


class Gan:
    """Generator, discriminator, and their training step."""

    def __init__(self, options: Options, device: torch.device, processes: training.Processes):
        """Build the networks; `classes` and `precision` of the options are resolved."""
        self.options, self.device, self.processes = options, device, processes
        self.objective = losses.OBJECTIVES[options.objective]
        self.plan = Plan(options)
        self.plan.check_batches(processes.world_size)
        self.networks = build_networks(options)
        self.generator, self.discriminator = self.networks.values()
        for name, network in self.networks.items():
            network.draw_weights(
                training.generator_for(torch.device("cpu"), options.seed, 0, f"{name} weights")
            )
            network.to(device)
        self.trained = TrainedNetworks(
            self.networks,
            options,
            device,
            learning_rate=options.learning_rate,
            betas=options.betas,
            averaged=bool(
                options.ema_halflife_images or options.ema_halflife_end or options.ema_decay
            ),
        )
        self.adaptive = None
        if options.ada_target:
            self.adaptive = training.AdaptiveAugmentation(
                device, options.ada_target, options.ada_images
            )
        self.level = self.plan.level(0)

    # The three members that the loop uses.

    def step(self, batch: data.ImageBatch, images_seen: int) -> dict[str, Tensor]:
        """Update the discriminator `discriminator_steps` times, then the generator."""
        now = self.plan.settings(images_seen)
        self.level = now.level
        self._set_optimizers(now)
        self.trained.random.start(images_seen)
        constant = now._replace(learning_rate=0.0, ema_decay=0.0)  # what `update` cannot read anew
        values = self.trained.run("update", constant, partial(self.update, now), *batch)
        training.average_statistics(self.generator)
        for name, average in self.trained.averages.items():
            average.update(self.networks[name], now.ema_decay)
        after = images_seen + self.plan.images_a_step(images_seen)
        if self.plan.resets_optimizers(images_seen, after):
            for optimizer in self.trained.optimizers.values():
                optimizer.state.clear()
        self.level = self.plan.level(after)
        logged = self._logged(values, now)
        if self.adaptive:
            self.adaptive.advance(self.options.discriminator_steps, after - images_seen)
        return logged

    @torch.no_grad()
    def preview(self, batch: data.ImageBatch) -> Tensor:
        """Return a row of reals and rows of fakes, one row per class if there are classes.

        Up to eight rows and columns, fewer for large pictures.
        """
        (network,) = self.trained.generators.values()
        columns = max(1, min(PREVIEW_SIDE, PREVIEW_PX // self.options.crop_size))
        rows = min(self.options.classes, columns) or columns
        count = rows * columns
        latents = models.gan.draw_latents(self.options.seed, count, network.latent_channels)
        labels = None
        if self.options.classes:
            labels = torch.arange(rows).repeat_interleave(columns)
        fakes = models.Sampler(network, level=self.level).pictures(latents, labels)
        repeated = torch.arange(columns) % len(batch.images)
        reals = self._at_level(batch.images[repeated].to(self.device))
        shown = [reals, *fakes.split(columns)]
        return training.sheet([row.expand(-1, 3, -1, -1) for row in shown])

    def state(self) -> dict[str, training.Stateful]:
        """Everything to be saved."""
        return self.trained.state() | ({"adaptive": self.adaptive} if self.adaptive else {})

    # The method.

    def update(self, now: Settings, images: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """Make the discriminator's updates, each on its part of the batch, then the generator's."""
        parts = self.options.discriminator_steps
        found = []
        for part in range(parts):
            # Every parts-th picture: so the parts are the same for any number of processes.
            own = data.ImageBatch(images[part::parts], labels[part::parts])
            noise = self._noise(f"discriminator {part}", len(own.images))
            found.append(self.update_discriminator(own, now, noise))
        values = {name: torch.stack([one[name] for one in found]).mean() for name in found[0]}
        noise = self._noise("generator", len(own.images))
        return values | self.update_generator(own, now, noise)

    def update_discriminator(
        self, batch: data.ImageBatch, now: Settings, noise: Noise
    ) -> dict[str, Tensor]:
        """Update the discriminator once; the generator is bitwise unchanged.

        Penalties are computed on the augmented pictures and in float32: a pass that is
        differentiated twice runs without autocast. Running statistics are not updated, since
        nothing uses the discriminator's.
        """
        with training.untracked(self.discriminator):
            return self._update_discriminator(batch, now, noise)

    def _update_discriminator(
        self, batch: data.ImageBatch, now: Settings, noise: Noise
    ) -> dict[str, Tensor]:
        options = self.options
        with torch.no_grad(), training.untouched(self.generator):
            fakes = self._generate(batch.labels, noise)
        reals = self._at_level(batch.images)
        seen_reals = self._augmented(reals, now, noise).detach().requires_grad_(bool(options.r1))
        seen_fakes = self._augmented(fakes, now, noise).detach().requires_grad_(bool(options.r2))
        twice = bool(options.r1 or options.r2)
        real = self._discriminate(seen_reals, batch.labels, twice=twice)
        fake = self._discriminate(seen_fakes, batch.labels, twice=twice)
        terms = {"discriminator": self.objective.discriminator(real.logits, fake.logits)}
        factor = now.penalty_factor
        if options.r1:
            terms["r1"] = options.r1 * factor * losses.r1_penalty(seen_reals, real.logits)
        if options.r2:
            terms["r2"] = options.r2 * factor * losses.r1_penalty(seen_fakes, fake.logits)
        if options.gradient_penalty:
            points = losses.interpolate(seen_reals, seen_fakes, noise.fractions())
            scores = self._discriminate(points, batch.labels, twice=True).logits
            penalty = losses.gradient_penalty(points, scores, target=options.gradient_target)
            terms["gradient_penalty"] = options.gradient_penalty * factor * penalty
        if options.drift:
            terms["drift"] = options.drift * losses.drift(real.logits)
        if real.class_logits is not None:
            terms["classes_real"] = self._class_loss(real.class_logits, batch.labels)
            terms["classes_fake"] = self._class_loss(fake.class_logits, batch.labels)
        sum(terms.values()).backward()
        updated = self._optimize("discriminator")
        if self.adaptive:
            self.adaptive.observe(real.logits.detach() - self.objective.boundary)
        values = {name: nan_if_skipped(value, updated) for name, value in terms.items()}
        return values | game_values(
            options.objective, reals, fakes, real.logits, fake.logits, updated
        )

    def update_generator(
        self, batch: data.ImageBatch, now: Settings, noise: Noise
    ) -> dict[str, Tensor]:
        """Update the generator once; the discriminator is bitwise unchanged.

        Fakes have the labels of the batch, so their classes are as frequent as in the data. A
        relativistic objective compares them with the reals of the last discriminator update.
        """
        statistics = training.running_statistics(self.generator)
        fakes = self._generate(batch.labels, noise)
        with training.untouched(self.discriminator):
            fake = self._discriminate(self._augmented(fakes, now, noise), batch.labels)
            real_logits = None
            if self.objective.compares:
                reals = self._augmented(self._at_level(batch.images), now, noise)
                with torch.no_grad():
                    real_logits = self._discriminate(reals, batch.labels).logits
        terms = {"generator": self.objective.generator(fake.logits, real_logits)}
        if fake.class_logits is not None:
            terms["generator_classes"] = self._class_loss(fake.class_logits, batch.labels)
        sum(terms.values()).backward()
        updated = self._optimize("generator")
        training.restore_unless(updated, self.generator, statistics)
        values = {name: nan_if_skipped(value, updated) for name, value in terms.items()}
        return values | {"generator_skipped": (~updated).float()}

    def _generate(self, labels: Tensor, noise: Noise) -> Tensor:
        latents = noise.latents(self.options.latent_channels)
        labels = labels if self.options.classes else None
        with training.autocast(self.device, self.options.precision):
            return self.generator(latents, labels, **self._grown).float()

    def _discriminate(
        self, pictures: Tensor, labels: Tensor, *, twice: bool = False
    ) -> DiscriminatorOutput:
        """Run the discriminator; in float32 and uncompiled if it is differentiated `twice`."""
        precision = "fp32" if twice else self.options.precision
        compiled = models.eagerly() if twice else nullcontext()
        with compiled, training.autocast(self.device, precision):
            if self.options.classes and self.level is not None:
                logits, classes = self.discriminator.forward_with_classes(pictures, **self._grown)
                return DiscriminatorOutput(logits.float(), classes.float())
            labels = labels if self.options.classes else None
            logits = self.discriminator(pictures, labels, **self._grown)
            return DiscriminatorOutput(logits.float(), None)

    def _at_level(self, pictures: Tensor) -> Tensor:
        """Downsample reals to the current level of a progressive GAN."""
        return pictures if self.level is None else models.gan.shrink_reals(pictures, self.level)

    def _augmented(self, pictures: Tensor, now: Settings, noise: Noise) -> Tensor:
        policies = self.options.policies
        if not policies:
            return pictures
        probability = self.adaptive.probability if self.adaptive else now.augment_probability
        return augmentation.augment(pictures, noise.augmentation(), policies, probability)

    def _class_loss(self, class_logits: Tensor, labels: Tensor) -> Tensor:
        """Return the classification loss of an AC-GAN (Odena et al. 2017)."""
        return self.options.class_weight * F.cross_entropy(class_logits, labels)

    def _logged(self, values: dict[str, Tensor], now: Settings) -> dict[str, Tensor]:
        """Return the values to log: those of the updates, the fraction skipped, the settings."""
        options, values = self.options, dict(values)
        skipped = values.pop("discriminator_skipped") * options.discriminator_steps
        skipped = skipped + values.pop("generator_skipped")
        values["skipped_updates"] = skipped / (options.discriminator_steps + 1)
        settings = {"learning_rate": now.learning_rate}
        if options.objective in GAMES:
            settings["game_value_at_equilibrium"] = EQUILIBRIUM
        if now.level is not None:
            settings |= {"level": now.level, "batch_size": now.batch_size}
        if self.adaptive:
            values["augment_probability"] = self.adaptive.probability.clone()
        elif options.policies:
            settings["augment_probability"] = now.augment_probability
        return values | {
            name: torch.full((), float(value), device=self.device)
            for name, value in settings.items()
        }

    def _set_optimizers(self, now: Settings) -> None:
        options = self.options
        ratio = 1.0  # discriminator's learning rate / generator's
        if options.discriminator_learning_rate:
            ratio = options.discriminator_learning_rate / options.learning_rate
        for name, optimizer in self.trained.optimizers.items():
            factor = ratio if name == "discriminator" else 1.0
            training.set_learning_rate(optimizer, factor * now.learning_rate)
            for group in optimizer.param_groups:
                group["betas"] = now.betas

    def _optimize(self, name: str) -> Tensor:
        """Make a network's optimiser step; return whether it was made, a bool scalar."""
        return training.optimizer_step_if_finite(self.networks[name], self.trained.optimizers[name])

    def _noise(self, purpose: str, rows: int) -> Noise:
        return Noise(self.trained.random.generator(purpose), rows, self.processes)

    @property
    def _grown(self) -> dict[str, float]:
        return {} if self.level is None else {"level": self.level}


def check(options: Options) -> None:
    """Raise UserError for invalid values and combinations."""
    gan_options.check(options)
    if not options.total_images:
        raise UserError("--total_images 0: give the number of images to train on")
    if options.classes:
        raise UserError(f"--classes {options.classes}: is set by --labels; leave it out")
    is_given = options.batch_size != PRESETS[options.preset]["batch_size"]
    if is_given and not Plan(options).uses_batch_size:
        raise UserError(
            f"--batch_size {options.batch_size}: --batch_size_at names every resolution up to "
            f"--crop_size {options.crop_size}; give it with other sizes, or --batch_size_at with "
            "none"
        )


def main(arguments: Sequence[str] | None = None) -> None:
    """Parse, check, train."""
    options = cli.parse(Options, arguments, PRESETS)
    check(options)
    launch.train(options, open_images, Gan, watch(options.objective), PRESETS)


if __name__ == "__main__":
    cli.run(main)
