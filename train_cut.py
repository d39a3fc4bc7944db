"""Train a translator between two unpaired folders of pictures by CUT or one of its variants.

The generator is trained against a discriminator of the target domain, and each patch of its output
must identify its source patch among other patches of the source (PatchNCE). Presets: cut, fastcut
and sincut, the last for one picture per domain (Park et al. 2020); simgan, without PatchNCE
(Shrivastava et al. 2017); and variants of the patch loss: cut_monce (Zhan et al. 2022), cut_hneg
(Jung et al. 2022), cut_qs (Hu et al. 2022).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal, NamedTuple

import torch
from torch import Tensor

import data
import losses
import models
import training
from commands import cli, launch
from commands.options import check_ranges
from commands.translation import datasets, networks, patches, steps
from errors import UserError
from training import Term


@dataclass(frozen=True)
class Options(patches.PatchOptions):
    """CUT's own options and defaults, in addition to those of unpaired translators and patches."""

    preset: Literal["cut", "fastcut", "sincut", "simgan", "cut_monce", "cut_hneg", "cut_qs"] = "cut"
    """Set of defaults, which the other options override."""
    constant_epochs: float = 200
    decay_epochs: float = 200
    preprocess: Literal[
        "resize_and_crop",
        "crop",
        "scale_width",
        "scale_width_and_crop",
        "scale_shortside",
        "none",
        "zoom_and_patch",
    ] = "resize_and_crop"
    """How image files are resized and cropped; zoom_and_patch is for one picture per domain."""
    generator: Literal["resnet_9blocks", "resnet_6blocks", "stylegan2", "smallstylegan2"] = (
        "resnet_9blocks"
    )
    """Architecture of the generator."""
    discriminator: Literal["patch", "pixel", "stylegan2"] = "patch"
    """Architecture of the discriminator."""
    antialias: bool = True
    initialization: Literal["normal", "xavier", "kaiming", "orthogonal"] = "xavier"

    adversarial_weight: float = 1.0
    """Weight of the adversarial loss of the generator."""
    r1_weight: float = 0.0
    """Weight of the discriminator's R1 penalty; 0: off."""
    flip_equivariance: bool = False
    """Flip the input in half of the steps, and flip the translation's features back (FastCUT)."""
    self_regularization_weight: float = 0.0
    """Weight of the L1 loss between a source picture and its translation (SimGAN); 0: off."""
    history_size: int = 0
    """Number of earlier translations kept, which are half of each discriminator batch; 0: off."""


SHOWN = ("nce", "adversarial")  # the losses that the terminal shows first

PRESETS = {
    "cut": {},
    "fastcut": {
        "constant_epochs": 150,
        "decay_epochs": 50,
        "nce_weight": 10.0,
        "nce_identity": False,
        "flip_equivariance": True,
    },
    "sincut": {
        "generator": "stylegan2",
        "discriminator": "stylegan2",
        "base_channels": 10,
        "discriminator_channels": 8,
        "preprocess": "zoom_and_patch",
        "crop_size": 64,
        "batch_size": 16,
        "epoch_images": 100_000,
        "constant_epochs": 8,
        "decay_epochs": 8,
        "learning_rate": 2e-3,
        "betas": (0.0, 0.99),
        "adversarial": "non_saturating",
        "r1_weight": 1.0,
        "nce_weight": 4.0,
        "nce_layers": (0, 2, 4),
        "nce_patches": 1,
        "nce_negatives": "batch",
        "identity_weight": 1.0,
    },
    # The paper's losses, history and local discriminator with CUT's networks, optimiser, schedule
    # (the paper: no downsampling, SGD, two generator updates per discriminator update).
    "simgan": {
        "adversarial": "non_saturating",
        "nce_weight": 0.0,
        "nce_identity": False,
        "self_regularization_weight": 10.0,
        "history_size": 512,
        "batch_size": 16,
        "load_size": 72,
        "crop_size": 64,
        "generator": "resnet_6blocks",
    },
    # Cost and epsilon of the official script for horses and zebras.
    "cut_monce": {"patch_loss": "mo_nce", "mo_nce_cost": "hard", "mo_nce_epsilon": 0.1},
    # Weights of the official script for horses and zebras.
    "cut_hneg": {"patch_loss": "hdce", "nce_weight": 0.1, "semantic_relation_weight": 0.05},
    "cut_qs": {"patch_sampler": "attention"},
}


