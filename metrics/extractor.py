"""From uint8 images of any size to features."""

from collections.abc import Callable, Iterator, Sequence
from itertools import groupby
from typing import NamedTuple

import torch
from torch import Tensor

from metrics.inception import LOGITS_WITHOUT_BIAS, FidInception
from metrics.protocols import Protocol
from metrics.statistics_file import Origin

# On the CPU every forward pass has at least this many images: with fewer, oneDNN's kernels sum in
# another order, and results would depend on the batch size and the number of processes.
CPU_IMAGES_A_PASS = 16


class Features(NamedTuple):
    """Features [B, D] and, if asked for, logits [B, 1008] without bias; on the CPU."""

    features: Tensor
    logits: Tensor | None


class InceptionExtractor:
    """Features of one layer of the FID network, averaged over their positions.

    exact: bit for bit as the tool of the protocol, instead of resizing in batches and folding norms
    into channels-last convolutions, which is twice as fast and differs by rounding. The network is
    changed in place.
    """

    def __init__(
        self,
        network: FidInception,
        protocol: Protocol,
        origin: Origin,
        device: torch.device,
        *,
        batch_size: int,
        exact: bool = False,
    ):
        self.origin, self.channels = origin, origin.layer
        self.device = device
        self.prepare = protocol.prepare_exactly if exact else protocol.prepare
        self.resized_together = batch_size
        self.images_a_pass = CPU_IMAGES_A_PASS if device.type == "cpu" else batch_size
        self.memory_format = torch.contiguous_format
        if not exact:
            network.fold()
            network.fc.double()  # in float32 a matrix product depends on its number of rows
            self.memory_format = torch.channels_last
        self.network = network.to(device, memory_format=self.memory_format)

    def __call__(self, images: Sequence[Tensor], *, logits: bool = False) -> Features:
        """Return the features of uint8 images [3, H, W], which may differ in size."""
        wanted = [self.channels] + [LOGITS_WITHOUT_BIAS] * logits
        # TF32 would change the third digit of a result.
        with torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
            inputs = torch.cat(
                [
                    self.prepare(part.to(self.device))
                    for batch in by_size(images)
                    for part in batch.split(self.resized_together)
                ]
            )
            passes = [self._run(part, wanted) for part in self._passes(inputs)]
        found = {name: torch.cat([part[name] for part in passes]).cpu() for name in wanted}
        return Features(found[self.channels], found.get(LOGITS_WITHOUT_BIAS))

    def _passes(self, inputs: Tensor) -> Sequence[Tensor]:
        if self.device.type != "cpu":
            return inputs.split(self.images_a_pass)
        return inputs.tensor_split(max(1, len(inputs) // self.images_a_pass))

    def _run(self, inputs: Tensor, wanted: Sequence[int | str]) -> dict[int | str, Tensor]:
        """Run one forward pass, on the CPU padded with empty images to the minimum number."""
        missing = max(0, self.images_a_pass - len(inputs)) if self.device.type == "cpu" else 0
        padded = torch.cat([inputs, inputs.new_zeros(missing, *inputs.shape[1:])])
        found = self.network(padded.contiguous(memory_format=self.memory_format), wanted)
        return {name: values[: len(inputs)] for name, values in found.items()}


class CustomExtractor:
    """Features from a function uint8 [B, 3, H, W] -> float [B, D], for a network other than FID's.

    Images are passed at their own size, consecutive ones of equal size as a batch. Raises
    ValueError for results of another shape.
    """

    def __init__(self, function: Callable[[Tensor], Tensor], origin: Origin, device: torch.device):
        self.function, self.origin, self.device = function, origin, device
        self.channels = None
        with torch.no_grad():
            self.channels = self._run(torch.zeros(1, 3, 64, 64, dtype=torch.uint8)).shape[1]

    @torch.no_grad()
    def __call__(self, images: Sequence[Tensor], *, logits: bool = False) -> Features:
        """Return the features of uint8 images [3, H, W], which may differ in size; no logits."""
        return Features(torch.cat([self._run(batch) for batch in by_size(images)]), None)

    def _run(self, batch: Tensor) -> Tensor:
        with torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
            found = self.function(batch.to(self.device))
        shape = list(found.shape) if isinstance(found, Tensor) else [type(found).__name__]
        if len(shape) != 2 or shape != [len(batch), self.channels or shape[1]]:
            raise ValueError(
                f"gave {shape} for {len(batch)} images, not [{len(batch)}, {self.channels or 'D'}]"
            )
        return found.float().cpu()


def by_size(images: Sequence[Tensor]) -> Iterator[Tensor]:
    """Stack consecutive images of equal size, in order."""
    for _, group in groupby(images, key=lambda image: image.shape):
        yield torch.stack(list(group))


Extractor = InceptionExtractor | CustomExtractor
