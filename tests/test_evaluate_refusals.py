"""Each mistake that a user of evaluate.py can make: one line that names it, exit code 2."""

import os
import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from metrics import extractor
from metrics.weights import PUBLISHED, STATE_DICT_NAMES
from tests.evaluating import arguments, measure, refused, write_pictures

pytestmark = pytest.mark.usefixtures("small_inputs")

FEW = 4


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    folder = tmp_path_factory.mktemp("few")
    return [write_pictures(folder / name, FEW, seed) for seed, name in enumerate("ab")]


@pytest.fixture(scope="module")
def options(folders, inception_file):
    """A measurement that would do."""
    real, fake = folders
    return {"real": real, "fake": fake, "weights": inception_file, "layer": 64}


@pytest.fixture(autouse=True)
def short_passes(monkeypatch):
    """Do not fill up a pass of the network with empty images: no test here reads a number."""
    monkeypatch.setattr(extractor, "CPU_IMAGES_A_PASS", 1)


def changed(options, **changes):
    """The options with other values; None: without it."""
    return {name: value for name, value in {**options, **changes}.items() if value is not None}


def assert_tells(line, *words):
    for word in words:
        assert str(word) in line, line


# ---- Options ----


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"real": None}, ("--real is missing",)),
        ({"fake": None}, ("--fake is missing", "--checkpoint")),
        ({"fake": None, "checkpoint": "run"}, ("--checkpoint", "--source")),
        ({"source": "folder"}, ("--checkpoint", "--source")),
        ({"checkpoint": "run", "source": "folder"}, ("--fake", "--checkpoint", "leave one out")),
        ({"layer": 100}, ("--layer 100", "64, 192, 768, 2048")),
        ({"metrics": "foo"}, ("--metrics foo", "'foo'", "fid, kid, prdc")),
        ({"metrics": "fid,"}, ("--metrics fid,", "''", "fid, kid, prdc")),
        ({"metrics": "lpips"}, ("--lpips_weights is missing", "lpips")),
        ({"metrics": "is", "features": "a:b"}, ("--metrics is", "--features")),
        ({"metric_seed": -1}, ("--metric_seed -1", "0 or more")),
        ({"batch_size": 0}, ("--batch_size 0", "1 or more")),
        ({"workers": -1}, ("--workers -1", "0 or more")),
        ({"save_stats": "/nowhere/real.npz"}, ("--save_stats /nowhere/real.npz", "folder")),
        ({"json": "/nowhere/a.json"}, ("--json /nowhere/a.json", "folder")),
        ({"fake": "/nowhere"}, ("--fake /nowhere", "no such folder")),
        ({"real": "/nowhere/s.npz"}, ("--real /nowhere/s.npz", "No such file")),
        ({"weights": "/nowhere.pth"}, ("--weights /nowhere.pth", "no such file")),
        ({"device": "cuda"}, ("--device cuda", "--device cpu")),
        ({"metrics": "kid"}, ("--metrics kid", f"{FEW} real images", "10")),
        ({"metrics": "prdc"}, ("--metrics prdc", f"{FEW} real images", "6")),
        ({"metrics": "is", "is_splits": 100}, ("--is_splits 100", f"{FEW} images")),
        ({"metrics": "is", "is_splits": 0}, ("--is_splits 0",)),
    ],
)
def test_options_that_cannot_be_measured(changes, words, options):
    if "device" in changes and torch.cuda.is_available():
        pytest.skip("there is a GPU")
    assert_tells(refused(**changed(options, **changes)), *words)


def test_a_set_against_itself(options, folders):
    line = refused(**changed(options, fake=folders[0].parent / "b" / ".." / "a"))
    assert_tells(line, "--fake", "is the same as --real")


def test_the_script_ends_with_code_2_and_one_line(options, command):
    finished = command("evaluate.py", *arguments(changed(options, layer=100)))
    assert finished.returncode == 2 and not finished.stdout
    assert finished.stderr.startswith("error: --layer 100: ")
    assert finished.stderr.count("\n") == 1


# ---- Pictures ----


def test_a_single_picture(options, tmp_path):
    one = write_pictures(tmp_path / "one", 1, 0)
    assert_tells(refused(**changed(options, fake=one)), f"--fake {one}", "2 or more")


def test_a_folder_without_pictures(options, tmp_path):
    (tmp_path / "notes.txt").write_text("hello")
    line = refused(**changed(options, real=tmp_path))
    assert_tells(line, f"--real {tmp_path}", "no image")


