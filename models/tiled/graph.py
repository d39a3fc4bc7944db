"""A generator as a graph of feature maps, any region of which can be computed."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from torch import Tensor

from models.tiled.operators import Operator, Place
from models.tiled.regions import Region, Span, cropped, hull

Read = Callable[[Region], Tensor]  # a region of a map -> [1, C, h, w] on the network's device


@dataclass(eq=False)
class Map:
    """A feature map: the result of an operator on other maps, or one that is read.

    `read` is set while the map can be read instead of computed.
    """

    channels: int
    size: tuple[int, int]  # height and width
    reduction: float  # pixels of the picture per pixel of the map, along each axis
    operator: Operator | None = None
    inputs: tuple["Map", ...] = ()
    read: Read | None = None


def then(operator: Operator, *inputs: Map, channels: int | None = None) -> Map:
    """Return the map that an operator makes; it has as many channels as the first input unless
    `channels` says otherwise.
    """
    first = inputs[0]
    height, width = (operator.length(side, axis) for axis, side in enumerate(first.size))
    reduction = first.reduction * operator.reduces
    return Map(channels or first.channels, (height, width), reduction, operator, inputs)


def needed_of(target: Map, region: Region, index: int) -> Region:
    """Return the region of the target's input number `index` that a region of it depends on."""
    size = target.inputs[index].size
    return Region(
        *(
            target.operator.needs(span, length, axis)
            for axis, (span, length) in enumerate(zip(region, size, strict=True))
        )
    )


def ancestry(target: Map, ends: Callable[[Map], bool] = lambda one: not one.inputs) -> list[Map]:
    """Return the maps that `target` is computed from, and itself: inputs before results.

    ends: whether the inputs of a map are not asked for; never called for the target.
    """
    found: dict[Map, None] = {}
    waiting: list[tuple[Map, Iterator[Map]]] = [(target, iter(target.inputs))]
    while waiting:
        current, inputs = waiting[-1]
        one = next((one for one in inputs if one not in found), None)
        if one is None:
            found[current] = None
            waiting.pop()
        else:
            waiting.append((one, iter(() if ends(one) else one.inputs)))
    return list(found)


def is_read(one: Map) -> bool:
    """Return whether a map is read, not computed."""
    return one.read is not None


def regions_for(target: Map, region: Region, order: Sequence[Map]) -> dict[Map, Region]:
    """Return what a region of the target needs of each map; order: that of `ancestry`."""
    regions = {target: region}
    for one in reversed(order):
        if one is target or not is_read(one):
            for index, source in enumerate(one.inputs):
                regions[source] = hull(regions.get(source), needed_of(one, regions[one], index))
    return regions


def computed(target: Map, region: Region, order: Sequence[Map]) -> Tensor:
    """Compute a region of a map, [1, C, h, w]; order: `ancestry(target, is_read)`."""
    regions = regions_for(target, region, order)
    uses = Counter(
        source for one in order if one is target or not is_read(one) for source in one.inputs
    )
    windows: dict[Map, Tensor] = {}
    for one in order:
        if one is not target and is_read(one):
            windows[one] = one.read(regions[one])
            continue
        given = [needed_of(one, regions[one], index) for index in range(len(one.inputs))]
        inputs = [
            cropped(windows[source], regions[source], part)
            for source, part in zip(one.inputs, given, strict=True)
        ]
        place = Place(regions[one], given[0], one.inputs[0].size)
        windows[one] = one.operator.apply(inputs, place)
        uses.subtract(one.inputs)
        for source in one.inputs:
            if not uses[source]:
                windows.pop(source, None)
    return windows[target]


def halo_px(target: Map) -> int:
    """Return half the side of the part of the picture that a pixel of the target depends on."""
    rows, columns = (Span(side // 2, side // 2 + 1) for side in target.size)
    regions = regions_for(target, Region(rows, columns), ancestry(target))
    return max(
        int(side / 2 * one.reduction)
        for one, region in regions.items()
        if not one.inputs
        for side in region.size
    )
