from collections import Counter

import numpy as np
import pytest
import torch
from PIL import Image

from data import SingleImagePatches
from errors import UserError
from tests.data.pictures import noise

BATCH = 16


def gradient(width, height):
    """Red grows with x and green with y, so a patch shows its place, zoom and mirror."""
    x, y = np.meshgrid(np.linspace(0, 250, width), np.linspace(0, 250, height))
    levels = np.stack([x, y, np.full_like(x, 7)], axis=-1).round().astype(np.uint8)
    return Image.fromarray(levels)


@pytest.fixture
def files(tmp_path):
    gradient(120, 90).save(tmp_path / "a.png")
    gradient(70, 110).save(tmp_path / "b.png")
    return tmp_path / "a.png", tmp_path / "b.png"


def patches(files, **changes):
    options = {"crop_size": 16, "batch_size": BATCH, "seed": 0, **changes}
    return SingleImagePatches([files[0]], [files[1]], **options)


def place(patch):
    """Least red and least green of a patch, in levels: where it was cut."""
    levels = (patch + 1) * 127.5
    return levels[0].min().item(), levels[1].min().item()


def slopes(patch):
    """Levels a pixel in x (positive even when mirrored) and in y: the inverse of the zoom."""
    levels = (patch + 1) * 127.5
    return (
        abs(levels[0, 0, -3] - levels[0, 0, 2]).item() / 11,
        (levels[1, -3, 0] - levels[1, 2, 0]).item() / 11,
    )


def test_items_are_a_pure_function_of_seed_and_index(files):
    first, again, other = patches(files), patches(files), patches(files, seed=1)
    forwards = [first[index] for index in range(40)]
    for index in reversed(range(40)):
        assert torch.equal(again[index].source, forwards[index].source)
        assert torch.equal(again[index].target, forwards[index].target)
    assert not torch.equal(other[0].source, forwards[0].source)
    assert forwards[0].source.shape == forwards[0].target.shape == (3, 16, 16)
    assert forwards[0].unreadable == ()


@pytest.mark.parametrize("side", [0, 1])
def test_a_batch_has_one_zoom_and_the_next_another(files, side):
    dataset = patches(files)
    means = []
    for batch in range(6):
        found = np.array([slopes(dataset[batch * BATCH + at][side]) for at in range(BATCH)])
        assert (np.ptp(found, axis=0) < 2.1 / 11).all()  # rounding to levels at both ends
        means.append(found.mean(axis=0))
    assert (np.ptp(means, axis=0) > 1).all()
    ratios = np.array(means)[:, 0] / np.array(means)[:, 1]
    assert np.ptp(ratios) > 0.3  # the axes are zoomed on their own


def test_the_two_sides_have_zooms_and_orders_of_their_own(files):
    items = [patches((files[0], files[0]))[batch * BATCH] for batch in range(8)]
    zooms = np.array([[slopes(picture) for picture in item[:2]] for item in items])
    assert np.abs(zooms[:, 0] - zooms[:, 1]).max() > 1
    items = [patches((files[0], files[0]), zoom_range=1.0)[at] for at in range(BATCH)]
    assert [place(item.source) for item in items] != [place(item.target) for item in items]


def test_zooms_fill_their_range_and_end_there(files):
    dataset = patches(files, crop_size=4, zoom_range=2.0)
    found = np.array([slopes_of_4(dataset[batch * BATCH].source) for batch in range(150)]) / [
        250 / 119,
        250 / 89,
    ]
    assert found.min() > 0.6 and found.max() < 2.5
    assert (found.min(axis=0) < 1.25).all() and (found.max(axis=0) > 1.7).all()


def slopes_of_4(patch):
    levels = (patch + 1) * 127.5
    return (
        abs(levels[0, 0, -1] - levels[0, 0, 0]).item() / 3,
        (levels[1, -1, 0] - levels[1, 0, 0]).item() / 3,
    )


def test_cells_do_not_repeat_in_a_batch_before_all_were_used(files):
    dataset = patches(files, zoom_range=1.0)  # 120x90: 7 x 5 cells; 70x110: 4 x 6
    for side, cells in ((0, 35), (1, 24)):
        for size in (BATCH, 60):
            again = patches(files, zoom_range=1.0, batch_size=size)
            seen = Counter(place(again[at][side]) for at in range(size))
            assert len(seen) == min(size, cells)
            assert max(seen.values()) - min(seen.values()) <= 1
    assert place(dataset[0].source) != place(dataset[BATCH].source)


