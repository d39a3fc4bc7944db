"""Large pictures: read in parts as they are read whole, and written from bands of any height."""

import numpy as np
import pytest
import tifffile
import torch
from PIL import ExifTags, Image

import data
from data import large
from data.bands import of_height, write_bands
from data.large import open_large
from data.pixels import planes

CONTENTS = [
    data.Content(),
    data.Content(channels=1),
    data.Content(channels=4),
    data.Content(channels=1, bits=16),
]
KINDS = {"grey": (1, "uint8"), "rgb": (3, "uint8"), "rgba": (4, "uint8"), "wide": (1, "uint16")}
XMP = b'<rdf:Description tiff:Orientation="6"/>'
LAYOUTS = {
    "strips": {"rowsperstrip": 7},
    "one strip": {},
    "deflated": {"rowsperstrip": 7, "compression": "zlib"},
    "one part": {"compression": "zlib", "rowsperstrip": 2**31},
    "tiles": {"tile": (32, 16), "compression": "zlib", "predictor": True},
    "big-endian": {"byteorder": ">", "rowsperstrip": 16},
}


def levels(channels, dtype, size=(45, 71)):
    random = np.random.default_rng(channels)
    return random.integers(0, np.iinfo(dtype).max + 1, (*size, channels)).astype(dtype)


def write_tiff(path, values, **layout):
    channels = values.shape[2]
    tifffile.imwrite(
        path,
        values.squeeze(),
        photometric="rgb" if channels > 1 else "minisblack",
        extrasamples=("unassalpha",) if channels == 4 else (),
        **layout,
    )


def joined(path, content):
    """Return a picture's values, and how many parts it was read in."""
    with open_large(path, content) as picture:
        values = torch.zeros(picture.channels, *picture.size, dtype=picture.dtype)
        covered = torch.zeros(picture.size)
        count = 0
        for top, left, part in picture.parts:
            rows, columns = (slice(top, top + part.shape[1]), slice(left, left + part.shape[2]))
            values[:, rows, columns] = part
            assert part.dtype == picture.dtype
            covered[rows, columns] += 1
            count += 1
    assert covered.eq(1).all()
    return values, count


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("kind", KINDS)
def test_a_tiff_in_parts_is_the_picture_that_is_decoded_whole(kind, layout, tmp_path, monkeypatch):
    monkeypatch.setattr(large, "BYTES_AT_ONCE", 1000)
    path = tmp_path / "in.tif"
    write_tiff(path, levels(*KINDS[kind]), **LAYOUTS[layout])
    for content in CONTENTS:
        values, count = joined(path, content)
        assert torch.equal(values, planes(content.decode(path)))
        assert (count == 1) == (layout == "one part")


def test_labels_are_read_in_parts(tmp_path, monkeypatch):
    monkeypatch.setattr(large, "BYTES_AT_ONCE", 710)
    write_tiff(tmp_path / "in.tif", levels(1, "uint8") % 5, rowsperstrip=10)
    content = data.Content("labels", classes=5)
    values, count = joined(tmp_path / "in.tif", content)
    assert torch.equal(values, planes(content.decode(tmp_path / "in.tif"))) and count == 5


WHOLE = {  # how each is saved
    "lzw.tif": {"compression": "tiff_lzw"},
    "turned.tif": {"tiffinfo": {274: 6}},
    "turned_by_xmp.tif": {"tiffinfo": {700: XMP}},
    "palette.tif": {},
    "a.jpg": {},
    "turned_by_xmp.jpg": {"xmp": XMP},
    "a.png": {},
}


@pytest.mark.parametrize("name", WHOLE)
def test_what_has_no_parts_is_read_whole(name, tmp_path):
    path = tmp_path / name
    image = Image.fromarray(levels(3, "uint8"))
    image = image.convert("P") if name == "palette.tif" else image
    image.save(path, **WHOLE[name])
    values, count = joined(path, data.RGB)
    assert torch.equal(values, planes(data.RGB.decode(path))) and count == 1


def test_an_orientation_after_the_pixels_turns_the_picture(tmp_path):
    path, turned = tmp_path / "in.png", Image.Exif()
    turned[ExifTags.Base.Orientation] = 6
    Image.fromarray(levels(3, "uint8")).save(path, exif=turned)
    content = path.read_bytes()
    start = content.index(b"eXIf") - 4
    stop = start + 12 + int.from_bytes(content[start : start + 4])
    end = content.index(b"IEND") - 4
    path.write_bytes(content[:start] + content[stop:end] + content[start:stop] + content[end:])
    values, _ = joined(path, data.RGB)
    assert values.shape == (3, 71, 45) and torch.equal(values, planes(data.RGB.decode(path)))


def test_a_tiff_of_4_bits_is_read_whole(tmp_path):
    path = tmp_path / "in.tif"
    write_tiff(path, levels(1, "uint8", (40, 30)))  # twice as wide with 4 bits
    with tifffile.TiffFile(path, mode="r+") as file:
        for name, value in (("BitsPerSample", 4), ("ImageWidth", 60)):
            file.pages[0].tags[name].overwrite(value)
    values, _ = joined(path, data.RGB)
    assert values.shape == (3, 40, 60) and torch.equal(values, planes(data.RGB.decode(path)))
    assert values.unique().tolist() == [17 * level for level in range(16)]


def test_a_damaged_file_is_named(tmp_path):
    path = tmp_path / "in.tif"
    write_tiff(path, levels(3, "uint8", (200, 200)), rowsperstrip=10, compression="zlib")
    whole = path.read_bytes()
    for damaged in (whole[:-9000], whole[:300] + b"\xff" * 9000 + whole[9300:], whole[:7], b""):
        path.write_bytes(damaged)
        with pytest.raises(data.UnreadableImageError, match="in.tif"):
            joined(path, data.RGB)


@pytest.mark.parametrize("ending", [".png", ".TIF"])
@pytest.mark.parametrize("kind", KINDS)
def test_bands_of_any_height_make_the_picture(kind, ending, tmp_path):
    values = levels(*KINDS[kind], size=(300, 270))
    path = tmp_path / "out"
    write_bands(path, ending, values.shape[:2], (values[:1], values[1:290], values[290:]))
    assert np.array_equal(np.asarray(Image.open(path)).reshape(values.shape), values)


def test_bands_are_cut_and_joined():
    bands = np.split(np.arange(23), [2, 3, 17])
    assert [len(band) for band in of_height(bands, 5)] == [5, 5, 5, 5, 3]
    assert np.concatenate([*of_height(bands, 5)]).tolist() == [*range(23)]
