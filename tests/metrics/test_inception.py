"""FID's network against pytorch-fid's and torch-fidelity's with the same random weights."""

import pytest
import pytorch_fid.inception
import torch
from torch.nn import functional as F
from torch_fidelity import feature_extractor_inceptionv3 as torch_fidelity
from torchvision.transforms.functional import to_pil_image, to_tensor

from metrics.extractor import CustomExtractor, InceptionExtractor
from metrics.inception import LAYERS, LOGITS, LOGITS_WITHOUT_BIAS, FidInception
from metrics.protocols import PROTOCOLS
from metrics.statistics_file import Origin
from metrics.weights import load_inception_weights
from tests.inception_weights import see_small_inputs

CPU = torch.device("cpu")
EVERYTHING = [*LAYERS, LOGITS, LOGITS_WITHOUT_BIAS]


@pytest.fixture(scope="module")
def state(inception_file):
    return load_inception_weights(inception_file).state


@pytest.fixture
def network(state):
    network = FidInception()
    network.load_state_dict(state)
    return network


@pytest.fixture
def smaller(monkeypatch):
    """Show the network smaller pictures than its 299 px, where only our own forms are compared."""
    see_small_inputs(monkeypatch.setattr)


@pytest.fixture(scope="module")
def of_pytorch_fid(inception_file):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            pytorch_fid.inception,
            "load_state_dict_from_url",
            lambda *_, **__: torch.load(inception_file, weights_only=True),
        )
        return pytorch_fid.inception.InceptionV3(output_blocks=(0, 1, 2, 3)).eval()


@pytest.fixture(scope="module")
def of_torch_fidelity(inception_file):
    return torch_fidelity.FeatureExtractorInceptionV3(
        "inception-v3-compat",
        [str(name) for name in EVERYTHING],
        feature_extractor_weights_path=str(inception_file),
    )


def pictures(count, height=40, width=56, seed=0):
    """Smooth uint8 [3, H, W] with some noise."""
    generator = torch.Generator().manual_seed(seed)
    smooth = torch.rand(count, 3, 5, 7, generator=generator)
    large = F.interpolate(smooth, (height, width), mode="bilinear")
    noisy = large + 0.05 * torch.randn(large.shape, generator=generator)
    return list(noisy.clamp(0, 1).mul(255).round().to(torch.uint8))


def extractor(network, protocol, layer, **options):
    origin = Origin(protocol, layer, "abc")
    return InceptionExtractor(network, PROTOCOLS[protocol], origin, CPU, batch_size=5, **options)


def test_it_has_the_published_number_of_parameters_and_torchvisions_names(network, inception_file):
    assert sum(p.numel() for p in network.parameters()) == 23_850_960
    assert not any(p.requires_grad for p in network.parameters())
    assert not any(module.training for module in network.modules())
    written = torch.load(inception_file, weights_only=True)
    assert len(network.state_dict()) == 566
    shapes = {name: value.shape for name, value in network.state_dict().items()}
    assert shapes == {name: value.shape for name, value in written.items()}


def test_the_features_of_the_test_weights_are_of_order_1(network):
    """Else every comparison below would hold for zeros."""
    images = torch.stack(pictures(2, seed=3))
    found = network(PROTOCOLS["clean"].prepare(images), EVERYTHING)
    for values in found.values():
        assert 0.05 < values.abs().mean() < 10
        assert (values[0] - values[1]).abs().mean() > 1e-3


