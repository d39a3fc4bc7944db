"""Files of statistics: ours, other tools', and those that are none or want to run code."""

import io
import json
import os
import pickle
import random
import zipfile

import numpy as np
import pytest
import torch

from errors import UserError
from metrics.statistics_file import (
    Origin,
    SavedStatistics,
    check_comparable,
    load_statistics,
    save_statistics,
)
from metrics.weights import PUBLISHED, PUBLISHED_TORCHSCRIPT

MU = np.arange(4) / 3
SIGMA = np.array([[2, 0.5, 0, 0], [0.5, 1, 0, 0], [0, 0, 3, 0.25], [0, 0, 0.25, 0.1]])
ORIGIN = Origin("clean", 64, "abc")


def refusal(path):
    with pytest.raises(UserError) as caught:
        load_statistics(path, "`real`")
    message = str(caught.value)
    assert "\n" not in message and message.startswith(f"`real` {path}: ")
    return message


def write_npz(path, **arrays):
    np.savez_compressed(path, **arrays)
    return path


def assert_holds(found, mean=MU, covariance=SIGMA):
    assert found.mean.dtype == found.covariance.dtype == torch.float64
    assert np.array_equal(found.mean.numpy(), mean)
    assert np.array_equal(found.covariance.numpy(), covariance)


# ---- npz ----


@pytest.mark.parametrize("origin", [ORIGIN, Origin(features="module:function"), Origin()])
def test_what_is_saved_is_read_again(tmp_path, origin):
    saved = SavedStatistics(torch.from_numpy(MU), torch.from_numpy(SIGMA), 17, origin)
    path = tmp_path / "without_ending"
    save_statistics(path, saved)
    assert [file.name for file in tmp_path.iterdir()] == ["without_ending"]
    found = load_statistics(path, "`real`")
    assert_holds(found)
    assert found.count == 17 and found.origin == origin and found.label == f"`real` {path}"
    with np.load(path) as file:  # as pytorch-fid reads it
        assert np.array_equal(file["mu"], MU) and np.array_equal(file["sigma"], SIGMA)


def test_pytorch_fids_own_file_says_nothing_of_its_origin(tmp_path):
    found = load_statistics(write_npz(tmp_path / "a.npz", mu=MU, sigma=SIGMA), "`fake`")
    assert_holds(found)
    assert found.count is None and found.origin == Origin()


def test_float32_statistics_are_read_as_double(tmp_path):
    path = write_npz(tmp_path / "a.npz", mu=MU.astype(np.float32), sigma=SIGMA)
    assert_holds(load_statistics(path, "`real`"), mean=MU.astype(np.float32))


@pytest.mark.parametrize(
    ("name", "protocol"),
    [
        ("ffhq_clean_trainval70k_256.npz", "clean"),
        ("my_set_legacy_pytorch_custom_na.npz", "torch"),
        ("cifar10_legacy_tensorflow_train_32.npz", "tf"),
        ("ffhq_256.npz", None),
    ],
)
def test_clean_fids_names_tell_the_protocol(tmp_path, name, protocol):
    found = load_statistics(write_npz(tmp_path / name, mu=MU, sigma=SIGMA), "`real`")
    assert found.origin == Origin(protocol=protocol)


def test_the_other_arrays_of_adm_and_edm_are_not_even_read(tmp_path):
    path = write_npz(
        tmp_path / "adm.npz",
        mu=MU,
        sigma=SIGMA,
        mu_s=np.zeros(7),
        sigma_s=np.zeros((7, 7)),
        arr_0=np.array([object()], dtype=object),  # reading it would be refused
    )
    assert_holds(load_statistics(path, "`real`"))


def test_an_array_of_objects_is_not_unpickled(tmp_path):
    trap = np.array([Trap(tmp_path / "ran")], dtype=object)
    path = write_npz(tmp_path / "a.npz", mu=trap, sigma=SIGMA)
    assert "contains no statistics (Object arrays cannot be loaded" in refusal(path)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        ({"sigma": SIGMA}, "no array mu among sigma"),
        ({"mu": MU}, "no array sigma among mu"),
        ({"feats": np.zeros((3, 4))}, "no array mu among feats"),
        ({"mu": MU[:3], "sigma": SIGMA}, "mu of shape (3,) with sigma of shape (4, 4)"),
        ({"mu": MU[None], "sigma": SIGMA}, "mu of shape (1, 4) with sigma of shape (4, 4)"),
        ({"mu": MU, "sigma": SIGMA[0]}, "mu of shape (4,) with sigma of shape (4,)"),
        ({"mu": MU * np.nan, "sigma": SIGMA}, "its values are not all finite"),
        ({"mu": MU, "sigma": np.full((4, 4), np.inf)}, "its values are not all finite"),
        ({"mu": np.array(list("abcd")), "sigma": SIGMA}, "could not convert string to float"),
        ({"mu": MU, "sigma": SIGMA, "about": np.array("[1]")}, "contains no statistics"),
        ({"mu": MU, "sigma": SIGMA, "about": np.array('{"n": 3}')}, "'protocol'"),
        ({"mu": MU, "sigma": SIGMA, "about": np.array("no json")}, "Expecting value"),
    ],
)
def test_arrays_that_are_no_statistics(tmp_path, arrays, words):
    assert words in refusal(write_npz(tmp_path / "a.npz", **arrays))


