"""One or a few pixels, found by differential evolution for all pictures of a batch at once."""

import torch
from torch import Tensor

from attacks.common import Model, check_labels, check_pictures, check_settings, in_eval_mode
from attacks.gradient_sign import check_targets

ON_CPU, ON_GPU = 128, 1024  # pictures a pass: caches, and launches, limit the speed


def one_pixel(
    model: Model,
    pictures: Tensor,
    labels: Tensor,
    *,
    pixels: int = 1,
    generations: int = 100,
    population: int = 400,
    batch_size: int | None = None,
    targeted: bool = False,
    generator: torch.Generator,
) -> Tensor:
    """Change `pixels` pixels of each picture so that the model gives it another class.

    Differential evolution: a candidate holds for each pixel its row, column and values. Rows and
    columns begin uniform, values normal with mean 0 and deviation 1 in units of [-1, 1] (the
    paper's N(128, 127) of 255). In each generation candidate i's child is
    c_r1 + 0.5 (c_r2 - c_r3) with r1, r2, r3 random, and takes its place if it gives the true class
    a lower probability (targeted: the class in `labels` a higher one). A picture is finished with
    the first pass in which a candidate changes the class; the fittest of those is returned. Only
    the model's outputs are used, no gradient.

    pictures: float [B, C, H, W] in [-1, 1]; labels: long [B]; batch_size: pictures a forward pass,
    by default 128 on a CPU and 1024 on a GPU.
    All pictures evolve at once; places in a pass that finished pictures leave go to the others.
    Returns pictures of the same shape with at most `pixels` changed pixels, the best found where
    the class stays. Raises UserError as `fgsm` does, and for counts below 1. Source: Su et al.
    2019, section III (without crossover).
    """
    check_pictures(pictures)
    if batch_size is None:
        batch_size = ON_GPU if pictures.is_cuda else ON_CPU
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
            is_better = done | (values > fitness[places])
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
        """Return the fitness [B, P], larger is better, and whether the class is as wanted.

        Once a picture has a candidate of the wanted class, its further ones are not tried: their
        fitness is -inf.
        """
        fitness = pictures.new_full(candidates.shape[:2], -torch.inf)
        is_done = torch.zeros_like(fitness, dtype=torch.bool)
        begin = 0
        while begin < candidates.shape[1]:
            active = (~is_done.any(1)).nonzero()[:, 0]
            if not len(active):
                break
            tried = slice(begin, begin + max(1, self.batch_size // len(active)))
            painted = _painted(pictures[active], candidates[active, tried])
            parts = painted.flatten(0, 1).split(self.batch_size)
            logits = torch.cat([self.model(part) for part in parts])
            repeated = labels[active].repeat_interleave(painted.shape[1])
            probability = logits.softmax(1).gather(1, repeated[:, None]).view(len(active), -1)
            probability = probability.to(fitness.dtype)
            is_label = (logits.argmax(1) == repeated).view(len(active), -1)
            fitness[active, tried] = probability if self.targeted else -probability
            is_done[active, tried] = is_label if self.targeted else ~is_label
            begin = tried.stop
        return fitness, is_done


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