def test_the_taps_have_the_bits_of_pytorch_fid(network, of_pytorch_fid):
    zero_to_one = torch.rand(2, 3, 299, 299, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        theirs = of_pytorch_fid(zero_to_one)
    ours = network(2 * zero_to_one - 1, LAYERS)
    for layer, maps in zip(LAYERS, theirs, strict=True):
        # pytorch-fid's program pools the maps of the first three by this function.
        pooled = F.adaptive_avg_pool2d(maps, output_size=(1, 1))[:, :, 0, 0]
        assert pooled.shape == (2, layer)
        assert torch.equal(ours[layer], pooled)


def test_the_taps_and_both_logits_have_the_bits_of_torch_fidelity(network, of_torch_fidelity):
    images = torch.stack(pictures(2, 299, 299))
    ours = network((images.float() - 128) / 128, EVERYTHING)
    for name, values in zip(EVERYTHING, of_torch_fidelity(images), strict=True):
        assert torch.equal(ours[name], values), name
    difference = ours[LOGITS] - ours[LOGITS_WITHOUT_BIAS]
    assert torch.allclose(difference, network.fc.bias.expand(2, -1), atol=1e-5)


def test_it_stops_after_the_last_layer_that_is_wanted(network):
    def reached(module, inputs):
        raise AssertionError("Mixed_5b was computed")

    network.Mixed_5b.register_forward_pre_hook(reached)
    found = network(torch.zeros(1, 3, 299, 299), [192, 64])
    assert found.keys() == {64, 192}
    with pytest.raises(AssertionError, match="Mixed_5b"):
        network(torch.zeros(1, 3, 299, 299), [768])


def exactly(network, protocol, images, **options):
    """Features of one pass that these images fill, as the batch of the other tool."""
    look = extractor(network, protocol, 2048, exact=True)
    look.images_a_pass = len(images)
    return look(images, **options)


def test_exact_features_of_the_tf_protocol_have_the_bits_of_torch_fidelity(
    network, of_torch_fidelity
):
    images = pictures(4)
    found = exactly(network, "tf", images, logits=True)
    theirs = dict(zip(EVERYTHING, of_torch_fidelity(torch.stack(images)), strict=True))
    assert torch.equal(found.features, theirs[2048])
    assert torch.equal(found.logits, theirs[LOGITS_WITHOUT_BIAS])


def test_exact_features_of_the_torch_protocol_have_the_bits_of_pytorch_fid(network, of_pytorch_fid):
    images = pictures(4, seed=1)
    found = exactly(network, "torch", images)
    batch = torch.stack([to_tensor(to_pil_image(image)) for image in images])
    with torch.no_grad():
        theirs = of_pytorch_fid(batch)[3][:, :, 0, 0]
    assert torch.equal(found.features, theirs)
    assert found.logits is None


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_the_fast_features_differ_from_the_exact_ones_by_rounding(state, protocol, smaller):
    images = pictures(2, 70, 50) + pictures(1, 320, 310, seed=4)
    found = []
    for exact in (True, False):
        network = FidInception()
        network.load_state_dict(state)
        made = extractor(network, protocol, 2048, exact=exact)
        made.images_a_pass = len(images)  # fewer than a pass has, to be done soon
        found.append(made(images, logits=True))
    exact, fast = found
    assert 0 < (exact.features - fast.features).abs().max() < 1e-4
    assert 0 < (exact.logits - fast.logits).abs().max() < 1e-4
    other = PROTOCOLS["torch" if protocol == "tf" else "tf"]
    made.prepare = other.prepare
    assert (made(images).features - fast.features).abs().max() > 1e-3  # another protocol's


def test_folding_the_norms_changes_features_by_rounding_alone(network, smaller):
    inputs = PROTOCOLS["clean"].prepare(torch.stack(pictures(2)))
    before = network(inputs, EVERYTHING)
    network.fold()
    assert not any(isinstance(module, torch.nn.BatchNorm2d) for module in network.modules())
    for name, values in network(inputs, EVERYTHING).items():
        assert 0 < (values - before[name]).abs().max() < 1e-4


def test_fast_features_and_logits_do_not_change_with_the_number_of_images(network, smaller):
    images = pictures(17)
    look = extractor(network, "clean", 2048)
    assert look.images_a_pass == 16
    whole = look(images, logits=True)
    assert whole.features.dtype == torch.float32 and whole.features.shape == (17, 2048)
    assert whole.logits.dtype == torch.float64 and whole.logits.shape == (17, 1008)
    for part in (slice(0, 1), slice(4, 7), slice(1, 17)):
        found = look(images[part], logits=True)
        assert torch.equal(found.features, whole.features[part])
        assert torch.allclose(found.logits, whole.logits[part], rtol=1e-12, atol=1e-12)


def test_exact_features_do_not_change_with_the_number_of_images(network, smaller):
    images = pictures(17)
    look = extractor(network, "torch", 64, exact=True)
    whole = look(images).features
    for part in (slice(0, 1), slice(1, 17)):
        assert torch.equal(look(images[part]).features, whole[part])


def test_pictures_of_several_sizes_keep_their_order(network, smaller):
    small, large, wide = pictures(1, 30, 30), pictures(1, 90, 80), pictures(1, 30, 60)
    look = extractor(network, "clean", 64)
    together = look(small + large + small + wide).features
    for row, images in zip(together, (small, large, small, wide), strict=True):
        assert torch.equal(row, look(images).features[0])
    assert torch.equal(together[0], together[2]) and not torch.equal(together[0], together[1])


def test_another_network_gets_the_pictures_at_their_own_size():
    seen = []

    def function(batch):
        seen.append((tuple(batch.shape), batch.dtype))
        return batch.double().mean((2, 3))

    look = CustomExtractor(function, Origin(features="means"), CPU)
    images = pictures(2, 20, 30) + pictures(1, 9, 8)
    found = look(images)
    assert look.channels == 3 and look.origin.features == "means" and found.logits is None
    assert seen[1:] == [((2, 3, 20, 30), torch.uint8), ((1, 3, 9, 8), torch.uint8)]
    assert found.features.dtype == torch.float32
    expected = torch.stack([image.double().mean((1, 2)) for image in images]).float()
    assert torch.equal(found.features, expected)


@pytest.mark.parametrize(
    ("function", "gave"),
    [
        (lambda batch: batch.float(), r"gave \[1, 3, 64, 64\] for 1 images"),
        (lambda batch: torch.zeros(7, 5), r"gave \[7, 5\] for 1 images"),
        (lambda batch: [batch], "for 1 images, not"),
    ],
)
def test_another_network_with_results_of_another_shape_is_refused(function, gave):
    with pytest.raises(ValueError, match=gave):
        CustomExtractor(function, Origin(), CPU)
