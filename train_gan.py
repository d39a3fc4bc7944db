"""Train a generator that makes pictures from noise, on a folder of pictures.

Two players: a discriminator tells real pictures from generated ones, and the generator learns to
fool it (Goodfellow et al. 2014). Presets: r3gan (the one to choose today; r3gan_32, r3gan_tiny),
vanilla, vanilla_conv, dcgan, sngan, wgan_gp, progressive (progressive_paper, progressive_cifar10).
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

import data
import losses
import models
import training
from commands import cli, launch, pictures
from commands.gan import options as gan_options
from commands.gan.plan import Plan, Settings, build_networks
from commands.gan.presets import PRESETS
from commands.trained import TrainedNetworks
from errors import UserError
from models.gan import augmentation

PREVIEW_SIDE, PREVIEW_PX = 8, 2048  # pictures, and pixels, of a sheet's side at most


@dataclass(frozen=True)
class Options(gan_options.GanOptions):
    """All options of this command."""

    preset: Literal[
        "r3gan",
        "r3gan_32",
        "r3gan_tiny",
        "vanilla",
        "vanilla_conv",
        "dcgan",
        "sngan",
        "wgan_gp",
        "progressive",
        "progressive_paper",
        "progressive_cifar10",
    ] = "r3gan"
    """Row of defaults that the other options are read on top of."""


class Judgement(NamedTuple):
    """What the discriminator says of a batch."""

    logits: Tensor  # [B]
    classes: Tensor | None  # [B, K], of an AC-GAN


class Noise:
    """The random numbers of one update, a pure function of the seed and the images seen.

    Those of the whole global batch are drawn, and each process keeps its rows.
    """

    def __init__(self, generator: torch.Generator, rows: int, processes: training.Processes):
        self.generator, self.all_rows = generator, rows * processes.world_size
        self.rows = slice(rows * processes.rank, rows * (processes.rank + 1))

    def latents(self, channels: int) -> Tensor:
        """Return latents [rows, channels] from N(0, I)."""
        return self._draw(torch.randn, channels)

    def shares(self) -> Tensor:
        """Return numbers [rows] from U(0, 1)."""
        return self._draw(torch.rand)

    def augmentation(self) -> augmentation.Draws:
        """Return what augments a batch."""
        return augmentation.draw(self.all_rows, self.generator).rows(self.rows)

    def _draw(self, distribution, *shape: int) -> Tensor:
        generator = self.generator
        whole = distribution(self.all_rows, *shape, generator=generator, device=generator.device)
        return whole[self.rows]


class Gan:
    """The generator, the discriminator, and their step."""

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
            options.learning_rate,
            options.betas,
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

    # The three members that the loop knows.

    def step(self, batch: data.ImageBatch, images_seen: int) -> dict[str, Tensor]:
        """Update the discriminator, as often as the options say, then the generator."""
        now = self.plan.settings(images_seen)
        self.level = now.level
        self._set_optimizers(now)
        parts = self.options.discriminator_steps
        found = []
        for part in range(parts):
            # Every parts-th picture: so the parts are the same for any number of processes.
            own = data.ImageBatch(*(side[part::parts] for side in batch))
            noise = self._noise(images_seen, f"discriminator {part}", len(own.images))
            found.append(self.update_discriminator(own, now, noise))
        values = {name: torch.stack([one[name] for one in found]).mean() for name in found[0]}
        noise = self._noise(images_seen, "generator", len(own.images))
        values |= self.update_generator(own, now, noise)
        training.average_statistics(self.generator)
        for name, average in self.trained.averages.items():
            average.update(self.networks[name], now.ema_decay)
        after = images_seen + self.plan.images_a_step(images_seen)
        if self.plan.resets_optimizers(images_seen, after):
            for optimizer in self.trained.optimizers.values():
                optimizer.state.clear()
        self.level = self.plan.level(after)
        return self._reported(values, now)

    @torch.no_grad()
    def preview(self, batch: data.ImageBatch) -> Tensor:
        """Show a row of reals, then rows of fakes: of a class each where there are classes.

        Eight rows and columns, fewer where pictures are large.
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

    def update_discriminator(
        self, batch: data.ImageBatch, now: Settings, noise: Noise
    ) -> dict[str, Tensor]:
        """Make one update of the discriminator; the generator stays bitwise as it is.

        Penalties are taken at what the discriminator sees, after augmentation, and in float32: a
        pass that is differentiated twice runs outside autocast. Its own running statistics serve
        nobody and are not kept.
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
        real = self._judge(seen_reals, batch.labels, twice=twice)
        fake = self._judge(seen_fakes, batch.labels, twice=twice)
        terms = {"discriminator": self.objective.discriminator(real.logits, fake.logits)}
        if options.r1:
            terms["r1"] = (
                options.r1 * now.penalty_share * losses.r1_penalty(seen_reals, real.logits)
            )
        if options.r2:
            terms["r2"] = (
                options.r2 * now.penalty_share * losses.r1_penalty(seen_fakes, fake.logits)
            )
        if options.gradient_penalty:
            points = losses.interpolate(seen_reals, seen_fakes, noise.shares())
            scores = self._judge(points, batch.labels, twice=True).logits
            penalty = losses.gradient_penalty(points, scores, target=options.gradient_target)
            terms["gradient_penalty"] = options.gradient_penalty * now.penalty_share * penalty
        if options.drift:
            terms["drift"] = options.drift * losses.drift(real.logits)
        if real.classes is not None:
            terms["classes_real"] = self._class_loss(real, batch.labels)
            terms["classes_fake"] = self._class_loss(fake, batch.labels)
        sum(terms.values()).backward()
        made = self._descend("discriminator")
        if self.adaptive:
            self.adaptive.observe(
                real.logits.detach() - self.objective.boundary,
                len(reals) * self.processes.world_size,
            )
        values = {name: _unless_skipped(value, made) for name, value in terms.items()}
        return values | self._health(reals, fakes, real, fake, made)

    def update_generator(
        self, batch: data.ImageBatch, now: Settings, noise: Noise
    ) -> dict[str, Tensor]:
        """Make one update of the generator; the discriminator stays bitwise as it is.

        Fakes are of the batch's classes, which were drawn from the data. A relativistic objective
        compares them with the same reals that the discriminator has just seen.
        """
        statistics = training.running_statistics(self.generator)
        fakes = self._generate(batch.labels, noise)
        with training.untouched(self.discriminator):
            fake = self._judge(self._augmented(fakes, now, noise), batch.labels)
            real_logits = None
            if self.objective.compares:
                reals = self._augmented(self._at_level(batch.images), now, noise)
                with torch.no_grad():
                    real_logits = self._judge(reals, batch.labels).logits
        terms = {"generator": self.objective.generator(fake.logits, real_logits)}
        if fake.classes is not None:
            terms["generator_classes"] = self._class_loss(fake, batch.labels)
        sum(terms.values()).backward()
        made = self._descend("generator")
        training.restore_unless(made, self.generator, statistics)
        values = {name: _unless_skipped(value, made) for name, value in terms.items()}
        return values | {"generator_skipped": (~made).float()}

    def _generate(self, labels: Tensor, noise: Noise) -> Tensor:
        latents = noise.latents(self.options.latent_channels)
        labels = labels if self.options.classes else None
        with training.autocast(self.device, self.options.precision):
            return self.generator(latents, labels, **self._grown).float()

    def _judge(self, pictures: Tensor, labels: Tensor, *, twice: bool = False) -> Judgement:
        """Judge pictures; in float32 for a pass that is differentiated `twice`."""
        precision = "fp32" if twice else self.options.precision
        with training.autocast(self.device, precision):
            if self.options.classes and self.level is not None:
                logits, classes = self.discriminator.forward_with_classes(pictures, **self._grown)
                return Judgement(logits.float(), classes.float())
            labels = labels if self.options.classes else None
            return Judgement(self.discriminator(pictures, labels, **self._grown).float(), None)

    def _at_level(self, pictures: Tensor) -> Tensor:
        """Shrink reals to what a progressive GAN has grown to."""
        return pictures if self.level is None else models.gan.shrink_reals(pictures, self.level)

    def _augmented(self, pictures: Tensor, now: Settings, noise: Noise) -> Tensor:
        policies = self.options.policies
        if not policies:
            return pictures
        probability = self.adaptive.probability if self.adaptive else now.augment_probability
        return augmentation.augment(pictures, noise.augmentation(), policies, probability)

    def _class_loss(self, judged: Judgement, labels: Tensor) -> Tensor:
        """Cross-entropy of the classes (Odena et al. 2017)."""
        return self.options.class_weight * F.cross_entropy(judged.classes, labels)

    def _health(
        self, reals: Tensor, fakes: Tensor, real: Judgement, fake: Judgement, made: Tensor
    ) -> dict[str, Tensor]:
        """How the game stands: see `training.health.warnings` and `losses.game_value`."""
        accuracies = losses.accuracies(real.logits, fake.logits, self.objective.boundary)
        values = dict(zip(("real_accuracy", "fake_accuracy"), accuracies, strict=True))
        values["real_distance"] = training.pairwise_distance(reals)
        values["fake_distance"] = training.pairwise_distance(fakes)
        values["discriminator_skipped"] = (~made).float()
        if self.options.objective in GAMES:
            value = losses.game_value(real.logits, fake.logits).detach()
            values["game_value"] = _unless_skipped(value, made)
            implied = losses.implied_jensen_shannon(value)
            values["implied_jensen_shannon"] = _unless_skipped(implied, made)
        return values

    def _reported(self, values: dict[str, Tensor], now: Settings) -> dict[str, Tensor]:
        """The values of a step, with what it was made with."""
        updates = self.options.discriminator_steps + 1
        skipped = values.pop("discriminator_skipped") * (updates - 1)
        values["skipped_updates"] = (skipped + values.pop("generator_skipped")) / updates
        numbers = {"learning_rate": now.learning_rate}
        if self.options.objective in GAMES:
            numbers["game_value_at_equilibrium"] = EQUILIBRIUM
        if now.level is not None:
            numbers |= {"level": now.level, "batch_size": now.batch_size}
        if self.adaptive:
            values["augment_probability"] = self.adaptive.probability
        elif self.options.policies:
            numbers["augment_probability"] = now.augment_probability
        told = {
            name: torch.full((), float(number), device=self.device)
            for name, number in numbers.items()
        }
        return values | told

    def _set_optimizers(self, now: Settings) -> None:
        options = self.options
        share = 1.0  # of the discriminator's learning rate in the generator's
        if options.discriminator_learning_rate:
            share = options.discriminator_learning_rate / options.learning_rate
        for name, optimizer in self.trained.optimizers.items():
            factor = share if name == "discriminator" else 1.0
            training.set_learning_rate(optimizer, factor * now.learning_rate)
            for group in optimizer.param_groups:
                group["betas"] = now.betas

    def _descend(self, name: str) -> Tensor:
        return training.optimizer_step_if_finite(self.networks[name], self.trained.optimizers[name])

    def _noise(self, images_seen: int, purpose: str, rows: int) -> Noise:
        random = training.generator_for(self.device, self.options.seed, images_seen, purpose)
        return Noise(random, rows, self.processes)

    @property
    def _grown(self) -> dict[str, float]:
        return {} if self.level is None else {"level": self.level}


GAMES = ("minimax", "non_saturating")  # whose discriminator plays Goodfellow's game
EQUILIBRIUM = float(-torch.tensor(4.0, dtype=torch.double).log())  # of its value
BAD_STEPS = 20  # skipped updates in a row that end a run


def _unless_skipped(value: Tensor, made: Tensor) -> Tensor:
    """The value of an update that was made; NaN, which counts as a bad step, for a skipped one."""
    return torch.where(made, value.detach(), torch.nan)


def open_images(options: Options) -> launch.Data:
    """Find the pictures and their classes, and check what can be known of them before training."""
    files = data.list_images(options.dataroot, "--dataroot")
    labels = data.read_labels(options.labels, options.dataroot, files)
    plan = Plan(options)
    batch = plan.largest_batch
    if len(files) < batch.images:
        raise UserError(
            f"{batch.option}: --dataroot {options.dataroot} holds {len(files)} images only; give a "
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
    shares = [count / len(files) for count in labels.counts]
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
        return {"class_names": labels.names, "class_shares": shares, "level": level}

    def fakes(network: nn.Module, device: torch.device, images_seen: int):
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
    )


def fingerprint(labels: data.Labels) -> str:
    """Return what a resume relies on: the classes and which pictures they have."""
    if not labels.names:
        return "none"
    digest = hashlib.sha256(repr((labels.names, labels.of_files)).encode()).hexdigest()
    return f"{len(labels.names)} classes, {digest[:16]}"


def warnings(values: Mapping[str, float], objective: str) -> list[str]:
    """Return what a line of the log gives reason to warn of.

    A Wasserstein critic is meant to tell all pictures: the generator learns all the same.
    """
    if objective == "wgan":
        values = {name: value for name, value in values.items() if "accuracy" not in name}
    return training.warnings(values)


def watch(options: Options) -> training.Watch:
    """Return what ends a run, what is warned of, and what TensorBoard draws together."""
    charts = {}
    if options.objective in GAMES:
        charts["value of the game"] = ("game_value", "game_value_at_equilibrium")
    return training.Watch(BAD_STEPS, partial(warnings, objective=options.objective), charts)


def check(options: Options) -> None:
    """Raise UserError for values and combinations that cannot train."""
    gan_options.check(options)
    if not options.total_images:
        raise UserError("--total_images 0: give the number of images to train on")
    if options.classes:
        raise UserError(f"--classes {options.classes}: is found by --labels; leave it out")
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
    launch.train(options, open_images, Gan, watch(options))


if __name__ == "__main__":
    cli.run(main)
