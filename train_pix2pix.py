"""Train a translator on pairs of pictures by pix2pix.

A U-Net is trained with an L1 loss to the target and against a discriminator that is conditioned on
the source (Isola et al. 2017). Sources may be pictures or label maps. Presets: pix2pix, and
colorization, which is trained on single pictures to predict colours from lightness.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal

import torch
from torch import Tensor, nn

import data
import losses
import models
import training
from commands import cli, launch
from commands.options import check_ranges
from commands.translation import datasets, networks, steps
from commands.translation.options import TranslatorOptions, check_translator_options
from errors import UserError
from training import Term


@dataclass(frozen=True)
class Options(TranslatorOptions):
    """pix2pix's own options and defaults, in addition to those that all translators share."""

    preset: Literal["pix2pix", "colorization"] = "pix2pix"
    """Set of defaults, which the other options override."""
    direction: Literal["a2b", "b2a", "AtoB", "BtoA"] = "a2b"
    """Direction of translation; A is the left half of each picture in --dataroot, or trainA."""
    source_channels: Literal[1, 3, 4] = 3
    """Channels of the sources: grey, RGB or RGBA."""
    target_channels: Literal[1, 3, 4] = 3
    """Channels of the targets: grey, RGB or RGBA."""
    source_bits: Literal[8, 16] = 8
    """Bits per channel of the sources; 16 keeps the precision of 16-bit grey files."""
    target_bits: Literal[8, 16] = 8
    """Bits per channel of the targets; 16 keeps the precision of 16-bit grey files."""
    source_classes: int = 0
    """Number of classes if the sources are label maps (palette or grey PNG); 0: pictures."""
    lab: bool = False
    """Train on single pictures to predict their colours (a, b of Lab) from their lightness."""

    generator: Literal["unet_256", "unet_128", "resnet_9blocks", "resnet_6blocks"] = "unet_256"
    """Architecture of the generator."""
    discriminator: Literal["patch", "pixel"] = "patch"
    """Architecture of the discriminator."""
    generator_norm: Literal["instance", "batch", "none"] = "batch"
    discriminator_norm: Literal["instance", "batch", "none"] = "batch"
    dropout: bool = True
    adversarial: Literal["lsgan", "minimax", "non_saturating", "hinge", "wgan"] = "non_saturating"
    adversarial_weight: float = 1.0
    """Weight of the adversarial loss of the generator; 0: off, without training the
    discriminator."""
    l1_weight: float = 100.0
    """Weight of the L1 loss between translation and target; 0: off."""
    evaluate_every: int = 5000
    metrics: str = "l1,psnr,ssim"


SHOWN = ("l1", "adversarial")  # the losses that the terminal shows first

PRESETS = {"pix2pix": {}, "colorization": {"lab": True}}


class Pix2Pix:
    """Generator, conditional discriminator, and their training step."""

    def __init__(self, options: Options, device: torch.device, processes: training.Processes):
        """Build the networks; `epoch_images` and `precision` of the options are resolved."""
        self.options, self.device, self.processes = options, device, processes
        self.adversarial = losses.ADVERSARIAL_LOSSES[options.adversarial]
        self.source, self.target = contents(options)
        self.generator = build_generator(options)
        pair_channels = self.source.tensor_channels + self.target.tensor_channels
        self.discriminator = networks.build_discriminator(
            options, in_channels=1 + 2 if options.lab else pair_channels
        )
        parts = {"generator": self.generator, "discriminator": self.discriminator}
        models.check_picture_size(options.crop_size, "--crop_size", *parts.values())
        self.trained = networks.build_trained(parts, options, device)
        self.autocast = partial(training.autocast, device, options.precision)

    # The three members that the loop uses.

    def step(self, batch: data.TranslationBatch, images_seen: int) -> dict[str, Tensor]:
        """Update discriminator, then generator; return the losses."""
        update = partial(self.trained.run, "update", None, self.update, *batch)
        return steps.run_step(
            self.trained, self.options, self.processes, batch, images_seen, update
        )

    @torch.no_grad()
    def preview(self, batch: data.TranslationBatch) -> Tensor:
        """Return rows of source, translation and target."""
        (network,) = self.trained.generators.values()
        source = batch.source.to(self.device)
        shown = self.source.to_view(source)
        if self.options.lab:
            lightness, _ = models.split_lab(source)
            shown = models.join_lab(lightness, torch.zeros_like(source[:, :2]))
        translated = self.target.to_view(models.translate(network, source))
        return training.sheet(
            [shown, translated, self.target.to_view(batch.target).to(self.device)]
        )

    def state(self) -> dict[str, training.Stateful]:
        """Everything to be saved."""
        return self.trained.state()

    # The method.

    def update(self, source: Tensor, target: Tensor) -> dict[str, Tensor]:
        """Update both networks in the official order; return detached losses.

        Losses are logged as in the official program: the discriminator's terms without their factor
        1/2, L1 with its weight.
        """
        if self.options.lab:
            source, target = models.split_lab(source)
        with self.autocast():
            fake = self.generator.colours(source) if self.options.lab else self.generator(source)
        values = {}
        if self.options.adversarial_weight:
            values = self._update_discriminator(source, fake.detach(), target)
        terms = training.backward([fake], partial(self._loss_of_generator, source, target))
        self.trained.optimize("generator")
        return values | {term.name: term.value for term in terms}

    def _loss_of_generator(
        self, source: Tensor, target: Tensor, fake: Tensor
    ) -> Iterator[list[Term]]:
        """Yield the terms of the generator's loss for source x and target y: L =

        w_adversarial GAN(x, G(x)) + w_l1 |G(x) - y|_1.
        """
        options = self.options
        if options.adversarial_weight:
            with training.frozen(self.discriminator), self.autocast():
                logits = self.discriminator(torch.cat([source, fake], 1))
            adversarial = options.adversarial_weight * self.adversarial.generator(logits)
            yield [Term("adversarial", adversarial)]
        if options.l1_weight:
            yield [Term("l1", options.l1_weight * losses.l1(fake, target))]

    def _update_discriminator(
        self, source: Tensor, fake: Tensor, target: Tensor
    ) -> dict[str, Tensor]:
        """Minimise (L_real + L_fake) / 2 on source and target, and on source and translation."""
        pairs = [torch.cat([source, pictures], 1) for pictures in (fake, target)]
        with self.autocast():
            on_fake, on_real = models.run_together(self.discriminator, *pairs)
        terms = [
            Term("discriminator_real", self.adversarial.on_real(on_real), 0.5),
            Term("discriminator_fake", self.adversarial.on_fake(on_fake), 0.5),
        ]
        training.total(terms).backward()
        self.trained.optimize("discriminator")
        return {term.name: term.value.detach() for term in terms}


