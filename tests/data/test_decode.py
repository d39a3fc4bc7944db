import io
import random

import numpy as np
import pytest
from PIL import Image, ImageOps

from data import UnreadableImageError, decode_image
from tests.data.pictures import noise, png_16_bit

LEVELS = np.array(
    [0, 127, 128, 129, 255, 256, 384, 385, 386, 40000, 65279, 65406, 65407, 65535], dtype=np.uint16
)
ROUNDED = np.round(LEVELS * 255.0 / 65535.0).astype(np.uint8)


def decoded(path):
    image = decode_image(path)
    assert image.mode == "RGB"
    return np.asarray(image)


def grey(path):
    """The one channel of a picture whose three channels agree."""
    pixels = decoded(path)
    assert (pixels == pixels[..., :1]).all()
    return pixels[..., 0]


def reason_for(path):
    with pytest.raises(UnreadableImageError) as caught:
        decode_image(path)
    error = caught.value
    assert error.path == path
    assert "\n" not in str(error) and str(error) == f"{path}: {error.reason}"
    return error.reason


@pytest.mark.parametrize("name", ["a.png", "a.bmp", "a.ppm", "a.tif", "a.tiff"])
def test_rgb_is_read_as_it_was_saved(tmp_path, name):
    noise(9, 7).save(tmp_path / name)
    assert (decoded(tmp_path / name) == np.asarray(noise(9, 7))).all()


def test_webp_and_jpeg_are_read(tmp_path):
    noise(9, 7).save(tmp_path / "a.webp", lossless=True)
    assert (decoded(tmp_path / "a.webp") == np.asarray(noise(9, 7))).all()
    Image.new("RGB", (16, 16), (200, 40, 90)).save(tmp_path / "a.jpg", quality=95)
    assert np.abs(decoded(tmp_path / "a.jpg").astype(int) - [200, 40, 90]).max() <= 3


@pytest.mark.parametrize("mode", ["1", "L", "P"])
def test_grey_one_bit_and_palette(tmp_path, mode):
    image = noise(9, 7).convert(mode)
    image.save(tmp_path / "a.png")
    assert Image.open(tmp_path / "a.png").mode == mode
    assert (decoded(tmp_path / "a.png") == np.asarray(image.convert("RGB"))).all()


def test_cmyk(tmp_path):
    Image.new("CMYK", (4, 4), (0, 255, 255, 0)).save(tmp_path / "a.tif")  # red ink
    assert (decoded(tmp_path / "a.tif") == [255, 0, 0]).all()


@pytest.mark.parametrize(("mode", "name"), [("RGBA", "a.png"), ("LA", "a.png"), ("RGBA", "a.tif")])
def test_alpha_is_laid_over_white_for_every_level_and_alpha(tmp_path, mode, name):
    level, alpha = np.meshgrid(np.arange(256), np.arange(256))
    bands = [Image.fromarray(band.astype(np.uint8)) for band in (level, alpha)]
    Image.merge(mode, [bands[0]] * (len(mode) - 1) + [bands[1]]).save(tmp_path / name)
    expected = np.floor(level * alpha / 255 + 255 - alpha + 0.5)
    assert (grey(tmp_path / name) == expected).all()


def test_a_transparent_palette_entry_and_colour_become_white(tmp_path):
    palette = Image.fromarray(np.array([[0, 1, 2]], dtype=np.uint8)).convert("P")
    palette.putpalette([10, 20, 30, 40, 50, 60, 70, 80, 90])
    palette.save(tmp_path / "p.png", transparency=1)
    assert decoded(tmp_path / "p.png").tolist() == [[[10, 20, 30], [255] * 3, [70, 80, 90]]]

    palette.save(tmp_path / "half.png", transparency=bytes([255, 255, 51]))  # alpha 0.2
    assert decoded(tmp_path / "half.png")[0, 2].tolist() == [218, 220, 222]

    colours = Image.fromarray(np.array([[[1, 2, 3], [4, 5, 6]]], dtype=np.uint8))
    colours.save(tmp_path / "c.png", transparency=(4, 5, 6))
    assert decoded(tmp_path / "c.png").tolist() == [[[1, 2, 3], [255] * 3]]

    levels = Image.fromarray(np.array([[7, 8]], dtype=np.uint8))
    levels.save(tmp_path / "l.png", transparency=7)
    assert grey(tmp_path / "l.png").tolist() == [[255, 8]]

    bits = Image.fromarray(np.array([[0, 255]], dtype=np.uint8)).convert("1")
    bits.save(tmp_path / "b.png", transparency=0)
    assert grey(tmp_path / "b.png").tolist() == [[255, 255]]


@pytest.mark.parametrize("name", ["a.png", "a.tif", "a.ppm"])
def test_16_bit_grey_is_scaled_and_rounded(tmp_path, name):
    every = np.arange(65536, dtype=np.uint16).reshape(256, 256)
    Image.fromarray(every).save(tmp_path / name)
    expected = np.round(every * 255.0 / 65535.0)
    assert (grey(tmp_path / name) == expected).all()


def test_16_bit_grey_in_either_byte_order(tmp_path):
    picture = Image.frombytes("I;16B", (len(LEVELS), 1), LEVELS.astype(">u2").tobytes())
    picture.save(tmp_path / "a.tif")
    with Image.open(tmp_path / "a.tif") as opened:
        assert opened.mode == "I;16B"
    assert (grey(tmp_path / "a.tif")[0] == ROUNDED).all()


