"""How much of a CycleGAN's cycle rests on a code that nobody sees (Chu et al. 2017)."""

import io
from collections.abc import Callable, Iterator
from typing import NamedTuple

import torch
from PIL import Image
from torch import Tensor

import data
import models
import training
from commands.attacking.options import AttackOptions, in_units
from commands.attacking.pictures import chosen_outputs, rounded
from commands.attacking.plots import Curve, plot
from commands.attacking.sheets import Row, write_sheet
from commands.attacking.targets import Cycle
from commands.attacking.translating import Distances
from commands.translation.files import batches
from errors import UserError

SHOWN = 6
NOISE = (1.0, 2.0, 4.0, 8.0, 16.0)  # standard deviations in grey levels


class Disturbance(NamedTuple):
    """A change of the intermediate picture."""

    kind: str  # none, rounding, noise or jpeg
    level: float | None  # standard deviation in grey levels, or quality
    apply: Callable[[Tensor, torch.Generator], Tensor]


def measure_hidden(options: AttackOptions, cycle: Cycle, device: torch.device) -> dict[str, object]:
    """Measure the reconstruction from disturbed intermediate pictures; write sheet and plot."""
    check_hidden_options(options)
    outputs = chosen_outputs(options)
    unreadable: dict = {}
    parts = batches(list(outputs), cycle.there.source, options.batch_size, unreadable)
    changes = list(disturbances(options, cycle))
    distances = [Distances() for _ in changes]
    shown: list[list[Tensor]] = []
    with training.LiveLine(len(outputs), label="measuring", unit="pictures") as line:
        for number, (paths, pictures) in enumerate(parts):
            of_part = _cycled(options, cycle, changes, pictures.to(device), number, distances)
            if len(shown) < SHOWN:
                shown += [list(x) for x in zip(*of_part, strict=True)]
            line.advance(len(paths))
    if unreadable:
        path, reason = next(iter(unreadable.items()))
        raise UserError(f"--input {path}: cannot be read ({reason}); repair or remove it")
    curve = [
        {"kind": change.kind, "level": change.level, **found.medians()}
        for change, found in zip(changes, distances, strict=True)
    ]
    result = {
        "kind": "cycle",
        "objective": "hidden",
        "direction": options.direction or "a2b",
        "n": len(outputs),
        "curve": curve,
    }
    write(options, changes, shown[:SHOWN], curve)
    return result


def check_hidden_options(options: AttackOptions) -> None:
    """Raise UserError for options that have no meaning here."""
    for name in ("target", "target_picture", "class_names", "crop_size", "step"):
        if vars(options)[name]:
            raise UserError(f"--{name}: is not for --objective hidden; leave it out")
    if options.norm == "l2":
        raise UserError("--norm l2: --objective hidden adds noise; leave it out")


def disturbances(options: AttackOptions, cycle: Cycle) -> Iterator[Disturbance]:
    """Yield nothing, rounding to 8 bits, noise by its strength, JPEG by its quality."""
    yield Disturbance("none", None, lambda pictures, random: pictures)
    yield Disturbance("rounding", None, lambda pictures, random: rounded(pictures))
    for level in sorted(options.epsilon) or NOISE:
        yield Disturbance("noise", level, _noise(level))
    if cycle.there.target.channels in (1, 3):  # JPEG has no others
        for quality in sorted(options.jpeg, reverse=True):
            yield Disturbance("jpeg", quality, _jpeg(quality, cycle.there.target))


def _noise(level: float) -> Callable[[Tensor, torch.Generator], Tensor]:
    def apply(pictures: Tensor, random: torch.Generator) -> Tensor:
        noise = torch.empty_like(pictures).normal_(generator=random)
        return (pictures + in_units(level) * noise).clamp(-1, 1)

    return apply


def _jpeg(quality: int, content: data.Content) -> Callable[[Tensor, torch.Generator], Tensor]:
    def apply(pictures: Tensor, random: torch.Generator) -> Tensor:
        found = []
        for picture in pictures:
            file = io.BytesIO()
            content.to_image(picture).save(file, "JPEG", quality=quality)
            with Image.open(file) as image:
                found.append(content.to_tensor(image.convert("L" if len(picture) == 1 else "RGB")))
        return torch.stack(found).to(pictures.device)

    return apply


def _cycled(
    options: AttackOptions,
    cycle: Cycle,
    changes: list[Disturbance],
    pictures: Tensor,
    number: int,
    distances: list[Distances],
) -> list[Tensor]:
    """Add the distances of a batch; return its pictures, translations and reconstructions."""
    between = models.translate(cycle.there.network, pictures)
    found = []
    for place, (change, of_change) in enumerate(zip(changes, distances, strict=True)):
        random = training.generator_for(
            pictures.device, options.seed, number, f"disturbance {place}"
        )
        disturbed = change.apply(between, random)
        back = models.translate(cycle.back.network, disturbed)
        of_change.add("disturbance", disturbed, between)
        of_change.add("reconstruction", back, pictures)
        found.append(cycle.back.target.to_view(back).cpu())
    views = cycle.there.source.to_view(pictures), cycle.there.target.to_view(between)
    return [*(x.cpu() for x in views), *found]


def write(
    options: AttackOptions,
    changes: list[Disturbance],
    shown: list[list[Tensor]],
    curve: list[dict[str, object]],
) -> None:
    """Write the sheet and the curves of the reconstruction's error."""
    names = ["picture", "translation", *(f"back{_words(change)}" for change in changes)]
    columns = list(zip(*shown, strict=True))
    places = [0, 1, *(2 + place for place in _shown_changes(changes))]
    rows = [Row(names[place], columns[place]) for place in places]
    write_sheet(options.output / "sheet.png", rows)
    least = curve[0]["reconstruction_l1"]
    curves = []
    for kind in ("noise", "jpeg"):
        lines = [line for line in curve if line["kind"] in ("none", kind)]
        points = sorted((line["disturbance_l1"], line["reconstruction_l1"]) for line in lines)
        if len(points) > 1:
            curves.append(Curve(kind, *zip(*points, strict=True)))
    furthest = max(line["disturbance_l1"] for line in curve)
    curves.append(
        Curve("passed on as it is", [0.0, furthest], [least, least + furthest], is_dashed=True)
    )
    plot(
        options.output / "robustness.png",
        curves,
        x_name="change of the translation (L1), grey levels",
        y_name="error of the reconstruction (L1), grey levels",
    )


def _shown_changes(changes: list[Disturbance]) -> list[int]:
    """Return the places of what the sheet shows: of each kind one in the middle and the last."""
    of_kind: dict[str, list[int]] = {}
    for place, change in enumerate(changes):
        of_kind.setdefault(change.kind, []).append(place)
    return sorted(
        {x for places in of_kind.values() for x in (places[len(places) // 2], places[-1])}
    )


def _words(change: Disturbance) -> str:
    if change.kind == "none":
        return ""
    if change.kind == "rounding":
        return ", after rounding to 8 bits"
    what = "noise of" if change.kind == "noise" else "JPEG at quality"
    return f", after {what} {change.level:g}"