def test_cells_are_a_grid_whose_offset_is_drawn_for_each_batch(files):
    dataset = patches(files, zoom_range=1.0)
    offsets = set()
    for batch in range(40):
        left = np.array([place(dataset[batch * BATCH + at].source)[0] for at in range(BATCH)])
        columns = np.rint(left * 119 / 250).astype(int)  # pixels
        assert len(set(columns % 16)) == 1
        assert columns.min() >= 0 and columns.max() + 16 <= 120
        offsets.add(int(columns[0] % 16))
    assert offsets == set(range(9))  # 120 - 7 * 16 = 8 pixels of room


def test_an_order_of_cells_is_drawn_for_each_batch(files):
    dataset = patches(files, zoom_range=1.0, crop_size=40)  # 3 x 2 cells without room in x
    firsts = Counter(place(dataset[batch * BATCH].source)[0] for batch in range(60))
    assert len(firsts) == 3 and max(firsts.values()) < 40


def test_half_of_the_patches_are_mirrored_each_on_its_own(files):
    dataset = patches(files)
    corners = [
        [picture[0, 0, 0] > picture[0, 0, -1] for picture in dataset[index][:2]]
        for index in range(800)
    ]
    mirrored = np.array(corners)
    assert (np.abs(mirrored.mean(axis=0) - 0.5) < 4 * np.sqrt(0.25 / 800)).all()
    assert abs((mirrored[:, 0] == mirrored[:, 1]).mean() - 0.5) < 4 * np.sqrt(0.25 / 800)
    assert 0 < mirrored[:BATCH, 0].sum() < BATCH


def test_a_picture_smaller_than_the_crop_is_enlarged_to_it(files):
    dataset = patches(files, crop_size=100)
    assert dataset[5].source.shape == dataset[5].target.shape == (3, 100, 100)
    tall = dataset[5].target  # 70 px wide: all of it, 0..250, is in every patch
    assert ((tall[0].max() - tall[0].min()) * 127.5).item() > 245


def test_the_resize_is_pils_bilinear(files):
    noise(40, 40).save(files[0])
    dataset = patches(files, crop_size=40, zoom_range=1.0)
    whole = torch.from_numpy(np.array(noise(40, 40))).permute(2, 0, 1)
    got = ((dataset[0].source + 1) * 127.5).round().to(torch.uint8)
    assert torch.equal(got, whole) or torch.equal(got, whole.flip(2))

    noise(20, 20).save(files[0])
    got = patches(files, crop_size=40)[0].source
    expected = np.array(noise(20, 20).resize((40, 40), Image.Resampling.BILINEAR))
    expected = torch.from_numpy(expected).permute(2, 0, 1)
    got = ((got + 1) * 127.5).round().to(torch.uint8)
    assert torch.equal(got, expected) or torch.equal(got, expected.flip(2))


def test_the_preview_is_each_whole_picture_shrunk(files):
    gradient(1024, 333).save(files[0])
    batch = patches(files).preview(8)
    assert batch.source.shape == (1, 3, 84, 256)  # 333/4 = 83.25 -> 84
    assert batch.target.shape == (1, 3, 112, 72)  # 70 -> 17.5 fours -> 18; 110 -> 27.5 -> 28
    assert batch.source.min() < -0.99 and batch.source.max() > 0.94
    assert batch.source[0, 0, 0, 0] < batch.source[0, 0, 0, -1]


def test_members_that_the_stream_needs(files):
    dataset = patches(files)
    assert dataset.epoch_images == 100_000
    assert patches(files, epoch_images=50).epoch_images == 50
    assert dataset.file_count == 2
    assert dataset.files(0) == dataset.files(12345) == files


def told(source, target, **changes):
    options = {"crop_size": 16, "batch_size": BATCH, "seed": 0, **changes}
    with pytest.raises(UserError) as caught:
        SingleImagePatches(source, target, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_mistakes_are_told(files):
    a, b = files
    assert "2 source images where training on single images takes 1" in told([a, b], [b])
    assert "`dataroot` or `target_dir`: 0 target images" in told([a], [])
    assert "`crop_size` 18: not a multiple of 4" in told([a], [b], crop_size=18)
    assert "`crop_size` 0: below 1" in told([a], [b], crop_size=0)
    assert "zoom_range 0.5: below 1" in told([a], [b], zoom_range=0.5)
    assert "zoom_range nan: below 1" in told([a], [b], zoom_range=float("nan"))
    b.write_text("no picture")
    assert f"{b}: not an image of a known kind; repair or replace" in told([a], [b])
