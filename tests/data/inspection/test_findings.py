"""Each finding on a folder that has it, and none of them on a clean one."""

import io

import numpy as np
import pytest
from PIL import Image, ImageEnhance

from data import inspection
from data.inspection import HARMS, LOOK, STOPS
from errors import UserError
from tests.data.inspection.folders import (
    clean,
    findings,
    inspected,
    label_map,
    names,
    painted,
    pairs,
    save_labels,
    scene,
)
from tests.data.pictures import png_16_bit


@pytest.fixture
def folder(tmp_path):
    return clean(tmp_path / "data")


def jpeg(image, quality=90):
    file = io.BytesIO()
    image.save(file, "JPEG", quality=quality)
    return file.getvalue()


def test_a_clean_folder_has_no_finding(folder):
    assert findings(folder) == {}


def test_clean_pairs_have_no_finding(tmp_path):
    found = findings(pairs(tmp_path, count=60), wanted="pairs")
    assert found.keys() == {"no_test"}
    survey = inspected(tmp_path, wanted="pairs")
    fits = inspection.measure_fits(survey, survey.layout.pairs, workers=0)
    assert fits.belong_together
    assert list(inspection.alignment_findings(survey, fits)) == []


def test_equal_files_within_a_group(folder):
    content = (folder / "trainA" / "trainA0.png").read_bytes()
    for name in ("copy.png", "second copy.png"):
        (folder / "trainA" / name).write_bytes(content)
    found = findings(folder)
    assert found.keys() == {"duplicates"}
    assert found["duplicates"].count == 2
    assert names(found["duplicates"]) == {"trainA0.png", "copy.png", "second copy.png"}


def test_equal_files_in_training_and_test(folder):
    content = (folder / "trainB" / "trainB7.png").read_bytes()
    (folder / "testB" / "leaked.png").write_bytes(content)
    found = findings(folder)
    assert found.keys() == {"duplicates_between_train_and_test"}
    finding = found["duplicates_between_train_and_test"]
    assert finding.severity == STOPS and finding.count == 1
    assert names(finding) == {"trainB7.png", "leaked.png"}


def test_equal_files_in_both_domains(folder):
    content = (folder / "trainB" / "trainB7.png").read_bytes()
    (folder / "trainA" / "same.png").write_bytes(content)
    assert findings(folder).keys() == {"duplicates_between_domains"}


@pytest.mark.parametrize(
    "change",
    [
        lambda image: Image.open(io.BytesIO(jpeg(image, quality=30))),
        lambda image: image.resize((96, 96), Image.Resampling.BICUBIC),
        lambda image: ImageEnhance.Brightness(image).enhance(1.1),
    ],
    ids=["compressed", "resized", "brightened"],
)
@pytest.mark.parametrize(
    ("place", "kind"),
    [
        ("trainA", "near_duplicates"),
        ("testA", "near_duplicates_between_train_and_test"),
        ("trainB", "near_duplicates_between_domains"),
    ],
)
def test_pictures_that_look_alike(folder, change, place, kind):
    change(Image.open(folder / "trainA" / "trainA5.png")).save(folder / place / "again.png")
    found = findings(folder)
    assert found.keys() == {kind}
    assert found[kind].count == 1 and names(found[kind]) == {"trainA5.png", "again.png"}


def test_copies_do_not_multiply_the_pairs_that_look_alike(folder):
    original = folder / "trainA" / "trainA5.png"
    for number in range(20):
        (folder / "trainA" / f"copy{number}.png").write_bytes(original.read_bytes())
    (folder / "trainA" / "again.jpg").write_bytes(jpeg(Image.open(original)))
    assert len(inspection.look_alikes(inspected(folder)).pairs) == 1


