"""Train two translators, from A to B and back, between two unpaired folders of pictures.

Each is trained against a discriminator of its target domain. Preset cyclegan (Zhu et al. 2017):
translating a picture and translating the result back must return the picture. Networks, losses and
schedule are those of the authors' program, in the version that updates the learning rate at the end
of an epoch. Preset dclgan (Han et al. 2021): each patch of a translation, encoded by the other
generator, must identify its source patch, encoded by its own generator (PatchNCE).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn

import data
import losses
import models
import training
from commands import cli, launch
from commands.options import check_ranges, check_read
from commands.translation import datasets, networks, patches, steps
from commands.translation.options import (
    MIXED_SIZES,
    UnpairedOptions,
    check_negatives,
    check_unpaired_options,
)
from errors import UserError
from training import Term


@dataclass(frozen=True)
class Options(UnpairedOptions):
    """CycleGAN's own options, in addition to those of all unpaired translators."""

    preset: Literal["cyclegan", "dclgan"] = "cyclegan"
    """Set of defaults, which the other options override."""
    jitter_in_decay: bool = True
    generator: Literal["resnet_9blocks", "resnet_6blocks", "unet_128", "unet_256"] = (
        "resnet_9blocks"
    )
    """Architecture of both generators."""
    discriminator: Literal["patch", "pixel"] = "patch"
    """Architecture of both discriminators."""
    cycle_weight: float = 10.0
    """Weight of the cycle consistency loss, L1; 0: off."""
    identity_weight: float = 5.0
    average_ways: bool = False
    """Average the losses of the two directions in the generators' loss, instead of adding them."""
    history_size: int = 50
    """Number of earlier translations kept for each discriminator; 0: off."""


SHOWN = ("adversarial_a2b", "discriminator_b")  # the losses that the terminal shows first

PRESETS = {
    "cyclegan": {},
    # The paper's terms and weights with the networks, hinge loss and schedule of its program. For
    # the generators that uses [1 - D]_+, which has no gradient for D above 1; here it is -D. It
    # also updates the discriminators first, and leaves the projectors' Adam at PyTorch's defaults,
    # where here all networks share the settings.
    "dclgan": {
        "constant_epochs": 200,
        "decay_epochs": 200,
        "jitter_in_decay": False,
        "antialias": True,
        "initialization": "xavier",
        "adversarial": "hinge",
        "cycle_weight": 0.0,
        "identity_weight": 1.0,
        "nce_weight": 2.0,
        "nce_layers": (4, 8, 12, 16),
        "average_ways": True,
        "history_size": 0,
    },
}


class Direction(NamedTuple):
    """One direction of translation, with its source and target domain."""

    name: str  # a2b or b2a, also in the names of losses
    source: str  # a or b
    target: str  # the other one


DIRECTIONS = (Direction("a2b", "a", "b"), Direction("b2a", "b", "a"))


class Keys(NamedTuple):
    """The keys of PatchNCE: projected patches of source pictures."""

    positions: list[Tensor]  # int64 [P_i] per layer, the same for all pictures of the batch
    vectors: list[Tensor]  # [B, P_i, nce_channels] per layer, detached


