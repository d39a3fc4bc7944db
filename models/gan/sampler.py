"""Reproducible sampling from a generator."""

from collections.abc import Iterator, Mapping, Sequence

import torch
from torch import Tensor, nn

from models.gan.growing import check_level, resolution_px
from models.gan.latents import check_shares, draw_labels, draw_latents
from models.gan.progressive import ProgressiveGenerator
from models.inference import in_mode

MOST_PICTURES_A_PASS = 64
PIXELS_A_PASS = 2**16


class Sampler:
    """Generates pictures with any generator of this package, in eval mode.

    Picture number k of a seed is always the same, bit for bit on one machine and device, whatever
    the count and the first number. Layers may round differently for different batch sizes, so the
    network always runs on batches of `pictures_a_pass`, with picture k at index k modulo that.

    class_names: one per class, by default 0, 1, ... class_shares: one weight per class, used to
    draw labels when none are given, by default equal. level: how far a progressive generator has
    grown, None: fully. description: the metadata of the generator's file.

    Raises ValueError for a wrong number of names or weights, duplicate names, and a level that the
    generator does not have.
    """

    def __init__(
        self,
        network: nn.Module,
        *,
        class_names: Sequence[str] = (),
        class_shares: Sequence[float] = (),
        level: float | None = None,
        description: Mapping | None = None,
    ):
        self.network, self.level = network, level
        self.description = description or {}
        self.classes, self.out_channels = network.classes, network.out_channels
        self.size_px = network.size_px
        if level is not None:
            if not isinstance(network, ProgressiveGenerator):
                raise ValueError(f"level {level}: only a progressive generator grows; leave it out")
            check_level(level, network.size_px)
            self.size_px = resolution_px(level)
        self.class_names = tuple(class_names) or tuple(map(str, range(self.classes)))
        self.class_shares = tuple(class_shares) or (1.0,) * self.classes
        for name, values in (("names", self.class_names), ("shares", self.class_shares)):
            if len(values) != self.classes:
                raise ValueError(f"class_{name}: {len(values)} for {self.classes} classes")
        if len(set(self.class_names)) < self.classes:
            raise ValueError(f"class_names {self.class_names}: not unique; rename one")
        if self.classes:
            check_shares(self.class_shares)

    @property
    def pictures_a_pass(self) -> int:
        """The number of pictures in each forward pass."""
        return min(MOST_PICTURES_A_PASS, max(1, PIXELS_A_PASS // self.size_px**2))

    @torch.no_grad()
    def pictures(self, latents: Tensor, labels: Tensor | None = None) -> Tensor:
        """Generate pictures from given latents, in batches; the generator's modes are restored.

        latents: float [B, latent_channels] on any device; labels: int64 [B] if there are classes,
        else None. Returns float32 [B, out_channels, S, S], clamped to [-1, 1], on the network's
        device; an empty batch gives an empty one.
        Raises ValueError for labels of the wrong shape or dtype, out of range, missing, or given to
        an unconditional generator, and for latents of the wrong shape.
        """
        self._check(labels, len(latents))
        device = next(self.network.parameters()).device
        found = [torch.empty(0, self.out_channels, self.size_px, self.size_px, device=device)]
        with in_mode(self.network, training=False):
            for rows in self._passes(len(latents)):
                of_pass = None if labels is None else labels[rows.to(labels.device)].to(device)
                made = self._forward(latents[rows.to(latents.device)].to(device), of_pass)
                found.append(made.float().clamp(-1, 1))
        return torch.cat(found)[: len(latents)]

    def sample(
        self,
        count: int,
        seed: int = 0,
        *,
        labels: Tensor | None = None,
        first: int = 0,
        truncation: float = 1.0,
    ) -> Tensor:
        """Generate pictures `first` to `first + count - 1` of a seed; see `draw_latents`.

        labels: int64 [count]; None: drawn by `class_shares` if there are classes.
        Returns float32 [count, out_channels, S, S] in [-1, 1] on the CPU.
        Raises ValueError as `pictures` and `draw_latents` do.
        """
        if count < 0 or first < 0:
            raise ValueError(f"count {count}, first {first}: below 0")
        if labels is None:
            labels = self.draw_labels(count, seed, first=first)
        self._check(labels, count)
        size = self.pictures_a_pass
        before = first % size  # pictures of the first batch that were not asked for
        start, together = first - before, before + count
        latents = draw_latents(
            seed,
            -(-together // size) * size if count else 0,
            self.network.latent_channels,
            first=start,
            truncation=truncation,
        )
        found = [torch.empty(0, self.out_channels, self.size_px, self.size_px)]
        for place in range(0, len(latents), size):
            of_pass = None
            if labels is not None:  # the labels of those are unknown and do not matter
                places = torch.arange(place - before, place - before + size).clamp(0, count - 1)
                of_pass = labels.cpu()[places]
            found.append(self.pictures(latents[place : place + size], of_pass).cpu())
        return torch.cat(found)[before:together]

    def draw_labels(self, count: int, seed: int = 0, *, first: int = 0) -> Tensor | None:
        """Return the labels that `sample` draws when none are given: int64 [count], or None."""
        if not self.classes:
            return None
        return draw_labels(seed, count, self.class_shares, first=first)

    def _passes(self, count: int) -> Iterator[Tensor]:
        """Yield the indices of each batch; the last batch is padded with the last index."""
        size = self.pictures_a_pass
        for start in range(0, count, size):
            yield torch.arange(start, start + size).clamp(max=count - 1)

    def _forward(self, latents: Tensor, labels: Tensor | None) -> Tensor:
        if self.level is None:
            return self.network(latents, labels)
        return self.network(latents, labels, level=self.level)

    def _check(self, labels: Tensor | None, count: int) -> None:
        """Check the labels' values too: out of range they would trigger a device-side assert."""
        if labels is None:
            if self.classes:
                raise ValueError(f"labels are missing: give [{count}] from 0 to {self.classes - 1}")
            return
        if not self.classes:
            raise ValueError("labels: this generator is unconditional; leave them out")
        if labels.dtype != torch.int64 or labels.shape != (count,):
            raise ValueError(
                f"labels {labels.dtype} {tuple(labels.shape)}: give int64 class indices, [{count}]"
            )
        if count and not (int(labels.min()) >= 0 and int(labels.max()) < self.classes):
            raise ValueError(
                f"labels from {int(labels.min())} to {int(labels.max())}: give 0 to "
                f"{self.classes - 1}"
            )