@pytest.mark.parametrize("workers", [0, 2])
def test_a_damaged_picture_is_named(workers, options, folders, tmp_path):
    damaged = tmp_path / "damaged"
    shutil.copytree(folders[1], damaged / "deep")
    (damaged / "deep" / "002.png").write_bytes(b"\x89PNG hello")
    line = refused(**changed(options, fake=damaged, workers=workers))
    assert_tells(line, f"--fake {damaged}", f"1 of {FEW}", "deep/002.png", "--skip_unreadable")


@pytest.mark.parametrize("metrics", ["fid,is,ms_ssim", "swd", "l1"])
@pytest.mark.parametrize("left", [0, 1])
def test_fewer_than_two_readable_pictures(left, metrics, options, folders, tmp_path):
    damaged = tmp_path / "damaged"
    shutil.copytree(folders[1], damaged)
    for path in sorted(damaged.iterdir())[left:]:
        path.write_bytes(b"")
    for name in ("real", "fake"):
        given = {"real": folders[0], "fake": folders[1], name: damaged}
        more = {"metrics": metrics, "is_splits": 1, "skip_unreadable": True}
        line = refused(**changed(options, **given, **more), lines_before=1)
        assert_tells(line, f"--{name} {damaged}", f"readable pictures: {left}", "2 or more")


def test_pairs_without_a_partner(options, folders, tmp_path):
    fake = tmp_path / "fake"
    shutil.copytree(folders[1], fake)
    (fake / "002.png").rename(fake / "other.png")
    line = refused(**changed(options, fake=fake, metrics="l1"))
    assert_tells(line, f"--fake {fake}", f"1 of {FEW}", "other", "--real")


def test_pairs_of_unequal_size(options, tmp_path):
    fake = write_pictures(tmp_path / "fake", FEW, 0, sizes_px=((64, 64), (64, 65)))
    line = refused(**changed(options, fake=fake, metrics="ssim"))
    assert_tells(line, f"--fake {fake}", "001", "64x65", "64x64", "ssim")


def test_two_partners_of_one_name(options, folders, tmp_path):
    real = tmp_path / "real"
    shutil.copytree(folders[0], real)
    with Image.open(real / "001.png") as picture:
        picture.save(real / "001.bmp")
    line = refused(**changed(options, real=real, metrics="l1"))
    assert_tells(line, f"--real {real}", "names differ only in the ending")


@pytest.mark.parametrize(
    ("metrics", "size_px"), [("swd", (64, 48)), ("swd", (40, 40)), ("ms_ssim", (15, 64))]
)
def test_sizes_that_a_metric_of_pictures_cannot_use(metrics, size_px, options, tmp_path):
    odd = write_pictures(tmp_path / "odd", 4, 0, sizes_px=(size_px,))
    line = refused(**changed(options, real=odd, metrics=metrics))
    assert_tells(line, f"--metrics {metrics}", "pixels")


@pytest.mark.parametrize("metrics", ["swd", "ms_ssim"])
def test_a_set_of_two_sizes_where_a_metric_needs_one(metrics, options, tmp_path):
    odd = write_pictures(tmp_path / "odd", 4, 0, sizes_px=((64, 64), (32, 32)))
    line = refused(**changed(options, real=odd, metrics=metrics))
    assert_tells(line, f"--metrics {metrics}", "64x64", "32x32")


# ---- Weights ----


def test_an_interrupted_download_under_a_published_name(options, inception_file, tmp_path):
    for name in STATE_DICT_NAMES:
        path = tmp_path / name
        with open(inception_file, "rb") as whole:
            path.write_bytes(whole.read(818_371))
        line = refused(**changed(options, weights=path))
        assert_tells(line, f"--weights {path}", "818,371 of 95,628,359 bytes", "interrupted")


def test_other_weights_under_a_published_name(options, tmp_path):
    path = tmp_path / STATE_DICT_NAMES[0]
    with open(path, "wb") as file:
        file.truncate(PUBLISHED.size_bytes)
    line = refused(**changed(options, weights=path))
    assert_tells(line, f"--weights {path}", "sha256", "6726825d", "rename")


def test_features_that_are_not_finite(options, inception_file, tmp_path):
    state = torch.load(inception_file, weights_only=True)
    state["Conv2d_1a_3x3.bn.weight"] *= 1e30
    state["Conv2d_2a_3x3.bn.weight"] *= 1e30
    torch.save(state, tmp_path / "huge.pth")
    line = refused(**changed(options, weights=tmp_path / "huge.pth"))
    assert_tells(line, f"--real {options['real']}", "000", "not finite", "--weights")


