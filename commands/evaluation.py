"""Evaluate sets of pictures, with their features computed by all processes together.

Used by evaluate.py and, during training, by the training scripts.
"""

import sys
from collections.abc import Iterator, Sequence
from contextlib import closing
from itertools import islice

import torch

import data
import metrics
import training
from commands.extractors import build_extractor
from commands.pictures import Pictures, Set, size
from errors import UserError


def kept_features(real: Set, fake: Set) -> tuple[int, int]:
    """Return for how many pictures of each set features are kept even if no metric needs them.

    With few pictures KID is reported beside FID, which needs the features of both sets, and the
    bias of FID, which needs all features of one set.
    """
    sizes = [size(found) for found in (real, fake)]
    if None not in (real, fake) and not any(
        isinstance(found, metrics.SavedStatistics) for found in (real, fake)
    ):
        few = metrics.MANY_IMAGES if min(sizes) < metrics.MANY_IMAGES else 0
        return few, few
    few = [metrics.MANY_IMAGES if count and count < metrics.MANY_IMAGES else 0 for count in sizes]
    return few[0], few[1]


class Evaluator:
    """Collects statistics of sets of pictures, divided among the processes, and compares them."""

    def __init__(
        self,
        measures: metrics.Measures,
        device: torch.device,
        processes: training.Processes,
        *,
        batch_size: int,
        skip_unreadable: bool = False,
        moments_of_reals: bool = False,
        needs_network: bool = True,
    ):
        """Load the networks that the metrics need.

        moments_of_reals: compute them even if no metric needs them, to be saved. needs_network:
        whether any set consists of pictures, not of saved statistics.
        """
        self.measures, self.device, self.processes = measures, device, processes
        self.batch_size, self.skip_unreadable = batch_size, skip_unreadable
        self.moments_of_reals = moments_of_reals
        self.sharing = metrics.Sharing(training.add_over_processes, training.gather_objects)
        self.extractor, self.lpips = None, None
        self.published = True  # whether the weights are those of published results
        if needs_network and (moments_of_reals or measures.needs_features):
            with training.first_process_first():  # the first one may download
                self.extractor, self.published = build_extractor(measures, device, batch_size)
        if isinstance(self.extractor, metrics.InceptionExtractor):
            # A partial batch takes as long as a full one.
            a_pass = self.extractor.images_a_pass
            self.batch_size = -(-batch_size // a_pass) * a_pass
        if measures.needs("lpips"):
            network = metrics.load_lpips(measures.lpips_weights, "--lpips_weights")
            self.lpips = network.to(device)

    @property
    def origin(self) -> metrics.Origin:
        """How this evaluator computes features."""
        return self.extractor.origin if self.extractor else metrics.Origin()

    def check(self, real: Set, fake: Set) -> None:
        """Raise UserError for two sets that cannot be compared, before any picture is read."""
        counts = []
        for found, is_fake in ((real, False), (fake, True)):
            is_saved = isinstance(found, metrics.SavedStatistics)
            counts.append(None if is_saved else size(found))
            if is_saved:
                metrics.check_statistics_suffice(self.measures, is_fake)
                if self.extractor:
                    metrics.check_comparable(found, self.origin, self.published)
            elif found and len(found.names) < 2:
                raise UserError(f"{found.label}: a single picture; give 2 or more")
        if not self.extractor and all(
            isinstance(found, metrics.SavedStatistics) for found in (real, fake)
        ):
            metrics.check_comparable(fake, real.origin, self.published)
        metrics.check_counts(self.measures, *counts)

    def collect_both(
        self, real: Set, fake: Set, partners: Pictures | None = None
    ) -> tuple[metrics.Found, metrics.Found]:
        """Check both sets, then collect each of them.

        partners: the reals as metrics of pairs need them, if that differs from `real`.
        """
        self.check(real, fake)
        keep_real, keep_fake = kept_features(real, fake)
        partners = (partners or real) if self.measures.needs(*metrics.OF_PAIRS) else None
        return (
            self.collect(real, keep_real),
            self.collect(fake, keep_fake, is_fake=True, partners=partners),
        )

    def collect(
        self,
        pictures: Set,
        keep_at_least: int,
        *,
        is_fake: bool = False,
        partners: Pictures | None = None,
    ) -> metrics.Found:
        """Read a set once, divided among the processes, and collect its statistics.

        pictures: saved statistics and None are returned unchanged. keep_at_least: the number of
        pictures whose features are kept whatever the metrics need. partners: the set in which
        metrics of pairs find each picture's partner, by name.

        Raises UserError for unreadable pictures unless they are skipped, missing partners, and sets
        that a metric cannot use.
        """
        if pictures is None or isinstance(pictures, metrics.SavedStatistics):
            return pictures
        collection = self._empty(pictures, is_fake, keep_at_least, partners is not None)
        indices = share(len(pictures.names), self.processes)
        stream = pictures.read(indices)
        if partners:
            stream = _pairing(stream, pictures, partners, indices, collection)
        unreadable: dict[str, str] = {}
        losses: dict[str, str] = {}
        readable = _readable(stream, pictures, unreadable, losses)
        # Always closed: remaining workers would keep a failed command from ending.
        with (
            closing(stream),
            closing(readable),
            training.LiveLine(
                len(indices),
                label=f"measuring {pictures.label}",
                unit="pictures",
                shown=self.processes.writes,
            ) as line,
        ):
            for batch in batches(readable, self.batch_size):
                collection.add([found.index for found in batch], [found.pixels for found in batch])
                line.advance(len(batch))
        self._report(pictures, unreadable, losses)
        collection.merge(self.sharing)
        if collection.count < 2:
            raise UserError(
                f"{pictures.label}: readable pictures: {collection.count}; give 2 or more"
            )
        return collection

    def _empty(
        self, pictures: Pictures, is_fake: bool, keep_at_least: int, paired: bool
    ) -> metrics.Collection:
        measures = self.measures
        every = measures.noise_floor or measures.needs("kid", "prdc", "fid_infinity")
        pairs = None
        if paired:
            names = [name for name in measures.names if name in metrics.OF_PAIRS]
            pairs = metrics.PairMeans(names, self.device, self.lpips)
        return metrics.Collection(
            pictures.label,
            pictures.names,
            measures,
            self.extractor,
            keep_at_most=None if every else keep_at_least,
            is_fake=is_fake,
            moments=self.moments_of_reals and not is_fake,
            pairs=pairs,
        )

    def _report(
        self, pictures: Pictures, unreadable: dict[str, str], losses: dict[str, str]
    ) -> None:
        """Report unreadable pictures and lossy conversions; UserError unless they are allowed."""
        unreadable, losses = (
            {name: reason for part in self.sharing.gather(found) for name, reason in part.items()}
            for found in (unreadable, losses)
        )
        total = len(pictures.names)
        if losses and self.processes.writes:
            name, loss = min(losses.items())
            print(
                f"{pictures.label}: {len(losses)} of {total} pictures lose information in the "
                f"conversion to 8-bit RGB, as in other tools (first {name}: {loss})",
                file=sys.stderr,
            )
        if not unreadable:
            return
        named = "; ".join(f"{name} ({reason})" for name, reason in sorted(unreadable.items()))
        message = f"{pictures.label}: {len(unreadable)} of {total} pictures cannot be read"
        if not self.skip_unreadable:
            raise UserError(f"{message}, repair them or give --skip_unreadable: {named}")
        if self.processes.writes:
            print(f"{message} and are skipped: {named}", file=sys.stderr)


def batches(stream: Iterator[data.ReadImage], size: int) -> Iterator[list[data.ReadImage]]:
    """Yield batches of `size` pictures; the remainder is added to the last batch."""
    held = list(islice(stream, size))
    while len(following := list(islice(stream, size))) == size:
        yield held
        held = following
    if held:
        yield held + following


def share(images: int, processes: training.Processes) -> list[int]:
    """Return this process's indices; both pictures of an MS-SSIM pair go to the same process."""
    world, rank = processes.world_size, processes.rank
    return [index for index in range(images) if index // 2 % world == rank]


def _readable(
    stream: Iterator[data.ReadImage],
    pictures: Pictures,
    unreadable: dict[str, str],
    losses: dict[str, str],
) -> Iterator[data.ReadImage]:
    """Yield the readable pictures; record unreadable ones and lossy conversions."""
    for found in stream:
        file = pictures.names[found.index] + pictures.files[found.index].suffix
        if found.pixels is None:
            unreadable[file] = found.reason
            continue
        if found.loss:
            losses[file] = found.loss
        yield found


def _pairing(
    stream: Iterator[data.ReadImage],
    pictures: Pictures,
    partners: Pictures,
    indices: Sequence[int],
    collection: metrics.Collection,
) -> Iterator[data.ReadImage]:
    """Yield the stream, and pass each picture with its partner to the metrics of pairs."""
    places = {name: index for index, name in enumerate(partners.names)}
    if len(places) < len(partners.names):
        raise UserError(
            f"{partners.label}: two pictures whose names differ only in the ending; rename one"
        )
    missing = [name for name in pictures.names if name not in places]
    if missing:
        raise UserError(
            f"{pictures.label}: {len(missing)} of {len(pictures.names)} pictures have no partner "
            f"with the same name in {partners.label}, first {missing[0]}; give pairs equal names"
        )
    partner_stream = partners.read([places[pictures.names[index]] for index in indices])
    for found, partner in zip(stream, partner_stream, strict=True):
        for label, side in ((pictures.label, found), (partners.label, partner)):
            if "clipped" in side.loss:
                raise UserError(
                    f"{label}: {pictures.names[found.index]} is {side.loss}, which makes pairs "
                    "incomparable; give --checkpoint and --source, or convert the files"
                )
        if found.pixels is not None and partner.pixels is not None:
            collection.add_pair(found.index, found.pixels, partner.pixels)
        yield found