def contents(options: Options) -> tuple[data.Content, data.Content]:
    """Return the content of the files in each domain."""
    target = data.Content("colour", options.target_channels, bits=options.target_bits)
    if options.source_classes:
        return data.Content("labels", classes=options.source_classes), target
    return data.Content("colour", options.source_channels, bits=options.source_bits), target


def build_generator(options: Options) -> nn.Module:
    """Build the generator with the channels of both domains."""
    source, target = contents(options)
    return networks.build_generator(
        options,
        in_channels=source.tensor_channels,
        out_channels=target.tensor_channels,
        lab=options.lab,
    )


def open_pairs(options: Options) -> launch.Data:
    """Open the pairs, with picture sizes that the generator supports."""
    source, target = contents(options)
    with torch.device("meta"):
        size_multiple = build_generator(options).size_multiple
    return datasets.open_paired(
        options, source, target, size_multiple, direction=options.direction, single=options.lab
    )


def check(options: Options) -> None:
    """Raise UserError for invalid values and combinations."""
    check_translator_options(options)
    check_ranges(options, above_zero=(), at_least_zero=("adversarial_weight", "l1_weight"))
    if options.source_classes < 0 or options.source_classes == 1:
        raise UserError(
            f"--source_classes {options.source_classes}: give 2 or more for label maps, 0 for "
            "pictures"
        )
    if options.source_classes > data.MOST_CLASSES:
        raise UserError(
            f"--source_classes {options.source_classes}: more than {data.MOST_CLASSES}, the limit "
            "of 16-bit files"
        )
    if options.source_classes and (options.source_channels, options.source_bits) != (3, 8):
        raise UserError(
            f"--source_classes {options.source_classes}: label maps take neither --source_channels "
            "nor --source_bits; leave them out"
        )
    for side, channels, bits in (
        ("source", options.source_channels, options.source_bits),
        ("target", options.target_channels, options.target_bits),
    ):
        if bits == 16 and channels != 1:
            raise UserError(
                f"--{side}_bits 16: needs --{side}_channels 1; files of more channels have 8 bits"
            )
    plain = (options.source_channels, options.target_channels, options.source_classes) == (3, 3, 0)
    if not options.adversarial_weight + options.l1_weight:
        raise UserError("--adversarial_weight 0 --l1_weight 0: no loss is left; give one of them")
    if options.lab and not plain:
        raise UserError("--lab: colours RGB pictures; leave out channels and --source_classes")
    if options.lab and (
        options.source_dir or options.target_dir or options.direction not in ("a2b", "AtoB")
    ):
        raise UserError(
            "--lab: reads single pictures from --dataroot; leave out the other folders and "
            "--direction"
        )


def main(arguments: Sequence[str] | None = None) -> None:
    """Parse, check, train."""
    options = cli.parse(Options, arguments, PRESETS)
    check(options)
    launch.train(options, open_pairs, Pix2Pix, training.Watch(shown=SHOWN), PRESETS)


if __name__ == "__main__":
    cli.run(main)
