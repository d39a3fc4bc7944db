"""The trust report of an encoder: which worsenings of pictures its distances see, and which not.

Features that were learned in a domain are not better judges by themselves: Woodland et al. 2023
(arXiv 2311.13717) compared extractors with people's ranking of medical pictures, and ImageNet's
ranked closer to people than those trained on such pictures. So an encoder's distances are tried on
the pictures that it is for, before anybody relies on them.
"""

import json
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

import data
import metrics
import training
from commands import encoders
from commands.features.options import FeatureOptions
from commands.features.parts import Part, open_parts
from errors import UserError

REPORT = "trust.json"
SEEDS = (0, 1, 2)
MOST_PICTURES = 2000
FEWEST_PICTURES = 40  # halves of halves must have more than one picture
DESCRIBED_TOGETHER = 64
SUMMARY = ("steps", "reversed", "fails")
NOTE = (
    "Each distance should grow at every step from an untouched half of the pictures to the worst "
    "one. That is necessary for a judge, and not sufficient: it says nothing about agreement with "
    "people."
)


def frechet(real: Tensor, fake: Tensor) -> float:
    """Return the Fréchet distance of features [N, D] and [M, D]."""
    return metrics.frechet_distance(*map(metrics.gaussian_of_features, (real, fake)))


DISTANCES = {"frechet_distance": frechet, "kernel_distance_mean": metrics.squared_mmd}


def report(options: FeatureOptions) -> None:
    """Write the report of the finished run in `--run_dir`, and tell what `evaluate.py` will quote.

    On the pictures to measure on if there are enough, else on those that it was trained on.
    """
    parts = open_parts(options)
    is_enough = len(parts.test.files) >= FEWEST_PICTURES
    part = parts.test if is_enough else parts.train
    device = training.choose_device(options.device, training.Processes())
    found = write(options.run_dir, part, "held out" if is_enough else "trained on", device)
    print(quote(str(options.run_dir), found["encoder_sha256"])[1])


def write(run: Path, part: Part, which: str, device: torch.device) -> dict:
    """Try the encoder of a run folder on pictures, write `trust.json` there, and return it.

    which: how the encoder met them, for the report. At most 2000, chosen at random, are read and
    resized to the encoder's size. The classes are the groups for mixing and dropping; without
    classes, those of `metrics.bands`. Raises UserError for a folder without an encoder, unreadable
    pictures and fewer than 40.
    """
    encoder = encoders.load(str(run), device)
    files, labels = part
    if len(files) < FEWEST_PICTURES:
        raise UserError(
            f"--trust: {len(files)} pictures are too few; give {FEWEST_PICTURES} or more, or leave "
            "--trust out"
        )
    chosen = np.random.RandomState(0).permutation(len(files))[:MOST_PICTURES]
    pictures = read_squares([files[index] for index in chosen], encoder.side_px)
    groups = metrics.bands(pictures)
    if labels.names:
        groups = torch.tensor([labels.of_files[index] for index in chosen])
    extractor = metrics.CustomExtractor(encoder.function, encoder.origin, device)
    describe = partial(features_of, extractor)
    found = metrics.orderings(pictures, groups, describe, DISTANCES, SEEDS)
    told_of = {
        "encoder_sha256": encoder.origin.weights_sha256,
        "pictures": which,
        "n": len(pictures),
        "size_px": pictures.shape[-1],
        "groups": f"{len(labels.names)} classes" if labels.names else "bands of colour and layout",
        "seeds": list(SEEDS),
        "summary": {name: summary(series) for name, series in found.items()},
        **{name: {kind: told(one) for kind, one in kinds.items()} for name, kinds in found.items()},
        "note": NOTE,
    }
    text = json.dumps(told_of, indent=2) + "\n"
    training.write_output(
        run / REPORT, "--trust", lambda path: path.write_text(text, encoding="utf-8")
    )
    return told_of


def read_squares(files: Sequence[Path], side_px: int | None) -> Tensor:
    """Read pictures as the metrics do and resize them, uint8 [N, 3, side_px, side_px].

    side_px None: the shorter side of the first picture. Raises UserError for an unreadable file.
    """
    pictures = []
    for found in data.read_images(files, range(len(files)), data.plain_levels, workers=0):
        if found.pixels is None:
            raise UserError(f"{files[found.index]}: {found.reason}; repair or remove it")
        side_px = side_px or min(found.pixels.shape[1:])
        pictures.append(metrics.resized(found.pixels[None], side_px).round().to(torch.uint8))
    return torch.cat(pictures)


def features_of(extractor: metrics.Extractor, pictures: Tensor) -> Tensor:
    """Return the features [N, D] of pictures uint8 [N, 3, H, W]."""
    return torch.cat([extractor(part).features for part in pictures.split(DESCRIBED_TOGETHER)])


def told(series: metrics.Series) -> dict[str, object]:
    """Return the JSON of one degradation."""
    return {
        "strengths": series.strengths,
        "distances": series.distances,
        "spearman": series.spearman,
        "reversals": series.reversals,
        "seen_from": series.seen_from,
    }


def summary(kinds: dict[str, metrics.Series]) -> dict[str, object]:
    """Return the numbers of steps and reversed ones over all degradations, and where it fails."""
    fails = {
        kind: "never above the distance of untouched halves"
        if series.seen_from is None
        else f"{len(series.reversals)} of {series.steps} steps reversed"
        for kind, series in kinds.items()
        if series.reversals or series.seen_from is None
    }
    steps = sum(series.steps for series in kinds.values())
    reversals = sum(len(series.reversals) for series in kinds.values())
    return dict(zip(SUMMARY, (steps, reversals, fails), strict=True))


def quote(name: str, sha256: str) -> tuple[dict | None, str]:
    """Return what the report beside the encoder `name` says in sum, and a line about it.

    None without a report about this very encoder. Raises UserError for a damaged report.
    """
    path = Path(name)
    path = (path if path.is_dir() else path.parent) / REPORT
    option = f"--features {name}"
    remedy = f"train_features.py --trust writes {REPORT}, which tells what this encoder can judge"
    if not path.is_file():
        return None, f"{option}: no trust report; {remedy}"
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        if found["encoder_sha256"] != sha256:
            return None, f"{option}: {path} is about another encoder; {remedy}"
        sums = {distance: found["summary"][distance] for distance in DISTANCES}
        said = {"pictures": found["pictures"], "n": found["n"], **sums}
        steps, reversals, fails = (said["frechet_distance"][key] for key in SUMMARY)
        listed = ", ".join(f"{kind} ({how})" for kind, how in fails.items()) or "nowhere"
        line = (
            f"{option}: on {said['n']} pictures ({said['pictures']}), made worse step by step, "
            f"the Fréchet distance grew in {steps - reversals} of {steps} steps; fails: {listed}"
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(
            f"{option}: {path} is damaged ({type(error).__name__}: {error}); delete it"
        ) from error
    return said, line
