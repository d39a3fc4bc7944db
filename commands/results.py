"""The results of evaluate.py as tables, remarks and JSON values."""

import math
from collections.abc import Iterator

from rich.markup import escape
from rich.table import Table

import metrics

# Parts of a result that belong together, and the titles of their columns.
SIDES = {"at_noise_floor": "{n} reals, {n} fakes", "noise_floor": "noise floor: {n}, {n} reals"}


def tables(result: dict[str, object]) -> Iterator[Table]:
    """Yield a table of the numbers, and one of those that can be compared with the noise floor."""
    table = Table("metric", "value", box=None)
    for name, value in rows({name: result[name] for name in result if name not in SIDES}):
        table.add_row(name, escape(value))
    yield table
    sides = [part for part in SIDES if part in result]
    if sides:
        floor = result["noise_floor"]
        headers = [SIDES[side].format(**floor) for side in sides]
        table = Table(f"mean of {floor['splits']} splits", *headers, box=None)
        for name in floor["range"]:
            table.add_row(name, *(ranged(result[side], name) for side in sides))
        yield table


def ranged(part: dict[str, object], name: str) -> str:
    """Format a mean over splits with its range."""
    low, high = part["range"][name]
    return f"{part[name]:.3g} ({low:.3g} to {high:.3g})"


def remarks(result: dict[str, object], options: metrics.Measures) -> Iterator[str]:
    """Yield what a reader of the numbers should know."""
    name = "frechet_distance" if options.features else "fid"
    bias, halves = result.get(f"{name}_bias"), result.get(f"{name}_of_real_halves")
    counts = [count for count in (result["n_real"], result["n_fake"]) if count]
    if name in result and counts and min(counts) < metrics.MANY_IMAGES:
        size = "" if bias is None else f" by about {bias:.3g}"
        if halves is not None:
            size = f" by the order of {halves:.3g} (the value for two halves of the reals)"
        yield (
            f"{name}: biased upwards{size}, since the smaller set has {min(counts)} pictures and "
            f"not {metrics.MANY_IMAGES} or more; compare it only between sets of the same size"
            + ("" if options.features else " (KID has no such bias)")
        )
    if f"{name}_infinity" in result and result["n_fake"] < 10 * (result["layer"] or 0):
        yield (
            f"{name}_infinity: still biased upwards; extrapolation from {result['n_fake'] // 10} "
            f"and more fakes is linear only for more fakes than the {result['layer']} channels"
        )
    if result["weights_published"] is False and not options.features:
        yield (
            f"--weights {options.weights}: not the published Inception network (sha256 "
            f"{result['weights_sha256'][:8]}...); the numbers are not comparable with others"
        )


def rows(result: dict[str, object], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Yield the lines of the table."""
    for name, value in result.items():
        if isinstance(value, dict) and name not in ("versions", "trust"):
            yield from rows(value, f"{prefix}{name}: ")
        elif isinstance(value, float):
            yield prefix + name, f"{value:.6g}"
        elif isinstance(value, list):
            yield prefix + name, " to ".join(f"{end:.6g}" for end in value)
        elif value is not None and not isinstance(value, dict | bool):
            yield prefix + name, str(value)


def finite(value: object) -> object:
    """Replace infinity, which JSON does not have, by null: the PSNR of equal pictures."""
    if isinstance(value, dict):
        return {name: finite(part) for name, part in value.items()}
    return None if isinstance(value, float) and not math.isfinite(value) else value
