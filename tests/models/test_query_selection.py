"""Query-selected attention: the rows of least entropy, and the features that they route."""

import math

import pytest
import torch

from models import PatchProjector, route_queries, select_queries


def random_map(batch=2, channels=3, height=4, width=5, seed=0, dtype=torch.double):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(batch, channels, height, width, generator=generator, dtype=dtype)


def literal(picture, patches):
    """The selected attention rows of one picture [C, H, W], place by place."""
    channels, height, width = picture.shape
    places = [picture[:, y, x].tolist() for y in range(height) for x in range(width)]
    rows = []
    for query in places:
        exponents = [sum(a * b for a, b in zip(query, key, strict=True)) for key in places]
        weights = [math.exp(exponent) for exponent in exponents]
        rows.append([weight / sum(weights) for weight in weights])
    entropies = [-sum(share * math.log(share) for share in row) for row in rows]
    order = sorted(range(len(rows)), key=lambda place: entropies[place])
    return [rows[place] for place in order[:patches]]


@pytest.mark.parametrize("elements", [1, 90, 2**24])
@pytest.mark.parametrize("patches", [1, 7, 20, 100])
def test_selects_as_written_out_whatever_the_memory(patches, elements):
    source = random_map()
    found = select_queries(source, patches, elements)
    assert found.shape == (2, min(patches, 20), 20)
    expected = torch.tensor([literal(picture, patches) for picture in source], dtype=torch.double)
    assert torch.allclose(found, expected)


def test_routes_source_and_translation_by_the_same_rows():
    source, translation = random_map(), random_map(seed=1)
    attention = select_queries(source, 6)
    for feature in (source, translation):
        routed = route_queries(feature, attention)
        assert routed.shape == (2, 3, 6, 1)
        for b in range(2):
            pixels = feature[b].flatten(1).T.tolist()
            for s in range(6):
                shares = attention[b, s].tolist()
                for c in range(3):
                    total = sum(a * pixel[c] for a, pixel in zip(shares, pixels, strict=True))
                    assert routed[b, c, s, 0].item() == pytest.approx(total)


def test_a_place_like_no_other_is_chosen_before_the_background():
    source = torch.zeros(1, 2, 4, 4)
    source[0, 0], source[0, 1, 2, 1] = 1.0, 5.0
    attention = select_queries(source, 1)
    assert attention[0, 0].argmax().item() == 2 * 4 + 1 and attention.max() > 0.99


def test_equal_places_are_taken_in_order_and_route_the_mean():
    source = torch.ones(1, 3, 2, 2)
    attention = select_queries(source, 2)
    assert torch.allclose(attention, torch.full((1, 2, 4), 0.25))
    feature = random_map(1, 3, 2, 2)
    routed = route_queries(feature, attention.double())
    assert torch.allclose(routed[..., 0], feature.flatten(2).mean(2, keepdim=True).expand(1, 3, 2))


def test_the_projector_takes_all_routed_pixels_and_the_feature_gets_the_gradient():
    projector = PatchProjector([3], 8)
    source, feature = random_map(dtype=torch.float32), random_map(seed=1, dtype=torch.float32)
    feature.requires_grad_()
    attention = select_queries(source.requires_grad_(), 6)
    assert not attention.requires_grad
    (queries,) = projector([route_queries(feature, attention)], [torch.arange(6)])
    assert queries.shape == (2, 6, 8)
    assert torch.allclose(queries.norm(dim=2), torch.ones(2, 6), atol=1e-5)
    queries.square().sum().backward()
    queries = projector([route_queries(feature, attention)], [torch.arange(6)])[0]
    queries[..., 0].sum().backward()
    assert feature.grad.abs().sum() > 0 and source.grad is None


def test_the_gradient_is_that_of_finite_differences():
    feature = random_map(1, 2, 2, 3).requires_grad_()
    attention = select_queries(random_map(1, 2, 2, 3, seed=1), 3)
    assert torch.autograd.gradcheck(lambda x: route_queries(x, attention), feature)


def test_large_features_do_not_overflow():
    attention = select_queries(1000 * random_map(dtype=torch.float32), 5)
    assert attention.isfinite().all()
    assert torch.allclose(attention.sum(2), torch.ones(2, 5))


def test_autocast_changes_nothing():
    source = random_map(dtype=torch.float32)
    attention = select_queries(source, 5)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(select_queries(source, 5), attention)
        under = route_queries(source, attention)
    assert torch.equal(under, route_queries(source, attention))
    assert select_queries(source.bfloat16(), 5).dtype == torch.float32


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: select_queries(torch.zeros(2, 3, 4), 1), r"features \[2, 3, 4\]"),
        (lambda: select_queries(torch.zeros(2, 3, 0, 4), 1), r"features \[2, 3, 0, 4\]"),
        (lambda: select_queries(torch.zeros(2, 3, 4, 4).int(), 1), "torch.int32"),
        (lambda: select_queries(torch.zeros(2, 3, 4, 4), 0), "patches 0"),
        (
            lambda: route_queries(torch.zeros(2, 3, 4, 4), torch.zeros(2, 5, 15)),
            r"attention \[2, 5, 15\]: expected \[2, 'S', 16\]",
        ),
        (
            lambda: route_queries(torch.zeros(2, 3, 4, 4), torch.zeros(1, 5, 16)),
            r"attention \[1, 5, 16\]",
        ),
    ],
)
def test_bad_input_is_refused_by_name_and_value(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_places_are_ranked_where_attention_is_nearly_one_hot():
    """Entropies from 1e-3 down to 1e-30: float32 logits of hundreds, ranked as float64 would."""
    random = torch.Generator().manual_seed(0)
    feature = torch.randn(1, 8, 6, 6, generator=random) * 7
    rows = feature.flatten(2)[0].T.double()
    logits = rows @ rows.T
    gaps = logits.max(1, keepdim=True).values - logits
    weights = (-gaps).exp()
    others = weights.masked_fill(gaps == 0, 0).sum(1)
    entropies = torch.log1p(others) + (weights * gaps).sum(1) / weights.sum(1)
    assert entropies.min() < 1e-12 and len(set(entropies.tolist())) == 36
    expected = logits[entropies.argsort()[:9]].softmax(1).float()
    assert torch.allclose(select_queries(feature, 9)[0], expected, atol=1e-5)


def test_a_map_of_one_place_attends_to_itself():
    assert select_queries(torch.ones(2, 3, 1, 1), 4).tolist() == [[[1.0]], [[1.0]]]
