"""Image files to 8-bit pixels: in order, in any number of processes, plainly or upright."""

import multiprocessing
import os
from functools import partial

import numpy as np
import pytest
import torch
from PIL import Image, ImageOps

from data import (
    RGB,
    Content,
    Preprocessing,
    content_pixels,
    decode_image,
    decode_plainly,
    plain_levels,
    prepared_levels,
    read_images,
    to_levels,
)
from data.reading import _Reader
from tests.data.pictures import noise, png_16_bit, save_noise

ORIENTATION = 0x0112


def upright_levels(path):
    pixels, loss = content_pixels(path, RGB)
    return to_levels(pixels), loss


@pytest.fixture
def files(tmp_path):
    """Return 21 pictures, more than two groups, and among them an empty file and a text."""
    files = save_noise(tmp_path, [f"{k:02}.png" for k in range(21)], 7, 5)
    files[3].write_bytes(b"")
    files[17].write_bytes(b"no picture")
    return files


def saved_turned(path, orientation):
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    noise(6, 4).save(path, exif=exif)
    return path


def read_one(path, decode):
    (found,) = read_images([path], [0], decode, workers=0)
    assert found.index == 0 and found.reason == ""
    assert found.pixels.dtype == torch.uint8 and found.pixels.shape[0] == 3
    return found.pixels.permute(1, 2, 0).numpy(), found.loss


@pytest.mark.parametrize("workers", [0, 1, 2])
@pytest.mark.parametrize("plainly", [True, False])
def test_files_come_in_the_order_of_the_indices(files, workers, plainly):
    indices = [20, 3, 0, 1, 17, 2, 9, 8, 7, 6, 5, 20]
    decode = plain_levels if plainly else upright_levels
    found = list(read_images(files, indices, decode, workers=workers))
    assert [one.index for one in found] == indices
    for one in found:
        if one.index in (3, 17):
            assert one.pixels is None and one.loss == ""
        else:
            with Image.open(files[one.index]) as image:
                assert np.array_equal(one.pixels.permute(1, 2, 0).numpy(), np.asarray(image))
            assert one.reason == one.loss == ""
    reasons = {one.index: one.reason for one in found if one.pixels is None}
    assert reasons == {3: "empty file", 17: "not an image of a known kind"}


def test_the_number_of_workers_changes_nothing(files):
    runs = [
        list(read_images(files, range(21), plain_levels, workers=workers)) for workers in (0, 1, 2)
    ]
    for run in runs[1:]:
        for one, other in zip(run, runs[0], strict=True):
            assert (one.index, one.reason, one.loss) == (other.index, other.reason, other.loss)
            assert (one.pixels is None) == (other.pixels is None)
            assert one.pixels is None or torch.equal(one.pixels, other.pixels)


def test_pictures_may_differ_in_size(tmp_path):
    sizes = [(5, 4), (300, 2), (1, 1)]
    files = [tmp_path / f"{k}.png" for k in range(3)]
    for path, size in zip(files, sizes, strict=True):
        noise(*size).save(path)
    for workers in (0, 2):
        found = [one.pixels for one in read_images(files, range(3), plain_levels, workers=workers)]
        assert [(p.shape[2], p.shape[1]) for p in found] == sizes


def test_pixels_are_no_memory_of_pillows_that_may_not_be_written_to(files):
    ((_, pixels, _, _),) = _Reader(files, plain_levels)[[0]]
    assert pixels.flags.writeable


def test_a_missing_file_is_reported_and_not_raised(files):
    files[1].unlink()
    found = list(read_images(files, [0, 1, 2], plain_levels, workers=0))
    assert [one.reason for one in found] == ["", "No such file or directory", ""]


def test_no_indices_are_no_pictures(files):
    for workers in (0, 2):
        assert list(read_images(files, [], plain_levels, workers=workers)) == []


def test_nothing_is_read_before_it_is_asked_for_and_no_process_is_left(files):
    before = set(multiprocessing.active_children())
    stream = read_images(files, range(21), plain_levels, workers=2)
    assert set(multiprocessing.active_children()) == before
    next(stream)
    started = set(multiprocessing.active_children()) - before
    assert len(started) == 2
    stream.close()
    assert not started & set(multiprocessing.active_children())
    assert os.getpid() not in {process.pid for process in started}


# ---- Plainly, as the tools of FID, or upright, as training ----


def test_plainly_transparency_is_dropped_and_upright_it_is_laid_over_white(tmp_path):
    path = tmp_path / "a.png"
    picture = noise(6, 4).convert("RGBA")
    picture.putalpha(Image.fromarray(np.arange(24, dtype=np.uint8).reshape(4, 6) * 10))
    picture.save(path)
    pixels, loss = read_one(path, plain_levels)
    assert np.array_equal(pixels, np.asarray(noise(6, 4))) and loss == "transparency dropped"
    upright, loss = read_one(path, upright_levels)
    assert loss == "" and (upright[0, 0] == 255).all()
    assert not np.array_equal(upright, pixels)


