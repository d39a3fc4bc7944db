"""The first use: how many pictures a classifier still recognises when each may change a little."""

import sys
from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor

import attacks
import data
import training
from commands.attacking.counting import Counted
from commands.attacking.options import (
    BOUNDED,
    UNBOUNDED,
    AttackOptions,
    in_units,
)
from commands.attacking.pictures import Labelled, read_labelled, rounded, sizes, write_all
from commands.attacking.plots import Curve, plot
from commands.attacking.searching import search
from commands.attacking.sheets import Row, change_row, write_sheet
from commands.attacking.targets import OPTION, Classifier
from errors import UserError

SHOWN = 8  # pictures in the sheet
MASKING_PICTURES = 64  # examined for masked gradients
MASKING_LEVELS = 8.0  # where the attack has no L-infinity bound


class Found(NamedTuple):
    """What an attack made of the pictures within one bound."""

    epsilon: float | None  # in grey levels
    pictures: Tensor  # [N, C, H, W]
    logits: Tensor  # [N, K]
    logits_of_files: Tensor  # of the pictures rounded to 8 bits
    forwards: float  # passes for each picture
    backwards: float


def attack_classifier(
    options: AttackOptions, classifier: Classifier, device: torch.device
) -> dict[str, object]:
    """Attack the pictures within each bound, write pictures, sheet and plot, return the numbers."""
    if options.objective or options.target_picture:
        name = "objective" if options.objective else "target_picture"
        raise UserError(
            f"--{name} {vars(options)[name]}: {OPTION} {options.checkpoint} is a classifier, and "
            "objectives are for translators; leave it out"
        )
    given = read_labelled(options, classifier)
    model = Counted(classifier.model)
    clean = logits_of(model, given.pictures, options, device)
    bounds = options.epsilons
    names = names_of(classifier, clean, options)
    labels = clean.argmax(1) if given.labels is None else given.labels
    target = target_of(options, names, labels if given.labels is not None else None)
    attack = partial(attacked, options, model, given.pictures, labels, clean, target, device)
    whole = None
    if options.attack in UNBOUNDED:
        whole = attack(None)
    if options.attack == "deepfool":
        found = [within(whole, level, options, model, given.pictures, device) for level in bounds]
    else:
        found = [whole] if whole else [attack(level) for level in bounds]
    signs = masking(options, model, given.pictures, labels, device)
    right = (clean.argmax(1) == labels).double().mean().item()
    result = {
        "kind": "classifier",
        "attack": options.attack,
        "norm": options.norm,
        "target": None if target is None else names[target],
        "labels": "predictions" if given.labels is None else "folders",
        "n": len(labels),
        "clean_accuracy": right,
        "robust": [numbers(one, given.pictures, labels, clean, target) for one in found],
        "masked_gradients": signs,
    }
    if options.attack == "deepfool":
        result["unbounded"] = numbers(whole, given.pictures, labels, clean, target)
    for sign in signs:
        print(f"warning: sign of masked gradients: {sign}", file=sys.stderr)
    write(options, given, found, clean, labels, names, result)
    return result


def logits_of(
    model: Counted, pictures: Tensor, options: AttackOptions, device: torch.device
) -> Tensor:
    """Return the logits [N, K] of all pictures, on the CPU; UserError for no classifier's."""
    found = []
    for part in pictures.split(options.batch_size):
        try:
            with torch.no_grad():
                found.append(model(part.to(device)).cpu())
        except (ValueError, TypeError, RuntimeError, AttributeError) as error:
            reason = " ".join(str(error).split())[:200]
            raise UserError(
                f"{OPTION} {options.checkpoint}: does not map float {list(part.shape)} to logits "
                f"({reason}); give a classifier of such pictures"
            ) from error
        shape = list(found[-1].shape)
        if len(shape) != 2 or shape[0] != len(part) or shape[1] < 2:
            what = "has one class" if shape == [len(part), 1] else f"returns {shape}"
            raise UserError(
                f"{OPTION} {options.checkpoint}: {what}, not the logits [B, K] of at least 2 "
                "classes; give a classifier"
            )
    return torch.cat(found)


def names_of(classifier: Classifier, logits: Tensor, options: AttackOptions) -> Sequence[str]:
    """Return the names of the classes; raises UserError for a wrong number of --class_names."""
    count = logits.shape[1]
    names = list(classifier.class_names) or [str(number) for number in range(count)]
    if len(names) != count:
        raise UserError(
            f"--class_names {' '.join(options.class_names)}: {len(names)} names for the {count} "
            f"classes of {OPTION} {options.checkpoint}; give one for each"
        )
    return names


def target_of(options: AttackOptions, names: Sequence[str], labels: Tensor | None) -> int | None:
    """Return the number of --target; UserError for an unknown one, and for pictures of it."""
    text = options.target
    if text is None:
        return None
    if text in names:
        target = list(names).index(text)
    elif text.isdecimal() and int(text) < len(names):
        target = int(text)
    else:
        raise UserError(f"--target {text}: no class; give one of {', '.join(names[:10])}")
    same = 0 if labels is None else int((labels == target).sum())
    if same:
        raise UserError(
            f"--target {text}: is the label of {same} pictures of --input {options.input}; leave "
            "them out, or give another target"
        )
    return target


