"""Train two translators, there and back, between two unpaired folders of pictures.

Each must fool a discriminator of its target domain. Preset cyclegan (Zhu et al. 2017): a picture
that goes there and back must come out as it was. Networks, losses and schedule are those of the
authors' program, in the version whose learning rate falls at an epoch's end. Preset dclgan (Han et
al. 2021): each patch of a translation, as the other generator's encoder sees it, must find its own
place in the source, as its own generator's encoder sees that (PatchNCE).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn

import data
import losses
import models
import training
from commands import cli, launch, method
from commands.translation import datasets, patches
from errors import UserError


@dataclass(frozen=True)
class Options(cli.TranslatorOptions):
    """CycleGAN's own options, after those that all trainings of translators share."""

    preset: Literal["cyclegan", "dclgan"] = "cyclegan"
    """Row of defaults that the other options are read on top of."""
    jitter_in_decay: bool = True
    """Go on with resizing to load_size while the learning rate falls."""
    generator: Literal["resnet_9blocks", "resnet_6blocks", "unet_128", "unet_256"] = (
        "resnet_9blocks"
    )
    """Architecture of both generators."""
    discriminator: Literal["patch", "pixel"] = "patch"
    """Architecture of both discriminators."""
    cycle_weight: float = 10.0
    """Weight of L1 between a picture and what comes back of it; 0: off."""
    identity_weight: float = 5.0
    """Weight of L1 between a target picture and its translation; 0: off."""
    nce_weight: float = 0.0
    """Weight of PatchNCE; 0: off, and no projectors are made."""
    nce_layers: tuple[int, ...] = ()
    """Generator layers whose features are compared; nce_weight needs some."""
    nce_temperature: float = 0.07
    """Temperature of the softmax over patches."""
    nce_patches: int = 256
    """Patches a layer and picture."""
    nce_channels: int = 256
    """Width of the projected patches."""
    average_ways: bool = False
    """Take the mean of the two ways' losses in the generators' loss, not the sum."""
    history_size: int = 50
    """Earlier translations of each kind kept for the discriminators; 0: off."""


