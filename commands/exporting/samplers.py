"""A generator from noise as a program: latents, labels and truncation in, pictures out."""

import math
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn

import data
import models
from commands import outputs
from commands.exporting.programs import BATCH, Program, as_bytes, for_inference

TRUNCATIONS = (1.0, 0.99, 0.9, 0.8, 0.7, 0.6, 0.5, 0.3, 0.1, 0.0)
# Giles 2010, "Approximating the erfinv function", table 5: the polynomials of the centre and of the
# tails, the highest power first.
CENTRE = (2.81022636e-08, 3.43273939e-07, -3.5233877e-06, -4.39150654e-06, 2.1858087e-04)
CENTRE += (-1.25372503e-03, -4.17768164e-03, 0.246640727, 1.50140941)
TAILS = (-2.00214257e-04, 1.00950558e-04, 1.34934322e-03, -3.67342844e-03, 5.73950773e-03)
TAILS += (-7.6224613e-03, 9.43887047e-03, 1.00167406, 2.83297682)


def sampler_program(
    sampler: models.Sampler, checkpoint: Path, *, uint8: bool, fp16: bool
) -> Program:
    """Return the program of a generator from noise, at the level that it has grown to.

    uint8: pictures are bytes [B, H, W, C]. Raises UserError for `uint8` with numbers of channels
    that pictures do not have.
    """
    if uint8:
        outputs.content_of(sampler, checkpoint)
    kind = ClassModule if sampler.classes else PlainModule
    arguments = partial(_arguments, sampler)
    return Program(
        module=kind(for_inference(sampler.network, fp16), sampler.level, uint8),
        inputs=("latents", *["labels"] * bool(sampler.classes), "truncation"),
        output="pictures",
        example=arguments(2, 0.5),
        dynamic=({0: BATCH}, *[{0: BATCH}] * bool(sampler.classes), {}),
        ours=partial(_ours, sampler, uint8),
        cases=lambda batch: {f"{part:g}": arguments(batch, part) for part in TRUNCATIONS},
        varied="truncation",
        about={"class_names": list(sampler.class_names), "size_px": sampler.size_px},
        words=_words(sampler, uint8),
    )


class PlainModule(nn.Module):
    """A generator from noise without classes."""

    def __init__(self, network: nn.Module, level: float | None, uint8: bool):
        super().__init__()
        self.network, self.level, self.uint8 = network, level, uint8
        self.dtype = next(network.parameters()).dtype

    def forward(self, latents: Tensor, truncation: Tensor) -> Tensor:
        """Generate pictures from float32 latents [B, C] and a float32 truncation []."""
        return self._pictures(latents, None, truncation)

    def _pictures(self, latents: Tensor, labels: Tensor | None, truncation: Tensor) -> Tensor:
        latents = truncate(latents, truncation).to(self.dtype)
        pictures = _grown(self.network, self.level, latents, labels)
        return as_bytes(pictures) if self.uint8 else pictures


class ClassModule(PlainModule):
    """A generator from noise with classes."""

    def forward(self, latents: Tensor, labels: Tensor, truncation: Tensor) -> Tensor:
        """Generate pictures of the classes, int64 [B]."""
        return self._pictures(latents, labels, truncation)


def _grown(
    network: nn.Module, level: float | None, latents: Tensor, labels: Tensor | None
) -> Tensor:
    """Return pictures as `models.Sampler` does, but without filling the batch."""
    of_level = {} if level is None else {"level": level}
    return network(latents, labels, **of_level).float().clamp(-1, 1)


def truncate(latents: Tensor, truncation: Tensor) -> Tensor:
    """Return sqrt(2) erfinv(t erf(z / sqrt(2))) of latents z, float32: `models.gan.truncate`.

    ONNX has no erfinv: with w = -log(1 - x^2), erfinv(x) = x p(w) for a polynomial p in w - 2.5, or
    in sqrt(w) - 3 from w = 5 on. 1 - |x| is computed as (1 - t) + t erfc, without cancellation.
    """
    scaled = latents / math.sqrt(2)
    short = (1 - truncation) + truncation * torch.erfc(scaled.abs())
    w = -torch.log(short * (2 - short))
    place = torch.where(w < 5, w - 2.5, w.clamp(min=5).sqrt() - 3)[..., None]
    coefficients = torch.where(w[..., None] < 5, torch.tensor(CENTRE), torch.tensor(TAILS))
    factor = (coefficients * place ** torch.arange(8.0, -1, -1)).sum(-1)
    moved = math.sqrt(2) * factor * truncation * torch.erf(scaled)
    return torch.where(truncation < 1, moved, latents)


def _arguments(sampler: models.Sampler, batch: int, truncation: float) -> tuple[Tensor, ...]:
    latents = models.gan.draw_latents(0, batch, sampler.network.latent_channels)
    labels = [torch.arange(batch) % sampler.classes] if sampler.classes else []
    return latents, *labels, torch.tensor(truncation)


@torch.no_grad()
def _ours(sampler: models.Sampler, uint8: bool, latents: Tensor, *more: Tensor) -> Tensor:
    latents = models.gan.truncate(latents, more[-1].item())
    labels = more[0] if sampler.classes else None
    pictures = _grown(sampler.network, sampler.level, latents, labels)
    return data.to_levels(pictures).permute(0, 2, 3, 1) if uint8 else pictures


def _words(sampler: models.Sampler, uint8: bool) -> list[str]:
    side = sampler.size_px
    shape = f"float32 [batch, {sampler.out_channels}, {side}, {side}] in [-1, 1]"
    if uint8:
        shape = f"uint8 [batch, {side}, {side}, {sampler.out_channels}]"
    words = [f"input latents: float32 [batch, {sampler.network.latent_channels}] from N(0, 1)"]
    if sampler.classes:
        words.append(f"input labels: int64 [batch] from 0 to {sampler.classes - 1}")
    words.append("input truncation: float32 [], from 0 to 1; 1: none")
    return [*words, f"output pictures: {shape}"]
