"""Pictures of a seed: the same ones however many are made; modes, labels, levels."""

import pytest
import torch
from torch import nn

from models import Sampler
from models.gan import MlpGenerator, MlpGeneratorSizes, draw_labels, draw_latents
from tests.models.gan.pairs import PAIRS, SIZE_PX, latents, small_generator, stirred

CLASSES = 3
SHARES = (0.6, 0.0, 0.4)
WAYS = [(name, classes, None) for name in PAIRS for classes in (0, CLASSES)]
WAYS.append(("progressive", 0, 2.4))


def sampler(name, classes=0, level=None):
    network = stirred(small_generator(name, classes))
    return Sampler(network, class_shares=SHARES if classes else (), level=level)


@pytest.mark.parametrize(("name", "classes", "level"), WAYS)
def test_a_picture_is_the_same_however_many_are_made(name, classes, level):
    made = sampler(name, classes, level)
    assert made.pictures_a_pass == 64
    many = made.sample(70, 5)
    side = 8 if level else SIZE_PX
    assert many.shape == (70, 3, side, side) and many.dtype == torch.float32
    assert len(many.unique(dim=0)) == 70
    for first, count in ((0, 5), (3, 67), (65, 2), (62, 3), (64, 1), (69, 1), (30, 0)):
        assert torch.equal(made.sample(count, 5, first=first), many[first : first + count])
    labels = made.draw_labels(7, 5, first=60)
    assert torch.equal(made.sample(7, 5, first=60, labels=labels), many[60:67])
    assert not torch.equal(made.sample(5, 6), many[:5])


@pytest.mark.parametrize(("name", "classes", "level"), WAYS)
def test_pictures_are_what_the_network_makes_in_eval_mode(name, classes, level):
    made = sampler(name, classes, level)
    given = latents(made.network, 5)
    labels = torch.tensor([0, 2, 1, 1, 0]) if classes else None
    more = {"level": level} if level else {}
    with torch.no_grad():
        expected = made.network.eval()(given, labels, **more).clamp(-1, 1)
    made.network.train()
    assert torch.allclose(made.pictures(given, labels), expected, atol=1e-5)
    assert all(module.training for module in made.network.modules())


def test_pictures_take_latents_of_the_seed_and_classes_by_their_shares():
    made = sampler("sngan", CLASSES)
    labels = draw_labels(4, 9, SHARES, first=2)
    given = draw_latents(4, 9, made.network.latent_channels, first=2, truncation=0.5)
    expected = made.pictures(given, labels)
    found = made.sample(9, 4, first=2, truncation=0.5)
    assert torch.allclose(found, expected, atol=1e-5)
    other = made.sample(9, 4, first=2, truncation=0.5, labels=(labels + 1) % CLASSES)
    assert not torch.allclose(found, other, atol=1e-2)


class Watched(nn.Module):
    """Notes the sizes of its batches; its pictures are its latents, far too bright."""

    def __init__(self, size_px):
        super().__init__()
        self.latent_channels, self.classes, self.size_px, self.out_channels = 1, 0, size_px, 1
        self.gain = nn.Parameter(torch.tensor(100.0))
        self.batches = []

    def forward(self, given, labels=None):
        assert not self.training and not torch.is_grad_enabled()
        self.batches.append(len(given))
        return (given * self.gain)[:, :, None, None].expand(-1, -1, self.size_px, self.size_px)


