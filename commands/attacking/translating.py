"""The second use: how far a translation moves when its source may change a little."""

import sys
from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor

import attacks
import data
import models
import training
from commands.attacking.options import OF_ANY_LOSS, AttackOptions, in_units
from commands.attacking.pictures import chosen_outputs, rounded, write_all
from commands.attacking.plots import Curve, plot
from commands.attacking.sheets import Row, change_row, write_sheet
from commands.attacking.targets import OPTION, Translator
from commands.translation.files import batches
from errors import UserError

SHOWN = 6  # pictures in the sheet
MOMENTUM = 1.0  # decay of --attack momentum, as in Dong et al. 2018


class Shown(NamedTuple):
    """What the sheet shows of one picture, each [3, H, W]."""

    source: Tensor
    attacked: Tensor
    translation: Tensor
    moved: Tensor
    change: Tensor


class Distances:
    """Distances of each picture, by name, over all pictures at one bound."""

    def __init__(self):
        self.values: dict[str, list[float]] = {}

    def add(self, name: str, one: Tensor, other: Tensor) -> None:
        """Add mean absolute and root mean squared differences of [B, C, H, W], in grey levels."""
        levels = (one - other).flatten(1).double() * 127.5
        for kind, found in (("l1", levels.abs().mean(1)), ("rms", levels.square().mean(1).sqrt())):
            self.values.setdefault(f"{name}_{kind}", []).extend(found.tolist())

    def medians(self) -> dict[str, float]:
        """Return the median of each distance over the pictures."""
        return {name: torch.tensor(x).median().item() for name, x in self.values.items()}


def attack_translator(
    options: AttackOptions, translator: Translator, device: torch.device
) -> dict[str, object]:
    """Attack all pictures within each bound; write pictures, sheet, plot; return the distances."""
    check_translator_options(options)
    outputs = chosen_outputs(options)
    bounds = options.epsilons
    distances = {bound: Distances() for bound in bounds}
    shown: list[Shown] = []
    unreadable: dict = {}
    parts = batches(list(outputs), translator.source, options.batch_size, unreadable)
    with training.LiveLine(len(outputs), label="attacking", unit="pictures") as line:
        for number, (paths, pictures) in enumerate(parts):
            goal = goal_of(options, translator, pictures.shape[2:])
            for bound in bounds:
                of_part = partial(_attack, options, translator, pictures.to(device), goal)
                source, moved, clean, attacked = of_part(bound, number, distances[bound])
            write_all(moved, [outputs[path] for path in paths], translator.source)
            if len(shown) < SHOWN:
                shown += _shown(translator, source, moved, clean, attacked)
            line.advance(len(paths))
    if unreadable:
        path, reason = next(iter(unreadable.items()))
        raise UserError(f"--input {path}: cannot be read ({reason}); repair or remove it")
    result = {
        "kind": "translator",
        "objective": options.objective,
        "attack": options.attack,
        "n": len(outputs),
        "distances": [{"epsilon": bound, **distances[bound].medians()} for bound in bounds],
    }
    write(options, shown[:SHOWN], result)
    return result


def check_translator_options(options: AttackOptions) -> None:
    """Raise UserError for options that are not for a translator."""
    if options.attack not in OF_ANY_LOSS:
        raise UserError(
            f"--attack {options.attack}: needs a classifier, and {OPTION} {options.checkpoint} is "
            f"a translator; use one of {', '.join(OF_ANY_LOSS)}"
        )
    if options.objective is None:
        raise UserError(
            f"--objective is missing: {OPTION} {options.checkpoint} is a translator; give content, "
            "toward or hidden"
        )
    if (options.objective == "toward") != (options.target_picture is not None):
        raise UserError(
            f"--objective {options.objective}: --target_picture goes with toward, and only with "
            "it; give both or neither"
        )
    for name in ("target", "class_names", "crop_size"):
        if vars(options)[name]:
            raise UserError(f"--{name}: is for a classifier; leave it out")


def goal_of(options: AttackOptions, translator: Translator, size: Sequence[int]) -> Tensor | None:
    """Return --target_picture [1, C, H, W], resized to the pictures; None without one."""
    path = options.target_picture
    if path is None:
        return None
    if not path.is_file():
        raise UserError(f"--target_picture {path}: no such file; give a picture")
    try:
        image = translator.target.decode(path)
    except data.UnreadableImageError as error:
        raise UserError(f"--target_picture {path}: {error.reason}; give another") from error
    height, width = size
    resized = image.resize((width, height), translator.target.resampling)
    return translator.target.to_tensor(resized)[None]


