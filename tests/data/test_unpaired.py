from collections import Counter

import numpy as np
import pytest
import torch

from data import Content, Preprocessing, UnpairedFolders, decode_image, to_tensor
from errors import UserError
from tests.data.pictures import noise, save_noise

CROPPING = Preprocessing("resize_and_crop", 12, 8, flip=True)
WHOLE = Preprocessing("none", 8, 8, flip=False)


def side(tmp_path, name, count):
    return save_noise(tmp_path / name, [f"{number:02}.png" for number in range(count)])


def spoil(path):
    path.write_text("no picture")


@pytest.fixture
def folders(tmp_path):
    return side(tmp_path, "A", 7), side(tmp_path, "B", 5)


def same(one, other):
    return torch.equal(one.source, other.source) and torch.equal(one.target, other.target)


def test_an_item_is_a_pure_function_of_seed_and_index(folders):
    first = UnpairedFolders(*folders, CROPPING, seed=3)
    again = UnpairedFolders(*folders, CROPPING, seed=3)
    other = UnpairedFolders(*folders, CROPPING, seed=4)
    forwards = [first[index] for index in range(20)]
    assert all(same(again[index], forwards[index]) for index in reversed(range(20)))
    assert sum(same(other[index], forwards[index]) for index in range(20)) < 3
    item = forwards[0]
    assert item.source.shape == item.target.shape == (3, 8, 8)
    assert item.unreadable == ()


def test_the_item_shows_its_files(folders):
    dataset = UnpairedFolders(*folders, WHOLE, seed=0)
    for index in (0, 5, 23):
        source, target = dataset.files(index)
        assert torch.equal(dataset[index].source, to_tensor(decode_image(source)))
        assert torch.equal(dataset[index].target, to_tensor(decode_image(target)))


def test_each_source_comes_once_an_epoch_in_an_order_of_its_own(folders):
    dataset = UnpairedFolders(*folders, CROPPING, seed=0)
    assert dataset.epoch_images == 7
    assert dataset.file_count == 12
    epochs = [[dataset.files(7 * epoch + place)[0] for place in range(7)] for epoch in range(6)]
    assert all(sorted(epoch) == folders[0] for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) >= 5


def test_fewer_sources_than_targets_come_equally_often(tmp_path):
    sources, targets = side(tmp_path, "A", 3), side(tmp_path, "B", 8)
    dataset = UnpairedFolders(sources, targets, CROPPING, seed=0)
    assert dataset.epoch_images == 8
    seen = Counter(dataset.files(index)[0] for index in range(8))
    assert sorted(seen.values()) == [2, 3, 3]


def test_the_target_is_uniform_and_independent_of_the_source(folders):
    dataset = UnpairedFolders(*folders, CROPPING, seed=0)
    pairs = Counter(dataset.files(index) for index in range(7000))
    counts = np.array([[pairs[a, b] for b in folders[1]] for a in folders[0]])
    # chi-square against 200 in each of 35 cells: 34 degrees of freedom, 75 is beyond 1e-4
    assert ((counts - 200) ** 2 / 200).sum() < 75


def test_the_two_pictures_have_draws_of_their_own(tmp_path):
    file = side(tmp_path, "A", 1)
    dataset = UnpairedFolders(file, file, CROPPING, seed=0)
    assert dataset.file_count == 1
    assert sum(torch.equal(*dataset[index][:2]) for index in range(50)) < 10


def test_jitter_ends_where_it_should(folders):
    dataset = UnpairedFolders(*folders, CROPPING, seed=0, jitter_until_images=10)
    always = UnpairedFolders(*folders, CROPPING, seed=0)
    never = UnpairedFolders(*folders, CROPPING, seed=0, jitter_until_images=0)
    assert all(same(dataset[index], always[index]) for index in range(10))
    assert all(same(dataset[index], never[index]) for index in range(10, 20))
    assert not any(same(always[index], never[index]) for index in range(20))


def test_an_unreadable_file_is_replaced_by_the_next_readable_one(folders, monkeypatch):
    sources, targets = folders
    spoil(sources[6])
    sources[0].unlink()
    dataset = UnpairedFolders(sources, targets, WHOLE, seed=0)
    tried = Counter()
    decode = Content.decode
    monkeypatch.setattr(
        Content, "decode", lambda content, path: tried.update([path]) or decode(content, path)
    )
    indices = [index for index in range(21) if dataset.files(index)[0] == sources[6]]
    assert len(indices) == 3
    for index in indices:
        item = dataset[index]
        assert item.unreadable == (
            (sources[6], "not an image of a known kind"),
            (sources[0], "No such file or directory"),
        )
        assert torch.equal(item.source, to_tensor(decode_image(sources[1])))
    assert tried[sources[6]] == tried[sources[0]] == 1


def test_a_side_without_any_readable_file_is_told(folders):
    sources, targets = folders
    for path in targets:
        spoil(path)
    with pytest.raises(UserError, match="none of its 5 images can be read, the first being"):
        UnpairedFolders(sources, targets, WHOLE, seed=0)[0]


def test_an_image_smaller_than_the_crop_is_told_with_its_name(folders):
    dataset = UnpairedFolders(*folders, Preprocessing("crop", 24, 24, flip=True), seed=0)
    with pytest.raises(UserError) as caught:
        dataset[0]
    assert str(caught.value).startswith(
        f"{dataset.files(0)[0]}: image of 24x20 px is smaller than `crop_size` 24; use"
    )


def test_the_preview_is_the_first_files_resized_and_nothing_random(folders):
    dataset = UnpairedFolders(*folders, CROPPING, seed=0)
    batch = dataset.preview(3)
    for tensor, files in zip(batch, folders, strict=True):
        expected = [to_tensor(decode_image(path).resize((8, 8), 3)) for path in files[:3]]
        assert torch.equal(tensor, torch.stack(expected))
    assert same(UnpairedFolders(*folders, CROPPING, seed=9).preview(3), batch)


def test_a_preview_larger_than_a_side_repeats_it_and_ends_with_the_epoch(folders):
    batch = UnpairedFolders(*folders, WHOLE, seed=0).preview(100)
    assert batch.source.shape[0] == batch.target.shape[0] == 7
    assert torch.equal(batch.target[5:], batch.target[:2])


def test_previews_of_unequal_sizes_are_cut_about_their_centres(tmp_path):
    files = side(tmp_path, "A", 2)
    noise(16, 32).save(files[1])
    source = UnpairedFolders(files, files, WHOLE, seed=0).preview(2).source
    assert torch.equal(source[0], to_tensor(decode_image(files[0]))[:, :, 4:20])
    assert torch.equal(source[1], to_tensor(decode_image(files[1]))[:, 6:26])