def test_truncated_and_unreadable_files(folder):
    whole = jpeg(scene(9999, 256))
    (folder / "trainA" / "cut.jpg").write_bytes(whole[: len(whole) // 2])
    (folder / "trainA" / "text.png").write_text("no picture")
    (folder / "trainA" / "empty.jpg").write_bytes(b"")
    (folder / "trainA" / "dangling.jpg").symlink_to("nowhere.jpg")
    found = findings(folder)
    assert found.keys() == {"truncated", "unreadable"}
    assert names(found["truncated"]) == {"cut.jpg"}
    assert names(found["unreadable"]) == {"text.png", "empty.jpg", "dangling.jpg"}
    assert found["unreadable"].severity == STOPS  # 4 of 124
    assert "empty file" in found["unreadable"].words


def test_one_unreadable_file_among_many_does_not_stop_a_training(folder):
    (folder / "trainA" / "text.png").write_text("no picture")
    assert findings(folder)["unreadable"].severity == HARMS


def save_deep(path):
    levels = np.random.default_rng(0).integers(0, 65536, (48, 48, 1), dtype=np.uint16)
    Image.fromarray(levels[..., 0]).save(path)


def save_deep_colour(path):
    levels = np.asarray(scene(5000)).astype(np.uint16) * 257
    path.write_bytes(png_16_bit(levels, color_type=2))


def save_transparent(path):
    image = scene(5001).convert("RGBA")
    image.putalpha(100)
    image.save(path)


@pytest.mark.parametrize(
    ("kind", "name", "save"),
    [
        ("deep", "a.png", save_deep),
        ("deep", "b.png", save_deep_colour),
        ("transparent", "c.png", save_transparent),
        ("cmyk", "d.jpg", lambda path: scene(5002).convert("CMYK").save(path)),
        ("palette", "e.png", lambda path: scene(5003).quantize(200).save(path)),
        ("plain", "f.png", lambda path: Image.new("RGB", (48, 48), (120, 140, 110)).save(path)),
        ("grey_and_colour", "g.png", lambda path: scene(5004).convert("L").save(path)),
    ],
    ids=["16-bit grey", "16-bit colour", "RGBA", "CMYK", "palette", "plain", "grey"],
)
def test_modes(folder, kind, name, save):
    save(folder / "trainB" / name)
    found = findings(folder)
    assert kind in found
    assert names(found[kind]) == {name} and found[kind].count == 1
    assert found.keys() <= {kind, "grey_and_colour", "apart"}


def test_modes_and_bits_are_recorded(folder):
    save_deep(folder / "trainB" / "a.png")
    save_deep_colour(folder / "trainB" / "b.png")
    survey = inspected(folder)
    rows = {survey.path(at).name: survey.rows[at] for at in survey.members(1)}
    assert [rows[name]["mode"] for name in ("a.png", "b.png")] == ["I;16", "RGB;16"]
    assert [rows[name]["bits"] for name in ("a.png", "b.png", "trainB0.png")] == [16, 16, 8]


def test_sizes(folder):
    scene(6000, 20).save(folder / "trainA" / "tiny.png")
    for number in range(20):
        scene(6001 + number).resize((96, 48)).save(folder / "trainB" / f"wide{number}.png")
    found = findings(folder)
    assert found.keys() == {"small", "shapes"}
    assert names(found["small"]) == {"tiny.png"}


def test_domains_of_different_brightness(tmp_path):
    folder = clean(tmp_path)
    for number, path in enumerate(sorted((folder / "trainB").iterdir())):
        scene(7000 + number, brightness=200).save(path)
    found = findings(folder)
    assert found.keys() == {"domains_differ", "test_differs"}
    assert "brightness 128 and 1" in found["domains_differ"].words


def test_a_grey_domain(folder):
    for path in [*(folder / "trainB").iterdir(), *(folder / "testB").iterdir()]:
        Image.open(path).convert("L").save(path)
    assert "grey_domain" in findings(folder)


def test_a_picture_that_stands_apart(folder):
    random = np.random.default_rng(0)
    levels = random.choice([0, 255], (48, 48, 3)).astype(np.uint8)
    Image.fromarray(levels).save(folder / "trainA" / "noise.png")
    found = findings(folder)
    assert found.keys() == {"apart"}
    assert names(found["apart"]) == {"noise.png"} and found["apart"].severity == LOOK


def test_few_and_uneven_pictures(tmp_path):
    folder = clean(tmp_path, train=120, test=2)
    for path in sorted((folder / "trainB").iterdir())[5:]:
        path.unlink()
    assert findings(folder).keys() == {"few", "uneven"}


def test_label_maps(tmp_path):
    folder = pairs(tmp_path, count=60)
    survey = inspected(folder)
    assert survey.labels[1] is None
    counts = inspection.classes(survey.labels[0])
    assert [one.value for one in counts] == [0, 1, 2, 3]
    assert sum(one.pixel_share for one in counts) == pytest.approx(1)
    values = np.stack([label_map(seed) for seed in range(60)])
    assert counts[2].pixel_share == pytest.approx((values == 2).mean())
    assert counts[2].pictures == (values == 2).any((1, 2)).sum()


def test_rare_untaught_and_missing_labels(tmp_path):
    folder = pairs(tmp_path, count=60)
    values = label_map(0)
    values[0, 0] = 6
    save_labels(folder / "trainA" / "0.png", values)
    for side in "AB":
        (folder / f"test{side}").mkdir()
    values[0, 0] = 9
    save_labels(folder / "testA" / "0.png", values)
    painted(label_map(0), 77).save(folder / "testB" / "0.png")
    found = findings(folder, wanted="pairs")
    assert {"label_gaps", "label_rare", "label_untaught"} <= found.keys()
    assert "first 4" in found["label_gaps"].words and found["label_gaps"].count == 2
    assert found["label_rare"].words.endswith(": 6")
    assert "lacks: 9;" in found["label_untaught"].words


def shifted_right(image, by):
    return Image.fromarray(np.roll(np.asarray(image), by, axis=1))


def aligned(folder):
    survey = inspected(folder, wanted="pairs")
    fits = inspection.measure_fits(survey, survey.layout.pairs, workers=0)
    found = [*inspection.file_findings(survey), *inspection.alignment_findings(survey, fits)]
    return {finding.kind: finding for finding in found if finding.severity != LOOK}


def test_shifted_pairs(tmp_path):
    folder = pairs(tmp_path, count=30)
    for number in (3, 4, 5):
        path = folder / "trainB" / f"{number}.png"
        shifted_right(Image.open(path), 6).save(path)
    found = aligned(folder)
    assert found.keys() == {"shifted"}
    assert found["shifted"].count == 3 and names(found["shifted"]) == {"3.png", "4.png", "5.png"}
    assert "by -9.4% of the width and +0.0% of the height" in found["shifted"].words


def test_a_wrong_partner(tmp_path):
    folder = pairs(tmp_path, count=30)
    painted(label_map(1234), 8).save(folder / "trainB" / "8.png")
    found = aligned(folder)
    assert found.keys() == {"wrong_partner"}
    assert names(found["wrong_partner"]) == {"8.png"}


def test_folders_of_equal_names_that_are_no_pairs(tmp_path):
    folder = pairs(tmp_path, count=30)
    for number in range(30):
        painted(label_map(500 + number), number).save(folder / "trainB" / f"{number}.png")
    assert aligned(folder).keys() == {"edges_unlike"}


def test_pairs_that_training_refuses(tmp_path):
    folder = pairs(tmp_path, count=30)
    (folder / "trainB" / "4.png").unlink()
    (folder / "trainB" / "5.jpg").write_bytes(jpeg(scene(0)))
    scene(1, 32).save(folder / "trainB" / "6.png")
    found = aligned(folder)
    assert {"no_partner", "same_name", "unequal_sizes"} <= found.keys()
    assert {found[kind].severity for kind in ("no_partner", "same_name", "unequal_sizes")} == {
        STOPS
    }
    assert names(found["no_partner"]) == {"4.png"}


def test_pictures_side_by_side(tmp_path):
    (tmp_path / "train").mkdir()
    for seed in range(60):
        values = label_map(seed)
        both = Image.new("RGB", (128, 64))
        both.paste(painted(values, seed), (0, 0))
        picture = painted(values, 99 + seed).convert("L").convert("RGB")
        both.paste(shifted_right(picture, 5 if seed < 4 else 0), (64, 0))
        both.save(tmp_path / "train" / f"{seed}.png")
    survey = inspected(tmp_path)
    assert survey.layout.kind == "side_by_side"
    assert [group.name for group in survey.layout.groups] == ["train left", "train right"]
    assert set(survey.rows["width"]) == {64}
    fits = inspection.measure_fits(survey, survey.layout.pairs, workers=0)
    (finding,) = inspection.alignment_findings(survey, fits)
    assert finding.kind == "shifted" and finding.count == 4
    assert findings(tmp_path).keys() == {"no_test", "grey_domain"}


def test_odd_widths_side_by_side(tmp_path):
    (tmp_path / "train").mkdir()
    for seed, width in enumerate((96, 97)):
        scene(seed).resize((width, 48)).save(tmp_path / "train" / f"{width}.png")
    found = findings(tmp_path, wanted="side_by_side")
    assert names(found["odd_width"]) == {"97.png"}


def test_classes(tmp_path):
    for name, count in (("cat", 30), ("dog", 2)):
        (tmp_path / name).mkdir()
        for number in range(count):
            scene(hash((name, number)) % 2**32).save(tmp_path / name / f"{number}.png")
    layout = inspection.find_layout(tmp_path)
    assert layout.kind == "classes" and layout.labels.counts == [30, 2]
    assert findings(tmp_path).keys() == {"few", "class_balance"}
    assert inspection.find_layout(tmp_path, wanted="pictures").kind == "pictures"


def test_workers_change_nothing(folder):
    (folder / "trainA" / "text.png").write_text("no picture")
    layout = inspection.find_layout(folder)
    alone, helped = (inspection.survey(layout, workers=workers) for workers in (0, 2))
    assert np.array_equal(alone.rows, helped.rows) and alone.reasons == helped.reasons


def test_folders_without_pictures(tmp_path):
    with pytest.raises(UserError, match="no image in it"):
        inspection.find_layout(tmp_path)
    with pytest.raises(UserError, match="no such folder"):
        inspection.find_layout(tmp_path / "absent")
    with pytest.raises(UserError, match="`dataroot` is missing"):
        inspection.find_layout(None)


def test_names_are_shown_on_one_short_line(tmp_path):
    assert inspection.shown_name(tmp_path / "a\nb.png", tmp_path) == "a\\nb.png"
    shown = inspection.shown_name(tmp_path / ("x" * 200 + ".png"), tmp_path)
    assert len(shown) <= 101 and shown.startswith("xxx") and shown.endswith("x.png")
