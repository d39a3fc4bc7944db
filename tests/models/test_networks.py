"""Each network against the official implementation's numbers and published sizes."""

import pytest
import torch

from errors import UserError
from models.build import build_discriminator, build_generator
from models.official import normalize_state
from models.patch_projector import PatchProjector
from models.patchgan import PatchGAN, PatchGANSizes, PixelGAN, PixelGANSizes
from models.resnet_generator import ResnetGenerator, ResnetSizes
from models.stylegan2 import (
    Stylegan2Discriminator,
    Stylegan2DiscriminatorSizes,
    Stylegan2Generator,
    Stylegan2GeneratorSizes,
)
from tests.close import assert_close_in_scale

STRIDED = {"antialias_down": False, "antialias_up": False}
NETWORKS = {
    "cut_generator": lambda: ResnetGenerator(ResnetSizes(base_channels=2)),
    "cyclegan_generator": lambda: ResnetGenerator(
        ResnetSizes(base_channels=2, blocks=6, **STRIDED)
    ),
    "cut_discriminator": lambda: PatchGAN(PatchGANSizes(base_channels=4)),
    "cyclegan_discriminator": lambda: PatchGAN(PatchGANSizes(base_channels=4, antialias=False)),
    "pix2pix_discriminator": lambda: PatchGAN(
        PatchGANSizes(in_channels=6, base_channels=4, antialias=False, norm="batch")
    ),
    "pixel_discriminator": lambda: PixelGAN(PixelGANSizes(base_channels=4, norm="batch")),
    "sincut_generator": lambda: Stylegan2Generator(
        Stylegan2GeneratorSizes(base_channels=1, size_px=64)
    ),
    "sincut_discriminator": lambda: Stylegan2Discriminator(
        Stylegan2DiscriminatorSizes(base_channels=1, size_px=64)
    ),
}
TAPS = {"cut_generator": (0, 4, 8, 12, 16), "sincut_generator": (0, 2, 4)}


def loaded(name, reference):
    state, arrays = reference(name)
    network = NETWORKS[name]()
    network.load_state_dict(normalize_state(state))
    return network.eval(), arrays


@pytest.mark.parametrize("name", NETWORKS)
@torch.no_grad()
def test_output_equals_the_official_one(name, reference):
    network, arrays = loaded(name, reference)
    # Against float64, this run and the recorded one differ by up to 6e-6 each.
    assert_close_in_scale(network(arrays["input"]), arrays["output"], 2e-5)


@pytest.mark.parametrize("name", TAPS)
@torch.no_grad()
def test_features_equal_the_official_ones(name, reference):
    network, arrays = loaded(name, reference)
    output, features = network.forward_with_features(arrays["input"], TAPS[name])
    assert_close_in_scale(output, arrays["output"], 2e-5)
    encoded = network.encode(arrays["input"], TAPS[name])
    for tap, feature, again in zip(TAPS[name], features, encoded, strict=True):
        assert_close_in_scale(feature, arrays[f"tap_{tap}"], 1e-5)
        assert torch.equal(feature, again)
        assert feature.shape[1] == network.channels_after[tap]


@torch.no_grad()
def test_stylegan2_generator_takes_wide_pictures(reference):
    network, arrays = loaded("sincut_generator", reference)
    assert_close_in_scale(network(arrays["input_wide"]), arrays["output_wide"], 1e-5)


@torch.no_grad()
def test_projector_equals_the_official_one(reference):
    state, arrays = None, reference("patch_nce")[1]
    state = torch.load(reference_path("patch_projector.pth"), weights_only=True)
    projector = PatchProjector([3, 16, 24], 32)
    projector.load_state_dict({k.replace("mlp_", "heads."): v for k, v in state.items()})
    positions = [arrays[f"patch_ids_{i}"] for i in range(3)]
    for kind, plural in (("key", "keys"), ("query", "queries")):
        projected = projector([arrays[f"features_{kind}_{i}"] for i in range(3)], positions)
        for i, vectors in enumerate(projected):
            assert_close_in_scale(vectors.flatten(0, 1), arrays[f"{plural}_{i}"], 1e-5)


def reference_path(name):
    from tests.conftest import REFERENCE

    return REFERENCE / name


def weights(network) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


@pytest.mark.parametrize(
    ("network", "count"),
    [
        (lambda: ResnetGenerator(), 11_378_179),
        (lambda: ResnetGenerator(ResnetSizes(**STRIDED)), 11_378_179),
        (lambda: ResnetGenerator(ResnetSizes(blocks=6)), 7_837_699),
        (lambda: PatchGAN(), 2_764_737),
        (lambda: PatchGAN(PatchGANSizes(in_channels=6, norm="batch")), 2_768_705),
        (lambda: Stylegan2Generator(Stylegan2GeneratorSizes(10, 64)), 3_068_404),
        (lambda: Stylegan2Discriminator(Stylegan2DiscriminatorSizes(8, 64)), 5_885_473),
        (lambda: PatchProjector((3, 128, 256, 256, 256)), 560_384),
        (lambda: PatchProjector((3, 160, 160)), 280_832),
    ],
)
def test_full_size_weight_counts(network, count):
    assert weights(network()) == count


