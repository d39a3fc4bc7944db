"""Train a translator between two unpaired folders of pictures by CUT or one of its relatives.

The generator must fool a discriminator of the target domain, and each patch of its output must
find its own place in the source among other patches (PatchNCE). Presets: cut, fastcut
(Park et al. 2020), sincut (one picture a side), simgan (Shrivastava et al. 2017, no PatchNCE), and
cut with patches compared otherwise: cut_monce (Zhan et al. 2022), cut_hneg (Jung et al. 2022),
cut_qs (Hu et al. 2022).
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
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
    """CUT's own options and defaults, after those that all trainings of translators share."""

    preset: Literal["cut", "fastcut", "sincut", "simgan", "cut_monce", "cut_hneg", "cut_qs"] = "cut"
    """Row of defaults that the other options are read on top of."""
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
    """How a file becomes a training picture; zoom_and_patch is for one picture a side."""
    jitter_in_decay: bool = False
    """Go on with resizing to load_size while the learning rate falls; the official programs of CUT
    resize to crop_size from then on."""

    generator: Literal["resnet_9blocks", "resnet_6blocks", "stylegan2", "smallstylegan2"] = (
        "resnet_9blocks"
    )
    """Architecture of the generator."""
    discriminator: Literal["patch", "pixel", "stylegan2"] = "patch"
    """Architecture of the discriminator."""
    antialias: bool = True
    initialization: Literal["normal", "xavier", "kaiming", "orthogonal"] = "xavier"

    adversarial_weight: float = 1.0
    """Weight of the adversarial loss in the generator's."""
    r1_weight: float = 0.0
    """Weight of the R1 penalty in the discriminator's loss; 0: off."""
    nce_weight: float = 1.0
    """Weight of the loss of the patches; 0: off, and no projector is made."""
    patch_loss: Literal["patch_nce", "mo_nce", "hdce", "decoupled"] = "patch_nce"
    """How a patch finds its place: among equal others (patch_nce), others weighed by optimal
    transport (mo_nce), its own place out of the sum (decoupled), so and with like patches of the
    source weighing more (hdce)."""
    nce_identity: bool = True
    """Average the loss of the patches with that between target pictures and their translations."""
    nce_layers: tuple[int, ...] = (0, 4, 8, 12, 16)
    """Generator layers whose features are compared."""
    nce_temperature: float = 0.07
    """Temperature of the softmax over patches."""
    patch_sampler: Literal["random", "attention"] = "random"
    """attention: from the fourth layer on, patches are places whose attention to the others is the
    most decided, mixed by it (QS-Attn); the first three layers stay random."""
    nce_patches: int = 256
    """Patches a layer and picture."""
    nce_channels: int = 256
    """Width of the projected patches."""
    nce_negatives: Literal["image", "batch"] = "image"
    """Where a patch's negatives come from; batch is for --patch_loss patch_nce."""
    mo_nce_cost: Literal["easy", "hard"] = "easy"
    """Which negatives weigh more in mo_nce: those unlike the patch (easy) or like it (hard)."""
    mo_nce_epsilon: float = 1.0
    """Evenness of mo_nce's weights: the larger, the more even."""
    hdce_gamma: tuple[float, float] = (50.0, 10.0)
    """Evenness of hdce's weights, at the first image and at the end of the schedule."""
    semantic_relation_weight: float = 0.0
    """Weight of the difference between the relations among a translation's patches and those among
    the source's (SRC); 0: off."""
    flip_equivariance: bool = False
    """Mirror the input on half of the steps, and the translation's features back (FastCUT)."""
    identity_weight: float = 0.0
    """Weight of L1 between a target picture and its translation; 0: off."""
    self_regularization_weight: float = 0.0
    """Weight of L1 between a source picture and its translation (SimGAN); 0: off."""
    history_size: int = 0
    """Earlier translations kept, from which half of each discriminator batch comes; 0: off."""


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
    # The paper's losses, history and local discriminator on CUT's networks, optimiser and schedule
    # (the paper: a refiner without halvings, SGD, two generator updates for one of the other).
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


