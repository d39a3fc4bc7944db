"""The drawn shapes: pure, smooth, told apart from their ground, each in the folder of its class."""

import numpy as np
import pytest
from PIL import Image

from data import SHAPES, list_images, read_labels, render_shape, write_shapes
from errors import UserError


@pytest.fixture(scope="module")
def pictures():
    return [render_shape(3, index, 32) for index in range(80)]


def shape_of(picture):
    """Where the shape is: far from the corners' mean, in levels."""
    ground = np.mean([picture[y, x] for y in (0, -1) for x in (0, -1)], axis=0)
    return np.abs(picture - ground).sum(2) > 90


def test_a_picture_depends_on_seed_and_index_alone(pictures):
    np.random.seed(1)  # noqa: NPY002
    again = render_shape(3, 7, 32)
    assert again.shape == (32, 32, 3) and again.dtype == np.uint8
    assert np.array_equal(again, pictures[7])
    for other in (pictures[11], render_shape(4, 7, 32)):
        assert np.abs(again.astype(int) - other).mean() > 4
    with pytest.raises(ValueError):
        render_shape(0, -1, 32)


def test_a_large_picture_shows_what_a_small_one_shows(pictures):
    for index in range(8):
        large = render_shape(3, index, 96).reshape(32, 3, 32, 3, 3).mean((1, 3))
        assert np.abs(large - pictures[index]).mean() < 2


def test_the_shapes_are_what_their_names_say(pictures):
    """Share of the bounding box's and of the centre's pixels tells all four apart."""
    for index, picture in enumerate(pictures):
        inside = shape_of(picture)
        rows, columns = np.nonzero(inside)
        middle = inside[round(rows.mean()), round(columns.mean())]
        assert middle == (SHAPES[index % 4] != "ring")
        # A disc fills its own radius about its middle, a square and a triangle do not.
        radius = np.hypot(rows - rows.mean(), columns - columns.mean()).max() + 0.5
        fill = inside.sum() / (np.pi * radius**2)
        low, high = {"circle": (0.85, 1.1), "ring": (0.5, 0.85)}.get(SHAPES[index % 4], (0, 0.8))
        assert low < fill < high, index


def test_no_shape_is_cut_off_and_all_vary(pictures):
    sizes, middles = [], []
    for picture in pictures:
        inside = shape_of(picture)
        assert not inside[[0, -1]].any() and not inside[:, [0, -1]].any()
        sizes.append(inside.sum())
        middles.append(np.argwhere(inside).mean(0))
    assert max(sizes) > 3 * min(sizes)
    assert np.std(middles, axis=0).min() > 1.5


def test_edges_are_smooth(pictures):
    """Each outline has pixels in the middle third between the ground's and the shape's light."""
    for index, picture in enumerate(pictures):
        light = picture.max(2).astype(float)
        share = (light - light.min()) / (light.max() - light.min())
        assert ((share > 1 / 3) & (share < 2 / 3)).sum() >= 4, index


def test_each_shape_has_a_folder_that_is_its_class(tmp_path):
    folder = tmp_path / "shapes"
    write_shapes(folder, 10, 32, 3)
    files = list_images(folder, "`data`")
    labels = read_labels("folders", folder, files)
    assert tuple(labels.names) == SHAPES and labels.counts == [3, 3, 2, 2]
    for path in files:
        index = int(path.stem)
        assert path.parent.name == SHAPES[index % 4]
        with Image.open(path) as image:
            assert np.array_equal(np.asarray(image), render_shape(3, index, 32))


def test_a_full_folder_and_too_few_pictures_are_refused(tmp_path):
    (tmp_path / "a.txt").write_text("mine")
    with pytest.raises(UserError, match="exists and is not an empty folder"):
        write_shapes(tmp_path, 4, 32, 0)
    with pytest.raises(ValueError, match="count 3: leaves a class without pictures"):
        write_shapes(tmp_path / "new", 3, 32, 0)
    assert [path.name for path in tmp_path.iterdir()] == ["a.txt"]
