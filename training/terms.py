"""Losses that are sums of terms, and their backward pass term by term."""

from collections.abc import Callable, Iterable, Sequence
from functools import reduce
from operator import add
from typing import NamedTuple

import torch
from torch import Tensor


class Term(NamedTuple):
    """One term of a loss: the loss is the sum of factor * value, and `value` is logged."""

    name: str
    value: Tensor  # scalar
    factor: float = 1.0


def total(terms: Iterable[Term]) -> Tensor:
    """Return the sum of factor * value, a scalar; at least one term."""
    values = (term.value if term.factor == 1 else term.factor * term.value for term in terms)
    return reduce(add, values)


def backward(
    outputs: Sequence[Tensor], loss: Callable[..., Iterable[Sequence[Term]]]
) -> list[Term]:
    """Backpropagate a loss of a generator's outputs, one group of terms at a time.

    outputs: tensors with a graph. loss: a function of as many tensors, detached copies of the
    outputs, that yields its terms in groups; terms that share a graph belong in one group. Each
    group is backpropagated to the outputs when it is yielded, which frees its graph before the next
    one is built; the accumulated gradient goes through the generator once. The gradients of all
    weights are those of the sum of all terms.

    Returns the terms, detached. Raises ValueError for a loss without terms.
    """
    leaves = [output.detach().requires_grad_() for output in outputs]
    terms: list[Term] = []
    for group in loss(*leaves):
        total(group).backward()
        terms += [term._replace(value=term.value.detach()) for term in group]
    if not terms:
        raise ValueError("the loss has no terms")
    torch.autograd.backward(outputs, [leaf.grad for leaf in leaves])
    return terms
