"""evaluate.py beside the tools that people quote, on the same folders and the same network."""

import json
import re
import sys
from importlib import metadata

import cleanfid.fid
import prdc
import pytest
import torch
from pytorch_fid.inception import InceptionV3
from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

import metrics
from metrics import protocols
from metrics.weights import STATE_DICT_NAMES
from tests.evaluating import measure, write_pictures
from tests.inception_weights import see_small_inputs

pytestmark = pytest.mark.numeric
CPU = torch.device("cpu")
SQUARE, MIXED = 24, 16  # pictures of a folder
KID = {"kid_subset_size": 12, "kid_subsets": 5}


@pytest.fixture(scope="module")
def square(tmp_path_factory):
    """Two folders of pictures of one size, which other tools can read in batches."""
    folder = tmp_path_factory.mktemp("square")
    return [write_pictures(folder / name, SQUARE, seed) for seed, name in enumerate("ab")]


@pytest.fixture(scope="module")
def mixed(tmp_path_factory):
    """Two folders of pictures smaller and larger than the network's input, few of them square."""
    folder = tmp_path_factory.mktemp("mixed")
    sizes_px = ((64, 64), (37, 90), (330, 301), (299, 299), (120, 33))
    return [
        write_pictures(folder / name, MIXED, seed, sizes_px=sizes_px)
        for seed, name in enumerate("ab")
    ]


@pytest.fixture(scope="module")
def torch_home(inception_file, tmp_path_factory):
    """The network under the names that other tools look for."""
    home = tmp_path_factory.mktemp("torch_home")
    checkpoints = home / "hub" / "checkpoints"
    checkpoints.mkdir(parents=True)
    for name in STATE_DICT_NAMES:
        (checkpoints / name).symlink_to(inception_file)
    return home


@pytest.fixture
def peer(torch_home, monkeypatch, capsys):
    """Return a function that runs another tool's command and returns its stdout."""

    def run(name, *arguments):
        monkeypatch.setenv("TORCH_HOME", str(torch_home))
        monkeypatch.setattr(sys, "argv", [name, *map(str, arguments)])
        (command,) = metadata.entry_points(group="console_scripts", name=name)
        capsys.readouterr()
        command.load()()
        return capsys.readouterr().out

    return run


def pytorch_fid(peer, folders, layer, batch_size):
    options = ("--device", "cpu", "--num-workers", 0, "--batch-size", batch_size)
    said = peer("pytorch-fid", *folders, "--dims", layer, *options)
    return float(re.search(r"FID: +(\S+)", said)[1])


def fidelity(peer, folders, layer, batch_size, *more):
    real, fake = folders
    layers = [f"--feature-layer-{name}={layer}" for name in ("fid", "kid", "prc")]
    said = peer(
        *("fidelity", "--cpu", "--fid", "--kid", "--prc", "--json", "--silent", "--no-cache"),
        *("--input1", fake, "--input2", real, "--feature-extractor", "inception-v3-compat"),
        *("--kid-subset-size", 12, "--kid-subsets", 5, "--batch-size", batch_size, *layers, *more),
    )
    return json.loads(said)


class CleanFid:
    """clean-fid with a layer of pytorch-fid's network; keeps the features that go by."""

    def __init__(self, folders, layer):
        block = InceptionV3.BLOCK_INDEX_BY_DIM[layer]
        self.network = InceptionV3([block], resize_input=False, normalize_input=False).eval()
        self.seen = []
        self.fid = cleanfid.fid.compute_fid(
            *map(str, folders),
            mode="clean",
            custom_feat_extractor=self.features,
            num_workers=0,
            batch_size=8,
            device=CPU,
            verbose=False,
        )

    def features(self, pixels):
        self.seen.append(self.network((pixels - 128) / 128)[0].mean((2, 3)))
        return self.seen[-1]


