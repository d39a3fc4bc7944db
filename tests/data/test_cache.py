"""Pictures kept in shared memory: whole or not at all, in any process, never beyond the limit."""

import multiprocessing

import numpy as np
import pytest
import torch
from PIL import Image

from data.cache import PictureCache, Prepared
from tests.data.pictures import noise

FULL = (31, 17)


def levels(value, side=8, dtype=torch.uint8):
    return Prepared(FULL, torch.full((3, side, side), value, dtype=dtype))


def same(kept, prepared):
    return (
        kept.full_size == prepared.full_size
        and kept.picture.dtype == prepared.picture.dtype
        and torch.equal(kept.picture, prepared.picture)
    )


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int32, torch.float32])
def test_a_picture_comes_back_as_it_was(dtype):
    cache = PictureCache(3, 10_000)
    picture = torch.arange(2 * 5 * 7).reshape(2, 5, 7).to(dtype)
    cache.put(1, Prepared(FULL, picture))
    assert same(cache.get(1), Prepared(FULL, picture))
    assert cache.get(1).size == (7, 5)
    assert cache.get(0) is None and cache.get(2) is None


@pytest.mark.parametrize(
    ("mode", "dtype", "channels"),
    [
        ("RGB", torch.uint8, 3),
        ("L", torch.uint8, 1),
        ("RGBA", torch.uint8, 4),
        ("I", torch.int32, 1),
        ("F", torch.float32, 1),
    ],
)
def test_pillows_pictures_are_kept_as_their_values(mode, dtype, channels):
    image = noise(9, 6).convert(mode)
    cache = PictureCache(1, 10_000)
    cache.put(0, Prepared(FULL, image))
    kept = cache.get(0).picture
    assert kept.dtype == dtype and kept.shape == (channels, 6, 9)
    assert np.array_equal(kept.permute(1, 2, 0).squeeze(2).numpy(), np.asarray(image))


def test_what_was_handed_out_changes_no_more():
    cache = PictureCache(1, 10_000)
    cache.put(0, levels(1))
    kept = cache.get(0).picture
    cache.put(0, levels(2))
    assert torch.equal(kept, levels(1).picture)
    kept.zero_()
    assert torch.equal(cache.get(0).picture, levels(2).picture)


def test_no_more_is_kept_than_the_limit_allows():
    cache = PictureCache(10, 500)  # two of 192 bytes, and a smaller one
    for number in range(5):
        cache.put(number, levels(number))
    assert cache.used_bytes == 384
    assert [number for number in range(5) if cache.get(number)] == [0, 1]
    cache.put(7, levels(7, side=4))
    assert same(cache.get(7), levels(7, side=4)) and cache.used_bytes == 448
    cache.put(8, levels(8, side=5))  # 75 bytes, which take 128
    assert cache.get(8) is None and cache.used_bytes == 448
    assert all(same(cache.get(number), levels(number)) for number in range(2))


def test_another_size_takes_the_place_of_the_first_if_it_fits():
    cache = PictureCache(2, 10_000)
    cache.put(0, levels(1, side=8))
    cache.put(0, levels(2, side=6))
    assert same(cache.get(0), levels(2, side=6))
    cache.put(0, levels(3, side=8))
    assert same(cache.get(0), levels(3, side=8))
    cache.put(0, levels(4, side=9))
    assert same(cache.get(0), levels(3, side=8))
    assert cache.used_bytes == 192


def fill(cache, numbers):
    for number in numbers:
        cache.put(number, levels(number))


@pytest.mark.parametrize("start", ["fork", "spawn"])
def test_processes_share_what_they_keep(start):
    cache = PictureCache(6, 10_000)
    cache.put(0, levels(0))
    context = multiprocessing.get_context(start)
    processes = [context.Process(target=fill, args=(cache, numbers)) for numbers in ([1, 2], [3])]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
        assert process.exitcode == 0
    assert all(same(cache.get(number), levels(number)) for number in range(4))
    assert cache.get(4) is None and cache.used_bytes == 4 * 192


def replace_often(cache, sides):
    for turn in range(400):
        cache.put(0, levels(turn % 250, side=sides[turn % 2]))


def test_nobody_reads_a_picture_that_is_half_replaced():
    cache = PictureCache(1, 3 * 64 * 64)
    cache.put(0, levels(0, side=64))
    context = multiprocessing.get_context("fork")
    writers = [
        context.Process(target=replace_often, args=(cache, sides)) for sides in ((64, 48), (60, 64))
    ]
    for writer in writers:
        writer.start()
    seen = 0
    while any(writer.is_alive() for writer in writers):
        kept = cache.get(0)
        if kept:
            seen += 1
            assert kept.picture.min() == kept.picture.max()
            assert kept.size[0] == kept.size[1]
    for writer in writers:
        writer.join()
    assert seen
    assert cache.used_bytes == 3 * 64 * 64


def test_layout_tells_what_the_values_take():
    image = Image.new("F", (5, 4))
    assert Prepared(FULL, image).layout == (torch.float32, (1, 4, 5))
    assert Prepared(FULL, image).size == (5, 4)
