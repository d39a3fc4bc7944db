"""ResNet encoders and classifiers: torchvision's networks, and the files that describe them."""

import hashlib
import json

import pytest
import torch
import torchvision
from safetensors.torch import load_file, save_file

import models
from errors import UserError
from tests.models.gan.pairs import small_generator


def pictures(count=2, px=16, channels=3):
    random = torch.Generator().manual_seed(0)
    return torch.rand(count, channels, px, px, generator=random) * 2 - 1


def small_encoder(**options):
    return models.build_encoder("resnet18", 32, base_channels=4, **options)


def saved_classifier(path, names=("a", "b", "c")):
    classifier = models.classifier_of(small_encoder(), torch.nn.Linear(32, len(names)))
    models.save_classifier(path, classifier, {"class_names": names})
    return classifier


@pytest.mark.parametrize(("name", "channels"), [("resnet18", 512), ("resnet50", 2048)])
@torch.no_grad()
def test_large_pictures_get_torchvisions_network(name, channels):
    theirs = vars(torchvision.models)[name](weights=None).eval()
    theirs.fc = torch.nn.Identity()
    with torch.device("meta"):  # drawing 25 million weights takes a second
        ours = models.build_encoder(name, 224).eval()
    ours.load_state_dict(theirs.state_dict(), assign=True)  # the same names and shapes
    assert ours.channels == channels
    torch.testing.assert_close(ours(pictures(1, 40)), theirs(pictures(1, 40)), rtol=1e-5, atol=1e-5)


@torch.no_grad()
def test_small_pictures_keep_their_resolution_at_first():
    """torchvision's network with the first convolution and the pooling replaced."""
    theirs = torchvision.models.resnet18(weights=None).eval()
    theirs.conv1 = torch.nn.Conv2d(3, 64, 3, padding=1, bias=False)
    theirs.maxpool = theirs.fc = torch.nn.Identity()
    for image_size in (32, 64):
        ours = models.build_encoder("resnet18", image_size).eval()
        ours.load_state_dict(theirs.state_dict())
        torch.testing.assert_close(ours(pictures()), theirs(pictures()), rtol=1e-5, atol=1e-5)
    assert models.build_encoder("resnet18", 65).conv1.kernel_size == (7, 7)


@pytest.mark.parametrize("norm", ["batch", "group"])
def test_widths_channels_and_norms(norm):
    for base_channels in (1, 6, 32):
        encoder = models.build_encoder(
            "resnet18", 32, in_channels=1, base_channels=base_channels, norm=norm
        )
        features = encoder(pictures(channels=1))
        assert features.shape == (2, 8 * base_channels) and encoder.channels == 8 * base_channels
        alone = encoder(pictures(channels=1)[:1])
        assert torch.allclose(alone, features[:1], rtol=1e-4, atol=1e-5) == (norm == "group")


def test_weights_are_drawn_from_the_generator_alone():
    networks = [small_encoder(), small_encoder()]
    for network in networks:
        models.draw_layers(network, torch.Generator().manual_seed(3))
    first, second = (network.state_dict() for network in networks)
    assert all(torch.equal(first[name], second[name]) for name in first)
    wide = models.build_encoder("resnet18", 32, base_channels=64)
    models.draw_layers(wide, torch.Generator().manual_seed(3))
    assert wide.layer4[1].conv1.weight.std().item() == pytest.approx(
        (2 / (9 * 512)) ** 0.5, rel=0.01
    )


@torch.no_grad()
def test_a_saved_encoder_comes_back_frozen_with_its_description(tmp_path):
    encoder = small_encoder(norm="group")
    file = tmp_path / "encoder.safetensors"
    models.save_encoder(file, encoder, {"method": "simclr", "images_seen": 7})
    for path in (tmp_path, str(tmp_path), file):
        loaded = models.load_encoder(path)
        assert torch.equal(loaded(pictures()), encoder.eval()(pictures()))
        assert not loaded.training and not any(p.requires_grad for p in loaded.parameters())
        assert loaded.channels == 32
        assert loaded.sha256 == hashlib.sha256(file.read_bytes()).hexdigest()
    expected = {"depth": 18, "in_channels": 3, "base_channels": 4}
    expected |= {"small_pictures": True, "norm": "group"}
    assert loaded.description == {
        "architecture": "resnet_encoder",
        "sizes": expected,
        "value_range": [-1, 1],
        "method": "simclr",
        "images_seen": 7,
    }