@pytest.fixture(scope="module")
def clean_fid(torch_home):
    """Return clean-fid's results, without a download."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TORCH_HOME", str(torch_home))
        yield CleanFid


@pytest.fixture
def small_inputs_of_both(monkeypatch):
    """Show the network smaller pictures than its 299 px, here and in torch-fidelity."""
    see_small_inputs(monkeypatch.setattr)
    monkeypatch.setattr(FeatureExtractorInceptionV3, "INPUT_IMAGE_SIZE", protocols.SIDE_PX)


def ours(folders, layer, protocol, weights, metrics="fid,kid,prdc", **more):
    real, fake = folders
    options = {"layer": layer, "protocol": protocol, "weights": weights, "metrics": metrics}
    return measure(real=real, fake=fake, **options, **KID, **more).numbers


@pytest.fixture(scope="module")
def at_64(mixed, inception_file):
    """Our numbers of the folders of mixed sizes at the first layer, by protocol."""
    return {name: ours(mixed, 64, name, inception_file) for name in ("clean", "torch", "tf")}


@pytest.fixture(scope="module")
def clean_fid_at_64(clean_fid, mixed):
    return clean_fid(mixed, 64)


def assert_same_as_fidelity(numbers, theirs, fid):
    assert numbers["fid"] == pytest.approx(theirs["frechet_inception_distance"], **fid)
    for part in ("mean", "std"):
        found = theirs[f"kernel_inception_distance_{part}"]
        # Theirs sums kernels of 1 and more in float32, as in tests/metrics/test_kernel_distance.py.
        assert numbers[f"kid_{part}"] == pytest.approx(found, abs=3e-6)
    for name in ("precision", "recall"):
        assert numbers[name] == pytest.approx(theirs[name], abs=1e-6)  # theirs are float32
        assert 0 < numbers[name] < 1


def test_the_protocols_differ_by_more_than_the_tools_of_one(at_64):
    clean, torch_, tf = (at_64[name]["fid"] for name in ("clean", "torch", "tf"))
    for a, b in ((clean, torch_), (clean, tf), (torch_, tf)):
        assert abs(a - b) > 1e-3 * a


def test_fid_of_protocol_torch_is_that_of_pytorch_fid(peer, mixed, at_64):
    theirs = pytorch_fid(peer, mixed, 64, batch_size=1)
    assert at_64["torch"]["fid"] == pytest.approx(theirs, rel=1e-6)


def test_protocol_tf_is_that_of_torch_fidelity(peer, mixed, at_64):
    theirs = fidelity(peer, mixed, 64, 1)
    assert_same_as_fidelity(at_64["tf"], theirs, {"rel": 1e-6})


def test_protocol_clean_is_that_of_clean_fid_and_prdc(clean_fid_at_64, at_64):
    assert at_64["clean"]["fid"] == pytest.approx(clean_fid_at_64.fid, rel=3e-6)
    features = torch.cat(clean_fid_at_64.seen).numpy()
    found = prdc.compute_prdc(features[:MIXED], features[MIXED:], nearest_k=5)
    for name in ("density", "coverage"):
        assert at_64["clean"][name] == pytest.approx(found[name], rel=1e-12)
        assert at_64["clean"][name] > 0


@pytest.mark.usefixtures("small_inputs_of_both")
def test_the_last_layer_and_the_classes_are_those_of_torch_fidelity(peer, square, inception_file):
    theirs = fidelity(peer, square, 2048, 8, "--isc")
    numbers = ours(square, 2048, "tf", inception_file, metrics="fid,kid,prdc,is")
    assert_same_as_fidelity(numbers, theirs, {"abs": 1e-3})
    # The deviation is the small difference of scores that carry float32's rounding, relative to
    # the scores and not to it: of a deviation of 0.005 this is 4e-5.
    for part in ("mean", "std"):
        found = theirs[f"inception_score_{part}"]
        assert numbers[f"is_{part}"] == pytest.approx(found, abs=2e-7 * numbers["is_mean"])


def test_a_layer_with_more_channels_than_pictures_is_that_of_clean_fid(
    clean_fid, mixed, inception_file
):
    numbers = ours(mixed, 192, "clean", inception_file, metrics="fid")
    assert numbers["fid"] == pytest.approx(clean_fid(mixed, 192).fid, abs=1e-3)


def test_exact_takes_the_features_of_the_tool(clean_fid_at_64, mixed, inception_file, at_64):
    features = torch.cat(clean_fid_at_64.seen)
    both = map(metrics.gaussian_of_features, features.split(MIXED))
    of_their_features = metrics.frechet_distance(*both)
    numbers = ours(mixed, 64, "clean", inception_file, metrics="fid", exact=True)
    assert numbers["exact"] is True
    assert numbers["fid"] == pytest.approx(of_their_features, rel=1e-12)
    assert at_64["clean"]["fid"] != pytest.approx(of_their_features, rel=1e-11)


def test_statistics_of_pytorch_fid_stand_for_their_folder(peer, square, inception_file, tmp_path):
    real, fake = square
    saved = tmp_path / "real.npz"
    options = ("--dims", 64, "--device", "cpu", "--num-workers", 0, "--batch-size", 8)
    peer("pytorch-fid", "--save-stats", real, saved, *options)
    common = {"layer": 64, "protocol": "torch", "weights": inception_file}
    of_folders = measure(real=real, fake=fake, **common)
    of_file = measure(real=saved, fake=fake, **common)
    assert of_file.numbers["fid"] == pytest.approx(of_folders.numbers["fid"], rel=1e-6)
    assert of_file.numbers["n_real"] is None  # the file does not say
    told = [line for line in of_file.err.splitlines() if "does not state" in line]
    assert len(told) == 1 and str(saved) in told[0] and "protocol" in told[0]