class CycleGan:
    """Two generators, two discriminators and their step; a term whose weight is 0 is off."""

    def __init__(self, options: Options, device: torch.device, processes: training.Processes):
        """Build the networks; `epoch_images` and `precision` of the options are resolved."""
        self.options, self.device, self.processes = options, device, processes
        self.adversarial = losses.ADVERSARIAL_LOSSES[options.adversarial]
        self.networks: dict[str, nn.Module] = {}
        for direction in DIRECTIONS:
            self.networks[f"generator_{direction.name}"] = networks.build_generator(options)
            discriminator = networks.build_discriminator(options)
            self.networks[f"discriminator_{direction.target}"] = discriminator
        models.check_picture_size(options.crop_size, "--crop_size", *self.networks.values())
        self.layers = options.nce_layers if options.nce_weight else ()
        if self.layers:
            generator = self.networks["generator_a2b"]
            channels = models.feature_channels(generator, self.layers, "--nce_layers")
            for domain in "ab":  # for the encoder of the generator that translates this domain
                projector = models.PatchProjector(channels, options.nce_channels)
                self.networks[f"projector_{domain}"] = projector
        self.trained = networks.build_trained(self.networks, options, device)
        self.pools = {}
        if options.history_size:
            self.pools = {domain: training.FakePool(options.history_size) for domain in "ba"}
        self.autocast = partial(training.autocast, device, options.precision)

    # The three members that the loop uses.

    def step(self, batch: data.TranslationBatch, images_seen: int) -> dict[str, Tensor]:
        """Update the generators, then the discriminators; return the losses."""
        update = partial(self.update, *batch, images_seen)
        return steps.run_step(
            self.trained, self.options, self.processes, batch, images_seen, update
        )

    @torch.no_grad()
    def preview(self, batch: data.TranslationBatch) -> Tensor:
        """Return for each domain rows of pictures, translations, reconstructions and identities."""
        a2b, b2a = self.trained.generators.values()
        rows = []
        for pictures, forward, backward in (
            (batch.source.to(self.device), a2b, b2a),
            (batch.target.to(self.device), b2a, a2b),
        ):
            translated = models.translate(forward, pictures)
            cycled = models.translate(backward, translated)
            rows += [pictures, translated, cycled, models.translate(backward, pictures)]
        return training.sheet(rows)

    def state(self) -> dict[str, training.Stateful]:
        """Everything to be saved."""
        return self.trained.state() | {f"pool_{name}": pool for name, pool in self.pools.items()}

    # The method.

    def update(self, source: Tensor, target: Tensor, images_seen: int) -> dict[str, Tensor]:
        """Update all networks in the official order; return detached losses.

        Losses are logged as in the official programs: discriminators with their factor 1/2, cycle,
        identity and PatchNCE with their weights, without the factor 1/2 of `average_ways`.
        """
        fakes, values = self.trained.run(
            "generators", None, self._update_generators, source, target
        )
        mixed = (self._mixed_with_pool(domain, fakes[domain], images_seen) for domain in "ba")
        update = self._update_discriminators
        return values | self.trained.run("discriminators", None, update, *mixed, target, source)

    def _update_generators(
        self, source: Tensor, target: Tensor
    ) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Return the translations by the domain that they lead to, and the losses."""
        pictures = {"a": source, "b": target}
        fakes, values = {}, {}
        for direction in DIRECTIONS:
            fake, terms = self._backward_generators(direction, pictures)
            fakes[direction.target] = fake
            values |= {term.name: term.value for term in terms}
        learners = [name for name in self.networks if not name.startswith("discriminator")]
        self.trained.optimize(*learners)
        return fakes, values

    def _update_discriminators(
        self, fake_b: Tensor, fake_a: Tensor, real_b: Tensor, real_a: Tensor
    ) -> dict[str, Tensor]:
        """Return the losses."""
        return {
            "discriminator_b": self._update_discriminator("b", fake_b, real_b),
            "discriminator_a": self._update_discriminator("a", fake_a, real_a),
        }

    def _backward_generators(
        self, direction: Direction, pictures: dict[str, Tensor]
    ) -> tuple[Tensor, list[Term]]:
        """Add one direction's gradients to generators and projectors; return fakes and terms."""
        source, target = pictures[direction.source], pictures[direction.target]
        generator = self.networks[f"generator_{direction.name}"]
        with self.autocast():
            outputs, features = translate_both(
                generator, source, target if self.options.identity_weight else None, self.layers
            )
            keys = self._draw_keys(direction, features) if self.layers else None
            del features
        loss = partial(self._loss_of_direction, direction, source, target, keys)
        terms = training.backward(outputs, loss)
        return outputs[0].detach(), terms

    def _loss_of_direction(
        self,
        direction: Direction,
        source: Tensor,
        target: Tensor,
        keys: Keys | None,
        fake: Tensor,
        same: Tensor | None = None,
    ) -> Iterator[list[Term]]:
        """Yield the loss terms of one direction, G from source x to target y, F the inverse: L =

        w_cycle |F(G(x)) - x|_1 + w_nce PatchNCE(x, G(x)) + GAN(G(x)) + w_identity |G(y) - y|_1.
        The generators' loss is the sum over both directions, or the mean with `average_ways`.
        """
        options = self.options
        factor = 0.5 if options.average_ways else 1.0
        if options.cycle_weight or keys:
            yield self._terms_of_the_cycle(direction, source, keys, fake, factor)
        discriminator = self.networks[f"discriminator_{direction.target}"]
        with training.frozen(discriminator), self.autocast():
            logits = discriminator(fake)
        adversarial = self.adversarial.generator(logits)
        yield [Term(f"adversarial_{direction.name}", adversarial, factor)]
        if same is not None:
            identity = options.identity_weight * losses.l1(same, target)
            yield [Term(f"identity_{direction.target}", identity, factor)]

    def _terms_of_the_cycle(
        self,
        direction: Direction,
        source: Tensor,
        keys: Keys | None,
        fake: Tensor,
        factor: float,
    ) -> list[Term]:
        """Return the cycle loss and PatchNCE, from the same pass of the other generator."""
        options = self.options
        backward = self.networks[f"generator_{direction.target}2{direction.source}"]
        terms = []
        with self.autocast():
            if options.cycle_weight:
                cycled, features = translate_and_encode(backward, fake, self.layers)
                cycle = options.cycle_weight * losses.l1(cycled, source)
                terms.append(Term(f"cycle_{direction.source}", cycle, factor))
            else:
                features = backward.encode(fake, self.layers)
            if keys:
                projector = self.networks[f"projector_{direction.target}"]
                queries = projector(features, keys.positions)
                loss = partial(losses.patch_nce, temperature=options.nce_temperature)
                nce = options.nce_weight * patches.compare(queries, keys.vectors, loss).mean()
                terms.append(Term(f"nce_{direction.name}", nce, factor))
        return terms

    @torch.no_grad()
    def _draw_keys(self, direction: Direction, features: Sequence[Tensor]) -> Keys:
        """Draw the patches to compare, and project them."""
        sizes = [feature.shape[2] * feature.shape[3] for feature in features]
        random = self.trained.random.generator(f"patches {direction.name}")
        positions = models.draw_positions(sizes, self.options.nce_patches, random)
        projector = self.networks[f"projector_{direction.source}"]
        return Keys(positions, projector(features, positions))

    def _update_discriminator(self, domain: str, fake: Tensor, real: Tensor) -> Tensor:
        """Minimise (L_real + L_fake) / 2; return it."""
        name = f"discriminator_{domain}"
        with self.autocast():
            on_fake, on_real = models.run_together(self.networks[name], fake, real)
        loss = (self.adversarial.on_fake(on_fake) + self.adversarial.on_real(on_real)) / 2
        loss.backward()
        self.trained.optimize(name)
        return loss.detach()

    def _mixed_with_pool(self, domain: str, fake: Tensor, images_seen: int) -> Tensor:
        """Mix with the pool, which every process holds in full; return this process's rows."""
        if not self.pools:
            return fake
        if self.options.preprocess in MIXED_SIZES:
            sizes = set(training.gather_objects(tuple(fake.shape[2:])))
            if len(sizes) > 1:
                raise UserError(
                    f"--history_size {self.options.history_size}: the processes share the pool, "
                    f"but their pictures differ in size ({len(sizes)} sizes in the step after "
                    f"{images_seen} images); give a --preprocess mode that crops, or 0"
                )
        random = training.generator_for(
            networks.CPU, self.options.seed, images_seen, f"pool {domain}"
        )
        mixed = self.pools[domain].mix(training.gather_rows(fake.float()), random)
        return mixed.chunk(self.processes.world_size)[self.processes.rank]


