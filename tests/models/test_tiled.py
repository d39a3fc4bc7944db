"""Translation in tiles equals that of the whole picture, for every generator and odd sizes."""

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import models
from errors import UserError
from models.colorizer import Colorizer
from models.normalization import InstanceNorm, InstanceNormReLU
from models.resnet_generator import ResnetGenerator, ResnetSizes
from models.stylegan2 import NoiseInjection, Stylegan2Generator, Stylegan2GeneratorSizes
from models.tiled import TiledTranslation, Tiling
from models.tiled.graph import halo_px
from models.tiled.regions import tiles_of, whole
from models.tiled.statistics import Sums
from models.unet import UnetGenerator, UnetSizes
from tests.conftest import REFERENCE
from tests.training_runs import CPU, noise


def resnet(**sizes):
    return ResnetGenerator(ResnetSizes(base_channels=4, blocks=2, **sizes))


def wide_resnet():
    """Return one whose convolutions are wide enough for Winograd's method."""
    return ResnetGenerator(ResnetSizes(base_channels=24, blocks=1))


def unet(norm):
    return UnetGenerator(UnetSizes(base_channels=2, halvings=5, norm=norm))


def stylegan2(**sizes):
    return Stylegan2Generator(Stylegan2GeneratorSizes(2, 32, blocks=2, **sizes))


GENERATORS = {
    "antialiased": resnet,
    "strided": lambda: resnet(antialias_down=False, antialias_up=False, dropout=True),
    "wide": wide_resnet,
    "resnet, batch norm": lambda: resnet(norm="batch"),
    "resnet, no norm": lambda: resnet(norm="none"),
    "unet": lambda: unet("batch"),
    "unet, instance norm": lambda: unet("instance"),
    "unet, no norm": lambda: unet("none"),
    "colorizer": lambda: Colorizer(UnetSizes(1, 2, 2, 5, "instance")),
    "stylegan2": stylegan2,
    "stylegan2, two halvings": lambda: stylegan2(downs=2, inject_noise=False),
}


def ready(network):
    """Draw weights, noise weights and running statistics that leave no layer without effect."""
    random = torch.Generator().manual_seed(0)
    models.initialize(network, random, "normal", 0.2)
    for layer in network.modules():
        if isinstance(layer, NoiseInjection):
            nn.init.constant_(layer.weight, 0.3)
        if isinstance(layer, nn.BatchNorm2d):
            layer.running_mean.normal_(0, 0.1, generator=random)
            layer.running_var.uniform_(0.5, 2, generator=random)
    return network.eval()


def tiled(network, picture, tile_px, statistics="exact", memory_bytes=10**9):
    tiling = Tiling(tile_px, Path("/unused"), memory_bytes, statistics)
    return TiledTranslation(network, tuple(picture.shape[2:]), reader(picture), tiling)


def reader(picture):
    return lambda region: picture[:, :, slice(*region.rows), slice(*region.columns)]


def joined(translation, progress=lambda tiles: None):
    return torch.cat(list(translation.bands(progress)), 1)[None]


@pytest.mark.parametrize("name", GENERATORS)
def test_tiles_give_the_translation_of_the_whole_picture(name, tmp_path):
    network = ready(GENERATORS[name]())
    for size, tile_px in (((67, 101), 32), ((35, 67), 50), ((1, 35), 33)):
        picture = noise(1, network.in_channels, *size)
        exact = models.translate(network, picture)
        stored = Tiling(tile_px, tmp_path, memory_bytes=20_000)  # some maps wait in files
        translation = TiledTranslation(network, size, reader(picture), stored)
        done = []
        found = joined(translation, done.append)
        assert exact.std() > 0.01 and found.shape == exact.shape
        assert (found - exact).abs().max() < 1e-4  # of 2; a grey level is 8e-3
        assert sum(done) == translation.tile_count()
    assert not [*tmp_path.iterdir()]


def test_the_official_generators_are_translated_in_tiles():
    for name in ("cut_generator", "cyclegan_generator", "pix2pix_generator", "sincut_generator"):
        path = REFERENCE / f"{name}.pth"
        network = models.load_generator(path).network
        tile_px = max(network.smallest_size_px, 48)
        picture = noise(1, 3, tile_px + 3, 45)
        exact = models.translate(network, picture)
        assert (joined(tiled(network, picture, tile_px)) - exact).abs().max() < 1e-4, name


