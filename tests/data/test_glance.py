"""What a training tells of its files before it starts."""

import shutil

from data import Preprocessing, Side, glance
from data.finding import HARMS, STOPS
from tests.data.inspection.folders import clean
from tests.data.pictures import noise, save_noise

SQUARE = Preprocessing("resize_and_crop", 52, 48, flip=True, size_multiple=4)


def kinds(found):
    return [finding.kind for finding in found]


def sides_of(folder):
    return [
        Side(
            name,
            sorted((folder / f"train{side}").iterdir()),
            sorted((folder / f"test{side}").iterdir()),
        )
        for side, name in (("A", "sources"), ("B", "targets"))
    ]


def test_a_clean_folder_has_no_finding(tmp_path):
    assert glance("unpaired", sides_of(clean(tmp_path)), SQUARE) == []


def test_the_most_serious_finding_comes_first(tmp_path):
    clean(tmp_path, train=20)
    shutil.copy(tmp_path / "trainB" / "trainB3.png", tmp_path / "testB" / "leaked.png")
    found = glance(
        "unpaired",
        sides_of(tmp_path),
        Preprocessing("resize_and_crop", 286, 256, flip=True, size_multiple=4),
    )
    assert kinds(found) == [
        "duplicates_between_train_and_test",
        "enlarged",
        "few",
    ]
    assert found[0].severity == STOPS and "targets: 1 of 25 test pictures" in found[0].words
    assert found[0].examples[0][0].name == "leaked.png"


def test_equal_size_alone_is_no_copy(tmp_path):
    (tmp_path / "a").mkdir()
    for name in ("1.ppm", "2.ppm"):
        noise(24, 24, seed=int(name[0])).save(tmp_path / "a" / name)
    side = Side("pictures", [tmp_path / "a" / "1.ppm"], [tmp_path / "a" / "2.ppm"])
    assert "duplicates_between_train_and_test" not in kinds(glance("pairs", [side], SQUARE))


def test_unreadable_stretched_and_uneven(tmp_path):
    wide = save_noise(tmp_path / "a", [f"{n}.png" for n in range(120)], width=100, height=50)
    wide[0].write_text("no picture")
    few = save_noise(tmp_path / "b", ["1.png"], width=60, height=60)
    found = glance("unpaired", [Side("sources", wide), Side("targets", few)], SQUARE)
    assert kinds(found) == ["uneven", "unreadable", "stretched", "few"]
    assert {finding.severity for finding in found[:3]} == {HARMS}


def test_halves_are_measured_alone(tmp_path):
    files = save_noise(tmp_path, [f"{n}.png" for n in range(60)], width=96, height=48)
    assert glance("pairs", [Side("pairs", files, halves=True)], SQUARE) == []
    assert kinds(glance("pairs", [Side("pairs", files)], SQUARE)) == ["stretched"]
