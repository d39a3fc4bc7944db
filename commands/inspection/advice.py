"""From what a folder holds to the command that trains on it."""

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from commands.gan.presets import PRESETS
from data.inspection import Survey

_SIDES = (256, 128, 64, 32)  # of crops that the advice chooses from; the papers' is 256
_JITTER = 286 / 256  # load size by crop size, as in the papers
_ENLARGED = 1.12  # how much pictures may be enlarged to reach a crop size
_SQUARE = (0.8, 1.25)  # width by height that may become a square
_U_NETS = {256: "unet_256", 128: "unet_128"}


class Advice(NamedTuple):
    """A command, and why it is this one."""

    script: str
    options: dict[str, str]
    reasons: list[str]
    total_images: int | None  # that the preset asks for; None: epochs, which the script knows

    @property
    def arguments(self) -> list[str]:
        """The command line after the script's name."""
        return [part for name, value in self.options.items() for part in (f"--{name}", value)]

    def command(self, run_dir: str = "runs/first") -> str:
        """Return the line to type."""
        return shlex.join(["python", self.script, *self.arguments, "--run_dir", run_dir])


def advise(survey: Survey, places: dict[str, Path | str], device: str) -> Advice | None:
    """Return the training that fits, None where no picture can be read.

    places: the options that named the folders and the classes.
    """
    kind, groups = survey.layout.kind, survey.layout.groups
    train = [at for at, group in enumerate(groups) if group.phase == "train"]
    members = np.concatenate([survey.members(at) for at in train])
    if not len(members):
        return None
    places = {name: str(value) for name, value in places.items()}
    if kind in ("pictures", "classes"):
        return _from_noise(survey, members, places, device)
    if kind == "unpaired":
        if all(len(groups[at].files) == 1 for at in train):
            return _single(places)
        return _unpaired(survey, members, places)
    return _pairs(survey, members, places)


def _single(places: dict[str, str]) -> Advice:
    reasons = ["One picture a side: the preset sincut learns from patches of the two."]
    return Advice("train_cut.py", {**places, "preset": "sincut"}, reasons, None)


def _unpaired(survey: Survey, members: np.ndarray, places: dict[str, str]) -> Advice:
    reasons = [
        "Two folders without pairs: CUT translates A to B. --preset fastcut takes less time and "
        "memory, train_cyclegan.py learns both directions at about twice the cost."
    ]
    sizes = _sizes(survey, members, reasons)
    small = {"generator": "resnet_6blocks"} if int(sizes["crop_size"]) <= 128 else {}
    if small:
        reasons.append("Six blocks are the papers' generator for pictures of 128 px or less.")
    if int(sizes["crop_size"]) <= 64:
        small["discriminator_layers"] = "2"
        reasons.append("Two discriminator layers see 34 px, where three (70 px) see all at once.")
    return Advice("train_cut.py", {**places, "preset": "cut", **sizes, **small}, reasons, None)


def _pairs(survey: Survey, members: np.ndarray, places: dict[str, str]) -> Advice:
    reasons = ["Pairs: pix2pix learns A to B."]
    first, second = survey.layout.groups[:2]
    options = dict(places)
    source, target = 0, 1
    if survey.labels[1] is not None and survey.labels[0] is None:
        reasons = ["B holds label maps, which can be sources only: pix2pix learns B to A."]
        source, target = 1, 0
        if "dataroot" in options:
            options["direction"] = "b2a"
        else:
            options["source_dir"], options["target_dir"] = (
                options["target_dir"],
                options["source_dir"],
            )
    elif survey.labels[1] is not None:
        reasons.append(
            f"{first.name} and {second.name} both look like label maps; targets have to be "
            "pictures, so they are read as grey or palette pictures."
        )
    sizes = _sizes(survey, members, reasons)
    options |= sizes
    crop = int(sizes["crop_size"])
    options["generator"] = _U_NETS.get(crop, "resnet_6blocks")
    if crop <= 64:
        options["discriminator_layers"] = "2"
    options |= _content(survey, source, "source", reasons)
    options |= _content(survey, target, "target", reasons)
    return Advice("train_pix2pix.py", options, reasons, None)


