"""Which files become pairs, and every way in which they do not fit."""

import pytest

from data import Pair, Pairs, find_pairs, find_pictures
from errors import UserError


def touch(folder, *names):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()


def told(call, *arguments):
    with pytest.raises(UserError) as caught:
        call(*arguments)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    ("extra", "phase"),
    [([], "train"), (["val"], "val"), (["test"], "test"), (["val", "test"], "test")],
)
def test_pictures_side_by_side_are_one_file_for_both(tmp_path, extra, phase):
    for name in ["train", *extra]:
        touch(tmp_path, f"{name}/b.png", f"{name}/a.jpg")
    pairs = find_pairs(tmp_path, None, None)
    train = [tmp_path / "train/a.jpg", tmp_path / "train/b.png"]
    assert pairs.train == [Pair(path, path, halves=True) for path in train]
    assert [pair.source for pair in pairs.test] == [
        tmp_path / phase / "a.jpg",
        tmp_path / phase / "b.png",
    ]
    assert all(pair.swapped for pair in find_pairs(tmp_path, None, None, "BtoA").train)


@pytest.mark.parametrize("phase", ["test", "val", "train"])
def test_equal_names_of_two_folders_are_pairs_whatever_their_endings(tmp_path, phase):
    for name in {"train", phase}:
        touch(tmp_path, f"{name}A/x.jpg", f"{name}A/sub/y.png")
        touch(tmp_path, f"{name}B/x.png", f"{name}B/sub/y.PNG")
    train, test = (
        [
            Pair(tmp_path / f"{name}A/sub/y.png", tmp_path / f"{name}B/sub/y.PNG"),
            Pair(tmp_path / f"{name}A/x.jpg", tmp_path / f"{name}B/x.png"),
        ]
        for name in ("train", phase)
    )
    assert find_pairs(tmp_path, None, None) == Pairs(train, test)
    swapped = find_pairs(tmp_path, None, None, "BtoA")
    assert swapped == Pairs(*([Pair(p.target, p.source) for p in side] for side in (train, test)))


def test_two_folders_by_option_are_train_and_test(tmp_path):
    touch(tmp_path, "x/1.png", "y/1.webp")
    train = [Pair(tmp_path / "x/1.png", tmp_path / "y/1.webp")]
    assert find_pairs(None, tmp_path / "x", tmp_path / "y") == Pairs(train, train)
    message = told(find_pairs, None, tmp_path / "x", tmp_path / "y", "BtoA")
    assert message.startswith("`direction` BtoA: needs `dataroot`; exchange `source_dir` and")


def test_the_same_folder_names_are_needed_all_the_way(tmp_path):
    touch(tmp_path, "trainA/one/1.png", "trainB/two/1.png")
    assert "1 of 1 images have no partner" in told(find_pairs, tmp_path, None, None)


def test_files_without_a_partner_are_told_with_their_number_on_either_side(tmp_path):
    touch(tmp_path, "trainA/1.png", "trainA/2.png", "trainA/3.png", "trainB/2.png")
    a, b = tmp_path / "trainA", tmp_path / "trainB"
    assert told(find_pairs, tmp_path, None, None) == (
        f"`dataroot` {a}: 2 of 3 images have no partner of their name in {b}, first {a / '1.png'}; "
        "add partners or remove these"
    )
    assert told(find_pairs, None, b, a) == (
        f"`target_dir` {a}: 2 of 3 images have no partner of their name in {b}, first "
        f"{a / '1.png'}; add partners or remove these"
    )


def test_unpaired_test_pictures_are_told_too(tmp_path):
    touch(tmp_path, "trainA/1.png", "trainB/1.png", "testA/2.png", "testB/3.png")
    assert f"first {tmp_path / 'testA/2.png'}" in told(find_pairs, tmp_path, None, None)
    (tmp_path / "testB/3.png").unlink()
    (tmp_path / "testB").rmdir()
    assert "testA without its partner" in told(find_pairs, tmp_path, None, None)


def test_two_files_of_one_name_are_told(tmp_path):
    touch(tmp_path, "trainA/1.png", "trainB/1.jpg", "trainB/1.png")
    b = tmp_path / "trainB"
    assert told(find_pairs, tmp_path, None, None) == (
        f"`dataroot` {b}: {b / '1.jpg'} and {b / '1.png'} differ only in their extension, so "
        "their partner is ambiguous; rename or remove one"
    )


def test_folders_that_say_nothing_of_pairs_are_told(tmp_path):
    missing = told(find_pairs, None, None, None)
    assert missing.startswith("`dataroot` is missing; give a folder with train (pictures side")
    gone = tmp_path / "gone"
    assert f"`dataroot` {gone}: no such folder; give" in told(find_pairs, gone, None, None)
    assert f"`dataroot` {tmp_path}: no folder train in it" in told(find_pairs, tmp_path, None, None)
    touch(tmp_path, "trainA/1.png")
    assert "no folder trainB in it" in told(find_pairs, tmp_path, None, None)
    touch(tmp_path, "train/1.png")
    assert "has train as well as trainA or trainB" in told(find_pairs, tmp_path, None, None)
    assert "`direction` AB: not known" in told(find_pairs, tmp_path, None, None, "AB")
    assert "`target_dir` is missing" in told(find_pairs, None, tmp_path, None)


@pytest.mark.parametrize("phase", ["test", "val", "train"])
def test_pictures_are_pairs_with_themselves(tmp_path, phase):
    for name in {"train", phase}:
        touch(tmp_path, f"{name}/a.jpg", f"{name}/sub/b.png")
    pairs = find_pictures(tmp_path)
    train = [tmp_path / "train/a.jpg", tmp_path / "train/sub/b.png"]
    assert pairs.train == [Pair(path, path, halves=False) for path in train]
    assert [pair.target for pair in pairs.test] == [
        tmp_path / phase / "a.jpg",
        tmp_path / phase / "sub/b.png",
    ]


def test_pictures_without_a_folder_are_told(tmp_path):
    remedy = "give a folder with train (pictures) and, for previews, test or val"
    assert told(find_pictures, None) == f"`dataroot` is missing; {remedy}"
    assert (
        told(find_pictures, tmp_path) == f"`dataroot` {tmp_path}: no folder train in it; {remedy}"
    )
    (tmp_path / "train").mkdir()
    assert "train: no image in it" in told(find_pictures, tmp_path)