def test_16_bit_grey_png_with_a_transparent_level(tmp_path):
    data = png_16_bit(LEVELS[None, :, None], 0, transparency=(40000).to_bytes(2, "big"))
    (tmp_path / "a.png").write_bytes(data)
    expected = np.where(LEVELS == 40000, 255, ROUNDED)
    assert (grey(tmp_path / "a.png")[0] == expected).all()


@pytest.mark.parametrize(("color_type", "channels"), [(2, 3), (4, 2), (6, 4)])
def test_16_bit_colour_and_alpha_lose_the_low_byte_in_pillow(tmp_path, color_type, channels):
    values = np.repeat(LEVELS[None, :, None], channels, axis=2)
    if channels != 3:
        values[..., -1] = 65535
    (tmp_path / "a.png").write_bytes(png_16_bit(values, color_type))
    assert (grey(tmp_path / "a.png")[0] == LEVELS // 256).all()


def test_32_bit_integers_in_the_16_bit_range_are_scaled_and_others_refused(tmp_path):
    path = tmp_path / "a.tif"
    Image.fromarray(LEVELS[None].astype(np.int32)).save(path)
    assert (grey(path)[0] == ROUNDED).all()
    Image.fromarray(np.array([[0, 65536]], dtype=np.int32)).save(path)
    assert reason_for(path) == "integer pixels from 0 to 65536, not in 0..65535"
    Image.fromarray(np.array([[-1, 5]], dtype=np.int32)).save(path)
    assert reason_for(path) == "integer pixels from -1 to 5, not in 0..65535"


def test_modes_without_a_fixed_range_are_refused(tmp_path):
    path = tmp_path / "a.tif"
    Image.fromarray(np.zeros((2, 2), dtype=np.float32)).save(path)
    assert reason_for(path) == "pixels of mode F have no fixed 8-bit range"
    Image.new("LAB", (2, 2)).save(path)
    assert reason_for(path) == "pixels of mode LAB have no fixed 8-bit range"


def test_an_inverted_16_bit_tiff_is_refused_and_an_inverted_8_bit_one_is_read(tmp_path):
    path = tmp_path / "a.tif"
    Image.fromarray(LEVELS[None]).save(path, tiffinfo={262: 0})
    assert "zero is white" in reason_for(path)
    Image.fromarray(np.array([[0, 200]], dtype=np.uint8)).save(path, tiffinfo={262: 0})
    with Image.open(path) as opened:
        assert opened.tag_v2[262] == 0
    assert grey(path).tolist() == [[0, 200]]


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.tif", "a.webp"])
def test_exif_orientation_is_applied_once(tmp_path, orientation, name):
    exif = Image.Exif()
    exif[0x0112] = orientation
    noise(24, 16).save(tmp_path / name, exif=exif)
    with Image.open(tmp_path / name) as stored:
        expected = np.asarray(ImageOps.exif_transpose(stored).convert("RGB"))
    assert expected.shape == ((24, 16, 3) if orientation >= 5 else (16, 24, 3))
    assert (decoded(tmp_path / name) == expected).all()


@pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.bmp", "a.webp", "a.tif"])
@pytest.mark.parametrize("share", [0.5, 0.9])
def test_truncated_files_are_unreadable(tmp_path, name, share):
    path = tmp_path / name
    noise(64, 64).save(path)
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])
    assert reason_for(path)


def test_files_that_are_no_images_are_unreadable(tmp_path):
    path = tmp_path / "a.png"
    assert reason_for(path) == "No such file or directory"
    path.write_bytes(b"")
    assert reason_for(path) == "empty file"
    path.write_text("not\na picture\n" * 50)
    assert reason_for(path) == "not an image of a known kind"
    (tmp_path / "b.png").mkdir()
    assert reason_for(tmp_path / "b.png") == "Is a directory"


def test_postscript_named_png_is_never_handed_to_its_interpreter(tmp_path):
    noise(8, 8).save(tmp_path / "a.png", format="EPS")
    assert reason_for(tmp_path / "a.png") == "not an image of a known kind"


def test_a_decompression_bomb_is_unreadable(tmp_path, monkeypatch):
    noise(30, 30).save(tmp_path / "a.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 400)
    assert "decompression bomb" in reason_for(tmp_path / "a.png")


@pytest.mark.filterwarnings("ignore")  # Pillow's, about the damage
def test_damaged_bytes_give_a_picture_or_the_one_error(tmp_path):
    draw = random.Random(0)
    saved = []
    for kind in ("PNG", "JPEG", "BMP", "PPM", "WEBP"):  # libtiff writes to stderr for each damage
        buffer = io.BytesIO()
        noise(16, 12).save(buffer, kind)
        saved.append(buffer.getvalue())
    outcomes = set()
    for _ in range(1500):
        data = bytearray(draw.choice(saved))
        for _ in range(4):
            data[draw.randrange(min(len(data), draw.choice([40, 10_000])))] = draw.randrange(256)
        (tmp_path / "a").write_bytes(data)
        try:
            outcomes.add(decode_image(tmp_path / "a").mode)
        except UnreadableImageError:
            outcomes.add("unreadable")
    assert outcomes == {"RGB", "unreadable"}