def test_files_that_are_no_statistics(tmp_path):
    whole = write_npz(tmp_path / "whole.npz", mu=MU, sigma=SIGMA).read_bytes()
    for name, content in {
        "truncated": whole[:-40],
        "half": whole[: len(whole) // 2],
        "empty": b"",
        "text": b"FID: 12.3\n",
        "picture": b"\x89PNG\r\n\x1a\n" + bytes(100),
    }.items():
        for ending in (".npz", ".pkl"):
            path = tmp_path / f"{name}{ending}"
            path.write_bytes(content)
            assert "contains no statistics" in refusal(path), path
    np.save(tmp_path / "one.npy", MU)
    assert "contains no statistics" in refusal(tmp_path / "one.npy")


def test_files_that_cannot_be_opened(tmp_path):
    for name in ("none.npz", "none.pkl"):
        assert "cannot be read (No such file or directory)" in refusal(tmp_path / name)
        (tmp_path / "folder" / name).mkdir(parents=True)
        assert "cannot be read (Is a directory)" in refusal(tmp_path / "folder" / name)


def test_an_encrypted_file_is_refused(tmp_path):
    path = write_npz(tmp_path / "a.npz", mu=MU, sigma=SIGMA)
    content = bytearray(path.read_bytes())
    directory = content.rindex(b"PK\x01\x02")
    for start in (directory, content.index(b"PK\x01\x02")):
        content[start + 8] |= 1  # the flag "encrypted" of both entries
    path.write_bytes(content)
    assert "encrypted" in refusal(path)


@pytest.mark.filterwarnings("ignore:overflow encountered")
def test_damaged_bytes_end_in_one_line_or_in_numbers(tmp_path):
    """Whatever readers raise for them."""
    rng = random.Random(0)
    arrays = {"mu": np.random.default_rng(0).random(12), "sigma": np.eye(12)}
    sources = [write_npz(tmp_path / "a.npz", **arrays)]
    for protocol in (2, 5):
        sources.append(tmp_path / f"a{protocol}.pkl")
        sources[-1].write_bytes(pickle.dumps(of_stylegan(), protocol))
    sources = [(path, path.read_bytes()) for path in sources]
    refused = 0
    for _ in range(600):
        path, content = rng.choice(sources)
        damaged = bytearray(content)
        for _ in range(rng.randrange(1, 5)):
            damaged[rng.randrange(len(damaged))] = rng.randrange(256)
        path.write_bytes(damaged)
        try:
            found = load_statistics(path, "`real`")
        except UserError as error:
            assert "\n" not in str(error)
            refused += 1
        else:
            assert torch.isfinite(found.mean).all() and torch.isfinite(found.covariance).all()
    assert refused > 200


# ---- pickles of StyleGAN ----


ROWS = np.random.default_rng(5).random((30, 4)).astype(np.float32)


def of_stylegan(**changes):
    """What FeatureStats.save writes: its attributes."""
    rows = ROWS.astype(np.float64)
    return {
        "capture_all": False,
        "capture_mean_cov": True,
        "max_items": None,
        "num_items": len(ROWS),
        "num_features": 4,
        "all_features": None,
        "raw_mean": rows.sum(0),
        "raw_cov": rows.T @ rows,
    } | changes


def assert_holds_rows(found):
    rows = ROWS.astype(np.float64)
    assert np.allclose(found.mean.numpy(), rows.mean(0), rtol=1e-14)
    # numpy's divides by N - 1, StyleGAN's own by N.
    assert np.allclose(found.covariance.numpy(), np.cov(rows, rowvar=False), rtol=1e-11, atol=1e-14)
    assert found.count == 30 and found.origin == Origin()


@pytest.mark.parametrize("protocol", range(2, 6))
def test_statistics_of_stylegan_at_every_protocol_of_pickle(tmp_path, protocol):
    for changes in (
        {},
        {"num_items": np.int64(30), "capture_all": np.bool_(True), "all_features": [ROWS]},
        {"raw_cov": np.asfortranarray(of_stylegan()["raw_cov"])},
        {"raw_mean": of_stylegan()["raw_mean"].astype(">f8")},
    ):
        path = tmp_path / "a.pkl"
        path.write_bytes(pickle.dumps(of_stylegan(**changes), protocol))
        assert_holds_rows(load_statistics(path, "`real`"))


@pytest.mark.parametrize("protocol", [2, 5])
def test_arrays_in_either_order_of_memory_are_read(tmp_path, protocol):
    mixing = np.arange(16.0).reshape(4, 4)
    table = mixing @ mixing.T
    for order in ("C", "F"):
        path = tmp_path / "a.pkl"
        entries = of_stylegan(raw_mean=np.zeros(4), raw_cov=np.array(table, order=order))
        path.write_bytes(pickle.dumps(entries, protocol))
        assert np.allclose(load_statistics(path, "`real`").covariance, table / 29, rtol=1e-14)


@pytest.mark.parametrize("sigma", [-np.eye(4), np.triu(np.ones((4, 4)))])
def test_a_sigma_that_is_no_covariance_is_refused(tmp_path, sigma):
    path = write_npz(tmp_path / "a.npz", mu=np.zeros(4), sigma=sigma)
    with pytest.raises(UserError, match="its sigma is no covariance"):
        load_statistics(path, "`real`")


def test_statistics_of_edm2_are_read(tmp_path):
    path = tmp_path / "a.pkl"
    path.write_bytes(pickle.dumps({"fid": {"mu": MU, "sigma": SIGMA}, "num_images": 30}))
    assert np.allclose(load_statistics(path, "`real`").mean, MU)


def test_pickles_of_numpy_before_2_are_read(tmp_path):
    path = tmp_path / "a.pkl"
    for protocol in (2, 4, 5):
        content = pickle.dumps(of_stylegan(num_items=np.int64(30)), protocol)
        assert b"numpy._core" in content
        for length in (len("numpy._core.multiarray"), len("numpy._core.numeric")):
            content = content.replace(bytes([0x8C, length]), bytes([0x8C, length - 1]))
        # Names stand in lines at protocol 2 and behind their length, corrected above, later on.
        content = content.replace(b"numpy._core.", b"numpy.core.")
        path.write_bytes(unframed(content))
        assert_holds_rows(load_statistics(path, "`real`"))


def unframed(content):
    """Without the frames of protocol 4, whose lengths no longer hold; they may be left out."""
    if content[1] < 4:
        return content
    assert content[2:3] == pickle.FRAME
    return content[:2] + content[11:]


class Trap:
    """Makes a folder while it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("protocol", [0, 2, 4, 5])
def test_a_pickle_that_calls_something_does_not_run(tmp_path, protocol):
    path, ran = tmp_path / "a.pkl", tmp_path / "ran"
    path.write_bytes(pickle.dumps(of_stylegan(all_features=Trap(ran)), protocol))
    assert "it refers to posix.mkdir" in refusal(path)
    assert not ran.exists()
    pickle.loads(path.read_bytes())
    assert ran.exists()  # the trap works


class Call:
    """Pickles as a call of a function with these arguments, and then a state."""

    def __init__(self, function, arguments, state=None):
        self.call = (function, arguments) if state is None else (function, arguments, state)

    def __reduce__(self):
        return self.call


def test_a_type_that_claims_its_numbers_are_pointers_is_refused(tmp_path):
    """numpy's own dtype believes such a state; an array of it would follow the numbers."""
    path = tmp_path / "a.pkl"
    reconstruct = MU.__reduce_ex__(2)[0]
    is_objects = 63
    lying = Call(np.dtype, ("V8", False, True), (3, "|", None, None, None, 8, 1, is_objects))
    array = Call(reconstruct, (np.ndarray, (0,), b"b"), (1, (4,), lying, False, bytes(32)))
    path.write_bytes(pickle.dumps(of_stylegan(raw_mean=array), 2))
    assert "it holds arrays of type V8" in refusal(path)
    for name in ("O8", "O", "f8,O", "S8", "(9,9)f8"):
        kind = Call(np.dtype, (name, False, True))
        path.write_bytes(pickle.dumps(of_stylegan(raw_mean=kind), 2))
        assert f"it holds arrays of type {name}" in refusal(path)


def test_the_state_of_a_number_changes_its_byte_order_alone(tmp_path):
    path = tmp_path / "a.pkl"
    reconstruct = MU.__reduce_ex__(2)[0]
    lying = Call(np.dtype, ("f8", False, True), (3, "<", None, None, None, 8, 1, 63))
    content = of_stylegan()["raw_mean"].tobytes()
    array = Call(reconstruct, (np.ndarray, (0,), b"b"), (1, (4,), lying, False, content))
    path.write_bytes(pickle.dumps(of_stylegan(raw_mean=array), 2))
    assert_holds_rows(load_statistics(path, "`real`"))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"num_items": 1}, "of 1 images"),
        ({"num_items": 0}, "of 0 images"),
        ({"raw_mean": None, "raw_cov": None}, "mu of shape ()"),
        ({"raw_mean": np.full(4, np.nan)}, "not all finite"),
        ({"raw_mean": np.zeros(3)}, "operands could not be broadcast"),
        ({"raw_mean": np.array([None] * 4)}, "it holds arrays of type O8"),
        ({"num_items": None}, "int() argument must be"),
    ],
)
@pytest.mark.filterwarnings("ignore:invalid value")
def test_pickles_of_dictionaries_that_are_no_statistics(tmp_path, changes, words):
    (tmp_path / "a.pkl").write_bytes(pickle.dumps(of_stylegan(**changes)))
    assert words in refusal(tmp_path / "a.pkl")