def attacked(
    options: AttackOptions,
    model: Counted,
    pictures: Tensor,
    labels: Tensor,
    clean: Tensor,
    target: int | None,
    device: torch.device,
    epsilon: float | None,
) -> Found:
    """Attack all pictures within a bound in grey levels, batch by batch.

    Pictures that the model already gives the target stay as they are.
    """
    model.reset()
    found = pictures.clone()
    size = len(pictures) if options.attack == "universal" else options.batch_size
    able = torch.arange(len(pictures))
    if target is not None:
        able = able[clean.argmax(1) != target]
    for places in able.split(size):
        random = training.generator_for(device, options.seed, int(places[0]), "attack")
        own = pictures[places].to(device), labels[places].to(device)
        found[places] = search(options, model, *own, target, epsilon, random).cpu()
    forwards, backwards = model.forwards / len(pictures), model.backwards / len(pictures)
    after = logits_of(model, found, options, device)
    after_rounding = logits_of(model, rounded(found), options, device)
    return Found(epsilon, found, after, after_rounding, forwards, backwards)


def within(
    whole: Found,
    epsilon: float,
    options: AttackOptions,
    model: Counted,
    pictures: Tensor,
    device: torch.device,
) -> Found:
    """Return what DeepFool found, without the changes larger than a bound in grey levels."""
    is_near = sizes(whole.pictures - pictures)[options.norm] <= epsilon
    kept = torch.where(is_near.view(-1, 1, 1, 1), whole.pictures, pictures)
    logits = [logits_of(model, x, options, device) for x in (kept, rounded(kept))]
    return Found(epsilon, kept, *logits, whole.forwards, whole.backwards)


def numbers(
    found: Found, pictures: Tensor, labels: Tensor, clean: Tensor, target: int | None
) -> dict[str, object]:
    """Return what is reported of one bound; sizes are medians over the pictures newly wrong."""
    right = [x.argmax(1) == labels for x in (clean, found.logits, found.logits_of_files)]
    fooled = right[0] & ~right[1]
    norms = sizes(found.pictures - pictures)
    medians = {
        f"median_{name}": values[fooled].median().item() if fooled.any() else None
        for name, values in norms.items()
    }
    reached = {}
    if target is not None:
        reached = {"target_rate": (found.logits.argmax(1) == target).double().mean().item()}
    return {
        "epsilon": found.epsilon,
        "accuracy": right[1].double().mean().item(),
        "accuracy_of_files": right[2].double().mean().item(),
        **reached,
        **medians,
        "forward_passes": found.forwards,
        "backward_passes": found.backwards,
    }


def masking(
    options: AttackOptions,
    model: Counted,
    pictures: Tensor,
    labels: Tensor,
    device: torch.device,
) -> list[str]:
    """Return signs of masked gradients on some pictures, at the largest L-infinity bound."""
    is_linf = options.attack in BOUNDED and options.norm == "linf"
    levels = options.epsilons[-1] if is_linf else MASKING_LEVELS
    some = evenly(torch.arange(len(labels)), MASKING_PICTURES)
    return attacks.masked_gradients(
        model,
        pictures[some].to(device),
        labels[some].to(device),
        epsilon=in_units(levels),
        generator=training.generator_for(device, options.seed, 0, "masked gradients"),
    )


def write(
    options: AttackOptions,
    given: Labelled,
    found: Sequence[Found],
    clean: Tensor,
    labels: Tensor,
    names: Sequence[str],
    result: dict[str, object],
) -> None:
    """Write the pictures of the largest bound, the sheet, and the plot where there are bounds."""
    last = found[-1]
    write_all(last.pictures, given.outputs, data.Content("colour", given.pictures.shape[1]))
    fooled = (clean.argmax(1) == labels) & (last.logits_of_files.argmax(1) != labels)
    places = evenly(fooled.nonzero()[:, 0], SHOWN)
    places = torch.cat([places, evenly((~fooled).nonzero()[:, 0], SHOWN - len(places))])
    before, after = given.pictures[places], rounded(last.pictures[places])
    bound = "" if last.epsilon is None else f", epsilon {last.epsilon:g}"
    write_sheet(
        options.output / "sheet.png",
        [
            Row("original", before, captions(clean[places], names)),
            change_row(after - before),
            Row(
                f"{options.attack}{bound}",
                after,
                captions(last.logits_of_files[places], names),
            ),
        ],
    )
    if last.epsilon is None:
        return
    lines = result["robust"]
    bounds = [0.0, *(line["epsilon"] for line in lines if line["epsilon"] > 0)]
    kept = [result["clean_accuracy"], *(x["accuracy"] for x in lines if x["epsilon"] > 0)]
    written = [kept[0], *(x["accuracy_of_files"] for x in lines if x["epsilon"] > 0)]
    plot(
        options.output / "robustness.png",
        [
            Curve(options.attack, bounds, kept),
            Curve("rounded to 8 bits", bounds, written, is_dashed=True),
        ],
        x_name=f"epsilon, {options.norm} in grey levels",
        y_name="accuracy" if given.labels is not None else "unchanged predictions",
        highest=1.0,
    )


def evenly(places: Tensor, most: int) -> Tensor:
    """Return at most so many of the places, evenly spread."""
    return places[torch.linspace(0, len(places) - 1, min(most, len(places))).long()]


def captions(logits: Tensor, names: Sequence[str]) -> list[str]:
    """Return the class that each row of logits [B, K] gives, with its probability."""
    probabilities, classes = logits.softmax(1).max(1)
    return [
        f"{names[number]} {100 * share:.0f}%"
        for share, number in zip(probabilities.tolist(), classes.tolist(), strict=True)
    ]
