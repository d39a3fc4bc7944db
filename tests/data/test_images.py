"""A folder of pictures with classes: pure items, stand-ins of the same class, batches, previews."""

import contextlib
from collections import Counter
from itertools import islice

import pytest
import torch

import data
from data import Content, ImageBatch, ImageFolder, Labels, Preprocessing, Stream, to_tensor
from errors import UserError
from tests.data.pictures import noise, save_noise

CENTRED = Preprocessing("centre_crop", 12, 8, flip=True)
CROPPING = Preprocessing("resize_and_crop", 12, 8, flip=True)
WHOLE = Preprocessing("none", 8, 8, flip=False)
RGB = Content()
NAMES = ["cat", "dog", "ox"]
OF_FILES = [0, 0, 0, 0, 1, 1, 2, 2, 2]
LABELS = Labels(NAMES, OF_FILES)


@pytest.fixture
def files(tmp_path):
    return save_noise(tmp_path, [f"{number:02}.png" for number in range(9)])


def folder_of(files, preprocessing=WHOLE, labels=LABELS, content=RGB, seed=0):
    return ImageFolder(files, labels, preprocessing, seed=seed, content=content)


def same(one, other):
    return torch.equal(one.image, other.image) and one.label == other.label


def take(stream, count, first_image=0):
    with contextlib.closing(stream.batches(first_image)) as batches:
        return list(islice(batches, count))


def test_an_item_is_a_pure_function_of_seed_and_index(files):
    first, again = folder_of(files, CROPPING, seed=3), folder_of(files, CROPPING, seed=3)
    other = folder_of(files, CROPPING, seed=4)
    forwards = [first[index] for index in range(30)]
    assert all(same(again[index], forwards[index]) for index in reversed(range(30)))
    assert sum(same(other[index], forwards[index]) for index in range(30)) < 3
    assert forwards[0].image.shape == (3, 8, 8) and forwards[0].image.dtype == torch.float32
    assert forwards[0].unreadable == ()


def test_each_file_comes_once_an_epoch_with_its_class(files):
    dataset = folder_of(files)
    assert dataset.epoch_images == dataset.file_count == 9
    orders = set()
    for epoch in range(6):
        paths = [dataset.files(9 * epoch + step)[0] for step in range(9)]
        assert sorted(paths) == files
        orders.add(tuple(paths))
    assert len(orders) >= 5
    for index in range(18):
        (path,) = dataset.files(index)
        item = dataset[index]
        assert item.label == OF_FILES[files.index(path)]
        assert torch.equal(item.image, to_tensor(data.decode_image(path)))


def test_half_of_the_items_are_mirrored(files):
    dataset = folder_of(files[:1], CENTRED, Labels([], [0]))
    plain = dataset.preview(1).images[0]
    flips = [torch.equal(dataset[index].image, plain.flip(2)) for index in range(400)]
    assert abs(sum(flips) - 200) < 4 * 10
    assert all(torch.equal(dataset[k].image, plain) for k in range(400) if not flips[k])


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_pictures_have_the_channels_of_their_content(files, channels):
    dataset = folder_of(files, CENTRED, content=Content(channels=channels))
    item, batch = dataset[0], dataset.preview(4)
    assert item.image.shape == (channels, 8, 8)
    assert batch.images.shape == (4, channels, 8, 8)


def test_an_unreadable_file_is_replaced_by_the_next_of_its_class(files):
    files[3].write_text("no picture")  # the last cat: the first one comes after it
    files[0].unlink()
    dataset = folder_of(files)
    (index,) = [index for index in range(9) if dataset.files(index)[0] == files[3]]
    item = dataset[index]
    assert item.label == 0
    assert torch.equal(item.image, to_tensor(data.decode_image(files[1])))
    assert item.unreadable == (
        (files[3], "not an image of a known kind"),
        (files[0], "No such file or directory"),
    )


def test_a_class_without_any_readable_file_is_told(files):
    for path in files[4:6]:
        path.write_text("no picture")
    dataset = folder_of(files)
    index = next(index for index in range(9) if dataset.files(index)[0] == files[4])
    with pytest.raises(UserError, match="none of its 2 images of class dog can be read"):
        dataset[index]


def test_a_picture_smaller_than_the_crop_is_told_with_its_name(files):
    dataset = folder_of(files, Preprocessing("crop", 24, 24, flip=True))
    with pytest.raises(UserError) as caught:
        dataset[0]
    assert str(caught.value).startswith(f"{dataset.files(0)[0]}: image of 24x20 px is smaller than")