@pytest.mark.parametrize("content", [[1, 2], {"a": 1}, MU, None, "mu"])
def test_pickles_of_something_else(tmp_path, content):
    (tmp_path / "a.pkl").write_bytes(pickle.dumps(content))
    assert "contains no statistics" in refusal(tmp_path / "a.pkl")


# ---- Whether they compare ----


def saved(origin, channels=64):
    return SavedStatistics(
        torch.zeros(channels), torch.eye(channels), 5, origin, "`real` stats.npz"
    )


def test_statistics_made_alike_compare_in_silence(capsys):
    check_comparable(saved(ORIGIN), ORIGIN, False)
    custom = Origin(features="clip.pt", weights_sha256="def")
    check_comparable(saved(custom, channels=512), custom, False)
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("made", "wanted", "words"),
    [
        (ORIGIN, ORIGIN._replace(protocol="tf"), "made with protocol clean, but tf is requested"),
        (ORIGIN, ORIGIN._replace(weights_sha256="def"), "made with weights_sha256 abc, but def"),
        (ORIGIN, ORIGIN._replace(layer=192), "64 channels, but `layer` 192 is requested"),
        (
            ORIGIN,
            Origin(features="clip.pt"),
            "made with FID's network, but `features` clip.pt is requested",
        ),
        (
            Origin(features="clip.pt"),
            ORIGIN,
            "made with `features` clip.pt, but FID's network is requested",
        ),
        (
            Origin(features="a.pt"),
            Origin(features="b.pt"),
            "made with `features` a.pt, but `features` b.pt is requested",
        ),
        (Origin(), ORIGIN._replace(layer=2048), "64 channels, but `layer` 2048 is requested"),
    ],
)
def test_statistics_made_in_another_way_are_refused(made, wanted, words):
    with pytest.raises(UserError, match=words) as caught:
        check_comparable(saved(made), wanted, False)
    assert str(caught.value).startswith("`real` stats.npz: ")
    assert "\n" not in str(caught.value)