PRESETS = {
    "cyclegan": {},
    # The paper's terms and weights on the networks, hinge loss and schedule of its program. That
    # takes [1 - D]_+ for the generators, which stops where D is above 1, and here -D; it updates
    # the discriminators first and leaves the projectors' Adam at PyTorch's defaults, and here it is
    # that of the other networks.
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

# Modes of --preprocess after which pictures may differ in size.
MIXED_SIZES = ("scale_width", "scale_shortside", "none")


class Side(NamedTuple):
    """One way of translation: what the letters mean while it is learned."""

    way: str  # a2b or b2a, also in the names of losses
    start: str  # the domain that it starts from
    goal: str  # the domain that it leads to


SIDES = (Side("a2b", "a", "b"), Side("b2a", "b", "a"))


class Keys(NamedTuple):
    """Patches of source pictures, which those of the translations have to find."""

    positions: list[Tensor]  # int64 [P_i] a layer, the same for all pictures of the batch
    vectors: list[Tensor]  # [B, P_i, nce_channels] a layer, without a graph


class CycleGan:
    """Two generators, two discriminators and their step; a term whose weight is 0 is off."""

    def __init__(self, options: Options, device: torch.device, processes: training.Processes):
        """Build the networks; `epoch_images` and `precision` of the options are resolved."""
        self.options, self.device, self.processes = options, device, processes
        self.adversarial = losses.ADVERSARIAL_LOSSES[options.adversarial]
        self.networks: dict[str, nn.Module] = {}
        for side in SIDES:
            self.networks[f"generator_{side.way}"] = method.build_generator(options)
            self.networks[f"discriminator_{side.goal}"] = method.build_discriminator(options)
        self.picture_networks = tuple(self.networks.values())
        models.check_picture_size(options.crop_size, "--crop_size", *self.picture_networks)
        self.layers = options.nce_layers if options.nce_weight else ()
        if self.layers:
            generator = self.networks["generator_a2b"]
            channels = models.feature_channels(generator, self.layers, "--nce_layers")
            for domain in "ab":  # of what the domain's encoder sees: that of the generator from it
                projector = models.PatchProjector(channels, options.nce_channels)
                self.networks[f"projector_{domain}"] = projector
        method.draw_weights(self.networks, options, device)
        self.optimizers = method.build_optimizers(self.networks, options)
        self.averages = method.build_averages(self.networks, options)
        self.pools = {}
        if options.history_size:
            self.pools = {side.goal: training.FakePool(options.history_size) for side in SIDES}

    # The three members that the loop knows.

    def step(self, batch: data.TranslationBatch, images_seen: int) -> dict[str, Tensor]:
        """Update the generators, then the discriminators; return the losses."""
        learning_rate = method.begin_step(
            self.networks, self.optimizers, self.options, self.processes, images_seen
        )
        values = self.update(batch, images_seen)
        method.end_step(self.networks, self.averages, self.options)
        return values | {"learning_rate": torch.full((), learning_rate, device=self.device)}

    @torch.no_grad()
    def preview(self, batch: data.TranslationBatch) -> Tensor:
        """Show each kind, its translation, what comes back, and what should stay as it is."""
        there, back = self.generators.values()
        rows = []
        for pictures, forward, backward in (
            (batch.source.to(self.device), there, back),
            (batch.target.to(self.device), back, there),
        ):
            translated = models.translate(forward, pictures)
            returned = models.translate(backward, translated)
            rows += [pictures, translated, returned, models.translate(backward, pictures)]
        return training.sheet(rows)

    def state(self) -> dict[str, training.Stateful]:
        """Everything to be saved."""
        parts = method.saved_parts(self.networks, self.optimizers, self.averages)
        return parts | {f"pool_{domain}": pool for domain, pool in self.pools.items()}

    @property
    def generators(self) -> dict[str, nn.Module]:
        """The generators to use and to give away: moving averages where there are some."""
        return method.generators_to_use(self.networks, self.averages)

    # The method.

    def update(self, batch: data.TranslationBatch, images_seen: int) -> dict[str, Tensor]:
        """Make one update of all networks in the official order; return detached losses.

        As the official programs report them: discriminators after their factor 1/2, cycle, identity
        and PatchNCE with their weights, none of them halved by `average_ways`.
        """
        pictures = {"a": batch.source, "b": batch.target}
        short_side_px = min(batch.source.shape[2:] + batch.target.shape[2:])
        models.check_picture_size(
            short_side_px, "a picture's short side of", *self.picture_networks
        )
        values: dict[str, Tensor] = {}
        fakes = {}
        for side in SIDES:
            fakes[side.goal] = self._learn_to_translate(side, pictures, values, images_seen)
        for name in self.networks:
            if not name.startswith("discriminator"):
                self._descend(name)
        for side in SIDES:
            fake = self._mixed_with_pool(side.goal, fakes[side.goal], images_seen)
            values[f"discriminator_{side.goal}"] = self._learn_to_judge(
                side.goal, fake, pictures[side.goal]
            )
        return values

    def _learn_to_translate(
        self, side: Side, pictures: dict[str, Tensor], values: dict[str, Tensor], images_seen: int
    ) -> Tensor:
        """Add one way's gradients to generators and projectors; return the fakes, detached.

        Each pass sends its gradient back to the fakes as soon as its terms are made, which frees
        its graph before the next one is built; what has gathered there goes through the generator
        once.
        """
        options = self.options
        forward = self.networks[f"generator_{side.way}"]
        judge = self.networks[f"discriminator_{side.goal}"]
        start, goal = pictures[side.start], pictures[side.goal]
        with self._autocast():
            outputs, features = method.translate_both(
                forward, start, goal if options.identity_weight else None, self.layers
            )
            keys = self._draw_keys(side, features, images_seen) if self.layers else None
            del features
        leaves = [output.detach().requires_grad_() for output in outputs]
        fake = leaves[0]

        def learn(terms: dict[str, Tensor]) -> None:
            share = 0.5 if options.average_ways else 1.0
            (share * sum(terms.values())).backward()
            values.update((name, value.detach()) for name, value in terms.items())

        if options.cycle_weight or self.layers:
            learn(self._compare_with_start(side, fake, start, keys))
        with training.frozen(judge), self._autocast():
            logits = judge(fake)
        learn({f"adversarial_{side.way}": self.adversarial.generator(logits)})
        if options.identity_weight:
            stays = options.identity_weight * losses.l1(leaves[1], goal)
            learn({f"identity_{side.goal}": stays})
        torch.autograd.backward(outputs, [leaf.grad for leaf in leaves])
        return fake.detach()

    @torch.no_grad()
    def _draw_keys(self, side: Side, features: Sequence[Tensor], images_seen: int) -> Keys:
        """Draw the patches to compare and project them."""
        sizes = [feature.shape[2] * feature.shape[3] for feature in features]
        random = training.generator_for(
            self.device, self.options.seed, images_seen, f"patches {side.way}"
        )
        positions = models.draw_positions(sizes, self.options.nce_patches, random)
        return Keys(positions, self.networks[f"projector_{side.start}"](features, positions))

    def _compare_with_start(
        self, side: Side, fake: Tensor, start: Tensor, keys: Keys | None
    ) -> dict[str, Tensor]:
        """Return cycle loss and PatchNCE, both from one pass of the other generator."""
        options = self.options
        backward = self.networks[f"generator_{side.goal}2{side.start}"]
        terms = {}
        with self._autocast():
            if options.cycle_weight:
                returned, features = method.translate_and_encode(backward, fake, self.layers)
                terms[f"cycle_{side.start}"] = options.cycle_weight * losses.l1(returned, start)
            else:
                features = backward.encode(fake, self.layers)
            if keys:
                queries = self.networks[f"projector_{side.goal}"](features, keys.positions)
                loss = partial(losses.patch_nce, temperature=options.nce_temperature)
                nce = patches.compare(queries, keys.vectors, loss)
                terms[f"nce_{side.way}"] = options.nce_weight * nce
        return terms

    def _learn_to_judge(self, domain: str, fake: Tensor, real: Tensor) -> Tensor:
        """Update the discriminator of a domain; return its loss."""
        name = f"discriminator_{domain}"
        with self._autocast():
            on_fake, on_real = models.run_together(self.networks[name], fake, real)
        loss = (self.adversarial.on_fake(on_fake) + self.adversarial.on_real(on_real)) / 2
        loss.backward()
        self._descend(name)
        return loss.detach()

    def _mixed_with_pool(self, domain: str, fake: Tensor, images_seen: int) -> Tensor:
        """Every process keeps the whole pool and takes its own rows of the mixed batch."""
        if not self.pools:
            return fake
        if self.options.preprocess in MIXED_SIZES:
            sizes = set(training.gather_objects(tuple(fake.shape[2:])))
            if len(sizes) > 1:
                raise UserError(
                    f"--history_size {self.options.history_size}: the processes share the pool, "
                    f"and their pictures differ in size ({len(sizes)} sizes in the step after "
                    f"{images_seen} images); give a --preprocess mode that crops, or 0"
                )
        random = training.generator_for(
            method.CPU, self.options.seed, images_seen, f"pool {domain}"
        )
        mixed = self.pools[domain].mix(training.gather_rows(fake.float()), random)
        return mixed.chunk(self.processes.world_size)[self.processes.rank]

    def _descend(self, name: str) -> None:
        training.descend(self.networks[name], self.optimizers[name])

    def _autocast(self) -> torch.autocast:
        return training.autocast(self.device, self.options.precision)


def open_both_ways(options: Options) -> launch.Data:
    """Open the folders, in sizes that the generators take.

    Each generator is measured on the test pictures that it starts from.
    """
    with torch.device("meta"):
        size_multiple = method.build_generator(options).size_multiple
    backward = {f"generator_{side.way}.safetensors": side.start == "b" for side in SIDES}
    return datasets.open_unpaired(options, size_multiple, backward)


def check(options: Options) -> None:
    """Raise UserError for values that cannot train."""
    cli.check_translator_options(options)
    cli.check_ranges(
        options,
        above_zero=("nce_temperature", "nce_channels"),
        at_least_zero=("cycle_weight", "identity_weight", "nce_weight", "history_size"),
    )
    if not (options.cycle_weight or options.identity_weight or options.nce_weight):
        raise UserError(
            "--cycle_weight 0: with --identity_weight 0 and --nce_weight 0 nothing ties a "
            "translation to its source; give one of them"
        )
    compared = ("nce_temperature", "nce_patches", "nce_channels", "nce_layers")
    cli.check_read(options, dict.fromkeys(compared, (bool(options.nce_weight), "--nce_weight")))
    if options.nce_weight and not options.nce_layers:
        raise UserError(
            f"--nce_weight {options.nce_weight}: no --nce_layers to compare; give some, as "
            "--preset dclgan does"
        )
    if options.nce_weight and options.nce_patches < 2:
        raise UserError(
            f"--nce_patches {options.nce_patches}: leaves a patch without negatives; give 2 or more"
        )
    if options.nce_weight and options.generator.startswith("unet"):
        raise UserError(
            f"--generator {options.generator}: has no layers for --nce_layers; use resnet_9blocks, "
            "or --nce_weight 0"
        )


def main(arguments: Sequence[str] | None = None) -> None:
    """Parse, check, train."""
    options = cli.parse(Options, arguments, PRESETS)
    check(options)
    launch.train(options, open_both_ways, CycleGan)


if __name__ == "__main__":
    cli.run(main)
