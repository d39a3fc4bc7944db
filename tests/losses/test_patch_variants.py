"""MoNCE, hDCE, DCE and SRC: the formulas written out, limits, symmetries, bad input."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from losses import PATCH_LOSSES, decoupled_patch_nce, hdce, mo_nce, patch_nce, semantic_relation
from tests.losses.test_patch_nce import unit_vectors

FUNCTIONS = [*PATCH_LOSSES.values(), semantic_relation]


def literal_plan(kernel, iterations):
    """Sinkhorn's u and v, entry by entry, on a kernel with nothing on its diagonal."""
    size = len(kernel)
    u, v = [1.0] * size, [1.0] * size
    for _ in range(iterations):
        u = [1 / sum(kernel[i][j] * v[j] for j in range(size)) for i in range(size)]
        v = [1 / sum(kernel[i][j] * u[i] for i in range(size)) for j in range(size)]
    return [[u[i] * kernel[i][j] * v[j] for j in range(size)] for i in range(size)]


def literal(name, queries, keys, temperature, option):
    """The losses of one picture's patches, term by term."""
    patches = len(queries)
    s = [[float(queries[i] @ keys[j]) for j in range(patches)] for i in range(patches)]
    k = [[float(keys[i] @ keys[j]) for j in range(patches)] for i in range(patches)]
    others = [[j for j in range(patches) if j != i] for i in range(patches)]
    losses = []
    for i in range(patches):
        positive = math.exp(s[i][i] / temperature)
        if name == "decoupled":
            total = sum(math.exp(s[i][j] / temperature) for j in others[i])
        elif name == "hdce":
            likest = max(math.exp(k[i][j] / option) for j in others[i])
            weights = [math.exp(k[i][j] / option) / likest for j in range(patches)]
            total = sum(math.exp(weights[j] * s[i][j] / temperature) for j in others[i])
        else:
            cost = [[1 - x for x in row] if name == "easy" else row for row in s]
            kernel = [
                [math.exp(cost[a][b] / option) if a != b else 0.0 for b in range(patches)]
                for a in range(patches)
            ]
            w = literal_plan(kernel, 50)
            negatives = sum(w[i][j] * math.exp(s[i][j] / temperature) for j in others[i])
            total = positive + (patches - 1) * negatives
        losses.append(-math.log(positive / total))
    return torch.tensor(losses, dtype=torch.double)


@settings(deadline=None, max_examples=25)
@given(
    batch=st.integers(1, 2),
    patches=st.integers(2, 5),
    channels=st.integers(1, 4),
    temperature=st.sampled_from([0.07, 0.5]),
    option=st.sampled_from([0.3, 1.0, 50.0]),
    seed=st.integers(0, 100),
)
def test_equal_the_papers_written_out(batch, patches, channels, temperature, option, seed):
    queries = unit_vectors(batch, patches, channels, seed=seed, dtype=torch.double)
    keys = unit_vectors(batch, patches, channels, seed=seed + 1, dtype=torch.double)
    found = {
        "easy": mo_nce(queries, keys, temperature=temperature, epsilon=option),
        "hard": mo_nce(queries, keys, temperature=temperature, cost="hard", epsilon=option),
        "hdce": hdce(queries, keys, temperature=temperature, gamma=option),
        "decoupled": decoupled_patch_nce(queries, keys, temperature=temperature),
    }
    for name, losses in found.items():
        expected = [literal(name, queries[b], keys[b], temperature, option) for b in range(batch)]
        assert torch.allclose(losses, torch.cat(expected), rtol=1e-6, atol=1e-6), name


def test_semantic_relation_equals_the_divergence_written_out():
    queries, keys = torch.randn(2, 2, 4, 3, generator=torch.Generator().manual_seed(0)).double()

    def relations(vectors, p):
        unit = [v / v.norm() for v in vectors]
        weights = [math.exp(float(unit[p] @ other)) for other in unit]
        return [weight / sum(weights) for weight in weights]

    def divergence(p, r, middle):
        m = [middle * (a + b) for a, b in zip(p, r, strict=True)]
        left = sum(a * math.log(a / c) for a, c in zip(p, m, strict=True))
        right = sum(b * math.log(b / c) for b, c in zip(r, m, strict=True))
        return (left + right) / 2

    for picture, found in enumerate(semantic_relation(queries, keys)):
        rows = [(relations(queries[picture], p), relations(keys[picture], p)) for p in range(4)]
        right = sum(divergence(*row, middle=0.5) for row in rows)
        printed = sum(divergence(*row, middle=1.0) for row in rows)  # the misprint m = p + q
        assert found.item() == pytest.approx(right, rel=1e-6)
        assert printed == pytest.approx(right - 4 * math.log(2)) and printed < 0