class Draws:
    """The random choices of one step, a pure function of the seed and the images seen."""

    def __init__(self, seed: int, images_seen: int, patches: int, device: torch.device):
        # FastCUT's coin, which no device has to be asked for.
        self.mirrored = training.seed_for(seed, images_seen, "mirror") % 2 == 1
        self.generator = training.generator_for(device, seed, images_seen, "step")
        self.patches = patches

    def positions(self, features: Sequence[Tensor]) -> list[Tensor]:
        """Draw the patches to compare, one set a layer, the same for all pictures of the batch."""
        sizes = [feature.shape[2] * feature.shape[3] for feature in features]
        return models.draw_positions(sizes, self.patches, self.generator)


class Pass(NamedTuple):
    """One pass of the generator."""

    inputs: Tensor  # [B, 3, H, W], mirrored or not
    outputs: Tensor  # [B, 3, H, W]
    keys: list[Tensor]  # features of the un-mirrored inputs, one [B, C_i, H_i, W_i] a layer
    mirrored: bool


class Term(NamedTuple):
    """One term of the generator's loss: it counts share * value, and its value is logged."""

    name: str
    value: Tensor
    share: float = 1.0


class Cut:
    """CUT's networks and its step; a term whose weight is 0 is off."""

    def __init__(self, options: Options, device: torch.device, processes: training.Processes):
        """Build the networks; `epoch_images` and `precision` of the options are resolved."""
        self.options, self.device, self.processes = options, device, processes
        self.adversarial = losses.ADVERSARIAL_LOSSES[options.adversarial]
        self.networks = {
            "generator": method.build_generator(options),
            "discriminator": method.build_discriminator(options),
        }
        self.generator, self.discriminator = self.networks.values()
        models.check_picture_size(options.crop_size, "--crop_size", *self.networks.values())
        if options.nce_weight:
            channels = models.feature_channels(self.generator, options.nce_layers, "--nce_layers")
            self.projector = models.PatchProjector(channels, options.nce_channels)
            self.networks["projector"] = self.projector
        method.draw_weights(self.networks, options, device)
        self.optimizers = method.build_optimizers(self.networks, options)
        self.averages = method.build_averages(self.networks, options)
        self.history = None
        if options.history_size:
            self.history = training.RefinedHistory(options.history_size)
        self.translates_target = bool(
            (options.nce_weight and options.nce_identity) or options.identity_weight
        )
        self.patch_loss = patches.loss_at(0, options)

    # The three members that the loop knows.

    def step(self, batch: data.TranslationBatch, images_seen: int) -> dict[str, Tensor]:
        """Update discriminator, then generator and projector; return the losses."""
        options = self.options
        learning_rate = method.begin_step(
            self.networks, self.optimizers, options, self.processes, images_seen
        )
        self.patch_loss = patches.loss_at(images_seen, options)
        draws = Draws(options.seed, images_seen, options.nce_patches, self.device)
        values = self.update(batch, draws)
        method.end_step(self.networks, self.averages, options)
        return values | {"learning_rate": torch.full((), learning_rate, device=self.device)}

    @torch.no_grad()
    def preview(self, batch: data.TranslationBatch) -> Tensor:
        """Show source, translation, target and identity below one another."""
        (network,) = self.generators.values()
        source, target = (pictures.to(self.device) for pictures in batch)
        return training.sheet(
            [source, models.translate(network, source), target, models.translate(network, target)]
        )

    def state(self) -> dict[str, training.Stateful]:
        """Everything to be saved."""
        parts = method.saved_parts(self.networks, self.optimizers, self.averages)
        if self.history:
            parts["history"] = self.history
        return parts

    @property
    def generators(self) -> dict[str, nn.Module]:
        """The generator to use and to give away: the moving average where there is one."""
        return method.generators_to_use(self.networks, self.averages)

    # The method.

    def update(self, batch: data.TranslationBatch, draws: Draws) -> dict[str, Tensor]:
        """Make one update of all networks in the official order; return detached losses.

        As the official program reports them: discriminator terms before their factor 1/2, the loss
        of the patches with its weight but before the mean of translation and identity.
        """
        short_side_px = min(batch.source.shape[2:] + batch.target.shape[2:])
        models.check_picture_size(
            short_side_px, "a picture's short side of", self.generator, self.discriminator
        )
        mirrored = self.options.flip_equivariance and draws.mirrored
        translation = self._translate(batch.source, mirrored)
        values = self._update_discriminator(translation.outputs.detach(), batch.target, draws)

        terms = self._learn(translation, self._translation_terms, draws)
        del translation  # its features, before the second pass needs the room
        if self.translates_target:
            identity = self._translate(batch.target, mirrored)
            terms += self._learn(identity, self._identity_terms, draws)
        for name in self.networks:
            if name != "discriminator":
                self._descend(name)
        values["generator"] = sum(term.share * term.value for term in terms)
        return values | {term.name: term.value for term in terms}

    def _translate(self, pictures: Tensor, mirrored: bool) -> Pass:
        """Translate, and keep the features of the un-mirrored inputs, which send no gradient.

        The features of the same pass serve, save for mirrored inputs: the network is not symmetric.
        """
        layers = self.options.nce_layers
        inputs = pictures.flip(3) if mirrored else pictures
        with self._autocast():
            if not self.options.nce_weight:
                return Pass(inputs, self.generator(inputs), [], mirrored)
            if not mirrored:
                outputs, keys = self.generator.forward_with_features(inputs, layers)
                return Pass(inputs, outputs, [key.detach() for key in keys], mirrored)
            with torch.no_grad():
                keys = self.generator.encode(pictures, layers)
            return Pass(inputs, self.generator(inputs), keys, mirrored)

    def _update_discriminator(self, fake: Tensor, real: Tensor, draws: Draws) -> dict[str, Tensor]:
        options = self.options
        if self.history:
            fake = self._mixed_with_history(fake, draws)
        if options.r1_weight:  # in float32, and apart from the fakes: it is differentiated twice
            real = real.detach().requires_grad_()
            real_logits = self.discriminator(real)
            with self._autocast():
                fake_logits = self.discriminator(fake)
        else:
            with self._autocast():
                fake_logits, real_logits = models.run_together(self.discriminator, fake, real)
        values = {
            "discriminator_real": self.adversarial.on_real(real_logits),
            "discriminator_fake": self.adversarial.on_fake(fake_logits),
        }
        total = (values["discriminator_real"] + values["discriminator_fake"]) / 2
        if options.r1_weight:
            values["r1"] = options.r1_weight * losses.r1_penalty(real, real_logits)
            total = total + values["r1"]
        total.backward()
        self._descend("discriminator")
        return {name: value.detach() for name, value in values.items()}

    def _mixed_with_history(self, fake: Tensor, draws: Draws) -> Tensor:
        """Every process keeps the whole history and takes its own rows of the mixed batch."""
        mixed = self.history.mix(training.gather_rows(fake), draws.generator)
        return mixed.chunk(self.processes.world_size)[self.processes.rank]

    def _learn(
        self, done: Pass, terms: Callable[[Pass, Draws], Iterator[list[Term]]], draws: Draws
    ) -> list[Term]:
        """Add the gradients of all terms to those of generator and projector.

        Terms that share a graph come together. They send their gradient back to the outputs as soon
        as they are made, which frees their graph before the next one is built; what has gathered
        there goes through the generator once.
        """
        outputs = done.outputs.detach().requires_grad_()
        finished = []
        for together in terms(done._replace(outputs=outputs), draws):
            sum(term.share * term.value for term in together).backward()
            finished += [term._replace(value=term.value.detach()) for term in together]
        done.outputs.backward(outputs.grad)
        return finished

    def _translation_terms(self, done: Pass, draws: Draws) -> Iterator[list[Term]]:
        """What a translated source picture must satisfy."""
        options = self.options
        with training.frozen(self.discriminator), self._autocast():
            logits = self.discriminator(done.outputs)
        fooling = self.adversarial.generator(logits)
        yield [Term("adversarial", options.adversarial_weight * fooling)]
        if options.nce_weight:
            share = 0.5 if options.nce_identity else 1.0
            yield self._patch_terms(done, draws, share)
        if options.self_regularization_weight:
            distance = losses.l1(done.outputs, done.inputs)
            yield [Term("self_regularization", options.self_regularization_weight * distance)]

    def _identity_terms(self, done: Pass, draws: Draws) -> Iterator[list[Term]]:
        """What a translated target picture must satisfy: it should stay as it is."""
        options = self.options
        if options.nce_weight and options.nce_identity:
            loss = self._compare(*self._encode(done, draws))
            yield [Term("nce_identity", options.nce_weight * loss, 0.5)]
        if options.identity_weight:
            distance = losses.l1(done.outputs, done.inputs)
            yield [Term("identity", options.identity_weight * distance)]

    def _patch_terms(self, done: Pass, draws: Draws, share: float) -> list[Term]:
        """Compare the outputs' patches with the inputs', and the relations among both."""
        options = self.options
        queries, keys = self._encode(done, draws)
        terms = [Term("nce", options.nce_weight * self._compare(queries, keys), share)]
        if options.semantic_relation_weight:
            difference = patches.semantic_relation(queries, keys)
            weighted = options.semantic_relation_weight * difference
            terms.append(Term("semantic_relation", weighted))
        return terms

    def _encode(self, done: Pass, draws: Draws) -> tuple[list[Tensor], list[Tensor]]:
        """Return projected patches of outputs and of un-mirrored inputs, [B, P_i, C] a layer."""
        options = self.options
        with self._autocast():
            queries, keys = self.generator.encode(done.outputs, options.nce_layers), done.keys
            queries = [query.flip(3) for query in queries] if done.mirrored else queries
            positions = draws.positions(queries)
            if options.patch_sampler == "attention":
                queries, keys, positions = patches.route(
                    queries, keys, positions, options.nce_patches
                )
            queries = self.projector(queries, positions)
            with torch.no_grad():
                keys = self.projector(keys, positions)
        return queries, keys

    def _compare(self, queries: list[Tensor], keys: list[Tensor]) -> Tensor:
        return patches.compare(
            queries,
            keys,
            self.patch_loss,
            whole_batch=self.options.nce_negatives == "batch",
            rank=self.processes.rank,
        )

    def _descend(self, name: str) -> None:
        training.descend(self.networks[name], self.optimizers[name])

    def _autocast(self) -> torch.autocast:
        return training.autocast(self.device, self.options.precision)


def check(options: Options) -> None:
    """Raise UserError for values and combinations that cannot train."""
    cli.check_translator_options(options)
    cli.check_ranges(
        options,
        above_zero=(),
        at_least_zero=(
            *("adversarial_weight", "r1_weight", "identity_weight"),
            *("self_regularization_weight", "history_size"),
        ),
    )
    patches.check(options)
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
            f"--preprocess {options.preprocess}: --discriminator stylegan2 needs pictures of "
            "--crop_size; give a mode that crops"
        )


def main(arguments: Sequence[str] | None = None) -> None:
    """Parse, check, train."""
    options = cli.parse(Options, arguments, PRESETS)
    check(options)
    launch.train(options, datasets.open_unpaired, Cut)


if __name__ == "__main__":
    cli.run(main)
