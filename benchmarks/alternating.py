"""Time several actions in turns, so that other load on the machine affects all of them alike."""

import statistics
import time
from collections.abc import Callable, Mapping


def alternate(
    actions: Mapping[str, Callable[[int], object]],
    rounds: int,
    warm_ups: int = 0,
    rest_seconds: float = 0,
) -> dict[str, list[float]]:
    """Call each action once per round, with the round's number; return seconds by name.

    rest_seconds: a pause before each action, for actions that leave threads spinning for a while.
    """
    seconds: dict[str, list[float]] = {name: [] for name in actions}
    for number in range(warm_ups + rounds):
        for name, action in actions.items():
            time.sleep(rest_seconds)
            started = time.perf_counter()
            action(number)
            seconds[name].append(time.perf_counter() - started)
    return {name: values[warm_ups:] for name, values in seconds.items()}


def compared(seconds: Mapping[str, list[float]], ours: str) -> dict[str, float | list[float]]:
    """Return medians, and for each other name the median and range of its time relative to ours."""
    found: dict[str, float | list[float]] = {
        f"{name}_seconds": statistics.median(values) for name, values in seconds.items()
    }
    for name, values in seconds.items():
        if name != ours:
            ratios = [other / own for other, own in zip(values, seconds[ours], strict=True)]
            found[f"{name}_ratio"] = statistics.median(ratios)
            found[f"{name}_ratio_range"] = [min(ratios), max(ratios)]
    return found