def test_what_no_folder_of_pictures_can_be_raises(files):
    with pytest.raises(ValueError, match="got 0 for 0"):
        folder_of([], labels=Labels([], []))
    with pytest.raises(ValueError, match="got 9 for 8"):
        folder_of(files[:8])
    with pytest.raises(ValueError, match="label maps"):
        folder_of(files, content=Content("labels", classes=3))


# ---- Batches ----


def test_a_batch_holds_its_items(files):
    dataset = folder_of(files, CROPPING)
    for number, batch in enumerate(take(Stream(dataset, batch_size=4, workers=0), 3, 5)):
        items = [dataset[5 + 4 * number + place] for place in range(4)]
        assert isinstance(batch, ImageBatch)
        assert torch.equal(batch.images, torch.stack([item.image for item in items]))
        assert batch.labels.dtype == torch.int64
        assert batch.labels.tolist() == [item.label for item in items]


def doubling(images_seen):
    return 2 if images_seen < 8 else 4


def test_workers_ranks_and_changing_sizes_give_the_same_bits(files):
    dataset = folder_of(files, CROPPING)
    whole = take(Stream(dataset, batch_size=doubling, workers=0), 7)
    shared = take(Stream(dataset, batch_size=doubling, workers=2), 7)
    low, high = (
        take(Stream(dataset, batch_size=doubling, workers=0, rank=rank, world_size=2), 7)
        for rank in range(2)
    )
    later = take(Stream(dataset, batch_size=doubling, workers=1), 4, first_image=6)
    assert [len(batch.labels) for batch in whole] == [2, 2, 2, 2, 4, 4, 4]
    for number, batch in enumerate(whole):
        parts = [torch.cat(part) for part in zip(low[number], high[number], strict=True)]
        others = [shared[number], parts, later[number - 3] if number >= 3 else batch]
        for other in others:
            assert all(map(torch.equal, batch, other))


@pytest.mark.parametrize("workers", [0, 1])
def test_pictures_of_unequal_size_in_a_batch_are_told(files, workers):
    dataset = folder_of(files)
    first, second = (dataset.files(index)[0] for index in range(2))
    noise(16, 12).save(second)
    with pytest.raises(UserError) as caught:
        take(Stream(dataset, batch_size=3, workers=workers), 1)
    assert str(caught.value) == (
        f"{first} (24x20 px) and {second} (16x12 px) do not fit into one batch; use `batch_size` 1 "
        "or a `preprocess` that crops"
    )


# ---- Previews ----


def test_the_preview_takes_the_classes_in_turn(files, capsys):
    dataset = folder_of(files)
    batch = dataset.preview(8)
    assert batch.labels.tolist() == [0, 1, 2, 0, 1, 2, 0, 1] and batch.labels.dtype == torch.int64
    shown = [files[at] for at in (0, 4, 6, 1, 5, 7, 2, 4)]  # the two dogs repeat
    assert torch.equal(
        batch.images, torch.stack([to_tensor(data.decode_image(path)) for path in shown])
    )
    assert len(dataset.preview(100).labels) == 9
    files[4].write_text("no picture")
    again = folder_of(files).preview(8).images
    assert torch.equal(again[1], batch.images[4])
    assert capsys.readouterr().err == (
        f"preview: {files[4]} cannot be read (not an image of a known kind)\n"
    )


def test_the_preview_without_classes_is_spread_over_the_files(files):
    dataset = folder_of(files, labels=Labels([], [0] * 9))
    batch = dataset.preview(4)
    shown = [files[place] for place in (0, 2, 4, 6)]  # of nine
    expected = torch.stack([to_tensor(data.decode_image(path)) for path in shown])
    assert torch.equal(batch.images, expected) and batch.labels.tolist() == [0] * 4


def test_the_preview_is_cut_in_the_middle_at_the_load_size(files):
    resized = data.decode_image(files[0]).resize((14, 12), 3).crop((3, 2, 11, 10))
    for seed in (0, 9):
        shown = folder_of(files, CENTRED, seed=seed).preview(1)
        assert torch.equal(shown.images[0], to_tensor(resized))


def test_previews_of_unequal_sizes_are_cut_about_their_centres(files):
    noise(16, 32).save(files[4])
    images = folder_of(files).preview(2).images
    assert torch.equal(images[0], to_tensor(data.decode_image(files[0]))[:, :, 4:20])
    assert torch.equal(images[1], to_tensor(data.decode_image(files[4]))[:, 6:26])


def test_classes_come_as_often_as_they_have_files(files):
    labels = Counter(folder_of(files)[index].label for index in range(27))
    assert [labels[label] for label in range(3)] == [12, 6, 9]