def test_both_published_files_hold_the_same_weights():
    hashes = [PUBLISHED.sha256, PUBLISHED_TORCHSCRIPT.sha256]
    for old, new in (hashes, hashes[::-1]):
        made, wanted = ORIGIN._replace(weights_sha256=old), ORIGIN._replace(weights_sha256=new)
        check_comparable(saved(made), wanted, True)
    with pytest.raises(UserError, match="weights_sha256"):
        check_comparable(saved(made), ORIGIN, False)
    with pytest.raises(UserError, match="weights_sha256"):
        check_comparable(saved(ORIGIN), wanted, True)


def test_what_a_file_does_not_say_is_told_on_stderr(capsys):
    check_comparable(saved(Origin()), ORIGIN, True)
    told = capsys.readouterr()
    assert told.out == ""
    assert told.err == (
        "`real` stats.npz: does not state its protocol and weights_sha256; assumed to be clean "
        "with the same network\n"
    )
    check_comparable(saved(Origin(protocol="clean")), ORIGIN, True)
    assert "does not state its weights_sha256; assumed" in capsys.readouterr().err
    check_comparable(saved(Origin(), channels=512), Origin(features="clip.pt"), False)
    assert "does not state its features; assumed to be clip.pt" in capsys.readouterr().err


def test_the_file_tells_others_how_it_was_made(tmp_path):
    path = tmp_path / "a.npz"
    save_statistics(path, SavedStatistics(torch.zeros(4), torch.eye(4), 9, ORIGIN))
    with zipfile.ZipFile(path) as archive:
        about = np.load(io.BytesIO(archive.read("about.npy")), allow_pickle=False)
    assert json.loads(str(about)) == {"n": 9, **ORIGIN._asdict()}
