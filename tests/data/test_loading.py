"""Loading: the cache changes no bit, fast decoding few levels, and neither where it must not."""

import contextlib
from collections import Counter
from itertools import islice

import numpy as np
import pytest
import torch
from PIL import Image

import data.loading
from data import (
    Content,
    ImageFolder,
    Labels,
    Loading,
    Pair,
    PairedFiles,
    Pairs,
    Preprocessing,
    Stream,
    UnpairedFolders,
    find_pairs,
    to_levels,
)
from data.decode import open_reduced
from data.loading import Loader, Picture
from errors import UserError
from tests.data.pictures import noise, save_noise

CROPPING = Preprocessing("resize_and_crop", 12, 8, flip=True)
MODES = ("resize_and_crop", "crop", "scale_width", "scale_width_and_crop", "scale_shortside")
PLENTY, LITTLE = 10**6, 2000
FAST = Loading("fast")


def take(dataset, count, workers=0, first_image=0):
    stream = Stream(dataset, batch_size=3, workers=workers)
    with contextlib.closing(stream.batches(first_image)) as batches:
        return list(islice(batches, count))


def equal(batches, others):
    return all(
        torch.equal(tensor, other)
        for pair in zip(batches, others, strict=True)
        for tensor, other in zip(*pair, strict=True)
    )


def photograph(width, height, seed=0):
    """Shapes of several sizes, some with sharp edges."""
    random = np.random.default_rng(seed)
    coarse = Image.fromarray(random.integers(0, 256, (6, 8, 3), dtype=np.uint8))
    smooth = np.asarray(coarse.resize((width, height), Image.Resampling.BICUBIC)).astype(float)
    sharp = np.asarray(coarse.rotate(180).resize((width, height), Image.Resampling.NEAREST))
    return Image.fromarray((0.8 * smooth + 0.2 * sharp).astype(np.uint8))


def unpaired(folder, loading, mode="resize_and_crop"):
    files = [
        save_noise(folder / name, [f"{number}.png" for number in range(count)], 30, 25)
        for name, count in (("A", 5), ("B", 4))
    ]
    preprocessing = Preprocessing(mode, 12, 8, flip=True)
    return UnpairedFolders(*files, preprocessing, seed=0, jitter_until_images=12, loading=loading)


def halves(folder, loading):
    save_noise(folder / "train", [f"{number}.png" for number in range(4)], 40, 18)
    return PairedFiles(find_pairs(folder, None, None), CROPPING, seed=0, loading=loading)


def labelled(folder, loading):
    """Label maps and grey pictures of 16 bits, in a mode that does not crop."""
    folder.mkdir(exist_ok=True)
    pairs = []
    for number in range(4):
        random = np.random.default_rng(number)
        maps, grey = folder / f"{number}.png", folder / f"grey{number}.png"
        Image.fromarray(random.integers(0, 5, (20, 26), dtype=np.uint8)).save(maps)
        Image.fromarray(random.integers(0, 65536, (20, 26), dtype=np.uint16)).save(grey)
        pairs.append(Pair(maps, grey))
    return PairedFiles(
        Pairs(pairs, pairs),
        Preprocessing("scale_width", 18, 8, flip=True),
        seed=0,
        source=Content("labels", classes=5),
        target=Content(channels=1, bits=16),
        loading=loading,
    )


def images(folder, loading):
    files = save_noise(folder, [f"{number}.png" for number in range(5)], 19, 26)
    preprocessing = Preprocessing("centre_crop", 12, 8, flip=True, size_multiple=1)
    content = Content(channels=4)
    labels = Labels([], [0] * 5)
    return ImageFolder(files, labels, preprocessing, seed=0, content=content, loading=loading)


OPENED = {"unpaired": unpaired, "halves": halves, "labelled": labelled, "images": images}


@pytest.mark.parametrize("limit", [PLENTY, LITTLE])
@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("name", OPENED)
def test_the_cache_changes_no_bit(tmp_path, name, workers, limit):
    """Over several epochs; of the unpaired, CUT's jitter ends on the way."""
    plain = take(OPENED[name](tmp_path / "data", Loading()), 8)
    assert len({batch[0].numpy().tobytes() for batch in plain}) > 4
    kept = OPENED[name](tmp_path / "data", Loading(cache_bytes=limit))
    assert equal(take(kept, 8, workers), plain)
    assert equal(take(kept, 3, workers, first_image=15), plain[5:])  # the same one, filled
    used = kept._loader._cache.used_bytes
    assert 0 < used <= limit


@pytest.mark.parametrize("mode", MODES)
def test_the_cache_changes_no_bit_of_any_mode(tmp_path, mode):
    datasets = [unpaired(tmp_path, Loading(cache_bytes=size), mode) for size in (0, PLENTY)]
    for index in (0, 1, 2, 7, 7, 13, 14, 20, 13, 3):
        items = [dataset[index] for dataset in datasets]
        assert equal([items[0][:2]], [items[1][:2]]), index


@pytest.fixture
def decoded(monkeypatch):
    """How often each file was decoded."""
    tried = Counter()
    decode = Content.decode
    monkeypatch.setattr(
        Content, "decode", lambda content, path: tried.update([path]) or decode(content, path)
    )
    return tried