@pytest.mark.parametrize(("name", "millions"), [("stylegan2", 7.85), ("smallstylegan2", 3.13)])
def test_stylegan2_generators_at_256_px_have_the_published_size(name, millions):
    network = build_generator(
        name, base_channels=64, norm="instance", antialias=True, dropout=False, crop_px=256
    )
    assert weights(network) / 1e6 == pytest.approx(millions, abs=0.01)


@pytest.mark.parametrize("generator", ["resnet_9blocks", "resnet_6blocks", "stylegan2"])
@pytest.mark.parametrize("norm", ["instance", "batch", "none"])
@pytest.mark.parametrize("antialias", [True, False])
@pytest.mark.parametrize("dropout", [True, False])
def test_every_generator_keeps_the_size_and_passes_gradients(generator, norm, antialias, dropout):
    network = build_generator(
        generator, base_channels=4, norm=norm, antialias=antialias, dropout=dropout, crop_px=16
    )
    pictures = torch.rand(2, 3, 16, 24) * 2 - 1
    translated = network(pictures)
    assert translated.shape == pictures.shape
    translated.square().mean().backward()
    trained = [p for p in network.parameters() if p.requires_grad]
    assert len(trained) > 10 and all(
        p.grad is not None and p.grad.isfinite().all() for p in trained
    )


@pytest.mark.parametrize("norm", ["instance", "batch", "none"])
@torch.no_grad()
def test_features_are_the_same_from_a_whole_pass_and_from_its_beginning(norm):
    network = ResnetGenerator(ResnetSizes(base_channels=2, blocks=1, norm=norm)).eval()
    pictures = torch.rand(2, 3, 16, 24) * 2 - 1
    features = network.forward_with_features(pictures, [0, 4, 8])[1]
    for last, feature in zip((0, 4, 8), features, strict=True):  # 4 and 8 before norm and ReLU
        assert torch.equal(network.encode(pictures, [last])[0], feature)
    assert (features[1] < 0).any() and (features[2] < 0).any()


GENERATOR = {"base_channels": 1, "norm": "batch", "antialias": False, "dropout": True}
DISCRIMINATOR = {"base_channels": 1, "layers": 2, "norm": "batch", "antialias": True}


@pytest.mark.parametrize("name", ["resnet_9blocks", "resnet_6blocks", "unet_128"])
def test_generators_translate_between_other_channel_counts(name):
    network = build_generator(name, **GENERATOR, crop_px=128, in_channels=1, out_channels=2)
    assert (network.in_channels, network.out_channels) == (1, 2)
    assert network(torch.zeros(1, 1, 128, 128)).shape == (1, 2, 128, 128)


@pytest.mark.parametrize("name", ["patch", "pixel"])
def test_discriminators_see_other_channel_counts(name):
    network = build_discriminator(name, **DISCRIMINATOR, crop_px=32, in_channels=6)
    assert network(torch.zeros(1, 6, 32, 32)).shape[1] == 1


def test_stylegan2_networks_refuse_other_channel_counts():
    with pytest.raises(UserError, match="`generator` smallstylegan2: .*not 1 into 2"):
        build_generator("smallstylegan2", **GENERATOR, crop_px=32, in_channels=1, out_channels=2)
    with pytest.raises(UserError, match="`discriminator` stylegan2: .*not 6"):
        build_discriminator("stylegan2", **DISCRIMINATOR, crop_px=32, in_channels=6)


@pytest.mark.parametrize("layers", [1, 2, 3, 4])
@pytest.mark.parametrize("antialias", [True, False])
def test_patchgan_looks_at_patches_of_the_published_size(layers, antialias):
    """The input pixels that one logit depends on, from its gradient; norms would couple all."""
    network = build_discriminator(
        "patch", base_channels=2, layers=layers, norm="none", antialias=antialias, crop_px=256
    ).double()
    pictures = torch.rand(1, 3, 256, 256, dtype=torch.double, requires_grad=True)
    logits = network(pictures)
    logits[0, 0, logits.shape[2] // 2, logits.shape[3] // 2].backward()
    reached = pictures.grad.abs().sum((0, 1, 2)).nonzero()
    patch_px = int(reached.max() - reached.min()) + 1
    expected = {True: {1: 18, 2: 40, 3: 84, 4: 172}, False: {1: 16, 2: 34, 3: 70, 4: 142}}
    assert patch_px == expected[antialias][layers]


def test_patchgan_gives_30_by_30_logits_for_256_px():
    for antialias in (True, False):
        network = PatchGAN(PatchGANSizes(base_channels=1, antialias=antialias))
        assert network(torch.zeros(1, 3, 256, 256)).shape == (1, 1, 30, 30)
