"""The file that explains itself, and translation of any size."""

import json

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors import safe_open

from errors import UserError
from models import (
    Sampler,
    initialize,
    load_generator,
    load_sampler,
    read_saved,
    save_generator,
    translate,
)
from models.inference import _reflected
from models.resnet_generator import ResnetGenerator, ResnetSizes
from models.stylegan2 import Stylegan2Generator, Stylegan2GeneratorSizes
from models.unet import UnetGenerator, UnetSizes
from tests.models.gan.pairs import PAIRS, small_generator, stirred


@pytest.mark.parametrize(
    "network",
    [
        ResnetGenerator(ResnetSizes(base_channels=4, blocks=6, norm="batch", dropout=True)),
        Stylegan2Generator(Stylegan2GeneratorSizes(base_channels=2, size_px=32)),
        UnetGenerator(UnetSizes(base_channels=2, halvings=5, dropout=False)),
    ],
)
@torch.no_grad()
def test_a_saved_generator_comes_back_with_its_description(network, tmp_path):
    save_generator(tmp_path / "generator.safetensors", network, {"images_seen": 7})
    loaded, description = load_generator(tmp_path, "`checkpoint`")
    assert loaded.sizes == network.sizes and description["images_seen"] == 7
    pictures = torch.rand(1, 3, 16, 16) * 2 - 1
    assert torch.equal(translate(loaded, pictures), translate(network, pictures))
    with safe_open(tmp_path / "generator.safetensors", "pt") as file:
        text = json.loads(file.metadata()["pairless"])
    assert text["value_range"] == [-1, 1] and text["architecture"] in (
        "resnet",
        "stylegan2",
        "unet",
    )


@pytest.mark.parametrize("name", PAIRS)
@pytest.mark.parametrize("classes", [0, 3])
def test_a_saved_generator_makes_the_same_pictures_from_noise(name, classes, tmp_path):
    network = stirred(small_generator(name, classes))
    about = {"class_names": ["a", "b", "c"], "class_shares": [1, 2, 3]} if classes else {}
    level = 3.4 if name == "progressive" else None
    save_generator(tmp_path / "generator.safetensors", network, {**about, "level": level})
    expected = Sampler(network, **about, level=level)
    for path in (tmp_path, str(tmp_path), tmp_path / "generator.safetensors"):
        sampler = load_sampler(path)
        assert torch.equal(sampler.sample(3, seed=2), expected.sample(3, seed=2))
    assert (sampler.class_names, sampler.class_shares) == (
        tuple(about.get("class_names", ())),
        tuple(about.get("class_shares", ())),
    )
    saved = read_saved(tmp_path, "`init_from`")
    assert sampler.description == saved.description
    assert saved.network.sizes == network.sizes and not saved.network.training
    assert saved.description["architecture"] == name.removesuffix("_projection")
    assert saved.description["level"] == level


def test_each_kind_is_refused_where_the_other_is_needed(tmp_path):
    save_generator(tmp_path / "noise.safetensors", small_generator("mlp"), {})
    with pytest.raises(UserError, match="`init` .*noise, not translations; give a translator"):
        load_generator(tmp_path / "noise.safetensors", "`init`")
    translator = ResnetGenerator(ResnetSizes(base_channels=2, blocks=1))
    for name in ("generator.safetensors", "generator_a2b.safetensors"):
        folder = tmp_path / name
        folder.mkdir()
        save_generator(folder / name, translator, {})
        with pytest.raises(UserError, match="`checkpoint` .*not a generator from noise"):
            load_sampler(folder)
    torch.save(translator.state_dict(), tmp_path / "official.pth")
    with pytest.raises(UserError, match="give a generator from noise"):
        load_sampler(tmp_path / "official.pth")
    with pytest.raises(UserError, match="`checkpoint` .*no such file"):
        load_sampler("nowhere.safetensors")


@pytest.mark.parametrize(
    "about",
    [
        {"class_names": "abc"},
        {"class_names": [1, 2, 3]},
        {"class_names": ["a", "b"]},
        {"class_names": ["a", "a", "b"]},
        {"class_shares": 3},
        {"class_shares": "abc"},
        {"class_shares": [1, 2]},
        {"class_shares": [1, 2, -1]},
        {"class_shares": [1, 2, float("nan")]},
        {"class_shares": [1, 2, 10**400]},
        {"level": 3},
        {"level": "3"},
    ],
)
def test_a_description_that_does_not_fit_its_network_is_refused(about, tmp_path):
    file = tmp_path / "generator.safetensors"
    save_generator(file, small_generator("mlp", 3), about)
    with pytest.raises(UserError, match=f"`checkpoint` {file}: its description does not fit"):
        load_sampler(file)


@pytest.mark.parametrize("level", [1.5, 4.1, "3", [3], float("nan")])
def test_a_level_that_the_generator_does_not_have_is_refused(level, tmp_path):
    file = tmp_path / "generator.safetensors"
    save_generator(file, small_generator("progressive"), {"level": level})
    with pytest.raises(UserError, match="its description does not fit"):
        load_sampler(file)


