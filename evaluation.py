"""Measure sets of pictures: files, networks and metrics brought together.

For evaluate.py, and for the training scripts, which measure while they train.
"""

import hashlib
import importlib
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Protocol

import torch
from rich.console import Console
from rich.progress import Progress
from torch import Tensor, nn

import data
import metrics
import models
import training
from errors import UserError


class Pictures(Protocol):
    """A set of pictures that is read once, in order."""

    label: str  # what messages call it
    files: Sequence[Path]
    names: Sequence[str]  # one a picture: the file's place in its folder, without the ending

    def read(self, indices: Sequence[int]) -> Iterator[data.ReadImage]:
        """Yield the pictures of these indices."""


@dataclass(frozen=True)
class ReadPictures:
    """Pictures from files, or from pairs of files."""

    label: str
    items: Sequence[object]
    files: Sequence[Path]
    names: Sequence[str]
    decode: data.Decode
    workers: int

    def read(self, indices: Sequence[int]) -> Iterator[data.ReadImage]:
        """Decode in the reading processes."""
        return data.read_images(self.items, indices, self.decode, workers=self.workers)


def file_pictures(
    label: str,
    files: Sequence[Path],
    folder: Path | None,
    workers: int,
    content: data.Content | None = None,
) -> ReadPictures:
    """Return files as training and translation see this content; None: as the tools of FID do."""
    decode = partial(data.content_pixels, content=content) if content else data.plain_levels
    return ReadPictures(label, files, files, data.names_below(files, folder), decode, workers)


@dataclass(frozen=True)
class TranslatedPictures:
    """What a generator makes of sources: to the bit the PNG files that translate.py writes.

    view: from what the generator puts out to RGB [B, 3, H, W] in [-1, 1].
    """

    label: str
    sources: ReadPictures
    generator: nn.Module
    device: torch.device
    view: Callable[[Tensor], Tensor] = data.RGB.to_view

    @property
    def files(self) -> Sequence[Path]:
        """The files of the sources."""
        return self.sources.files

    @property
    def names(self) -> Sequence[str]:
        """The names of the sources."""
        return self.sources.names

    def read(self, indices: Sequence[int]) -> Iterator[data.ReadImage]:
        """Translate one picture at a time, as translate.py does."""
        for found in self.sources.read(indices):
            pixels = found.pixels
            if pixels is not None:
                translated = models.translate(self.generator, pixels[None].to(self.device))
                found = found._replace(pixels=data.to_levels(self.view(translated)[0]).cpu())
            yield found


Set = Pictures | metrics.SavedStatistics | None


def smaller_set(real: Set, fake: Set) -> int:
    """Return the number of pictures of the smaller set, 0 where neither is known."""
    counts = [
        found.count if isinstance(found, metrics.SavedStatistics) else len(found.names)
        for found in (real, fake)
        if found
    ]
    return min((count for count in counts if count), default=0)