def test_no_network_and_no_weights(options, tmp_path, monkeypatch):
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")  # a port where nobody listens
    monkeypatch.setenv("PAIRLESS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    line = refused(**changed(options, weights=None), lines_before=1)
    assert_tells(line, PUBLISHED.url, tmp_path / "cache", "PAIRLESS_CACHE", "--weights FILE")
    assert_tells(line, "without these weights, use --metrics swd,ms_ssim", "evaluate.py --features")
    assert not list(tmp_path.rglob("*.pth"))


# ---- Statistics ----


@pytest.fixture(scope="module")
def saved(options, tmp_path_factory):
    path = tmp_path_factory.mktemp("saved") / "real.npz"
    measure(**changed(options, fake=None, save_stats=path))
    return path


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"layer": 192}, ("64 channels", "--layer 192")),
        ({"protocol": "tf"}, ("protocol clean", "tf")),
        ({"metrics": "kid"}, ("--metrics kid", "mean and covariance")),
        ({"metrics": "l1"}, ("--metrics l1", "give a folder")),
        ({"noise_floor": True}, ("--noise_floor:", "give a folder")),
    ],
)
def test_statistics_that_do_not_fit(changes, words, options, saved):
    assert_tells(refused(**changed(options, real=saved, **changes)), *words)


def test_statistics_of_other_weights(options, saved, inception_file, tmp_path):
    state = torch.load(inception_file, weights_only=True)
    state["Conv2d_1a_3x3.bn.bias"] += 0.1
    torch.save(state, tmp_path / "other.pth")
    line = refused(**changed(options, real=saved, weights=tmp_path / "other.pth"))
    assert_tells(line, f"--real {saved}", "weights_sha256", "cannot be compared")


def test_statistics_of_statistics(options, saved, tmp_path):
    line = refused(**changed(options, real=saved, save_stats=tmp_path / "again.npz"))
    assert_tells(line, "--save_stats", "give a folder")
    assert not list(tmp_path.iterdir())


def test_statistics_that_could_not_be_read_again(options, tmp_path):
    line = refused(**changed(options, save_stats=tmp_path / "real"))
    assert_tells(line, f"--save_stats {tmp_path / 'real'}", ".npz")


class Bomb:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (Path(self.path),)


def without_mu(path):
    np.savez(path, sigma=np.eye(64))


def with_code(path):
    np.savez(path, mu=np.array([Bomb(path.with_name("ran"))], dtype=object), sigma=np.eye(64))


def pickled_code(path):
    path.write_bytes(pickle.dumps({"mu": Bomb(path.with_name("ran")), "sigma": np.eye(64)}))


def of_one_channel(path):
    np.savez(path, mu=np.zeros(1), sigma=np.eye(1))


def not_finite(path):
    np.savez(path, mu=np.full(64, np.nan), sigma=np.eye(64))


def no_file_of_numpy(path):
    path.write_bytes(os.urandom(100))


@pytest.mark.parametrize(
    ("make", "ending", "words"),
    [
        (without_mu, ".npz", ("mu", "sigma")),
        (with_code, ".npz", ("no statistics",)),
        (pickled_code, ".pkl", ("no statistics",)),
        (of_one_channel, ".npz", ("1 channels", "--layer 64")),
        (not_finite, ".npz", ("finite",)),
        (no_file_of_numpy, ".npz", ("npz",)),
        (no_file_of_numpy, ".pkl", ("no statistics",)),
    ],
)
def test_files_that_hold_no_statistics(make, ending, words, options, tmp_path):
    path = tmp_path / f"real{ending}"
    make(path)
    assert_tells(refused(**changed(options, real=path)), f"--real {path}", *words)
    assert not (tmp_path / "ran").exists()


# ---- Another network ----


@pytest.mark.parametrize(
    "features",
    [
        *("nonsense", "nonsense:f", "json:nonsense", "nonsense.pt", ":", "own:", "own:number"),
        *("own:raises", "own:wrong_shape", "own:no_tensor", "own:raises_later", "own.txt"),
        *("broken:f", "own:takes_an_argument"),
    ],
)
def test_features_that_are_none(features, options, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("broken.py").write_text("this is no Python")
    Path("own.txt").write_text("hello")
    Path("own.py").write_text(
        "number = 1\n"
        "def raises(): raise RuntimeError('no such backbone')\n"
        "def wrong_shape(): return lambda images: images\n"
        "def no_tensor(): return lambda images: 1\n"
        "def raises_later(): return lambda images: images @ images\n"
        "def takes_an_argument(size): return lambda images: images\n"
    )
    line = refused(**changed(options, weights=None, layer=None, features=features))
    assert_tells(line, f"--features {features}")