@pytest.mark.parametrize(
    ("size_px", "a_pass"), [(4, 64), (32, 64), (33, 60), (64, 16), (256, 1), (1024, 1)]
)
def test_the_network_sees_whole_passes_only_and_pictures_are_clamped(size_px, a_pass):
    network = Watched(size_px)
    made = Sampler(network)
    assert made.pictures_a_pass == a_pass
    found = made.sample(3, first=1)
    passes = -(-4 // a_pass)
    assert network.batches == [a_pass] * (passes if a_pass > 1 else 3)
    signs = draw_latents(0, 3, 1, first=1).mul(100).clamp(-1, 1)
    assert torch.equal(found[:, :, 0, 0], signs)
    network.batches.clear()
    assert len(made.pictures(torch.ones(a_pass + 1, 1))) == a_pass + 1
    assert network.batches == [a_pass, a_pass]


def test_modes_and_statistics_stay_as_they_were_even_after_an_error():
    made = sampler("dcgan")
    network = made.network.train()
    network.layers[1].eval()
    before = {name: module.training for name, module in network.named_modules()}
    state = {name: value.clone() for name, value in network.state_dict().items()}
    made.sample(3)
    with pytest.raises(ValueError, match="latents"):
        made.pictures(torch.zeros(2, 99))
    assert {name: module.training for name, module in network.named_modules()} == before
    assert all(torch.equal(value, state[name]) for name, value in network.state_dict().items())


def test_no_pictures_are_an_empty_batch():
    made = sampler("sngan", CLASSES)
    none = made.pictures(torch.zeros(0, 5), torch.zeros(0, dtype=torch.int64))
    assert none.shape == made.sample(0).shape == (0, 3, SIZE_PX, SIZE_PX)


@pytest.mark.parametrize("numbers", [{"count": -5}, {"count": 2, "first": -1}])
def test_numbers_below_0_are_refused(numbers):
    with pytest.raises(ValueError, match="below 0"):
        sampler("mlp").sample(**numbers)


def test_names_and_shares_that_are_not_given():
    made = Sampler(small_generator("mlp", 4))
    assert made.class_names == ("0", "1", "2", "3") and made.class_shares == (1, 1, 1, 1)
    assert made.draw_labels(400).bincount(minlength=4).min() > 50
    plain = Sampler(small_generator("mlp"))
    assert plain.class_names == plain.class_shares == () and plain.draw_labels(3) is None


@pytest.mark.parametrize(
    ("labels", "word"),
    [
        (None, "missing"),
        (torch.tensor([0, 3]), "from 0 to 3"),
        (torch.tensor([-1, 0]), "from -1"),
        (torch.tensor([0]), r"\[2\]"),
        (torch.tensor([0.0, 1.0]), "int64"),
    ],
)
def test_labels_that_do_not_fit(labels, word):
    made = sampler("mlp", CLASSES)
    with pytest.raises(ValueError, match=word):
        made.pictures(torch.zeros(2, 5), labels)
    if labels is not None:
        with pytest.raises(ValueError, match=word):
            made.sample(2, labels=labels)


def test_an_unconditional_generator_takes_no_labels():
    with pytest.raises(ValueError, match="unconditional"):
        sampler("mlp").sample(2, labels=torch.zeros(2, dtype=torch.int64))


@pytest.mark.parametrize(
    ("name", "classes", "options", "word"),
    [
        ("mlp", 0, {"level": 3.0}, "level 3.0"),
        ("progressive", 0, {"level": 4.5}, "level 4.5"),
        ("progressive", 0, {"level": 1.9}, "level 1.9"),
        ("mlp", 3, {"class_names": ["a", "b"]}, "class_names"),
        ("mlp", 0, {"class_names": ["a"]}, "class_names"),
        ("mlp", 2, {"class_names": ["a", "a"]}, "not unique"),
        ("mlp", 3, {"class_shares": [1, 2]}, "class_shares"),
        ("mlp", 2, {"class_shares": [0, 0]}, "shares"),
        ("mlp", 2, {"class_shares": [2, -1]}, "shares"),
    ],
)
def test_a_sampler_that_cannot_be(name, classes, options, word):
    with pytest.raises(ValueError, match=word):
        Sampler(small_generator(name, classes), **options)


def test_a_level_in_mid_fade_halves_the_side_and_is_not_its_neighbours():
    network = stirred(small_generator("progressive"))
    found = {level: Sampler(network, level=level).sample(4) for level in (2.5, 2.9, 3.0, 3.4, None)}
    sides = [pictures.shape[-1] for pictures in found.values()]
    assert sides == [8, 8, 8, 16, 16]
    assert (found[2.9] - found[3.0]).abs().max() < (found[2.5] - found[3.0]).abs().max()
    assert not torch.equal(found[3.4], found[None])


def test_the_size_of_a_pass_follows_the_level():
    network = MlpGenerator(MlpGeneratorSizes(64, 1, 2, 2))
    assert Sampler(network).pictures_a_pass == 16