def translate_both(
    generator: nn.Module, source: Tensor, target: Tensor | None, layers: Sequence[int]
) -> tuple[Sequence[Tensor], list[Tensor]]:
    """Return the translations of `source` and, if given, `target`, and the features of `source`.

    The features, detached, one [B, C_i, H_i, W_i] per layer, come from the same pass. Source and
    target share one pass if that gives the same result as two (see `models.run_together`).
    """
    if target is None or not models.may_run_together(generator, source, target):
        output, features = translate_and_encode(generator, source, layers)
        outputs = (output,) if target is None else (output, generator(target))
    else:
        both, features = translate_and_encode(generator, torch.cat([source, target]), layers)
        outputs = (both[: len(source)], both[len(source) :])
    return outputs, [feature[: len(source)].detach() for feature in features]


def translate_and_encode(
    generator: nn.Module, pictures: Tensor, layers: Sequence[int]
) -> tuple[Tensor, list[Tensor]]:
    """Return the translation of pictures and, from the same pass, the outputs of `layers`, if any.

    Without `layers` the generator need not have `forward_with_features`.
    """
    if not layers:
        return generator(pictures), []
    return generator.forward_with_features(pictures, layers)


def open_both_directions(options: Options) -> launch.Data:
    """Open the folders, with picture sizes that the generators support.

    Each generator is evaluated on the test pictures of its source domain.
    """
    with torch.device("meta"):
        size_multiple = networks.build_generator(options).size_multiple
    backward = {f"generator_{name}.safetensors": source == "b" for name, source, _ in DIRECTIONS}
    return datasets.open_unpaired(options, size_multiple, backward)


def check(options: Options) -> None:
    """Raise UserError for invalid values and combinations."""
    check_unpaired_options(options)
    check_ranges(options, above_zero=(), at_least_zero=("cycle_weight", "history_size"))
    if not (options.cycle_weight or options.identity_weight or options.nce_weight):
        raise UserError(
            "--cycle_weight 0: with --identity_weight 0 and --nce_weight 0 no loss relates a "
            "translation to its source; give one of them"
        )
    compared = ("nce_temperature", "nce_patches", "nce_channels", "nce_layers")
    check_read(options, dict.fromkeys(compared, (bool(options.nce_weight), "--nce_weight")))
    if options.nce_weight and not options.nce_layers:
        raise UserError(
            f"--nce_weight {options.nce_weight}: no --nce_layers to compare; give some, as "
            "--preset dclgan does"
        )
    check_negatives(options)
    if options.nce_weight and options.generator.startswith("unet"):
        raise UserError(
            f"--generator {options.generator}: has no layers for --nce_layers; use resnet_9blocks, "
            "or --nce_weight 0"
        )


def main(arguments: Sequence[str] | None = None) -> None:
    """Parse, check, train."""
    options = cli.parse(Options, arguments, PRESETS)
    check(options)
    launch.train(options, open_both_directions, CycleGan, training.Watch(shown=SHOWN), PRESETS)


if __name__ == "__main__":
    cli.run(main)
