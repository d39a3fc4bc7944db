"""One result of an inspection: what the JSON line, the words and the page are made of."""

from collections import Counter
from typing import NamedTuple

import torch

from commands import cli
from commands.inspection.advice import Advice, sizes_in_words
from commands.inspection.timing import Cost, Refused
from commands.pages.words import duration
from data import inspection
from data.inspection import Finding, Survey

SEVERITIES = {
    inspection.STOPS: "stops",
    inspection.HARMS: "harms",
    inspection.LOOK: "look",
}

LONG_SECONDS = 12 * 3600  # of a training that wants a first look before its end


class Result(NamedTuple):
    """What was found, and what is advised."""

    survey: Survey
    findings: list[Finding]  # the most serious first
    advice: Advice | None
    cost: Cost | Refused | None  # None: not asked for


def as_json(result: Result) -> dict[str, object]:
    """Return plain values; names of files are those below the folder."""
    survey = result.survey
    folder = survey.layout.folder
    return {
        "layout": survey.layout.kind,
        "groups": [group_values(survey, at) for at in range(len(survey.layout.groups))],
        "findings": [
            {
                "kind": finding.kind,
                "severity": SEVERITIES[finding.severity],
                "words": in_words(finding.words),
                "count": finding.count,
                "examples": [
                    [inspection.shown_name(path, folder) for path in group]
                    for group in finding.examples
                ],
            }
            for finding in result.findings
        ],
        "advice": advice_values(result),
        "versions": cli.versions(),
    }


def group_values(survey: Survey, at: int) -> dict[str, object]:
    """Return the numbers of a group."""
    group = survey.layout.groups[at]
    rows = survey.rows[survey.members(at)]
    values = {
        "name": group.name,
        "phase": group.phase,
        "side": group.side,
        "files": len(group.files),
        "unreadable": sum(path in survey.reasons for path in group.files),
        "sizes_px": sizes_in_words(survey, [at]),
        **{name: _shares(rows[name].tolist()) for name in ("format", "mode", "bits")},
        **{
            name: {"mean": round(one.mean, 2), "spread": round(one.spread, 2)}
            for name, one in inspection.summaries(survey, at).items()
        },
    }
    labels = survey.labels[at]
    if labels is not None:
        values["labels"] = [one._asdict() for one in inspection.classes(labels)]
    read = survey.layout.labels
    if read.names and at == 0:
        values["classes"] = dict(zip(read.names, read.counts, strict=True))
    return values


def advice_values(result: Result) -> dict[str, object] | None:
    """Return command, reasons and cost."""
    advice, cost = result.advice, result.cost
    if advice is None:
        return None
    values: dict[str, object] = {"command": advice.command(), "reasons": advice.reasons}
    if isinstance(cost, Cost):
        values["cost"] = {
            "images_per_second": round(cost.images_per_second, 4),
            "total_images": cost.total_images,
            "seconds": round(cost.seconds),
            "peak_memory_gb": round(cost.peak_memory_gb, 2),
            "steps_timed": cost.steps,
        }
    return values


def cost_in_words(result: Result) -> str:
    """Return one sentence on what the advised training will cost."""
    cost = result.cost
    if cost is None:
        return "Not timed."
    if isinstance(cost, Refused):
        return f"Not timed: {cost.words}."
    words = (
        f"{cost.total_images:,} images at {cost.images_per_second:.3g} a second on this machine: "
        f"{duration(cost.seconds)}, with {cost.peak_memory_gb:.1f} GB of memory (from "
        f"{cost.steps} steps)."
    )
    if cost.seconds > LONG_SECONDS:
        first = round(3600 * cost.images_per_second)
        words += (
            f" For a first look after an hour, add --total_images {first}; the same command "
            "without it goes on from there."
        )
        if not torch.cuda.is_available():
            words += (
                " Without a GPU, narrower networks and fewer images are practical: "
                "docs/training.md and docs/gans.md have such settings."
            )
    return words


def in_words(words: str) -> str:
    """Return a sentence of a room with `argument` as --argument."""
    return cli.named_as_options(inspection.printable(words))


def _shares(values: list) -> dict[str, int]:
    return {str(value): count for value, count in Counter(values).most_common()}
