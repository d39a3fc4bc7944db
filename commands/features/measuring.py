"""How good an encoder is: the classes of held-out pictures from their nearest neighbours."""

from collections.abc import Sequence
from functools import partial
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn

import data
import metrics
import training
from commands import launch
from commands.features.options import FeatureOptions
from commands.features.parts import Part, Parts, prepared
from commands.features.sheets import neighbour_sheet, scatter
from errors import UserError

MOST_BANK = 20_000  # pictures with known classes that are searched, evenly spread over all
MOST_SHOWN = 1_000  # in the picture of the embeddings
PIXELS_PX = 32  # pictures that are compared by their pixels are reduced to this size
TOGETHER = 256  # pictures encoded at once
QUERIES, NEIGHBOURS = 10, 10  # in the sheet of neighbours


class Embedded(NamedTuple):
    """Features of the pictures of a part that could be read, in order."""

    features: Tensor  # [N, D], on the CPU
    labels: Tensor  # int64 [N]
    files: Sequence[Path]


class FeatureMonitor:
    """Measures a run's encoder, and draws what it sees, in every process of the run."""

    def __init__(
        self,
        options: FeatureOptions,
        parts: Parts,
        method: launch.TrainedMethod,
        run: training.RunFolder,
        device: torch.device,
        processes: training.Processes,
    ):
        self.options, self.run, self.processes, self.device = options, run, processes, device
        self.encoder = method.trained.networks["encoder"]
        self.bank = evenly(parts.train, MOST_BANK)
        self.test, self.classes = parts.test, len(parts.test.labels.names)
        self.pixels_accuracy: float | None = None

    def __call__(self, images_seen: int) -> dict[str, object]:
        """Write embeddings.png and neighbours.png; return the accuracies if there are classes.

        In processes that do not write the numbers are {}.
        """
        embed = partial(
            embedded, options=self.options, device=self.device, processes=self.processes
        )
        bank = embed(self.encoder, self.bank)
        test = embed(self.encoder, self.test) if self.test.files else None
        measured = bool(self.test.files and self.classes)
        if measured and self.pixels_accuracy is None:
            pixels = [embed(None, part) for part in (self.bank, self.test)]
            self.pixels_accuracy = neighbour_accuracy(*pixels, self.classes)
        if not self.processes.writes:
            return {}
        self._draw(bank, test)
        if not measured:
            return {}
        return {
            "knn_accuracy": neighbour_accuracy(bank, test, self.classes),
            "knn_accuracy_of_pixels": self.pixels_accuracy,
            "n_bank": len(bank.files),
            "n_test": len(test.files),
        }

    def _draw(self, bank: Embedded, test: Embedded | None) -> None:
        shown = test or bank
        some = torch.linspace(0, len(shown.files) - 1, min(MOST_SHOWN, len(shown.files))).long()
        names = [shown.files[at].parent.name for at in some.tolist()]
        picture = scatter(shown.features[some], names)
        training.write_atomically(
            self.run.folder / "embeddings.png", lambda path: picture.save(path, "PNG")
        )
        queries = torch.linspace(0, len(shown.files) - 1, min(QUERIES, len(shown.files))).long()
        own = int(test is None)  # each query's nearest picture is then itself
        _, places = metrics.nearest(shown.features[queries], bank.features, NEIGHBOURS + own)
        load = partial(prepared, size_px=self.options.crop_size, channels=self.options.channels)
        rows = [
            [load(shown.files[at])[0], *(load(bank.files[place])[0] for place in near[own:])]
            for at, near in zip(queries.tolist(), places.tolist(), strict=True)
        ]
        training.save_sheet(self.run.folder / "neighbours.png", neighbour_sheet(rows))


def neighbour_accuracy(bank: Embedded, test: Embedded, classes: int) -> float:
    """Return the share of test pictures whose class their neighbours in the bank tell."""
    found = metrics.neighbour_classes(test.features, bank.features, bank.labels, classes)
    return (found == test.labels).double().mean().item()


def evenly(part: Part, most: int) -> Part:
    """Return at most so many pictures of a part, evenly spread."""
    count = min(most, len(part.files))
    chosen = [number * len(part.files) // count for number in range(count)]
    labels = data.Labels(part.labels.names, [part.labels.of_files[at] for at in chosen])
    return Part([part.files[at] for at in chosen], labels)


def embedded(
    encoder: nn.Module | None,
    part: Part,
    *,
    options: FeatureOptions,
    device: torch.device,
    processes: training.Processes,
) -> Embedded:
    """Return the features of all pictures of a part, in all processes, each of which makes some.

    encoder: None for the pixels themselves, of pictures reduced to PIXELS_PX. Raises UserError if
    fewer than two pictures can be read.
    """
    size = options.crop_size if encoder else min(options.crop_size, PIXELS_PX)
    decode = partial(prepared, size_px=size, channels=options.channels)
    own = range(processes.rank, len(part.files), processes.world_size)
    read = (
        found
        for found in data.read_images(part.files, own, decode, workers=options.workers)
        if found.pixels is not None
    )
    indices, features = [], []
    while together := list(islice(read, TOGETHER)):
        indices += [found.index for found in together]
        pictures = torch.stack([found.pixels for found in together])
        features.append(
            encode(encoder, pictures.to(device)).cpu() if encoder else pictures.flatten(1)
        )
    everyones = training.gather_objects((indices, torch.cat(features) if features else None))
    indices = torch.tensor([index for found, _ in everyones for index in found])
    if len(indices) < 2:
        raise UserError(
            f"--dataroot {options.dataroot}: {len(indices)} of {len(part.files)} pictures to "
            "measure on can be read; give two or more"
        )
    order = indices.argsort()
    features = torch.cat([found for _, found in everyones if found is not None])[order]
    kept = indices[order].tolist()
    labels = torch.tensor([part.labels.of_files[at] for at in kept])
    return Embedded(features, labels, [part.files[at] for at in kept])


@torch.no_grad()
def encode(encoder: nn.Module, pictures: Tensor) -> Tensor:
    """Return the features of a batch, with the encoder's running statistics."""
    was_training = encoder.training
    encoder.eval()
    try:
        return encoder(pictures.contiguous(memory_format=torch.channels_last)).float()
    finally:
        encoder.train(was_training)
