"""In which steps a graph is computed tile by tile, which maps wait for later steps, and where."""

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

from models.tiled.graph import Map, ancestry, halo_px
from models.tiled.operators import Norm, Pointwise

HALO_OF_TILE = 1 / 4  # the widest halo that is computed again for each tile


class Step(NamedTuple):
    """One sweep over the tiles of a map.

    keeps: whether the map is stored. norms: those whose statistics are gathered from it.
    A step with neither is the last one, whose map is the translation.
    """

    map: Map
    keeps: bool
    norms: Sequence[Norm]
    frees: Collection[Map]  # the stored maps that no later step reads
    in_file: bool  # stored in a file, as memory is used up


class Plan(NamedTuple):
    """The steps, and the most bytes of stored maps at any time."""

    steps: Sequence[Step]
    memory_bytes: int
    file_bytes: int


def map_bytes(one: Map) -> int:
    """Return the size of a map in float32."""
    return 4 * one.channels * one.size[0] * one.size[1]


def plan_steps(translation: Map, tile_px: int, memory_bytes: int, *, gathers: bool) -> Plan:
    """Return the steps that compute a translation.

    gathers: whether each norm is a barrier: its statistics are gathered from its input, which is
    swept over first. Otherwise they come from elsewhere. Stored are, of the maps smaller than the
    picture, the inputs of such norms and those that several maps depend on. Larger ones are
    computed again, as that costs less than their bytes. A graph without barriers whose halo is
    narrow is computed in one step that stores nothing.
    """
    order = ancestry(translation)
    barriers = defaultdict(list)
    for one in order:
        if gathers and isinstance(one.operator, Norm):
            barriers[one.inputs[0]].append(one.operator)
    narrow = halo_px(translation) <= tile_px * HALO_OF_TILE
    stored = set() if narrow and not barriers else _worth_storing(order, barriers)
    swept = [one for one in order if one in stored or one in barriers]
    bare = [(one, one in stored, barriers.get(one, ())) for one in swept]
    bare.append((translation, False, ()))
    reads = [_stored_leaves(one, stored) for one, _, _ in bare]
    return _placed(bare, reads, memory_bytes)


def _worth_storing(order: Sequence[Map], barriers: Mapping[Map, Sequence[Norm]]) -> set[Map]:
    users = defaultdict(int)
    for one in order:
        for source in one.inputs:
            users[source] += 1
    stored: set[Map] = set()
    for one in order:
        small = one.operator is not None and one.reduction > 1
        if small and (one in barriers or (users[one] > 1 and not _follows(one, stored))):
            stored.add(one)
    return stored


def _follows(one: Map, stored: set[Map]) -> bool:
    """Return whether a map is computed pixel by pixel from a single stored one."""
    while one not in stored:
        if not isinstance(one.operator, Pointwise | Norm) or len(one.inputs) > 1:
            return False
        (one,) = one.inputs
    return True


def _stored_leaves(target: Map, stored: set[Map]) -> set[Map]:
    order = ancestry(target, lambda one: one in stored)
    return {one for one in order if one in stored and one is not target}


def _placed(
    bare: Sequence[tuple[Map, bool, Sequence[Norm]]], reads: Sequence[set[Map]], memory_bytes: int
) -> Plan:
    """Decide which maps fit into memory, and when each is freed."""
    last = {one: number for number, read in enumerate(reads) for one in read}
    in_memory: dict[Map, int] = {}
    in_files: dict[Map, int] = {}
    most_memory = most_files = 0
    steps = []
    for number, (one, keeps, norms) in enumerate(bare):
        in_file = keeps and sum(in_memory.values()) + map_bytes(one) > memory_bytes
        if keeps:
            (in_files if in_file else in_memory)[one] = map_bytes(one)
        most_memory = max(most_memory, sum(in_memory.values()))
        most_files = max(most_files, sum(in_files.values()))
        frees = {read for read in reads[number] if last[read] == number}
        for freed in frees:
            (in_files if freed in in_files else in_memory).pop(freed)
        steps.append(Step(one, keeps, norms, frees, in_file))
    return Plan(steps, most_memory, most_files)
