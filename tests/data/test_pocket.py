"""The pocket data sets: scenes are pure, horse and zebra differ on the animal, folders fit."""

import numpy as np
import pytest
from PIL import Image

from data import Content, PairedFiles, Preprocessing, find_pairs
from data.pocket import REGIONS, render_scene, write_pocket
from data.pocket_pairs import render_labelled_scene, write_pocket_pairs
from errors import UserError
from tests.data.pictures import read_pair


@pytest.fixture(scope="module")
def scenes():
    return [render_scene(3, index, 64) for index in range(50)]


def test_the_same_arguments_give_the_same_bytes_whatever_the_global_generator(scenes):
    np.random.seed(1)  # noqa: NPY002
    again = render_scene(3, 7, 64)
    assert all(np.array_equal(a, b) for a, b in zip(scenes[7], again, strict=True))
    assert [a.dtype for a in again] == [np.uint8, np.uint8, bool]
    assert [a.shape for a in again] == [(64, 64, 3), (64, 64, 3), (64, 64)]


def test_another_index_or_seed_gives_another_scene(scenes):
    pictures = [scene.horse for scene in scenes[:20]] + [render_scene(4, 0, 64).horse]
    for i, picture in enumerate(pictures):
        for other in pictures[:i]:
            assert np.abs(picture.astype(int) - other).mean() > 4


def test_horse_and_zebra_differ_inside_the_mask_only(scenes):
    for scene in scenes:
        difference = np.abs(scene.horse.astype(int) - scene.zebra).mean(2)
        assert not difference[~scene.mask].any()
        assert difference[scene.mask].mean() > 25


def test_the_animal_fills_a_good_part_of_the_picture_and_is_not_cut_off(scenes):
    shares = [scene.mask.mean() for scene in scenes]
    assert min(shares) > 0.15
    assert max(shares) < 0.6
    for scene in scenes:
        border = np.concatenate([scene.mask[[0, -1]].ravel(), scene.mask[:, [0, -1]].ravel()])
        assert not border.any()


def test_some_animals_face_left_and_some_right(scenes):
    # the head and neck are the upper part of the mask
    heads = [np.nonzero(scene.mask)[1][:60].mean() for scene in scenes]
    assert 10 < sum(head < 32 for head in heads) < 40


def test_stripes_lie_across_the_torso_of_the_zebra_only(scenes):
    """Sign changes along a row through the torso: a striped coat has many, a plain one has few."""

    def changes(picture, scene):
        rows, _ = np.nonzero(scene.mask)
        row = int(np.median(rows))
        values = picture[row][scene.mask[row]].mean(1)
        return np.count_nonzero(np.diff(values > (values.min() + values.max()) / 2))

    for scene in scenes:
        assert changes(scene.zebra, scene) >= 8
        assert changes(scene.horse, scene) < changes(scene.zebra, scene)


@pytest.mark.parametrize("index", range(3))
def test_a_large_render_shows_what_a_small_one_shows(scenes, index):
    large, small = render_scene(3, index, 256), scenes[index]
    for big, little in ((large.horse, small.horse), (large.zebra, small.zebra)):
        averaged = big.reshape(64, 4, 64, 4, 3).mean((1, 3))
        assert np.abs(averaged - little).mean() < 3
    assert np.abs(large.mask.reshape(64, 4, 64, 4).mean((1, 3)) - small.mask).mean() < 0.05


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_folders_hold_unpaired_training_and_paired_test_pictures(tmp_path):
    folder = tmp_path / "new" / "pocket"
    write_pocket(folder, seed=5, size_px=32, train=3, test=2)
    assert names(tmp_path / "new") == ["pocket"]
    assert names(folder) == ["testA", "testB", "testMask", "trainA", "trainB"]
    assert names(folder / "trainA") == ["000000.png", "000001.png", "000002.png"]
    assert names(folder / "trainB") == ["000003.png", "000004.png", "000005.png"]
    for kind in ("testA", "testB", "testMask"):
        assert names(folder / kind) == ["000006.png", "000007.png"]

    for path in sorted(folder.rglob("*.png")):
        horse, zebra, mask = render_scene(5, int(path.stem), 32)
        expected = {
            "trainA": horse, "testA": horse, "trainB": zebra, "testB": zebra, "testMask": mask * 255
        }  # fmt: skip
        with Image.open(path) as image:
            assert image.mode == ("L" if path.parent.name == "testMask" else "RGB")
            assert np.array_equal(np.asarray(image), expected[path.parent.name])


def test_a_folder_that_is_not_empty_is_refused_and_left_alone(tmp_path):
    (tmp_path / "mine.txt").write_text("keep")
    with pytest.raises(UserError, match="`output`") as caught:
        write_pocket(tmp_path, seed=0, size_px=32, train=1, test=1)
    assert "\n" not in str(caught.value)
    assert names(tmp_path) == ["mine.txt"]
    with pytest.raises(UserError, match="mine.txt"):
        write_pocket(tmp_path / "mine.txt", seed=0, size_px=32, train=1, test=1)


