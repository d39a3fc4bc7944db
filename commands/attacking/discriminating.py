"""The third use: how far a fake must change until a GAN's discriminator takes it for real."""

import math
import sys
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

import attacks
import data
import models
from commands.attacking.options import AttackOptions, in_units
from commands.attacking.pictures import read, rounded, write_all
from commands.attacking.sheets import Row, change_row, write_sheet
from commands.attacking.targets import OPTION, Gan
from commands.translation.files import plan_outputs
from errors import UserError

SHOWN = 8
HALVINGS = 10  # of the bound: the furthest one over 1024 is the resolution
FURTHEST = 32.0  # grey levels, unless --epsilon says otherwise
Margin = Callable[[Tensor, Tensor | None], Tensor]  # pictures, labels -> logit minus threshold


class Moved(NamedTuple):
    """The nearest pictures judged real that were found, and their bounds in grey levels."""

    pictures: Tensor  # [B, C, H, W]; unchanged where none was found
    bounds: Tensor  # [B]; 0 where it was judged real from the start, inf where none was found


def attack_discriminator(
    options: AttackOptions, gan: Gan, device: torch.device
) -> dict[str, object]:
    """Move the generator's pictures until they are judged real; write pictures and sheet."""
    check_gan_options(options)
    furthest = options.epsilons[-1] if options.epsilon else FURTHEST
    threshold = gan.boundary if options.input is None else reals_median(options, gan, device)
    if threshold is None:
        raise UserError(
            f"--input is missing: the discriminator of {OPTION} {options.checkpoint} only compares "
            "pictures; give real ones, and fakes are to reach their median"
        )

    def margin(pictures: Tensor, labels: Tensor | None) -> Tensor:
        return gan.logits(pictures, labels) - threshold

    labels = gan.sampler.draw_labels(options.num, options.seed)
    fakes = gan.sampler.sample(options.num, options.seed, labels=labels)
    found = []
    for rows in torch.arange(len(fakes)).split(options.batch_size):
        of_part = None if labels is None else labels[rows].to(device)
        found.append(nearest(options, margin, fakes[rows].to(device), of_part, furthest))
    moved = Moved(
        *(torch.cat([part.cpu() for part in parts]) for parts in zip(*found, strict=True))
    )
    write(options, gan, fakes, moved)
    reached = moved.bounds.isfinite()
    return {
        "kind": "gan",
        "attack": options.attack,
        "n": len(fakes),
        "threshold": threshold,
        "threshold_of": "loss" if options.input is None else "median of reals",
        "median_epsilon": quantile(moved.bounds, 0.5),
        "epsilon_quartiles": [quantile(moved.bounds, share) for share in (0.25, 0.75)],
        "real_from_the_start": (moved.bounds == 0).double().mean().item(),
        "not_reached": (~reached).double().mean().item(),
        "furthest_epsilon": furthest,
    }


def quantile(bounds: Tensor, share: float) -> float | None:
    """Return the bound that a share of the pictures needs at most; None where it is not reached."""
    found = bounds.sort().values[max(0, math.ceil(share * len(bounds)) - 1)].item()
    return found if math.isfinite(found) else None


def check_gan_options(options: AttackOptions) -> None:
    """Raise UserError for options that are not for a GAN."""
    if options.attack != "pgd" or options.norm == "l2":
        name, value = ("norm", "l2") if options.attack == "pgd" else ("attack", options.attack)
        raise UserError(
            f"--{name} {value}: fakes are moved by pgd within linf; leave it out for a GAN"
        )
    for name in ("objective", "target", "target_picture", "class_names", "crop_size"):
        if vars(options)[name]:
            raise UserError(f"--{name} {vars(options)[name]}: is not for a GAN; leave it out")


@torch.no_grad()
def reals_median(options: AttackOptions, gan: Gan, device: torch.device) -> float:
    """Return the discriminator's median logit of the real pictures in --input.

    A discriminator with classes judges them with labels drawn as for the fakes.
    """
    files = list(plan_outputs(options.input, options.output / "pictures"))
    places = torch.linspace(0, len(files) - 1, min(options.num, len(files))).long().tolist()
    about, sampler = gan.sampler.description, gan.sampler
    size = about.get("crop_size", sampler.network.size_px)
    reals = read([files[place] for place in places], size, sampler.out_channels)
    if sampler.level is not None:
        reals = models.gan.shrink_reals(reals, sampler.level)
    labels = sampler.draw_labels(len(reals), options.seed)
    logits = [
        gan.logits(part.to(device), None if labels is None else labels[rows].to(device)).cpu()
        for part, rows in zip(
            reals.split(options.batch_size),
            torch.arange(len(reals)).split(options.batch_size),
            strict=True,
        )
    ]
    return torch.cat(logits).median().item()


def nearest(
    options: AttackOptions,
    margin: Margin,
    pictures: Tensor,
    labels: Tensor | None,
    furthest: float,
) -> Moved:
    """Bisect the bound of each picture: is it judged real after PGD within it?"""
    with torch.no_grad():
        is_real = margin(pictures, labels) > 0
    low = torch.zeros(len(pictures), device=pictures.device)
    high = torch.full_like(low, furthest)
    bounds = torch.where(is_real, 0.0, torch.inf)
    best = pictures.clone()
    for round_number in range(HALVINGS + 1):
        bound = high if round_number == 0 else (low + high) / 2
        size = in_units(1.0) * bound.view(-1, 1, 1, 1)
        found = attacks.ascend(
            lambda x: margin(x, labels),
            pictures,
            epsilon=size,
            step=in_units(options.step) if options.step else 2.5 * size / options.steps,
            steps=options.steps,
        )
        with torch.no_grad():
            success = (margin(found, labels) > 0) & ~is_real
        closer = success & (bound < bounds)
        bounds = torch.where(closer, bound, bounds)
        best = torch.where(closer.view(-1, 1, 1, 1), found, best)
        if round_number:
            low, high = torch.where(success, low, bound), torch.where(success, bound, high)
    return Moved(best, bounds)


def write(options: AttackOptions, gan: Gan, fakes: Tensor, moved: Moved) -> None:
    """Write the moved pictures, numbered as generate.py's, and the sheet."""
    outputs = [options.output / "pictures" / f"{number:06d}.png" for number in range(len(fakes))]
    content = data.Content("colour", gan.sampler.out_channels)
    write_all(moved.pictures, outputs, content)
    places = (moved.bounds.isfinite() & (moved.bounds > 0)).nonzero()[:SHOWN, 0]
    if not len(places):
        print("no fake was moved: all judged real, or none within the bound", file=sys.stderr)
        places = torch.arange(min(SHOWN, len(fakes)))
    before, after = fakes[places], rounded(moved.pictures[places])
    words = [f"epsilon {bound:.2f}" for bound in moved.bounds[places].tolist()]
    write_sheet(
        options.output / "sheet.png",
        [Row("fake", before), change_row(after - before), Row("judged real", after, words)],
    )