def test_plainly_16_bits_are_clipped_and_upright_they_are_scaled(tmp_path):
    path = tmp_path / "a.png"
    values = np.array([[0, 100, 255, 256, 40000, 65535]], dtype=np.uint16)
    path.write_bytes(png_16_bit(values[..., None], color_type=0))
    pixels, loss = read_one(path, plain_levels)
    assert pixels[0, :, 0].tolist() == [0, 100, 255, 255, 255, 255]
    assert loss == "mode I;16 clipped to 8 bits"
    upright, loss = read_one(path, upright_levels)
    assert upright[0, :, 1].tolist() == [0, 0, 1, 1, 156, 255] and loss == ""


@pytest.mark.parametrize("orientation", [1, 3, 6])
def test_plainly_a_picture_is_not_turned_and_upright_it_is(tmp_path, orientation):
    path = saved_turned(tmp_path / "a.png", orientation)
    pixels, loss = read_one(path, plain_levels)
    assert np.array_equal(pixels, np.asarray(noise(6, 4)))
    assert loss == ("" if orientation == 1 else "orientation ignored")
    upright, loss = read_one(path, upright_levels)
    with Image.open(path) as image:
        assert np.array_equal(upright, np.asarray(ImageOps.exif_transpose(image)))
    assert loss == ""


def test_several_losses_are_told_together(tmp_path):
    path = tmp_path / "a.png"
    exif = Image.Exif()
    exif[ORIENTATION] = 8
    noise(6, 4).convert("RGBA").save(path, exif=exif)
    assert read_one(path, plain_levels)[1] == "transparency dropped, orientation ignored"


def test_plainly_floating_point_is_clipped_where_upright_refuses_it(tmp_path):
    path = tmp_path / "a.tif"
    Image.fromarray(np.array([[-3.0, 0.6, 77.0, 1e6]], dtype=np.float32)).save(path)
    pixels, loss = read_one(path, plain_levels)
    assert pixels[0, :, 2].tolist() == [0, 0, 77, 255] and loss == "mode F clipped to 8 bits"
    (found,) = read_images([path], [0], upright_levels, workers=0)
    assert found.pixels is None and "mode F have no fixed 8-bit range" in found.reason


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "CMYK", "LA", "RGBA", "I;16", "I"])
def test_plainly_is_pillows_conversion_of_every_mode(tmp_path, mode):
    path = tmp_path / ("a.tif" if mode in ("CMYK", "I") else "a.png")
    picture = noise(9, 7)
    if mode in ("I;16", "I"):
        levels = np.asarray(picture.convert("L")).astype(np.uint16 if mode == "I;16" else np.int32)
        picture = Image.fromarray(levels * 3)
    else:
        picture = picture.convert(mode)
    picture.save(path)
    with Image.open(path) as image:
        assert image.mode == mode
        expected = np.asarray(image.convert("RGB"))
    found = decode_plainly(path)
    assert np.array_equal(np.asarray(found.picture), expected)
    assert np.array_equal(read_one(path, plain_levels)[0], expected)
    assert bool(found.loss) == (mode in ("LA", "RGBA", "I;16", "I"))


def test_a_palette_with_a_transparent_colour_loses_it(tmp_path):
    picture = noise(6, 4).convert("P")
    picture.save(tmp_path / "a.png", transparency=0)
    assert decode_plainly(tmp_path / "a.png").loss == "transparency dropped"


def test_upright_is_what_training_reads(files):
    for one in read_images(files, [0, 1, 2], upright_levels, workers=0):
        expected = np.asarray(decode_image(files[one.index]))
        assert np.array_equal(one.pixels.permute(1, 2, 0).numpy(), expected)


# ---- As training sees it ----

CENTRED = Preprocessing("centre_crop", 12, 8, flip=True)


@pytest.mark.parametrize("workers", [0, 2])
def test_a_picture_is_measured_as_training_prepares_it(tmp_path, workers):
    files = save_noise(tmp_path, [f"{k:02}.png" for k in range(10)], 24, 20)
    decode = partial(prepared_levels, preprocessing=CENTRED, content=RGB)
    for one in read_images(files, range(10), decode, workers=workers):
        resized = decode_image(files[one.index]).resize((14, 12), Image.Resampling.BICUBIC)
        expected = np.asarray(resized.crop((3, 2, 11, 10)))
        assert one.pixels.dtype == torch.uint8 and one.loss == ""
        assert np.array_equal(one.pixels.permute(1, 2, 0).numpy(), expected)


@pytest.mark.parametrize("bits", [8, 16])
def test_a_grey_picture_is_measured_as_three_equal_channels(tmp_path, bits):
    path = tmp_path / "a.png"
    values = np.arange(64, dtype=np.uint16).reshape(8, 8) * 1000
    path.write_bytes(png_16_bit(values[..., None], color_type=0))
    content = Content(channels=1, bits=bits)
    levels, loss = prepared_levels(path, Preprocessing("centre_crop", 8, 8, True), content)
    expected = torch.from_numpy(np.rint(values / 257).astype(np.uint8)).expand(3, 8, 8)
    assert torch.equal(levels, expected) and loss == ""


def test_what_cannot_be_prepared_is_a_reason_and_no_picture(files):
    decode = partial(prepared_levels, preprocessing=Preprocessing("crop", 8, 8, False), content=RGB)
    small, bad = read_images(files, [0, 17], decode, workers=0)
    assert small.pixels is None and bad.pixels is None
    assert small.reason.startswith(f"{files[0]}: image of 7x5 px is smaller than `crop_size` 8")
    assert bad.reason == "not an image of a known kind"
