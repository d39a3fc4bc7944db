"""One or a few pixels, found by differential evolution for all pictures of a batch at once."""

import torch
from torch import Tensor

from attacks.common import Model, check_labels, check_pictures, check_settings, in_eval_mode
from attacks.gradient_sign import check_targets


def one_pixel(
    model: Model,
    pictures: Tensor,
    labels: Tensor,
    *,
    pixels: int = 1,
    generations: int = 100,
    population: int = 400,
    batch_size: int = 1024,
    targeted: bool = False,
    generator: torch.Generator,
) -> Tensor:
    """Change `pixels` pixels of each picture so that the model gives it another class.

    Differential evolution: a candidate holds for each pixel its row, column and values. Rows and
    columns begin uniform, values normal with mean 0 and deviation 1 in units of [-1, 1] (the
    paper's N(128, 127) of 255). In each generation candidate i's child is
    c_r1 + 0.5 (c_r2 - c_r3) with r1, r2, r3 random, and takes its place if it gives the true class
    a lower probability (targeted: the class in `labels` a higher one). A picture is finished once
    its best candidate has changed the class. Only the model's outputs are used, no gradient.

    pictures: float [B, C, H, W] in [-1, 1]; labels: long [B]; batch_size: pictures a forward pass.
    All pictures evolve at once. Returns pictures of the same shape with at most `pixels` changed
    pixels, the best found where the class stays. Raises UserError as `fgsm` does, and for counts
    below 1. Source: Su et al. 2019, section III (without crossover).
    """
    check_pictures(pictures)
    check_settings(
        0.0, pixels=pixels, generations=generations, population=population, batch_size=batch_size
    )
    pictures = pictures.detach()
    with in_eval_mode(model), torch.no_grad():
        if targeted:
            check_targets(model, pictures, labels)
        else:
            check_labels(model, pictures, labels)
        candidates = _first(pictures, population, pixels, generator)
        search = _Search(model, batch_size, targeted)
        fitness, is_done = search(pictures, labels, candidates)
        places = torch.arange(len(pictures), device=pictures.device)  # of the pictures at work
        for _ in range(generations):
            active = (~is_done[places].any(1)).nonzero()[:, 0]
            places = places[active]
            if not len(places):
                break
            parents = candidates[places]
            children = _children(parents, generator)
            values, done = search(pictures[places], labels[places], children)
            is_better = values > fitness[places]
            candidates[places] = torch.where(is_better[..., None, None], children, parents)
            is_done[places] = torch.where(is_better, done, is_done[places])
            fitness[places] = torch.where(is_better, values, fitness[places])
        # A candidate that changes the class comes before any that does not.
        best = torch.where(is_done, fitness + 2, fitness).argmax(1)
        rows = torch.arange(len(pictures), device=pictures.device)
        return _painted(pictures, candidates[rows, best][:, None])[:, 0]


class _Search:
    """Rates candidates by the probability of a class, in batches."""

    def __init__(self, model: Model, batch_size: int, targeted: bool):
        self.model, self.batch_size, self.targeted = model, batch_size, targeted

    def __call__(
        self, pictures: Tensor, labels: Tensor, candidates: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Return the fitness [B, P], larger is better, and whether the class is as wanted."""
        fitness, is_done = [], []
        size = max(1, self.batch_size // candidates.shape[1])
        parts = (pictures.split(size), labels.split(size), candidates.split(size))
        for part, own, candidate in zip(*parts, strict=True):
            painted = _painted(part, candidate).flatten(0, 1)
            logits = torch.cat([self.model(some) for some in painted.split(self.batch_size)])
            repeated = own.repeat_interleave(candidates.shape[1])
            probability = logits.softmax(1).gather(1, repeated[:, None]).view(len(part), -1)
            is_own = (logits.argmax(1) == repeated).view(len(part), -1)
            fitness.append(probability if self.targeted else -probability)
            is_done.append(is_own if self.targeted else ~is_own)
        return torch.cat(fitness), torch.cat(is_done)


def _first(pictures: Tensor, population: int, pixels: int, generator: torch.Generator) -> Tensor:
    """Draw candidates [B, P, pixels, 2 + C]: row and column in [0, 1), and values."""
    shape = (len(pictures), population, pixels)
    like = {"device": pictures.device, "dtype": pictures.dtype, "generator": generator}
    places = torch.rand(*shape, 2, **like)
    values = torch.randn(*shape, pictures.shape[1], **like)
    return torch.cat([places, values], dim=-1)


def _children(parents: Tensor, generator: torch.Generator) -> Tensor:
    """Return c_r1 + 0.5 (c_r2 - c_r3) for each parent, of the same picture's population."""
    chosen = torch.randint(
        parents.shape[1],
        (3, *parents.shape[:2]),
        generator=generator,
        device=parents.device,
    )
    rows = torch.arange(len(parents), device=parents.device)[:, None]
    first, second, third = (parents[rows, part] for part in chosen)
    return first + 0.5 * (second - third)


def _painted(pictures: Tensor, candidates: Tensor) -> Tensor:
    """Return the pictures [B, P, C, H, W] of candidates [B, P, pixels, 2 + C]."""
    batch, population, pixels, _ = candidates.shape
    height, width = pictures.shape[2:]
    sides = torch.tensor([height, width], device=pictures.device)
    # Outside the picture: the nearest edge.
    places = (candidates[..., :2].clamp(0, 1) * sides).long().minimum(sides - 1)
    values = candidates[..., 2:].clamp(-1, 1)
    painted = pictures[:, None].repeat(1, population, 1, 1, 1)
    row = torch.arange(batch, device=pictures.device)[:, None]
    candidate = torch.arange(population, device=pictures.device)[None]
    for pixel in range(pixels):
        y, x = places[:, :, pixel].unbind(-1)
        painted[row, candidate, :, y, x] = values[:, :, pixel]
    return painted
