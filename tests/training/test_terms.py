"""A loss of several terms: its sum, and gradients term by term."""

import pytest
import torch

import training
from training import Term


def generator_and_inputs():
    network = torch.nn.Linear(3, 3).double()
    return network, torch.randn(4, 3, dtype=torch.double), torch.randn(4, 3, dtype=torch.double)


def test_total_counts_each_value_by_its_factor():
    terms = [Term("a", torch.tensor(3.0)), Term("b", torch.tensor(4.0), 0.5)]
    assert training.total(terms).item() == 5.0
    assert training.total(terms[1:]).item() == 2.0


def test_gradients_are_those_of_the_sum_of_all_terms():
    torch.manual_seed(0)
    network, first, second = generator_and_inputs()
    judge = torch.nn.Linear(3, 1).double()

    def loss(x, y):
        yield [Term("square", x.square().mean())]
        score = judge(y).sigmoid()  # two terms of one graph
        yield [Term("score", score.sum(), 0.5), Term("both", (score * x).sum(), 2.0)]

    whole = list(loss(network(first), network(second)))
    expected = torch.autograd.grad(
        sum(term.factor * term.value for group in whole for term in group),
        [*network.parameters(), *judge.parameters()],
    )
    terms = training.backward([network(first), network(second)], loss)
    found = [parameter.grad for parameter in (*network.parameters(), *judge.parameters())]
    for ours, theirs in zip(found, expected, strict=True):
        assert torch.allclose(ours, theirs, rtol=1e-12)
    assert [term.name for term in terms] == ["square", "score", "both"]
    assert not any(term.value.requires_grad for term in terms)


def test_each_group_has_sent_its_gradient_before_the_next_is_made():
    network, first, _ = generator_and_inputs()
    seen = []

    def loss(x):
        seen.append(x.grad)
        yield [Term("a", x.sum())]
        seen.append(x.grad.clone())
        yield [Term("b", x.sum(), 2.0)]
        seen.append(x.grad.clone())

    training.backward([network(first)], loss)
    assert seen[0] is None
    assert [grad.unique().tolist() for grad in seen[1:]] == [[1.0], [3.0]]


def test_a_loss_without_terms_is_refused():
    network, first, _ = generator_and_inputs()
    with pytest.raises(ValueError, match="no terms"):
        training.backward([network(first)], lambda x: iter(()))