def test_from_the_cache_no_file_is_read_twice(tmp_path, decoded):
    dataset = unpaired(tmp_path, Loading(cache_bytes=PLENTY))
    for index in [*range(12), *range(12)]:
        dataset[index]
    assert set(decoded.values()) == {1}
    dataset[12]  # the late training's size is another one
    assert sorted(decoded.values())[-2:] == [2, 2]
    take_again = decoded.total()
    dataset[12]
    assert decoded.total() == take_again


def test_the_reading_processes_fill_one_cache(tmp_path, decoded):
    dataset = images(tmp_path, Loading(cache_bytes=PLENTY))
    take(dataset, 10, workers=2)  # six epochs
    take(dataset, 2)
    assert not decoded  # in this process


def test_two_halves_are_decoded_once(tmp_path, decoded):
    dataset = halves(tmp_path, Loading())
    dataset[0]
    assert list(decoded.values()) == [1]


def test_previews_are_exact_and_leave_the_cache_alone(tmp_path):
    for name, opened in OPENED.items():
        plain = opened(tmp_path / name, Loading())
        other = opened(tmp_path / name, Loading("fast", PLENTY))
        assert equal([other.preview(3)], [plain.preview(3)]), name
        assert other._loader._cache.used_bytes == 0


def test_an_unreadable_file_is_replaced_and_told_from_the_cache_too(tmp_path):
    dataset = unpaired(tmp_path, Loading(cache_bytes=PLENTY))
    bad = dataset.source_files[2]
    bad.write_text("no picture")
    found = [dataset[index].unreadable for index in (*range(10), *range(10))]
    assert found[:10] == found[10:]
    assert {each for each in found if each} == {((bad, "not an image of a known kind"),)}


def test_a_kept_picture_smaller_than_the_crop_is_told_every_time(tmp_path):
    files = save_noise(tmp_path, ["a.png"], 30, 25)
    preprocessing = Preprocessing("crop", 28, 28, flip=True)
    dataset = UnpairedFolders(
        files, files, preprocessing, seed=0, loading=Loading(cache_bytes=PLENTY)
    )
    for _ in range(2):
        with pytest.raises(UserError, match=r"a.png: image of 30x25 px is smaller than"):
            dataset[0]


# ---- Fast decoding ----


def both(path, preprocessing, content=data.RGB, half=None, jitter=True):
    """The exact and the fast levels of a picture before the crop, as integers."""
    levels = []
    for decode in ("exact", "fast"):
        loader = Loader(preprocessing, Loading(decode))
        (found,) = loader.load([Picture(path, content, half)], jitter)
        picture = found.picture
        if isinstance(picture, Image.Image):
            picture = data.pixels.planes(picture)
        levels.append((found.full_size, picture.double()))
    (exact_size, exact), (fast_size, fast) = levels
    assert fast_size == exact_size
    assert fast.shape == exact.shape
    return exact, fast


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("size", [(60, 45), (20, 15), (61, 97), (36, 36)])
def test_without_a_reduction_fast_is_within_two_levels(tmp_path, size, channels):
    noise(*size).save(tmp_path / "a.png")
    content = Content(channels=channels)
    for preprocessing in (
        Preprocessing("resize_and_crop", 36, 32, flip=True),
        Preprocessing("scale_width", 40, 16, flip=True),  # rounded after that, here at once
    ):
        exact, fast = both(tmp_path / "a.png", preprocessing, content)
        difference = (exact - fast).abs()
        if preprocessing.mode == "resize_and_crop":
            assert difference.max() <= 2 and difference.mean() < 0.5
        else:
            assert difference.mean() < 12  # of noise, which a second resize blurs


@pytest.mark.parametrize("load", [64, 50, 33])
@pytest.mark.parametrize("size", [(128, 128), (129, 131), (200, 143), (263, 301), (519, 517)])
def test_a_reduced_jpeg_is_within_two_levels_on_the_mean(tmp_path, size, load):
    """Sides that no reduction divides: what the decoder adds at the edge must not shift it."""
    photograph(*size).save(tmp_path / "a.jpg", quality=90)
    exact, fast = both(tmp_path / "a.jpg", Preprocessing("resize_and_crop", load, 32, flip=True))
    assert (exact - fast).abs().mean() < 2
    for columns in (slice(0, 4), slice(-4, None)):  # both borders: half a pixel's shift shows
        assert (exact - fast)[:, :, columns].abs().mean() < 3


def test_no_shift_between_the_decoders(tmp_path):
    """A ramp shows a shift as a constant difference."""
    ramp = np.broadcast_to(np.linspace(0, 255, 259), (131, 259)).astype(np.uint8)
    Image.fromarray(ramp).convert("RGB").save(tmp_path / "a.jpg", quality=98)
    exact, fast = both(tmp_path / "a.jpg", Preprocessing("resize_and_crop", 32, 32, flip=True))
    inner = (exact - fast)[:, 2:-2, 2:-2]
    slope = 255 / 32  # levels a pixel
    assert inner.mean().abs() < 0.05 * slope