class Evaluator:
    """Collects sets of pictures, shared out over the processes, and compares them."""

    def __init__(
        self,
        measures: metrics.Measures,
        device: torch.device,
        processes: training.Processes,
        *,
        batch_size: int,
        skip_unreadable: bool = False,
        moments: bool = False,
    ):
        """Load the networks that the metrics need. moments: of all sets, to be saved."""
        self.measures, self.device, self.processes = measures, device, processes
        self.batch_size, self.skip_unreadable = batch_size, skip_unreadable
        self.moments = moments
        self.sharing = metrics.Sharing(training.add_over_processes, training.gather_objects)
        self.extractor, self.lpips = None, None
        self.published = True  # the weights are those that all published numbers rest on
        if moments or measures.needs_features:
            with training.first_process_first():  # which downloads, where that is needed
                self.extractor, self.published = build_extractor(measures, device, batch_size)
        if isinstance(self.extractor, metrics.InceptionExtractor):
            # A pass that is not full costs as much as one that is.
            a_pass = self.extractor.images_a_pass
            self.batch_size = -(-batch_size // a_pass) * a_pass
        if measures.needs("lpips"):
            network = metrics.load_lpips(measures.lpips_weights, "--lpips_weights")
            self.lpips = network.to(device)

    @property
    def origin(self) -> metrics.Origin:
        """How this evaluator makes features."""
        return self.extractor.origin if self.extractor else metrics.Origin()

    def collect(
        self,
        found: Set,
        smaller_set: int,
        *,
        is_fake: bool = False,
        partners: Set = None,
    ) -> metrics.Found:
        """Go once through a set, of which every process takes its share.

        found: a file of statistics comes back as it is, if it compares with what is measured here.
        smaller_set: pictures in the smaller of the two sets that are compared. partners: the set
        in which metrics of pairs find each picture's partner, by its name.

        Raises UserError for less than two pictures, unreadable ones that are not to be skipped,
        missing partners, and what a metric cannot use.
        """
        if found is None:
            return None
        if isinstance(found, metrics.SavedStatistics):
            metrics.check_statistics_suffice(self.measures, is_fake)
            metrics.check_comparable(found, self.origin, self.published)
            return found
        pictures = found
        if len(pictures.names) < 2:
            raise UserError(f"{pictures.label}: a single picture; give 2 or more")
        collection = self._empty(pictures, is_fake, smaller_set, bool(partners))
        indices = share(len(pictures.names), self.processes)
        stream = pictures.read(indices)
        if partners:
            stream = _pairing(stream, pictures, partners, indices, collection)
        unreadable: dict[str, str] = {}
        losses: dict[str, str] = {}
        readable = _readable(stream, pictures, unreadable, losses)
        # Closed in any case: reading processes that are left over keep a failed command waiting.
        with closing(readable), self._progress(pictures.label, len(indices)) as advance:
            while batch := list(islice(readable, self.batch_size)):
                collection.add([found.index for found in batch], [found.pixels for found in batch])
                advance(len(batch))
        self._tell(pictures, unreadable, losses)
        collection.merge(self.sharing)
        if collection.count < 2:
            raise UserError(
                f"{pictures.label}: pictures that can be read: {collection.count}; give 2 or more"
            )
        return collection

    def _empty(
        self, pictures: Pictures, is_fake: bool, smaller_set: int, paired: bool
    ) -> metrics.Collection:
        measures = self.measures
        every = measures.noise_floor or measures.needs("kid", "prdc", "fid_infinity")
        few = metrics.MANY_IMAGES if smaller_set < metrics.MANY_IMAGES else 0
        pairs = None
        if paired:
            names = [name for name in measures.names if name in metrics.OF_PAIRS]
            pairs = metrics.PairMeans(names, self.device, self.lpips)
        return metrics.Collection(
            pictures.label,
            pictures.names,
            measures,
            self.extractor,
            keep_at_most=None if every else few,
            is_fake=is_fake,
            moments=self.moments,
            pairs=pairs,
        )

    @contextmanager
    def _progress(self, label: str, total: int) -> Iterator[Callable[[int], None]]:
        shown = self.processes.writes and sys.stderr.isatty()
        with Progress(console=Console(stderr=True), disable=not shown) as progress:
            task = progress.add_task(label, total=total)
            yield lambda done: progress.advance(task, done)

    def _tell(self, pictures: Pictures, unreadable: dict[str, str], losses: dict[str, str]) -> None:
        """Say on stderr what was not read or not read whole; raise UserError unless it may be."""
        unreadable, losses = (
            {name: reason for part in self.sharing.gather(found) for name, reason in part.items()}
            for found in (unreadable, losses)
        )
        total = len(pictures.names)
        if losses and self.processes.writes:
            name, loss = min(losses.items())
            print(
                f"{pictures.label}: {len(losses)} of {total} pictures lose something in the "
                f"conversion to 8-bit RGB, as in other tools (first {name}: {loss})",
                file=sys.stderr,
            )
        if not unreadable:
            return
        named = "; ".join(f"{name} ({reason})" for name, reason in sorted(unreadable.items()))
        message = f"{pictures.label}: {len(unreadable)} of {total} pictures cannot be read"
        if not self.skip_unreadable:
            raise UserError(f"{message}, mend them or give --skip_unreadable: {named}")
        if self.processes.writes:
            print(f"{message} and are left out: {named}", file=sys.stderr)


class RunMonitor:
    """Measures the generators of a run on test pictures, and keeps the best ones.

    tests: file name of a generator in the run folder -> the pictures that it translates and the
    real ones. exports: the same names -> function of (path, images seen) that writes the network.
    """

    def __init__(
        self,
        evaluator: Evaluator,
        run: training.RunFolder,
        tests: Mapping[str, tuple[Pictures, Pictures]],
        exports: Mapping[str, Callable[[Path, int], object]],
    ):
        """Collect the reals, once for the whole run, and rehearse.

        What a metric cannot use would otherwise end the run hours later.
        """
        self.evaluator, self.run, self.tests, self.exports = evaluator, run, tests, exports
        self.decisive = metrics.headline(evaluator.measures.names[0])
        self.reals = {
            name: evaluator.collect(real, smaller_set(real, fake))
            for name, (fake, real) in tests.items()
        }
        for _ in self._measured():
            pass

    def __call__(self, images_seen: int) -> dict[str, float]:
        """Measure all generators; return the numbers in the writing process, {} in others."""
        numbers: dict[str, float] = {}
        for name, found in self._measured():
            part = name.removeprefix("generator").removesuffix(".safetensors")
            found = {f"{key}{part}": value for key, value in scalars(found)}
            self._keep_best(name, f"{self.decisive}{part}", found, images_seen)
            numbers |= found
        return numbers

    def _measured(self) -> Iterator[tuple[str, dict]]:
        """Yield each generator's numbers in the writing process, nothing in others."""
        for name, (fake, real) in self.tests.items():
            paired = self.evaluator.measures.needs(*metrics.OF_PAIRS)
            found = self.evaluator.collect(
                fake, smaller_set(real, fake), is_fake=True, partners=real if paired else None
            )
            if self.evaluator.processes.writes:
                yield name, metrics.compare(self.reals[name], found, self.evaluator.measures)

    def _keep_best(
        self, name: str, decisive: str, found: Mapping[str, float], images_seen: int
    ) -> None:
        """Export the network if it beats all before it, before the line that says so is written."""
        lines = training.log_lines(self.run.metrics) if self.run.metrics.exists() else []
        earlier = [line[decisive] for line in lines if decisive in line]
        if all(metrics.is_better(self.decisive, found[decisive], old) for old in earlier):
            target = self.run.folder / name.replace("generator", "best")
            training.write_atomically(target, lambda path: self.exports[name](path, images_seen))


def scalars(numbers: Mapping[str, object]) -> Iterator[tuple[str, float]]:
    """Yield the plain numbers, which can be drawn over time."""
    for name, value in numbers.items():
        if isinstance(value, float):
            yield name, value


def share(images: int, processes: training.Processes) -> list[int]:
    """Return the indices that fall to this process; both of a pair of MS-SSIM to the same one."""
    world, rank = processes.world_size, processes.rank
    return [index for index in range(images) if index // 2 % world == rank]


def _readable(
    stream: Iterator[data.ReadImage],
    pictures: Pictures,
    unreadable: dict[str, str],
    losses: dict[str, str],
) -> Iterator[data.ReadImage]:
    """Pass on the pictures that could be read; note the others, and what conversion dropped."""
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
    """Pass on the stream, and hand each picture with its partner to the metrics of pairs."""
    places = {name: index for index, name in enumerate(partners.names)}
    if len(places) < len(partners.names):
        raise UserError(
            f"{partners.label}: two pictures of one name but for its ending; rename one"
        )
    missing = [name for name in pictures.names if name not in places]
    if missing:
        raise UserError(
            f"{pictures.label}: {len(missing)} of {len(pictures.names)} pictures have no partner "
            f"of the same name in {partners.label}, first {missing[0]}; give the pairs equal names"
        )
    partner_stream = partners.read([places[pictures.names[index]] for index in indices])
    for found, partner in zip(stream, partner_stream, strict=True):
        if found.pixels is not None and partner.pixels is not None:
            collection.add_pair(found.index, found.pixels, partner.pixels)
        yield found


def build_extractor(
    measures: metrics.Measures, device: torch.device, batch_size: int
) -> tuple[metrics.Extractor, bool]:
    """Return what makes features, and whether published numbers rest on the same weights."""
    if measures.features:
        function, origin = load_function(measures.features, device)
        try:
            return metrics.CustomExtractor(function, origin, device), False
        except (ValueError, TypeError, RuntimeError) as error:
            raise UserError(
                f"--features {measures.features}: does not turn uint8 [B, 3, H, W] into float "
                f"[B, D] ({error})"
            ) from error
    weights = metrics.load_inception_weights(measures.weights)
    network = metrics.FidInception()
    network.load_state_dict(weights.state)
    origin = metrics.Origin(measures.protocol, measures.layer, weights.sha256)
    extractor = metrics.InceptionExtractor(
        network,
        metrics.PROTOCOLS[measures.protocol],
        origin,
        device,
        images_a_pass=batch_size,
        exact=measures.exact,
    )
    return extractor, weights.published


def load_function(
    name: str, device: torch.device
) -> tuple[Callable[[Tensor], Tensor], metrics.Origin]:
    """Return a feature extractor of the user's: a TorchScript file, or module:function called.

    Both are programs that the user asks to run.
    """
    option, path = f"--features {name}", Path(name)
    if path.is_file():
        sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", FutureWarning)  # TorchScript's end is announced
                network = torch.jit.load(name, map_location=device).eval()
        except (RuntimeError, ValueError) as error:
            raise UserError(f"{option}: not a whole TorchScript file; give another") from error
        return network, metrics.Origin(features=path.name, weights_sha256=sha256)
    module_name, _, function_name = name.partition(":")
    sys.path.insert(0, str(Path.cwd()))
    try:
        function = vars(importlib.import_module(module_name))[function_name]
    except (ImportError, SyntaxError, KeyError, ValueError) as error:
        raise UserError(
            f"{option}: neither a file nor module:function that can be imported ({error})"
        ) from error
    finally:
        sys.path.pop(0)
    try:
        made = function()
    except (ValueError, TypeError, RuntimeError) as error:
        raise UserError(
            f"{option}: {function_name}() does not return a function of pictures "
            f"({type(error).__name__}: {error})"
        ) from error
    if isinstance(made, nn.Module):
        made = made.to(device).eval()
    return made, metrics.Origin(features=name)
