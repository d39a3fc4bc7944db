"""Every contrastive loss with inputs of its own, for what is asked of all of them alike."""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

import losses


def rows(number: int, width: int = 5, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    generator = torch.Generator().manual_seed(1000 * seed + 10 * number + width)
    return torch.randn(number, width, generator=generator, dtype=torch.float64).to(dtype)


def class_labels(number: int) -> Tensor:
    return torch.arange(number) % 3


class Case(NamedTuple):
    """A loss of two sets of rows, and how many of the two learn from it."""

    loss: Callable[..., Tensor]
    learning: int = 2


def _nnclr(a: Tensor, b: Tensor, **options) -> Tensor:
    support = rows(7, a.shape[-1], seed=3, dtype=a.dtype)
    return losses.nnclr(a.detach(), b.detach(), support, predictions=(a, b), **options)


def _proto_nce(a: Tensor, b: Tensor, **options) -> Tensor:
    prototypes = [rows(k, a.shape[-1], seed=4, dtype=a.dtype) for k in (3, 2)]
    assignments = [torch.arange(len(a)) % k for k in (3, 2)]
    phi = [torch.linspace(0.1, 0.3, k, dtype=a.dtype) for k in (3, 2)]
    return losses.proto_nce(a, prototypes, assignments, phi, keys=b, **options)


# Of (first [N, D], second [N, D], reduction) each.
CASES = {
    "info_nce": Case(losses.info_nce),
    "info_nce with negatives": Case(
        lambda a, b, **options: losses.info_nce(
            a, b, rows(6, a.shape[-1], seed=1, dtype=a.dtype), temperature=0.3, **options
        )
    ),
    "nt_xent": Case(losses.nt_xent),
    "decoupled_nt_xent": Case(losses.decoupled_nt_xent),
    "sup_con": Case(
        lambda a, b, **options: losses.sup_con(
            torch.cat([a, b]), class_labels(len(a)).repeat(2), **options
        )
    ),
    "moco": Case(
        lambda a, b, **options: losses.moco(
            a, b, rows(6, a.shape[-1], seed=2, dtype=a.dtype), **options
        ),
        learning=1,
    ),
    "nnclr": Case(_nnclr),
    "clip": Case(losses.clip),
    "n_pair": Case(lambda a, b, **options: losses.n_pair(a, b, penalty=0.1, **options)),
    "curl": Case(
        lambda a, b, **options: losses.curl(
            a, b, rows(a.shape[-1], a.shape[-1], seed=5, dtype=a.dtype), **options
        ),
        learning=1,
    ),
    "proto_nce": Case(_proto_nce, learning=1),
}