def test_mo_nce_of_infinite_epsilon_is_patch_nce():
    queries, keys = unit_vectors(2, 7, 5), unit_vectors(2, 7, 5, seed=1)
    for cost in ("easy", "hard"):
        ours = mo_nce(queries, keys, cost=cost, epsilon=math.inf)
        assert torch.allclose(ours, patch_nce(queries, keys), rtol=1e-5, atol=1e-5)
    assert not torch.allclose(mo_nce(queries, keys), patch_nce(queries, keys), rtol=1e-3)


def test_hdce_of_infinite_gamma_is_the_decoupled_loss():
    queries, keys = unit_vectors(2, 7, 5), unit_vectors(2, 7, 5, seed=1)
    decoupled = decoupled_patch_nce(queries, keys)
    assert torch.allclose(hdce(queries, keys, gamma=math.inf), decoupled)
    assert not torch.allclose(hdce(queries, keys, gamma=1.0), decoupled, rtol=1e-3)


def test_equal_patches_give_the_logarithm_of_the_negatives():
    vectors = unit_vectors(1, 1, 8).expand(2, 6, 8)
    assert torch.allclose(mo_nce(vectors, vectors), torch.full((12,), math.log(6)))
    for function in (hdce, decoupled_patch_nce):
        assert torch.allclose(function(vectors, vectors), torch.full((12,), math.log(5)))
    assert torch.allclose(semantic_relation(vectors, vectors), torch.zeros(2), atol=1e-6)


def test_easy_moves_weight_to_unlike_patches_and_hard_to_like_ones():
    """Patch 0 is like patch 1 of the source and unlike patch 2; its positive is the same."""
    keys = torch.eye(3)[None]
    queries = torch.tensor([[[0.6, 0.8, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]]])
    plain = patch_nce(queries, keys, temperature=0.5)[0]
    assert mo_nce(queries, keys, temperature=0.5, cost="easy")[0] < plain
    assert mo_nce(queries, keys, temperature=0.5, cost="hard")[0] > plain


