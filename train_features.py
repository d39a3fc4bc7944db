"""Train an encoder that turns pictures into feature vectors, on a folder of pictures.

Without labels, two random views of a picture are to be recognised among all others: simclr (Chen et
al. 2020), moco (He et al. 2020, version 2), nnclr (Dwibedi et al. 2021). With labels, also pictures
of one class: supcon (Khosla et al. 2020), or a classifier: supervised.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

import attacks
import data
import losses
import models
import training
from commands import cli, launch
from commands.features import options as feature_options
from commands.features import trust
from commands.features.networks import build_networks
from commands.features.pictures import open_pictures
from commands.features.presets import PRESETS
from commands.features.probe import probe
from commands.trained import TrainedNetworks
from errors import UserError

TRUST = 1e-3  # of LARS


@dataclass(frozen=True)
class Options(feature_options.FeatureOptions):
    """All options of this command."""

    preset: Literal[tuple(PRESETS)] = "simclr"
    """Set of defaults, which the other options override."""


class Features:
    """An encoder with its heads, and their training step."""

    def __init__(self, options: Options, device: torch.device, processes: training.Processes):
        """Build the networks; `classes`, `epoch_images` and `precision` are resolved."""
        self.options, self.device, self.processes = options, device, processes
        if options.batch_size < 2 * processes.world_size:
            raise UserError(
                f"--batch_size {options.batch_size}: pictures are compared with one another; give "
                f"at least {2 * processes.world_size}, two for each process"
            )
        networks = {name: net.to(device) for name, net in build_networks(options).items()}
        self.encoder = networks["encoder"]
        exported = {models.ENCODER_FILE: self.encoder}
        if "head" in networks:
            self.classifier = models.classifier_of(self.encoder, networks["head"])
            exported[models.CLASSIFIER_FILE] = self.classifier
        self.trained = TrainedNetworks(
            networks,
            options,
            device,
            averaged=("encoder", "projector") if options.objective == "moco" else (),
            optimizer=partial(
                training.sgd,
                momentum=options.sgd_momentum,
                weight_decay=options.weight_decay,
                trust=TRUST if options.optimizer == "lars" else 0.0,
            ),
            exported=exported,
            layout=torch.channels_last,
        )
        self.queue = None
        if options.objective in feature_options.WITH_QUEUE:
            self.queue = losses.FeatureQueue(
                options.queue_size, options.embedding_channels, seed=options.seed
            ).to(device)
        self.objective = {
            "nt_xent": self._nt_xent,
            "moco": self._moco,
            "nnclr": self._nnclr,
            "sup_con": self._sup_con,
            "cross_entropy": self._cross_entropy,
        }[options.objective]

    # The three members that the loop uses.

    def step(self, batch: data.ImageBatch, images_seen: int) -> dict[str, Tensor]:
        """Make the views of a batch and update the networks once."""
        rate = self.learning_rate(images_seen)
        for optimizer in self.trained.optimizers.values():
            training.set_learning_rate(optimizer, rate)
        self.trained.random.start(images_seen)
        count = 1 if self.options.objective == "cross_entropy" else 2
        values = self.update(self.views(batch.images, images_seen, count), batch.labels)
        return values | {"learning_rate": torch.full((), rate, device=self.device)}

    @torch.no_grad()
    def preview(self, batch: data.ImageBatch) -> Tensor:
        """Return a row of pictures, and below each its two views."""
        size = self.options.crop_size
        pictures = batch.images.to(self.device)
        views = self._views(pictures, torch.Generator(self.device).manual_seed(0), range(4), 2)
        shown = F.interpolate(pictures, (size, size), mode="bilinear", antialias=True)
        return training.sheet([row.expand(-1, 3, -1, -1) for row in (shown, *views)])

    def state(self) -> dict[str, training.Stateful]:
        """Everything to be saved."""
        return self.trained.state() | ({"queue": self.queue} if self.queue else {})

    # The method.

    def learning_rate(self, images_seen: int) -> float:
        """Return the learning rate of the step that begins there, as in the middle of its batch."""
        options = self.options
        factor = training.warm_up_cosine(
            images_seen + options.batch_size / 2,
            warm_up_images=options.warm_up_epochs * options.epoch_images,
            total_images=options.epochs * options.epoch_images,
        )
        return factor * options.learning_rate * options.batch_size / 128

    def views(self, pictures: Tensor, images_seen: int, count: int) -> list[Tensor]:
        """Return `count` random views of each picture: functions of the seed and of its place."""
        cpu = torch.device("cpu")  # where the order of colour changes is needed
        random = training.generator_for(cpu, self.options.seed, images_seen, "colour order")
        order = torch.randperm(len(models.COLOURS), generator=random).tolist()
        return self._views(pictures, self.trained.random.generator("views"), order, count)

    def update(self, views: Sequence[Tensor], labels: Tensor) -> dict[str, Tensor]:
        """Update all networks by the loss of these views, each [B, C, H, W]."""
        loss, embeddings = self.objective(views, labels)
        loss.backward()
        self.trained.optimize(*self.trained.networks)
        training.average_statistics(self.encoder)
        values = {"loss": loss.detach(), "spread": losses.spread(embeddings[0])}
        if len(embeddings) == 2:
            values["alignment"] = losses.alignment(*embeddings)
            values["uniformity"] = losses.uniformity(embeddings[0])
        return values

    # Each objective returns its loss, and detached embeddings of the views for the log.

    def _nt_xent(self, views: Sequence[Tensor], labels: Tensor) -> tuple[Tensor, list[Tensor]]:
        embeddings = self._embedded(views)
        everyone = [training.gather_with_gradient(view) for view in embeddings]
        loss = losses.nt_xent(*everyone, temperature=self.options.temperature)
        return loss, [view.detach() for view in everyone]

    def _sup_con(self, views: Sequence[Tensor], labels: Tensor) -> tuple[Tensor, list[Tensor]]:
        embeddings = self._embedded(views)
        everyone = [training.gather_with_gradient(view) for view in embeddings]
        labels = training.gather_rows(labels).repeat(2)
        loss = losses.sup_con(torch.cat(everyone), labels, temperature=self.options.temperature)
        return loss, [view.detach() for view in everyone]

    def _moco(self, views: Sequence[Tensor], labels: Tensor) -> tuple[Tensor, list[Tensor]]:
        average, networks = self.trained.averages, self.trained.networks
        with torch.no_grad():
            for name, moving in average.items():
                moving.update(networks[name], self.options.momentum)
            with self._autocast():
                features = average["encoder"].network(views[1])
                keys = average["projector"].network(features).float()
        (queries,) = self._embedded(views[:1])
        loss = losses.moco(queries, keys, self.queue.features, temperature=self.options.temperature)
        self.queue.push(training.gather_rows(keys))
        return loss, [queries.detach(), keys]

    def _nnclr(self, views: Sequence[Tensor], labels: Tensor) -> tuple[Tensor, list[Tensor]]:
        embeddings = self._embedded(views)
        with self._autocast():
            predicted = self.trained.networks["predictor"](torch.cat(embeddings)).float().chunk(2)
        everyone = [training.gather_rows(view) for view in embeddings]
        loss = losses.nnclr(
            *everyone,
            self.queue.features,
            predictions=tuple(training.gather_with_gradient(view) for view in predicted),
            temperature=self.options.temperature,
        )
        self.queue.push(everyone[0])
        return loss, everyone

    def _cross_entropy(
        self, views: Sequence[Tensor], labels: Tensor
    ) -> tuple[Tensor, list[Tensor]]:
        pictures = views[0]
        if self.options.adversarial == "trades":
            return self._trades(pictures, labels)
        if self.options.adversarial:
            pictures = self._attacked(pictures, labels)
        with self._autocast():
            features = self.encoder(pictures)
            logits = self.trained.networks["head"](features).float()
        return F.cross_entropy(logits, labels), [features.detach().float()]

    def _attacked(self, pictures: Tensor, labels: Tensor) -> Tensor:
        """Return the pictures changed within --epsilon so that the classifier errs."""
        settings, pictures = self._attack_settings(), pictures.clamp(-1, 1)
        with self._autocast():
            if self.options.adversarial == "pgd":
                return attacks.pgd(self.classifier, pictures, labels, **settings)
            del settings["step"], settings["steps"]
            return attacks.fast_adversarial(self.classifier, pictures, labels, **settings)

    def _trades(self, pictures: Tensor, labels: Tensor) -> tuple[Tensor, list[Tensor]]:
        settings = self._attack_settings() | {"weight": self.options.trades_weight}
        with self._autocast():
            loss = attacks.trades_loss(self.classifier, pictures.clamp(-1, 1), labels, **settings)
        with torch.no_grad(), models.in_mode(self.encoder, training=False), self._autocast():
            features = self.encoder(pictures)
        return loss, [features.float()]

    def _attack_settings(self) -> dict[str, object]:
        """Return the attack's settings; each process draws the starts of its own pictures."""
        options = self.options
        epsilon = options.epsilon * attacks.LEVEL
        return {
            "epsilon": epsilon,
            "step": 2.5 * epsilon / options.attack_steps,
            "steps": options.attack_steps,
            "generator": self.trained.random.generator(f"attack {self.processes.rank}"),
        }

    def _embedded(self, views: Sequence[Tensor]) -> list[Tensor]:
        """Return the embeddings of the views, float32 [B, D] each, all in one pass."""
        with self._autocast():
            features = self.encoder(torch.cat(list(views)))
            embeddings = self.trained.networks["projector"](features).float()
        return list(embeddings.chunk(len(views)))

    def _views(
        self, pictures: Tensor, random: torch.Generator, order: Sequence[int], count: int
    ) -> list[Tensor]:
        """Return views whose numbers are drawn for the global batch; this process has its rows."""
        rows, processes, options = len(pictures), self.processes, self.options
        own = slice(rows * processes.rank, rows * (processes.rank + 1))
        return [
            models.make_views(
                pictures,
                models.draw_views(rows * processes.world_size, random)[own],
                order,
                options.policy,
                options.crop_size,
            ).contiguous(memory_format=torch.channels_last)
            for _ in range(count)
        ]

    def _autocast(self) -> torch.autocast:
        return training.autocast(self.device, self.options.precision)


def main(arguments: Sequence[str] | None = None) -> None:
    """Parse, check, and train, probe, or write the trust report."""
    options = cli.parse(Options, arguments, PRESETS)
    feature_options.check(options)
    if options.probe:
        probe(options)
        return
    if options.trust:
        trust.report(options)
        return
    watch = training.Watch(warnings=training.collapse_warnings, shown=("loss", "spread"))
    launch.train(options, open_pictures, Features, watch, PRESETS)


if __name__ == "__main__":
    cli.run(main)