def _attack(
    options: AttackOptions,
    translator: Translator,
    pictures: Tensor,
    goal: Tensor | None,
    bound: float,
    number: int,
    distances: Distances,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return pictures, attacked pictures, and the translations of both, on the CPU."""
    network, device = translator.network, pictures.device
    clean = models.translate(network, pictures)
    random = training.generator_for(device, options.seed, number, "attack")
    noisy = _noisy(pictures, in_units(bound), options.norm, random)
    aim = clean if goal is None else goal.to(device).expand_as(clean)
    loss = loss_of(network, aim, sign=1 if goal is None else -1)
    found = _searched(options, loss, pictures, bound, random)
    moved, of_noise = models.translate(network, found), models.translate(network, noisy)
    distances.add("input", found, pictures)
    distances.add("output", moved, clean)
    distances.add("output_of_noise", of_noise, clean)
    if goal is not None:
        distances.add("to_target", moved, aim)
        distances.add("to_target_before", clean, aim)
    return tuple(x.cpu() for x in (pictures, found, clean, moved))


def _noisy(pictures: Tensor, epsilon: float, norm: attacks.Norm, random: torch.Generator) -> Tensor:
    """Return the pictures with noise on the surface of the ball, where attacks end too."""
    noise = torch.empty_like(pictures).normal_(generator=random)
    if norm == "linf":
        noise = noise.sign()
    else:
        noise /= noise.flatten(1).norm(dim=1).view(-1, 1, 1, 1)
    return (pictures + epsilon * noise).clamp(-1, 1)


def _searched(
    options: AttackOptions,
    loss: Callable[[Tensor], Tensor],
    pictures: Tensor,
    bound: float,
    random: torch.Generator,
) -> Tensor:
    """Return for each picture, of itself and what each random start leads to, the one of most loss.

    All are rounded to 8 bits, as the files hold them.
    """
    best = pictures
    with torch.no_grad():
        most = loss(best)
    for _ in range(options.restarts):
        found = attacks.ascend(
            loss,
            pictures,
            epsilon=in_units(bound),
            step=in_units(options.step_of(bound)),
            steps=options.steps,
            norm=options.norm,
            start=attacks.random_start(pictures, in_units(bound), options.norm, random),
            decay=MOMENTUM if options.attack == "momentum" else None,
        )
        found = rounded(found)
        with torch.no_grad():
            values = loss(found)
        best = torch.where((values > most).view(-1, 1, 1, 1), found, best)
        most = torch.maximum(values, most)
    return best


def loss_of(network: torch.nn.Module, aim: Tensor, sign: int) -> Callable[[Tensor], Tensor]:
    """Return the mean squared distance of the translation to `aim` for each picture, signed."""

    def loss(pictures: Tensor) -> Tensor:
        translated = models.translate_with_gradient(network, pictures)
        return sign * (translated - aim).square().mean((1, 2, 3))

    return loss


def _shown(
    translator: Translator, source: Tensor, moved: Tensor, clean: Tensor, attacked: Tensor
) -> list[Shown]:
    views = [
        *(translator.source.to_view(x) for x in (source, moved)),
        *(translator.target.to_view(x) for x in (clean, attacked)),
    ]
    return [Shown(*x) for x in zip(*views, moved - source, strict=True)]


def write(options: AttackOptions, shown: Sequence[Shown], result: dict[str, object]) -> None:
    """Write the sheet and the plot of distances over bounds."""
    bound = f"epsilon {options.epsilons[-1]:g}"
    rows = [
        Row("source", [one.source for one in shown]),
        change_row([one.change for one in shown]),
        Row(f"attacked source, {bound}", [one.attacked for one in shown]),
        Row("translation", [one.translation for one in shown]),
        Row("translation of the attacked source", [one.moved for one in shown]),
    ]
    write_sheet(options.output / "sheet.png", rows)
    lines = result["distances"]
    bounds = [line["epsilon"] for line in lines]

    def curve(name: str, key: str, is_dashed: bool = False) -> Curve:
        return Curve(name, [0.0, *bounds], [0.0, *(line[key] for line in lines)], is_dashed)

    if options.objective == "toward":
        before = lines[0]["to_target_before_rms"]
        to_target = [before, *(line["to_target_rms"] for line in lines)]
        curves = [Curve("distance to the target", [0.0, *bounds], to_target)]
    else:
        curves = [
            curve("attacked", "output_rms"),
            curve("random noise", "output_of_noise_rms"),
            curve("source's own change", "input_rms", is_dashed=True),
        ]
    plot(
        options.output / "robustness.png",
        curves,
        x_name=f"epsilon, {options.norm} in grey levels",
        y_name="change of the translation (RMS), grey levels"
        if options.objective == "content"
        else "translation to target (RMS), grey levels",
    )
    last = lines[-1]
    print(
        f"at {bound} the source changes by {last['input_rms']:.2f} grey levels (RMS), its "
        f"translation by {last['output_rms']:.2f}, and by {last['output_of_noise_rms']:.2f} for "
        "random noise",
        file=sys.stderr,
    )