class Identity(torch.nn.Module):
    """Stands for a generator that needs multiples of 4 and at least 16 px."""

    size_multiple, smallest_size_px = 4, 16

    def forward(self, x):
        assert x.shape[2] % 4 == 0 and x.shape[3] % 4 == 0 and min(x.shape[2:]) >= 16
        assert not self.training
        return x * 3


@settings(deadline=None)
@given(height=st.integers(1, 40), width=st.integers(1, 40))
def test_any_size_comes_out_as_it_went_in(height, width):
    pictures = torch.rand(2, 3, height, width) * 0.6 - 0.3
    assert torch.allclose(translate(Identity(), pictures), pictures * 3)


def test_values_are_clamped_and_the_mode_is_put_back():
    network = Identity().train()
    assert translate(network, torch.ones(1, 3, 16, 16)).max() == 1
    assert network.training


def test_borders_are_mirrored_without_repeating_the_border():
    assert _reflected(4, 8, torch.device("cpu")).tolist() == [2, 1, 0, 1, 2, 3, 2, 1]
    assert _reflected(2, 6, torch.device("cpu")).tolist() == [0, 1, 0, 1, 0, 1]
    assert _reflected(1, 4, torch.device("cpu")).tolist() == [0, 0, 0, 0]


@pytest.fixture
def unet():
    """Return a U-Net of 64 px with dropout and with running statistics unlike any batch's."""
    random = torch.Generator().manual_seed(0)
    network = initialize(UnetGenerator(UnetSizes(base_channels=2, halvings=6)), random, "normal")
    with torch.no_grad():
        for name, value in network.named_buffers():
            if name.endswith("running_var"):
                value.fill_(2.0)
    return network.train()


def pictures_of(*shape):
    return torch.rand(shape, generator=torch.Generator().manual_seed(1)) * 2 - 1


@pytest.mark.parametrize("batch_statistics", [False, True])
def test_a_picture_smaller_than_the_bottleneck_is_mirrored_around(unet, batch_statistics):
    picture = pictures_of(1, 3, 20, 30)
    rows = _reflected(20, 64, picture.device)
    columns = _reflected(30, 64, picture.device)
    assert sorted({*rows.tolist()}) == [*range(20)] and rows[22:42].tolist() == [*range(20)]
    padded = picture[:, :, rows][:, :, :, columns]
    way = {"batch_statistics": batch_statistics, "seed": 3}
    translated = translate(unet, picture, **way)
    assert translated.shape == picture.shape and translated.std() > 0
    assert torch.equal(translated, translate(unet, padded, **way)[:, :, 22:42, 17:47])


@torch.no_grad()
def test_batch_statistics_are_those_of_the_pictures_and_dropout_is_seeded(unet):
    pictures = pictures_of(2, 3, 64, 64)
    state = {name: value.clone() for name, value in unet.state_dict().items()}
    found = translate(unet, pictures, batch_statistics=True, seed=5)
    assert all(torch.equal(value, state[name]) for name, value in unet.state_dict().items())

    unet.noise.reseed(5, rows=2)
    assert torch.equal(found, unet(pictures))  # in train mode, as while training
    assert not torch.equal(found, translate(unet, pictures))
    assert not torch.equal(found, translate(unet, pictures, batch_statistics=True, seed=6))
    alone = translate(unet, pictures[:1], batch_statistics=True, seed=5)
    assert not torch.allclose(found[:1], alone, atol=1e-4)


@pytest.mark.parametrize("batch_statistics", [False, True])
def test_modes_statistics_and_noise_go_on_as_if_nothing_had_been(unet, batch_statistics):
    unet.model.model[1].eval()  # a part that somebody holds fixed
    before = {name: module.training for name, module in unet.named_modules()}
    like = torch.zeros(1, 4)
    unet.noise.reseed(7, rows=1)
    expected = [unet.noise.uniform(like), unet.noise.uniform(like)]
    unet.noise.reseed(7, rows=1)
    drawn = [unet.noise.uniform(like)]
    translate(unet, pictures_of(2, 3, 64, 64), batch_statistics=batch_statistics)
    drawn.append(unet.noise.uniform(like))
    assert all(torch.equal(a, b) for a, b in zip(drawn, expected, strict=True))
    assert {name: module.training for name, module in unet.named_modules()} == before
    norms = [module for module in unet.modules() if isinstance(module, torch.nn.BatchNorm2d)]
    assert norms and all(norm.track_running_stats for norm in norms)


def test_modes_come_back_after_an_error(unet):
    with pytest.raises(RuntimeError):
        translate(unet, torch.zeros(1, 5, 64, 64), batch_statistics=True)
    assert all(module.training for module in unet.modules())
    norms = [module for module in unet.modules() if isinstance(module, torch.nn.BatchNorm2d)]
    assert all(norm.track_running_stats for norm in norms)