@pytest.mark.parametrize("name", ["stylegan2", "resnet, batch norm"])
def test_a_network_without_instance_norm_waits_for_nothing_where_tiles_are_wide(name):
    network = ready(GENERATORS[name]())
    tile_px = 4 * halo_px(tiled(network, noise(1, 3, 150, 150), 999).translation)
    picture = noise(1, 3, tile_px + 6, 50)
    translation = tiled(network, picture, tile_px)
    assert [len(translation.plan.steps), translation.plan.memory_bytes] == [1, 0]
    assert (joined(translation) - models.translate(network, picture)).abs().max() < 1e-4


def test_the_halo_is_all_that_a_pixel_depends_on():
    network = ready(resnet(norm="none"))
    picture = noise(1, 3, 256, 256).requires_grad_()
    halo = halo_px(tiled(network, picture, 999).translation)
    network(picture)[0, :, 128, 128].sum().backward()
    rows = picture.grad.abs().sum((0, 1, 3)).nonzero().flatten()
    assert 0 <= 2 * halo - (rows.max() - rows.min()) < 4


def test_the_plan_tells_what_waits():
    network = ready(resnet())
    picture = noise(1, 3, 64, 64)
    ample, none = (tiled(network, picture, 32, memory_bytes=size).plan for size in (10**9, 1))
    # The largest are the first two: 16 channels at half size and 16 at a quarter.
    assert ample[1:] == (4 * (16 * 32 * 32 + 16 * 16 * 16), 0)
    assert none[1:] == (0, ample.memory_bytes)


def test_a_thumbnail_of_the_picture_itself_and_tiles_all_alike_change_nothing():
    network = ready(resnet())
    picture = noise(1, 3, 32, 48)
    exact = models.translate(network, picture)
    assert (joined(tiled(network, picture, 48, "thumbnail")) - exact).abs().max() < 1e-4
    assert (joined(tiled(network, picture, 48, "interpolated")) - exact).abs().max() < 1e-4


def waves(side):
    """Return a smooth picture [1, 3, side, side] that gets lighter to the right."""
    along = torch.linspace(0, 9, side)
    grey = torch.sin(along) * torch.cos(along[:, None]) + 0.1 * along
    return grey.expand(1, 3, -1, -1) / 2


def test_a_thumbnail_gives_its_statistics_to_every_norm(monkeypatch):
    network, picture = ready(resnet()), waves(130)
    found = joined(tiled(network, picture, 44, "thumbnail"))
    of_thumbnail = []

    def normalized(x):
        if measuring:
            of_thumbnail.append(torch.var_mean(x, (2, 3), correction=0, keepdim=True))
        variance, mean = of_thumbnail[-1] if measuring else of_thumbnail.pop(0)
        return (x - mean) / (variance + 1e-5).sqrt()

    layers = [layer for layer in network.modules() if isinstance(layer, InstanceNorm)]
    for layer in layers:
        relu = torch.relu if isinstance(layer, InstanceNormReLU) else torch.clone
        monkeypatch.setattr(layer, "forward", lambda x, relu=relu: relu(normalized(x)))
    measuring = True
    models.translate(network, F.avg_pool2d(picture, 3, ceil_mode=True))  # 44 x 44
    assert len(of_thumbnail) == len(layers) == 9
    measuring = False
    exact = models.translate(network, picture)
    assert (found - exact).abs().max() < 1e-4


@pytest.mark.parametrize("statistics", ["exact", "thumbnail", "interpolated"])
def test_the_plan_is_made_before_the_picture_is_read(statistics):
    def unread(region):
        raise AssertionError("read")

    tiling = Tiling(32, Path("/unused"), 10**9, statistics)
    plan = TiledTranslation(ready(resnet()), (64, 64), unread, tiling).plan
    assert any(step.norms for step in plan.steps) == (statistics != "thumbnail")