def _content(survey: Survey, group: int, side: str, reasons: list[str]) -> dict[str, str]:
    """Options for files that are not RGB."""
    rows = survey.rows[survey.members(group)]
    name = survey.layout.groups[group].name
    labels = survey.labels[group]
    if labels is not None and side == "source":
        classes = max(labels.pixels) + 1
        reasons.append(f"{name} holds label maps of values 0 to {classes - 1}.")
        return {"source_classes": str(max(2, classes))}
    if len(rows) and (rows["transparent"]).mean() > 0.5:
        reasons.append(f"Most of {name} is transparent: 4 channels keep that.")
        return {f"{side}_channels": "4"}
    if len(rows) and (rows["saturation"] < 1).all():
        reasons.append(f"All of {name} is grey: 1 channel is enough.")
        deep = (rows["bits"] > 8).mean() > 0.5
        return {f"{side}_channels": "1", **({f"{side}_bits": "16"} if deep else {})}
    return {}


def _from_noise(survey: Survey, members: np.ndarray, places: dict[str, str], device: str) -> Advice:
    side = _crop_size(survey, members)
    preset = "r3gan" if side >= 64 else "r3gan_tiny" if device == "cpu" else "r3gan_32"
    reasons = [
        "One folder: a generator from noise, of which r3gan is the one to choose today."
        if preset != "r3gan_tiny"
        else "One folder: a generator from noise; r3gan_tiny is small enough for a CPU."
    ]
    short = _short_sides(survey, members)
    reasons.append(
        f"Crop size {side}: 9 of 10 pictures have {np.quantile(short, 0.1):.0f} px or more on the "
        "short side, and the networks take powers of two."
    )
    options = {**places, "preset": preset, "crop_size": str(side)}
    if (survey.rows["saturation"][members] < 1).all():
        options["channels"] = "1"
        reasons.append("All pictures are grey: 1 channel is enough.")
    row = PRESETS[preset]
    if len(members) < row["batch_size"]:
        options["batch_size"] = str(1 << (len(members).bit_length() - 1))
        reasons.append(f"{len(members):,} pictures are fewer than the preset's batch.")
    return Advice("train_gan.py", options, reasons, row["total_images"])


def _short_sides(survey: Survey, members: np.ndarray) -> np.ndarray:
    rows = survey.rows[members]
    return np.minimum(rows["width"], rows["height"])


def _crop_size(survey: Survey, members: np.ndarray) -> int:
    most = np.quantile(_short_sides(survey, members), 0.1) * _ENLARGED
    return next((side for side in _SIDES if side <= most), _SIDES[-1])


def _sizes(survey: Survey, members: np.ndarray, reasons: list[str]) -> dict[str, str]:
    """Return how a translator's pictures are resized and cropped, and add why."""
    rows = survey.rows[members]
    crop = _crop_size(survey, members)
    short = np.quantile(_short_sides(survey, members), 0.1)
    reasons.append(
        f"Crop size {crop}: 9 of 10 pictures have {short:.0f} px or more on the short side"
        + (", and the papers' crop is 256." if crop == 256 else ".")
    )
    load = round(crop * _JITTER)
    low, high = np.quantile(rows["width"] / rows["height"], (0.05, 0.95))
    if _SQUARE[0] <= low and high <= _SQUARE[1]:
        return {"load_size": str(load), "crop_size": str(crop)}
    reasons.append(
        f"Width by height goes from {low:.2f} to {high:.2f}: scale_width_and_crop keeps the "
        "proportions, where resize_and_crop would make squares."
    )
    load = round(load * max(1.0, float(high)))
    return {
        "preprocess": "scale_width_and_crop",
        "load_size": str(load),
        "crop_size": str(crop),
    }


def sizes_in_words(survey: Survey, groups: Sequence[int]) -> str:
    """Return smallest and largest width and height of some groups' pictures."""
    rows = survey.rows[np.concatenate([survey.members(group) for group in groups])]
    if not len(rows):
        return "none"
    ends = [
        f"{rows['width'][at]}x{rows['height'][at]}"
        for at in (
            (rows["width"].astype(np.int64) * rows["height"]).argmin(),
            (rows["width"].astype(np.int64) * rows["height"]).argmax(),
        )
    ]
    return ends[0] if ends[0] == ends[1] else f"{ends[0]} to {ends[1]}"
