"""Pairs of pictures: aligned in every draw, and a stream like any other."""

import contextlib
from collections import Counter
from itertools import islice

import numpy as np
import pytest
import torch
from PIL import Image

from data import (
    Content,
    Pair,
    PairedFiles,
    Pairs,
    Preprocessing,
    Stream,
    UnreadableImageError,
    check_pairs,
    decode_image,
    find_pairs,
    find_pictures,
    to_tensor,
)
from errors import UserError
from tests.data.pictures import noise, read_pair, save_noise

CROPPING = Preprocessing("resize_and_crop", 12, 8, flip=True)
WINDOW = Preprocessing("crop", 8, 8, flip=True)
WHOLE = Preprocessing("none", 8, 8, flip=False)
GREY, RGBA, LABELS = Content(channels=1), Content(channels=4), Content("labels", classes=5)


def told(call, *arguments, **options):
    with pytest.raises(UserError) as caught:
        call(*arguments, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def same(one, other):
    return torch.equal(one.source, other.source) and torch.equal(one.target, other.target)


def take(stream, count, first_image=0):
    with contextlib.closing(stream.batches(first_image)) as batches:
        return list(islice(batches, count))


def negative(image):
    return Image.fromarray(255 - np.asarray(image))


def save_label_map(path, width=24, height=20, classes=5):
    values = np.random.default_rng(1).integers(0, classes, (height, width), dtype=np.uint8)
    Image.fromarray(values).save(path)
    return path


@pytest.fixture
def pairs(tmp_path):
    """Seven pairs, each target the negative of its source: any draw of its own would show."""
    sources = save_noise(tmp_path / "trainA", [f"{number}.png" for number in range(7)])
    (tmp_path / "trainB").mkdir()
    for path in sources:
        negative(Image.open(path)).save(tmp_path / "trainB" / path.name)
    return find_pairs(tmp_path, None, None)


@pytest.fixture
def halves(tmp_path):
    """Three side-by-side pictures of 24x20 px, each left half the negative of the right one."""
    for path in save_noise(tmp_path / "train", ["a.png", "b.png", "c.png"], width=12):
        picture = Image.new("RGB", (24, 20))
        picture.paste(negative(Image.open(path)), (0, 0))
        picture.paste(Image.open(path), (12, 0))
        picture.save(path)
    return tmp_path


@pytest.mark.parametrize("preprocessing", [WINDOW, Preprocessing("none", 8, 8, flip=True)])
def test_both_pictures_of_a_pair_are_cropped_and_mirrored_alike(pairs, preprocessing):
    dataset = PairedFiles(pairs, preprocessing, seed=0)
    items = [dataset[index] for index in range(70)]
    for item in items:
        assert torch.allclose(item.source, -item.target, atol=1e-6)
    of_one_file = {
        item.source.numpy().tobytes()
        for index, item in enumerate(items)
        if dataset.files(index)[0] == pairs.train[0].source
    }
    assert len(of_one_file) == (10 if preprocessing == WINDOW else 2)


def test_a_marked_corner_is_in_the_same_place_of_both_halves(tmp_path):
    """Resized, cropped and mirrored, the mark moves about the picture, but in both alike."""
    (tmp_path / "train").mkdir()
    values = np.zeros((32, 64, 3), dtype=np.uint8)
    values[8:16, 4:12], values[8:16, 36:44] = 255, 255  # the same place of each half
    Image.fromarray(values).save(tmp_path / "train" / "a.png")
    preprocessing = Preprocessing("resize_and_crop", 32, 16, flip=True)
    dataset = PairedFiles(find_pairs(tmp_path, None, None), preprocessing, seed=0)
    corners = Counter()
    for index in range(60):
        item = dataset[index]
        assert torch.equal(item.source, item.target)
        marked = (item.source[0] > 0).nonzero()
        corners[tuple(marked.min(0).values.tolist()) if len(marked) else None] += 1
    assert len(corners) > 20  # a new place nearly every time


def test_an_item_is_a_pure_function_of_seed_and_index(pairs):
    first, again = (PairedFiles(pairs, CROPPING, seed=3) for _ in range(2))
    other = PairedFiles(pairs, CROPPING, seed=4)
    forwards = [first[index] for index in range(20)]
    assert all(same(again[index], forwards[index]) for index in reversed(range(20)))
    assert sum(same(other[index], forwards[index]) for index in range(20)) < 3
    assert forwards[0].source.shape == forwards[0].target.shape == (3, 8, 8)
    assert forwards[0].unreadable == ()


def test_each_pair_comes_once_an_epoch_in_an_order_of_its_own(pairs):
    dataset = PairedFiles(pairs, CROPPING, seed=0)
    assert dataset.epoch_images == 7
    assert dataset.file_count == 14
    epochs = [[dataset.files(7 * epoch + place) for place in range(7)] for epoch in range(6)]
    assert all(sorted(epoch) == [pair[:2] for pair in pairs.train] for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) >= 5


def test_the_item_shows_its_files(pairs):
    dataset = PairedFiles(pairs, WHOLE, seed=0)
    for index in (0, 5, 23):
        for tensor, path in zip(dataset[index][:2], dataset.files(index), strict=True):
            assert torch.equal(tensor, to_tensor(decode_image(path)))


def test_halves_are_left_to_right_and_the_other_way_round_on_demand(halves):
    path = halves / "train" / "a.png"
    picture = to_tensor(decode_image(path))
    left, right = picture[:, :, :12], picture[:, :, 12:]
    for direction, expected in (("AtoB", (left, right)), ("BtoA", (right, left))):
        pairs = find_pairs(halves, None, None, direction)
        dataset = PairedFiles(pairs, WHOLE, seed=0)
        index = next(index for index in range(3) if dataset.files(index)[0] == path)
        for got in (dataset[index][:2], read_pair(pairs.train[0], dataset.source, dataset.target)):
            assert all(map(torch.equal, got, expected)), direction
    assert dataset.file_count == 3


def test_halves_can_be_read_as_different_contents(halves):
    pair = find_pairs(halves, None, None).train[0]
    source, target = read_pair(pair, GREY, RGBA)
    assert source.shape == (1, 20, 12) and target.shape == (4, 20, 12)
    left = decode_image(pair.source).convert("L").crop((0, 0, 12, 20))
    assert torch.equal(source, GREY.to_tensor(left))


def test_a_picture_that_is_its_own_source_and_target_is_decoded_once(tmp_path, monkeypatch):
    files = save_noise(tmp_path / "train", ["a.png", "b.png"])
    tried = Counter()
    decode = Content.decode
    monkeypatch.setattr(
        Content, "decode", lambda content, path: tried.update([path]) or decode(content, path)
    )
    dataset = PairedFiles(find_pictures(tmp_path), CROPPING, seed=0)
    assert all(torch.equal(*dataset[index][:2]) for index in range(2))
    assert tried == Counter(files)
    assert dataset.file_count == 2
    grey = PairedFiles(find_pictures(tmp_path), CROPPING, seed=0, source=GREY)[0]
    assert grey.source.shape == (1, 8, 8) and grey.target.shape == (3, 8, 8)


@pytest.mark.parametrize("mode", ["resize_and_crop", "scale_width", "scale_shortside", "none"])
def test_label_maps_are_never_blurred_and_stay_with_their_picture(tmp_path, mode):
    """Colours of a picture of flat areas tell its labels wherever a resize leaves them alone."""
    values = np.repeat(np.repeat(np.arange(4).reshape(2, 2), 12, 0), 15, 1).astype(np.uint8)
    for name, image in (("trainA", values), ("trainB", values * 85)):
        (tmp_path / name).mkdir()
        Image.fromarray(image).save(tmp_path / name / "a.png")
    labels = Content("labels", classes=4)
    dataset = PairedFiles(
        find_pairs(tmp_path, None, None),
        Preprocessing(mode, 44, 40, flip=True),
        seed=0,
        source=labels,
        target=GREY,
    )
    for index in range(12):
        item = dataset[index]
        assert set(item.source.unique().tolist()) == {0.0, 1.0}
        assert torch.equal(item.source.sum(0), torch.ones_like(item.source[0]))
        seen = ((item.target[0] + 1) * 127.5 / 85).round()
        assert (seen == item.source.argmax(0)).float().mean() > 0.9


def test_16_bit_pictures_keep_steps_below_an_8_bit_level_through_a_resize(tmp_path):
    ramp = np.tile(np.arange(30000, 30000 + 64 * 8, 8, dtype=np.uint16), (64, 1))
    for name in ("trainA", "trainB"):
        (tmp_path / name).mkdir()
        Image.fromarray(ramp).save(tmp_path / name / "a.png")
    content = Content(channels=1, bits=16)
    dataset = PairedFiles(
        find_pairs(tmp_path, None, None),
        Preprocessing("resize_and_crop", 128, 64, flip=False),
        seed=0,
        source=content,
        target=GREY,
    )
    source, target, _ = dataset[0]
    steps = source[0, 10].diff()
    assert steps.min() > 0 and steps.max() < 2 / 255 / 10
    assert target.unique().numel() < 5


@pytest.mark.parametrize("source", [GREY, RGBA, LABELS])
@pytest.mark.parametrize("workers", [0, 2])
def test_batches_of_other_channel_counts_are_alike_with_and_without_workers(
    tmp_path, source, workers
):
    for name in ("trainA", "trainB"):
        (tmp_path / name).mkdir()
        for number in range(5):
            path = tmp_path / name / f"{number}.png"
            save_label_map(path) if name == "trainA" else noise(24, 20, number).save(path)
    dataset = PairedFiles(find_pairs(tmp_path, None, None), WINDOW, seed=0, source=source)
    whole = take(Stream(dataset, batch_size=4, workers=workers), 5)
    for number, batch in enumerate(whole):
        assert batch.source.shape == (4, source.tensor_channels, 8, 8)
        items = [dataset[4 * number + place] for place in range(4)]
        assert torch.equal(batch.source, torch.stack([item.source for item in items]))
        assert torch.equal(batch.target, torch.stack([item.target for item in items]))
    later = take(Stream(dataset, batch_size=4, workers=workers), 2, first_image=12)
    assert same(later[0], whole[3]) and same(later[1], whole[4])
    assert not same(whole[0], whole[3])


@pytest.mark.parametrize("spoilt", ["source", "target"])
def test_a_pair_that_cannot_be_read_is_replaced_by_the_next_and_told(pairs, spoilt):
    bad = {"source": pairs.train[6].source, "target": pairs.train[6].target}[spoilt]
    bad.write_text("no picture")
    pairs.train[0].target.unlink()
    dataset = PairedFiles(pairs, WHOLE, seed=0)
    index = next(index for index in range(7) if bad in dataset.files(index))
    for _ in range(2):
        item = dataset[index]
        assert item.unreadable == (
            (bad, "not an image of a known kind"),
            (pairs.train[0].target, "No such file or directory"),
        )
        assert torch.equal(item.source, to_tensor(decode_image(pairs.train[1].source)))
        assert torch.equal(item.target, to_tensor(decode_image(pairs.train[1].target)))


def test_pairs_that_can_none_be_read_are_told(pairs):
    for pair in pairs.train:
        pair.target.write_text("no picture")
    message = told(PairedFiles(pairs, WHOLE, seed=0).preview, 1)
    assert message.startswith(f"{pairs.train[0].target.parent}: none of its 7 pairs can be read")


def test_the_preview_is_the_first_test_pairs_and_nothing_random(pairs, tmp_path, capsys):
    for name in ("testA", "testB"):
        save_noise(tmp_path / name, ["a.png", "b.png", "c.png"])
    (tmp_path / "testB" / "b.png").write_text("no picture")
    pairs = find_pairs(tmp_path, None, None)
    batch = PairedFiles(pairs, CROPPING, seed=0).preview(2)
    for tensor, side in zip(batch, ("testA", "testB"), strict=True):
        expected = [
            to_tensor(decode_image(tmp_path / side / name).resize((8, 8), 3))
            for name in ("a.png", "c.png")
        ]
        assert torch.equal(tensor, torch.stack(expected))
    assert capsys.readouterr().err == (
        f"preview: {tmp_path / 'testB' / 'b.png'} cannot be read (not an image of a known kind)\n"
    )
    assert PairedFiles(pairs, CROPPING, seed=9).preview(100).source.shape[0] == 3


def test_previews_of_unequal_pairs_are_cut_about_their_centres(tmp_path):
    for name in ("trainA", "trainB"):
        files = save_noise(tmp_path / name, ["a.png", "b.png"])
        noise(16, 32).save(files[1])
    batch = PairedFiles(find_pairs(tmp_path, None, None), WHOLE, seed=0).preview(2)
    assert batch.source.shape == batch.target.shape == (2, 3, 20, 16)


def test_a_pair_to_measure_on_keeps_its_size_to_the_pixel(tmp_path):
    save_noise(tmp_path, ["a.png"], 23, 19)
    pair = Pair(tmp_path / "a.png", save_label_map(tmp_path / "b.png", 23, 19))
    source, labels = read_pair(pair, Content(), LABELS)
    assert source.shape == (3, 19, 23) and labels.shape == (5, 19, 23)
    assert torch.equal(source, to_tensor(decode_image(pair.source)))
    pair.target.unlink()
    with pytest.raises(UnreadableImageError, match="No such file"):
        read_pair(pair, Content(), LABELS)


def test_pairs_of_unequal_sizes_are_told_when_read_and_before(pairs):
    noise(20, 24).save(pairs.train[2].source)
    noise(30, 20).save(pairs.train[4].source)
    first, second = pairs.train[2], pairs.train[4]
    remedy = "are a pair of unequal sizes; resize one or remove both"
    assert told(read_pair, second, Content(), Content()) == (
        f"{second.source} (30x20 px) and {second.target} (24x20 px) {remedy}"
    )
    assert told(check_pairs, pairs.train, CROPPING) == (
        f"2 of 7 pairs cannot be used, first {first.source} (20x24 px) and {first.target} "
        f"(24x20 px) {remedy}"
    )


def test_odd_widths_of_side_by_side_pictures_are_told_when_read_and_before(halves):
    noise(25, 20).save(halves / "train" / "b.png")
    pairs = find_pairs(halves, None, None)
    words = (
        f"{halves / 'train' / 'b.png'}: width 25 px is odd, so it has no two equal halves; give "
        "pictures side by side, or folders trainA and trainB"
    )
    assert told(read_pair, pairs.train[1], Content(), Content()) == words
    assert told(check_pairs, pairs.train, CROPPING) == f"1 of 3 pairs cannot be used, first {words}"
    check_pairs(find_pictures(halves).train, CROPPING)  # whole pictures may be as they like


def test_pictures_smaller_than_the_crop_are_told_when_read_and_before(halves):
    pairs = find_pairs(halves, None, None)
    large = Preprocessing("crop", 16, 16, flip=True)
    name = halves / "train" / "a.png"
    assert told(PairedFiles(pairs, large, seed=0).preview, 1).startswith(
        f"{name}: image of 12x20 px is smaller than `crop_size` 16; use `preprocess`"
    )
    assert told(check_pairs, pairs.train, large).startswith(
        f"`crop_size` 16: larger than the short side of 3 of 3 images, first {name} (12 px); use"
    )
    check_pairs(pairs.train, Preprocessing("resize_and_crop", 16, 16, flip=True))


@pytest.mark.parametrize("ending", ["jpg", "png", "webp", "tif"])
def test_the_check_before_training_knows_turned_pictures(tmp_path, ending):
    for name in ("trainA", "trainB"):
        (tmp_path / name).mkdir()
    exif = Image.Exif()
    exif[0x0112] = 6
    noise(24, 20).save(tmp_path / "trainA" / f"a.{ending}", exif=exif)
    target = tmp_path / "trainB" / "a.png"
    noise(20, 24).save(target)
    pairs = find_pairs(tmp_path, None, None)
    check_pairs(pairs.train, CROPPING)
    read_pair(pairs.train[0], Content(), Content())
    noise(24, 20).save(target)
    assert "(20x24 px) and" in told(check_pairs, pairs.train, CROPPING)
    assert "(20x24 px) and" in told(read_pair, pairs.train[0], Content(), Content())


def test_the_check_before_training_leaves_unreadable_files_to_it(pairs):
    pairs.train[0].source.write_text("no picture")
    pairs.train[1].target.unlink()
    check_pairs(pairs.train, WINDOW)


@pytest.mark.parametrize("workers", [0, 1])
def test_pairs_of_other_sizes_in_one_batch_are_told(tmp_path, workers):
    for name in ("trainA", "trainB"):
        files = save_noise(tmp_path / name, ["a.png", "b.png"], 8, 8)
        noise(20, 12).save(files[1])
    dataset = PairedFiles(find_pairs(tmp_path, None, None), WHOLE, seed=0)
    first, second = dataset.files(0)[0], dataset.files(1)[0]
    sizes = {"a.png": "8x8 px", "b.png": "20x12 px"}
    assert told(take, Stream(dataset, batch_size=2, workers=workers), 1) == (
        f"{first} ({sizes[first.name]}) and {second} ({sizes[second.name]}) do not fit into one "
        "batch; use `batch_size` 1 or a `preprocess` that crops"
    )
    assert len(take(Stream(dataset, batch_size=1, workers=workers), 4)) == 4


def test_a_label_beyond_the_classes_ends_the_stream_in_one_line(tmp_path):
    for name in ("trainA", "trainB"):
        (tmp_path / name).mkdir()
        save_label_map(tmp_path / name / "a.png")
    few = Content("labels", classes=3)
    dataset = PairedFiles(find_pairs(tmp_path, None, None), WINDOW, seed=0, source=few)
    message = told(take, Stream(dataset, batch_size=1, workers=1), 1)
    assert message.startswith(f"{tmp_path / 'trainA' / 'a.png'}: has label 4, and")


def test_what_no_script_should_ask_for_is_refused(pairs):
    with pytest.raises(ValueError, match="label maps can be sources only"):
        PairedFiles(pairs, WHOLE, seed=0, target=LABELS)
    with pytest.raises(ValueError, match="at least one pair"):
        PairedFiles(Pairs([], []), WHOLE, seed=0)
