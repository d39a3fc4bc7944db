"""A look at all label maps before training."""

from functools import partial

import data
import training
from errors import UserError


def check_label_maps(pairs: data.Pairs, content: data.Content, workers: int) -> None:
    """Read each source once; raise UserError for those that are no label maps of `content`.

    It names the first and their number. Files that cannot be read are left to the training, which
    reports them. Reading takes a few milliseconds for each map, shared by `workers` processes.
    """
    maps = [*dict.fromkeys([*pairs.train, *pairs.test])]
    decode = partial(data.label_mistake, content=content)
    mistakes = []
    shown = training.places_from_environment().writes
    with training.LiveLine(
        len(maps), label="checking labels", unit="label maps", shown=shown
    ) as line:
        for found in data.read_images(maps, range(len(maps)), decode, workers=workers):
            line.advance(1)
            if found.loss:
                mistakes.append(found.loss)
    if mistakes:
        raise UserError(f"{len(mistakes)} of {len(maps)} label maps: {mistakes[0]}")