class Moment(NamedTuple):
    """What differs between two steps beside the batch, the random numbers and the weights."""

    mirrored: bool  # FastCUT's coin, which no device has to be asked for
    hdce_gamma: float | None
    remembered: int  # pictures in the history


class Translation(NamedTuple):
    """A generator pass over source pictures, target pictures, or both concatenated."""

    sources: int  # rows of source pictures, which come first
    inputs: Tensor  # [B, 3, H, W], possibly flipped
    outputs: Tensor  # [B, 3, H, W]
    keys: list[Tensor]  # features of the unflipped inputs, one [B, C_i, H_i, W_i] per layer
    mirrored: bool


class Cut:
    """CUT's networks and its step; a term whose weight is 0 is off."""

    def __init__(self, options: Options, device: torch.device, processes: training.Processes):
        """Build the networks; `epoch_images` and `precision` of the options are resolved."""
        self.options, self.device, self.processes = options, device, processes
        self.adversarial = losses.ADVERSARIAL_LOSSES[options.adversarial]
        self.generator = networks.build_generator(options)
        self.discriminator = networks.build_discriminator(options)
        parts = {"generator": self.generator, "discriminator": self.discriminator}
        models.check_picture_size(options.crop_size, "--crop_size", *parts.values())
        if options.nce_weight:
            channels = models.feature_channels(self.generator, options.nce_layers, "--nce_layers")
            self.projector = models.PatchProjector(channels, options.nce_channels)
            parts["projector"] = self.projector
        self.trained = networks.build_trained(parts, options, device)
        self.history = None
        if options.history_size:
            self.history = training.RefinedHistory(options.history_size)
        self.autocast = partial(training.autocast, device, options.precision)

    # The three members that the loop uses.

    def step(self, batch: data.TranslationBatch, images_seen: int) -> dict[str, Tensor]:
        """Update discriminator, then generator and projector; return the losses."""
        options = self.options
        now = self.moment(images_seen)
        update = partial(self.trained.run, "update", now, partial(self.update, now), *batch)
        return steps.run_step(self.trained, options, self.processes, batch, images_seen, update)

    @torch.no_grad()
    def preview(self, batch: data.TranslationBatch) -> Tensor:
        """Return rows of source, translation, target and identity."""
        (network,) = self.trained.generators.values()
        source, target = (pictures.to(self.device) for pictures in batch)
        return training.sheet(
            [source, models.translate(network, source), target, models.translate(network, target)]
        )

    def state(self) -> dict[str, training.Stateful]:
        """Everything to be saved."""
        return self.trained.state() | ({} if self.history is None else {"history": self.history})

    # The method.

    def moment(self, images_seen: int) -> Moment:
        """Return the settings of the step that begins at `images_seen`."""
        options = self.options
        coin = training.seed_for(options.seed, images_seen, "mirror") % 2 == 1
        return Moment(
            options.flip_equivariance and coin,
            patches.hdce_gamma(images_seen, options),
            0 if self.history is None else len(self.history),
        )

    def update(self, now: Moment, source: Tensor, target: Tensor) -> dict[str, Tensor]:
        """Update all networks in the official order; return detached losses.

        Losses are logged as in the official program: discriminator terms without their factor 1/2,
        the patch loss with its weight, but before averaging translation and identity.
        """
        passes = self._passes(source, target)
        translation = self._translate(*passes[0], now)
        fake = translation.outputs[: translation.sources].detach()
        values = self._update_discriminator(fake, target)

        loss = partial(self._loss, translation, now)
        terms = training.backward([translation.outputs], loss)
        del translation, loss  # frees its features before the next pass needs the memory
        for pictures, sources in passes[1:]:
            identity = self._translate(pictures, sources, now)
            terms += training.backward([identity.outputs], partial(self._loss, identity, now))
        learners = [name for name in self.trained.networks if name != "discriminator"]
        self.trained.optimize(*learners)
        values["generator"] = training.total(terms)
        return values | {term.name: term.value for term in terms}

    def _loss(self, translation: Translation, now: Moment, outputs: Tensor) -> Iterator[list[Term]]:
        """Yield the terms of the generator's loss for source pictures x and target pictures y: L =

        w_adversarial GAN(G(x)) + w_self |G(x) - x|_1 + w_relation SRC(x, G(x))
        + w_nce (PatchNCE(x, G(x)) + PatchNCE(y, G(y))) / 2 + w_identity |G(y) - y|_1.
        Without the identity term, PatchNCE(x, G(x)) is not halved.
        """
        options, sources = self.options, translation.sources
        fake, source = outputs[:sources], translation.inputs[:sources]
        same, target = outputs[sources:], translation.inputs[sources:]
        if len(fake):
            with training.frozen(self.discriminator), self.autocast():
                logits = self.discriminator(fake)
            adversarial = options.adversarial_weight * self.adversarial.generator(logits)
            yield [Term("adversarial", adversarial)]
        if options.nce_weight and (len(fake) or options.nce_identity):
            yield self._patch_terms(translation, now, outputs)
        if len(fake) and options.self_regularization_weight:
            distance = losses.l1(fake, source)
            yield [Term("self_regularization", options.self_regularization_weight * distance)]
        if len(same) and options.identity_weight:
            yield [Term("identity", options.identity_weight * losses.l1(same, target))]

    def _patch_terms(self, translation: Translation, now: Moment, outputs: Tensor) -> list[Term]:
        """Return the patch loss and SRC between outputs and inputs."""
        options, sources = self.options, translation.sources
        queries, keys = self._patches(translation, outputs)
        nce = options.nce_weight * patches.compare(
            queries,
            keys,
            patches.loss_of(options, now.hdce_gamma),
            whole_batch=options.nce_negatives == "batch",
            rank=self.processes.rank,
        )
        factor = 0.5 if options.nce_identity else 1.0
        terms = [Term("nce", nce[:sources].mean(), factor)] if sources else []
        if options.nce_identity and sources < len(nce):
            terms.append(Term("nce_identity", nce[sources:].mean(), factor))
        if options.semantic_relation_weight and sources:
            ours, theirs = ([part[:sources] for part in side] for side in (queries, keys))
            relation = patches.semantic_relation(ours, theirs)
            terms.append(Term("semantic_relation", options.semantic_relation_weight * relation))
        return terms

    def _passes(self, source: Tensor, target: Tensor) -> list[tuple[Tensor, int]]:
        """Return the pictures of each generator pass, and the number of source pictures in it.

        On a GPU a joint pass halves the launches; on a CPU separate passes save memory.
        """
        options = self.options
        if not ((options.nce_weight and options.nce_identity) or options.identity_weight):
            return [(source, len(source))]
        if (
            models.few_launches(self.device)
            and models.may_run_together(self.generator, source, target)
            and options.nce_negatives == "image"
        ):
            return [(torch.cat([source, target]), len(source))]
        return [(source, len(source)), (target, 0)]

    def _translate(self, pictures: Tensor, sources: int, now: Moment) -> Translation:
        """Translate, and keep the features of the unflipped inputs, detached.

        They come from the same pass, except for flipped inputs, since the network is not
        equivariant to flips.
        """
        layers = self.options.nce_layers
        inputs = pictures.flip(3) if now.mirrored else pictures
        with self.autocast():
            if now.mirrored or not self.options.nce_weight:
                outputs, keys = self.generator(inputs), []
            else:
                outputs, keys = self.generator.forward_with_features(inputs, layers)
        if now.mirrored and self.options.nce_weight:
            with torch.no_grad(), self.autocast():
                keys = self.generator.encode(pictures, layers)
        return Translation(sources, inputs, outputs, [key.detach() for key in keys], now.mirrored)

    def _patches(
        self, translation: Translation, outputs: Tensor
    ) -> tuple[list[Tensor], list[Tensor]]:
        """Return projected patches of outputs and of unflipped inputs, [B, P_i, C] per layer."""
        options, keys = self.options, translation.keys
        with self.autocast():
            queries = self.generator.encode(outputs, options.nce_layers)
            queries = [query.flip(3) for query in queries] if translation.mirrored else queries
            positions = self._positions(translation, queries)
            if options.patch_sampler == "attention":
                queries, keys, positions = patches.route(
                    queries, keys, positions, options.nce_patches
                )
            queries = self.projector(queries, positions)
        with torch.no_grad(), self.autocast():
            keys = self.projector(keys, positions)
        return queries, keys

    def _positions(self, translation: Translation, features: Sequence[Tensor]) -> list[Tensor]:
        """Draw patches for the source pictures and others for the targets, one set per layer."""
        sizes = [feature.shape[2] * feature.shape[3] for feature in features]
        random = self.trained.random.generator("step")
        draw = partial(models.draw_positions, sizes, self.options.nce_patches, random)
        sources, pictures = translation.sources, len(translation.inputs)
        if sources in (0, pictures):
            return draw()
        rows = (sources, pictures - sources)
        return [
            torch.cat([part.expand(n, -1) for part, n in zip(pair, rows, strict=True)])
            for pair in zip(draw(), draw(), strict=True)
        ]

    def _update_discriminator(self, fake: Tensor, real: Tensor) -> dict[str, Tensor]:
        """Minimise (L_real + L_fake) / 2 + R1, L_real and L_fake of the adversarial loss."""
        options = self.options
        if self.history is not None:
            fake = self._mixed_with_history(fake)
        if options.r1_weight:  # in float32 and without the fakes: it is differentiated twice
            real = real.detach().requires_grad_()
            with models.eagerly():
                real_logits = self.discriminator(real)
            with self.autocast():
                fake_logits = self.discriminator(fake)
        else:
            with self.autocast():
                fake_logits, real_logits = models.run_together(self.discriminator, fake, real)
        terms = [
            Term("discriminator_real", self.adversarial.on_real(real_logits), 0.5),
            Term("discriminator_fake", self.adversarial.on_fake(fake_logits), 0.5),
        ]
        if options.r1_weight:
            penalty = losses.r1_penalty(real, real_logits)
            terms.append(Term("r1", options.r1_weight * penalty))
        training.total(terms).backward()
        self.trained.optimize("discriminator")
        return {term.name: term.value.detach() for term in terms}

    def _mixed_with_history(self, fake: Tensor) -> Tensor:
        """Mix with the history, which every process holds in full; return this process's rows."""
        random = self.trained.random.generator("step")
        mixed = self.history.mix(training.gather_rows(fake), random)
        return mixed.chunk(self.processes.world_size)[self.processes.rank]


def check(options: Options) -> None:
    """Raise UserError for invalid values and combinations."""
    patches.check(options)
    check_ranges(
        options,
        above_zero=(),
        at_least_zero=(
            *("adversarial_weight", "r1_weight"),
            *("self_regularization_weight", "history_size"),
        ),
    )
    if options.history_size and options.batch_size % 2:
        raise UserError(
            f"--batch_size {options.batch_size}: --history_size takes half of each batch from the "
            "history; give an even batch size"
        )
    crops = options.preprocess in ("resize_and_crop", "crop", "scale_width_and_crop")
    if options.discriminator == "stylegan2" and not (
        crops or options.preprocess == "zoom_and_patch"
    ):
        raise UserError(
            f"--preprocess {options.preprocess}: --discriminator stylegan2 needs pictures of size "
            "--crop_size; give a mode that crops"
        )


def main(arguments: Sequence[str] | None = None) -> None:
    """Parse, check, train."""
    options = cli.parse(Options, arguments, PRESETS)
    check(options)
    launch.train(options, datasets.open_unpaired, Cut, training.Watch(shown=SHOWN), PRESETS)


if __name__ == "__main__":
    cli.run(main)