def test_an_empty_folder_is_filled(tmp_path):
    folder = tmp_path / "empty"
    folder.mkdir()
    write_pocket(folder, seed=0, size_px=16, train=1, test=0)
    assert names(folder / "trainA") == ["000000.png"]
    assert names(folder / "testB") == []


def test_nothing_is_left_when_rendering_fails(tmp_path, monkeypatch):
    def fail_at_the_second(seed, index, size_px):
        if index == 1:
            raise MemoryError
        return render_scene(seed, index, size_px)

    monkeypatch.setattr("data.pocket.render_scene", fail_at_the_second)
    with pytest.raises(MemoryError):
        write_pocket(tmp_path / "out", seed=0, size_px=16, train=2, test=0)
    assert names(tmp_path) == []


@pytest.fixture(scope="module")
def labelled():
    return [render_labelled_scene(3, index, 64) for index in range(20)]


def test_labels_tell_the_same_animal_from_its_meadow(scenes, labelled):
    for scene, (labels, zebra) in zip(scenes, labelled, strict=False):
        animal = labels >= REGIONS.index("far legs")
        assert not animal[~scene.mask].any()
        assert animal.sum() > 0.85 * scene.mask.sum()  # the mask has each pixel it touches
        assert labels.dtype == zebra.dtype == np.uint8
    shown = [set(np.unique(labels)) for labels, _ in labelled]
    assert set.union(*shown) == set(range(len(REGIONS)))
    everywhere = {REGIONS.index(name) for name in ("sky", "grass", "coat", "dark parts", "tail")}
    assert everywhere <= set.intersection(*shown)


def test_a_labelled_scene_is_pure(labelled):
    again = render_labelled_scene(3, 7, 64)
    assert all(np.array_equal(a, b) for a, b in zip(labelled[7], again, strict=True))
    assert not np.array_equal(render_labelled_scene(4, 7, 64).labels, again.labels)


def spread(pictures, places):
    """The standard deviation over scenes of a picture's mean colour in the given places."""
    means = [picture[place].mean(0) for picture, place in zip(pictures, places, strict=True)]
    return np.std(means, axis=0).mean()


@pytest.mark.parametrize("region", ["sky", "grass"])
def test_the_ground_looks_alike_in_all_labelled_scenes_and_not_in_the_others(
    scenes, labelled, region
):
    # the sky and the grass in the corners, where the animal and the hills are not
    places = [labels == REGIONS.index(region) for labels, _ in labelled]
    corners = np.zeros((64, 64), dtype=bool)
    rows = slice(0, 8) if region == "sky" else slice(56, 64)
    corners[rows, :8] = corners[rows, -8:] = True
    places = [place & corners for place in places]
    even = spread([zebra for _, zebra in labelled], places)
    varied = spread([scene.zebra for scene in scenes[:20]], places)
    assert even < 0.6 * varied


def test_the_dark_parts_are_black_and_the_coat_is_black_and_white(labelled):
    for labels, zebra in labelled:
        assert zebra[labels == REGIONS.index("dark parts")].mean() < 60
        coat = zebra[labels == REGIONS.index("coat")].mean(1)
        assert (coat < 80).mean() > 0.15 and (coat > 150).mean() > 0.2


def test_pairs_are_written_as_palette_maps_with_small_integers_and_visible_colours(tmp_path):
    folder = tmp_path / "pocket"
    write_pocket_pairs(folder, seed=5, size_px=32, train=3, test=2)
    assert names(tmp_path) == ["pocket"]
    assert names(folder) == ["testA", "testB", "trainA", "trainB"]
    for side in "AB":
        assert names(folder / f"train{side}") == ["000000.png", "000001.png", "000002.png"]
        assert names(folder / f"test{side}") == ["000003.png", "000004.png"]
    for path in sorted(folder.rglob("*.png")):
        labels, zebra = render_labelled_scene(5, int(path.stem), 32)
        with Image.open(path) as image:
            assert image.mode == ("P" if path.parent.name[-1] == "A" else "RGB")
            assert np.array_equal(np.asarray(image), labels if image.mode == "P" else zebra)
            if image.mode == "P":
                assert len(image.convert("RGB").getcolors()) == len(np.unique(labels))


def test_written_pairs_can_be_trained_on(tmp_path):
    write_pocket_pairs(tmp_path / "pocket", seed=0, size_px=32, train=2, test=1)
    pairs = find_pairs(tmp_path / "pocket", None, None)
    content = Content("labels", classes=len(REGIONS))
    preprocessing = Preprocessing("resize_and_crop", 36, 32, flip=True)
    item = PairedFiles(pairs, preprocessing, seed=0, source=content)[0]
    assert item.source.shape == (len(REGIONS), 32, 32) and item.target.shape == (3, 32, 32)
    source, _ = read_pair(pairs.test[0], content, Content())
    assert np.array_equal(source.argmax(0), render_labelled_scene(0, 2, 32).labels)