@pytest.mark.parametrize("function", FUNCTIONS)
def test_the_order_of_patches_does_not_matter(function):
    queries, keys = unit_vectors(1, 6, 5), unit_vectors(1, 6, 5, seed=1)
    order = torch.tensor([3, 1, 5, 0, 2, 4])
    straight = function(queries, keys)
    shuffled = function(queries[:, order], keys[:, order])
    expected = straight if function is semantic_relation else straight[order]
    assert torch.allclose(shuffled, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("function", FUNCTIONS)
def test_pictures_do_not_see_one_another(function):
    queries, keys = unit_vectors(3, 4, 5), unit_vectors(3, 4, 5, seed=1)
    alone = [function(queries[b : b + 1], keys[b : b + 1]) for b in range(3)]
    assert torch.allclose(function(queries, keys), torch.cat(alone), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("function", FUNCTIONS)
def test_gradients_are_those_of_finite_differences(function):
    queries = unit_vectors(2, 4, 3, dtype=torch.double).requires_grad_()
    keys = unit_vectors(2, 4, 3, seed=1, dtype=torch.double)
    assert torch.autograd.gradcheck(lambda x: function(x, keys), queries)


@pytest.mark.parametrize("function", FUNCTIONS)
def test_keys_get_no_gradient(function):
    queries, keys = (unit_vectors(1, 4, 3, seed=s).requires_grad_() for s in (0, 1))
    function(queries, keys).sum().backward()
    assert keys.grad is None and queries.grad.abs().sum() > 0


@pytest.mark.parametrize("function", FUNCTIONS)
def test_a_single_patch_gives_zero_with_a_graph(function):
    queries = unit_vectors(3, 1, 8).requires_grad_()
    losses = function(queries, -queries.detach())
    assert torch.equal(losses, torch.zeros(3))
    losses.sum().backward()
    assert torch.equal(queries.grad, torch.zeros(3, 1, 8))


@pytest.mark.parametrize("function", FUNCTIONS)
def test_zero_vectors_and_two_patches_stay_finite(function):
    queries = torch.zeros(1, 2, 4, requires_grad=True)
    losses = function(queries, torch.zeros(1, 2, 4))
    losses.sum().backward()
    assert losses.isfinite().all() and queries.grad.isfinite().all()
    assert queries.grad.abs().max() < 1e4


@pytest.mark.parametrize("function", FUNCTIONS)
def test_autocast_and_half_precision_change_little(function):
    queries, keys = unit_vectors(2, 16, 32), unit_vectors(2, 16, 32, seed=1)
    with torch.autocast("cpu", torch.bfloat16):
        under = function(queries, keys)
    assert torch.equal(under, function(queries, keys))
    half = function(queries.bfloat16(), keys.bfloat16())
    assert half.dtype == torch.float32
    assert half.mean().item() == pytest.approx(under.mean().item(), rel=0.01)


def test_semantic_relation_of_a_zero_row_among_others_has_a_small_gradient():
    queries, keys = unit_vectors(1, 4, 3), unit_vectors(1, 4, 3, seed=1)
    queries[0, 2] = 0
    semantic_relation(queries.requires_grad_(), keys).sum().backward()
    assert queries.grad[0, 2].norm() > 0 and queries.grad.abs().max() < 10


@pytest.mark.parametrize("function", FUNCTIONS)
def test_unlike_dtypes_are_computed_in_the_wider(function):
    queries, keys = unit_vectors(2, 4, 3), unit_vectors(2, 4, 3, seed=1)
    expected = function(queries.double(), keys.double())
    for pair in ((queries.double(), keys), (queries, keys.double())):
        found = function(*pair)
        assert found.dtype == torch.float64 and torch.allclose(found, expected, atol=1e-5)
    mixed = function(queries.bfloat16(), keys)
    assert mixed.dtype == torch.float32
    assert torch.equal(mixed, function(queries.bfloat16().float(), keys))


@pytest.mark.parametrize("function", FUNCTIONS)
def test_nan_is_not_hidden(function):
    queries = unit_vectors(1, 4, 3)
    queries[0, 2] = torch.nan
    assert function(queries, unit_vectors(1, 4, 3)).isnan().any()


@pytest.mark.parametrize("function", PATCH_LOSSES.values())
@pytest.mark.parametrize("temperature", [0.0, -1.0, math.nan, math.inf])
def test_a_temperature_that_is_not_finite_and_above_zero_is_refused(function, temperature):
    with pytest.raises(ValueError, match="temperature"):
        function(unit_vectors(1, 2, 3), unit_vectors(1, 2, 3), temperature=temperature)


@pytest.mark.parametrize("function", FUNCTIONS)
def test_unequal_empty_and_integer_patches_are_refused(function):
    good = unit_vectors(1, 2, 3)
    for other in (unit_vectors(1, 3, 3), unit_vectors(2, 3)):
        with pytest.raises(ValueError, match=r"queries and keys \[1, 2, 3\].*of the same shape"):
            function(good, other)
    with pytest.raises(ValueError, match="empty"):
        function(good[:, :0], good[:, :0])
    with pytest.raises(ValueError, match="int64"):
        function(good, good.long())


@pytest.mark.parametrize(
    ("function", "option", "value"),
    [
        (mo_nce, "epsilon", 0.0),
        (mo_nce, "epsilon", math.nan),
        (mo_nce, "cost", "medium"),
        (mo_nce, "iterations", 0),
        (hdce, "gamma", -1.0),
    ],
)
def test_options_out_of_range_are_refused_by_name_and_value(function, option, value):
    with pytest.raises(ValueError, match=f"^{option} '?{value}"):
        function(unit_vectors(1, 2, 3), unit_vectors(1, 2, 3), **{option: value})