@pytest.mark.parametrize(
    ("size", "load", "expected"),
    [
        ((128, 128), 65, 1),
        ((128, 128), 64, 2),
        ((128, 127), 64, 1),
        ((300, 256), 64, 4),
        ((1000, 512), 64, 8),
        ((2000, 2000), 64, 8),
    ],
)
def test_the_largest_reduction_that_leaves_the_load_size(size, load, expected):
    loader = Loader(Preprocessing("resize_and_crop", load, 32, flip=True), FAST)
    assert loader._reduction(size, halves=False, jitter=True) == expected


def test_without_jitter_less_must_be_left():
    loader = Loader(Preprocessing("resize_and_crop", 80, 64, flip=True), FAST)
    assert loader._reduction((128, 128), halves=False, jitter=True) == 1
    assert loader._reduction((128, 128), halves=False, jitter=False) == 2


@pytest.mark.parametrize("mode", ["crop", "none"])
def test_modes_without_a_resize_decode_everything(tmp_path, mode):
    photograph(96, 80).save(tmp_path / "a.jpg", quality=90)
    exact, fast = both(tmp_path / "a.jpg", Preprocessing(mode, 16, 16, flip=True))
    assert torch.equal(exact, fast)


@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
def test_a_turned_photograph_is_reduced_upright(tmp_path, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    photograph(200, 120).save(tmp_path / "a.jpg", quality=92, exif=exif)
    opened = open_reduced(tmp_path / "a.jpg", lambda full_size: 4)
    turned = orientation in (6, 8)
    assert opened.full_size == ((120, 200) if turned else (200, 120))
    assert opened.image.size == ((30, 50) if turned else (50, 30))
    preprocessing = Preprocessing("scale_width_and_crop", 48, 16, flip=True)
    exact, fast = both(tmp_path / "a.jpg", preprocessing)
    assert (exact - fast).abs().mean() < 2


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("width", [256, 260, 258])
def test_halves_are_reduced_without_mixing(tmp_path, side, width):
    both_halves = Image.new("RGB", (width, 130), "black")
    both_halves.paste(photograph(width // 2, 130), (width // 2, 0))
    both_halves.save(tmp_path / "a.jpg", quality=95, subsampling=0)
    preprocessing = Preprocessing("resize_and_crop", 32, 32, flip=True)
    exact, fast = both(tmp_path / "a.jpg", preprocessing, half=side)
    assert (exact - fast).abs().mean() < 2
    if side == "left":
        assert fast[:, :, :-3].max() < 12


def test_labels_transparency_and_16_bits_are_resized_exactly(tmp_path):
    random = np.random.default_rng(0)
    Image.fromarray(random.integers(0, 5, (40, 50), dtype=np.uint8)).save(tmp_path / "labels.png")
    Image.fromarray(random.integers(0, 65536, (40, 50), dtype=np.uint16)).save(tmp_path / "16.png")
    noise(50, 40).convert("RGBA").save(tmp_path / "alpha.png")
    preprocessing = Preprocessing("resize_and_crop", 18, 16, flip=True)
    for name, content in (
        ("labels.png", Content("labels", classes=5)),
        ("16.png", Content(channels=1, bits=16)),
        ("alpha.png", Content(channels=4)),
    ):
        exact, fast = both(tmp_path / name, preprocessing, content)
        assert torch.equal(exact, fast), name


@pytest.mark.parametrize("workers", [1, 2])
def test_fast_pictures_are_the_same_for_any_workers_and_cache(tmp_path, workers):
    for number in range(5):
        photograph(70, 66, seed=number).save(tmp_path / f"{number}.jpg")
    files = sorted(tmp_path.iterdir())

    def opened(loading):
        return UnpairedFolders(
            files[:3],
            files[3:],
            Preprocessing("resize_and_crop", 32, 28, flip=True),
            seed=0,
            loading=loading,
        )

    plain = take(opened(FAST), 4)
    assert equal(take(opened(FAST), 4, workers), plain)
    assert equal(take(opened(Loading("fast", PLENTY)), 4, workers), plain)
    exact = take(opened(Loading()), 4)
    assert not equal(exact, plain)
    for batch, other in zip(plain, exact, strict=True):
        difference = to_levels(batch.source).double() - to_levels(other.source).double()
        assert difference.abs().mean() < 2


def test_a_truncated_jpeg_is_unreadable_fast_too(tmp_path):
    photograph(128, 128).save(tmp_path / "a.jpg")
    (tmp_path / "a.jpg").write_bytes((tmp_path / "a.jpg").read_bytes()[:900])
    loader = Loader(Preprocessing("resize_and_crop", 32, 32, flip=True), FAST)
    with pytest.raises(data.UnreadableImageError, match=r"a.jpg"):
        loader.load([Picture(tmp_path / "a.jpg")])


def test_what_cannot_be_is_told():
    with pytest.raises(UserError, match="`decode` quick: not known; give exact or fast"):
        Loading("quick")
    with pytest.raises(UserError, match="cache_bytes -1: below 0"):
        Loading(cache_bytes=-1)
