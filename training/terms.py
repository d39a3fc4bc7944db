"""A loss of several terms, and how its gradient reaches the weights term by term."""

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
    """Add the gradient of a loss of a generator's outputs to all weights that it depends on.

    outputs: tensors with a graph. loss: function of as many tensors, which stand for the outputs
    without their graph; it yields its terms in groups, where terms that share a graph come
    together. Each group sends its gradient back to the outputs as soon as it is yielded, which
    frees its graph before the next one is built; the sum goes through the generator once. The
    gradient is that of the sum of all terms.

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