@pytest.mark.parametrize("statistics", ["thumbnail", "interpolated"])
def test_approximations_have_no_seams(statistics):
    found = joined(tiled(ready(resnet()), waves(160), 40, statistics))
    steps = found.diff(dim=3).abs().mean((0, 1, 2))
    assert found.std() > 0.1 and steps[39::40].mean() < 1.2 * steps.mean()


@pytest.mark.parametrize("statistics", ["exact", "thumbnail", "interpolated"])
def test_a_flat_picture_stays_flat(statistics):
    """Its variance is 0, so that each norm multiplies rounding by 316.

    Multiples of 1/256 and 1/4 are added without rounding, in whatever order a processor takes.
    """
    network = ready(resnet())
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.copy_((256 * parameter).round() / 256)
    for value, tile_px in ((0.25, 44), (-0.5, 40)):
        picture = torch.full((1, 3, 90, 131), value)
        found = joined(tiled(network, picture, tile_px, statistics))
        assert (found - models.translate(network, picture)).abs().max() < 1e-4


def test_between_equal_statistics_nothing_is_rounded():
    values = torch.rand(9, 1, 1, generator=torch.Generator().manual_seed(0))
    x = values.expand(9, 90, 131)[None]
    sums = Sums(9, (90, 131), 44, CPU)
    for tile in tiles_of(90, 131, 44):
        sums.add(tile, reader(x)(tile.region))
    mean, _ = sums.interpolated().at(whole(90, 131))
    assert torch.equal(mean, x)


def test_interpolated_statistics_are_those_of_the_tiles_at_their_centres():
    x = noise(1, 2, 10, 15)
    sums = Sums(2, (10, 15), 5, CPU)
    for tile in tiles_of(10, 15, 5):
        sums.add(tile, reader(x)(tile.region))
    mean, scale = sums.interpolated().at(whole(10, 15))
    for row, column in ((2, 2), (7, 12)):  # centres of the first and of the last tile
        part = x[0, :, row - 2 : row + 3, column - 2 : column + 3].double()
        assert torch.allclose(mean[0, :, row, column].double(), part.mean((1, 2)))
        deviation = (part.var((1, 2), correction=0) + 1e-5).sqrt()
        assert torch.allclose(scale[0, :, row, column].double(), 1 / deviation)
    half = (mean[0, :, 2, 2] + mean[0, :, 7, 2]) / 2
    assert torch.allclose(mean[0, :, 4, 2].lerp(mean[0, :, 5, 2], 0.5), half)
    assert torch.equal(mean[..., :2, :2], mean[..., 2:3, 2:3].expand(1, 2, 2, 2))


def test_a_flat_map_far_from_zero_has_statistics_as_exact_as_float64():
    x = noise(1, 3, 64, 64) * 1e-3 + 100
    sums = Sums(3, (64, 64), 17, CPU)
    for tile in tiles_of(64, 64, 17):
        sums.add(tile, reader(x)(tile.region))
    mean, scale = sums.uniform()
    variance, true_mean = torch.var_mean(x.double(), (2, 3), correction=0, keepdim=True)
    assert torch.allclose(mean.double(), true_mean, rtol=1e-7)
    assert torch.allclose(scale.double(), (variance + 1e-5).rsqrt(), rtol=1e-6)


@pytest.mark.parametrize(("name", "least"), [("antialiased", 16), ("unet", 32), ("stylegan2", 8)])
def test_tiles_that_are_too_small_are_refused_with_the_least_that_works(name, least):
    network, picture = ready(GENERATORS[name]()), noise(1, 3, 70, 40)
    with pytest.raises(UserError, match=f"`tile` {least - 1}: .* give {least} or more"):
        tiled(network, picture, least - 1)
    exact = models.translate(network, picture)
    assert (joined(tiled(network, picture, least)) - exact).abs().max() < 1e-4


def test_a_network_that_attends_globally_is_refused_by_the_name_of_its_layer():
    network = ready(resnet())
    network.model.insert(12, nn.MultiheadAttention(16, 1))
    with pytest.raises(UserError, match="`tile`: .* MultiheadAttention.*leave `tile` out"):
        tiled(network, noise(1, 3, 64, 64), 32)