@torch.no_grad()
def test_a_saved_classifier_comes_back_with_its_classes(tmp_path):
    classifier = saved_classifier(tmp_path / "classifier.safetensors")
    loaded = models.load_classifier(tmp_path)
    assert torch.equal(loaded(pictures()), classifier.eval()(pictures()))
    assert loaded(pictures()).shape == (2, 3) and loaded.class_names == ("a", "b", "c")
    assert not loaded.training and len(loaded.sha256) == 64
    with pytest.raises(ValueError, match="3 classes"):
        models.save_classifier(tmp_path / "x", classifier, {"class_names": ["a"]})


def test_each_kind_of_file_is_refused_by_name_where_another_is_needed(tmp_path):
    encoder, classifier = tmp_path / "encoder.safetensors", tmp_path / "classifier.safetensors"
    generator = tmp_path / "generator.safetensors"
    models.save_encoder(encoder, small_encoder(), {})
    saved_classifier(classifier)
    models.save_generator(generator, small_generator("mlp"), {})
    for load, file, message in (
        (models.load_encoder, generator, "`encoder` .*: a generator, not an encoder; give"),
        (models.load_encoder, classifier, "`encoder` .*: a classifier, not an encoder; give"),
        (models.load_classifier, encoder, "`classifier` .*: an encoder, not a classifier; give"),
        (models.load_classifier, generator, "`classifier` .*: a generator, not a classifier"),
        (models.load_sampler, encoder, "`checkpoint` .*: an encoder, not a generator; give"),
        (models.load_generator, classifier, "`checkpoint` .*: a classifier, not a generator"),
    ):
        with pytest.raises(UserError, match=message):
            load(file)
    with pytest.raises(UserError, match="--x .*: no encoder.safetensors in it; give a run folder"):
        (tmp_path / "empty").mkdir()
        models.load_encoder(tmp_path / "empty", "--x")
    with pytest.raises(UserError, match="no such file"):
        models.load_classifier(tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"depth": 19}, "no ResNet of depth 19"),
        ({"norm": "x"}, "with x norm"),
        ({"base_channels": 5}, "shape"),
        ({"base_channels": 10**9}, "not between 1 and"),
        ({"small_pictures": 1}, "not of type bool"),
    ],
)
def test_a_description_that_does_not_fit_is_refused(changes, message, tmp_path):
    file = tmp_path / "encoder.safetensors"
    models.save_encoder(file, small_encoder(), {})
    sizes = {**vars(small_encoder().sizes), **changes}
    text = json.dumps({"architecture": "resnet_encoder", "sizes": sizes})
    save_file(load_file(file), file, metadata={"pairless": text})
    with pytest.raises(UserError, match=f"not an encoder of this program .*{message}"):
        models.load_encoder(file)


def test_class_names_that_do_not_fit_are_refused(tmp_path):
    file = tmp_path / "classifier.safetensors"
    classifier = saved_classifier(file)
    for names in ([], ["a", "b"], "abc", [1, 2, 3]):
        about = {"architecture": "resnet_classifier", "sizes": vars(classifier.sizes)}
        text = json.dumps({**about, "class_names": names})
        save_file(load_file(file), file, metadata={"pairless": text})
        with pytest.raises(UserError, match="class names do not fit its 3 classes"):
            models.load_classifier(file)


def test_bad_arguments():
    with pytest.raises(UserError, match="`base_channels` 0"):
        models.build_encoder("resnet18", 32, base_channels=0)
    with pytest.raises(UserError, match="`image_size` 0"):
        models.build_encoder("resnet18", 0)
    with pytest.raises(ValueError, match="unknown encoder 'vgg'"):
        models.build_encoder("vgg", 32)
