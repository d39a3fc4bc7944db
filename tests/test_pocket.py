"""The embedded data set's command: what it draws, what it measures."""

import numpy as np
import pytest
import torch
from PIL import Image

import data
import pocket
from commands import shapes
from errors import UserError


@pytest.fixture
def drawn(tmp_path):
    pocket.main(
        ["draw", "--output", str(tmp_path / "data"), "--size", "32", "--train", "2", "--test", "3"]
    )
    return tmp_path / "data"


def test_draw_fills_the_folders(drawn):
    counts = {folder.name: len(list(folder.iterdir())) for folder in drawn.iterdir()}
    assert counts == {"trainA": 2, "trainB": 2, "testA": 3, "testB": 3, "testMask": 3}


def test_draw_with_pairs_fills_the_folders_of_both_sides(tmp_path):
    folder = tmp_path / "data"
    options = ["--size", "16", "--train", "2", "--test", "1", "--pairs"]
    pocket.main(["draw", "--output", str(folder), *options])
    counts = {place.name: len(list(place.iterdir())) for place in folder.iterdir()}
    assert counts == {"trainA": 2, "trainB": 2, "testA": 1, "testB": 1}
    with Image.open(folder / "trainA" / "000000.png") as image:
        assert image.mode == "P" and image.size == (16, 16)


def test_shapes_fill_a_folder_for_each_kind(tmp_path):
    options = ["--size", "16", "--count", "9"]
    pocket.main(["shapes", "--output", str(tmp_path / "shapes"), *options])
    counts = {place.name: len(list(place.iterdir())) for place in (tmp_path / "shapes").iterdir()}
    assert counts == {"circle": 3, "ring": 2, "square": 2, "triangle": 2}
    with pytest.raises(UserError, match="--count 3: below 4"):
        pocket.main(["shapes", "--output", str(tmp_path / "more"), "--count", "3"])


def score(drawn, translated, capsys):
    pocket.main(
        ["score", "--data", str(drawn), "--translated", str(translated)]
        + ["--sheet", str(drawn / "sheet.png")]
    )
    rows = [line.split("│") for line in capsys.readouterr().out.splitlines() if "│" in line]
    return [[float(cell) for cell in row[2:4]] for row in rows if row[2].strip()]


def test_the_true_zebras_score_zero_and_the_horses_like_the_input(drawn, capsys):
    colours, pixels, background, distance = score(drawn, drawn / "testB", capsys)
    assert colours[0] == pixels[0] == background[0] == background[1] == 0
    assert colours[1] > 20 and pixels[1] > 20
    assert distance[0] == 1 and distance[1] > 0
    for row in score(drawn, drawn / "testA", capsys):
        assert row[0] == row[1]
    with Image.open(drawn / "sheet.png") as sheet:
        assert sheet.size[0] > 3 * 128 and sheet.size[1] > 3 * 128


def test_horses_translated_there_and_back_have_a_row_and_a_distance(drawn, tmp_path, capsys):
    given = ["score", "--data", str(drawn), "--translated", str(drawn / "testB")]
    given += ["--sheet", str(tmp_path / "sheet.png"), "--returned"]
    for returned, distance in (("testA", 0.0), ("testB", None)):
        pocket.main([*given, str(drawn / returned)])
        printed = capsys.readouterr().out
        found = float(printed.split("translated back: ")[1].split()[0])
        assert found == distance if distance is not None else found > 5
        assert "horses, translations, translated back" in printed
        rows = np.asarray(Image.open(tmp_path / "sheet.png"))
        height = 4 * 34
        equal = np.array_equal(rows[8:height], rows[8 + 2 * height : 3 * height])
        assert equal == (returned == "testA")
    with pytest.raises(UserError, match="--returned: .* is missing"):
        pocket.main([*given, str(tmp_path)])


def test_distances_of_known_pictures():
    truth = torch.zeros(1, 3, 2, 2) - 1
    picture = truth.clone()
    picture[:, :, 0, 0] = 1  # one pixel of four is white instead of black
    everywhere = torch.ones(1, 1, 2, 2, dtype=torch.bool)
    assert pocket.pixel_distance(picture, truth, everywhere) == pytest.approx(255 / 4)
    assert pocket.colour_distance(picture, truth, everywhere) == pytest.approx(255 / 4)
    moved = picture.flip(3)
    assert pocket.pixel_distance(picture, moved, everywhere) == pytest.approx(255 / 2)
    assert pocket.colour_distance(picture, moved, everywhere) == 0


@pytest.mark.numeric
def test_distances_in_random_features_order_horses_half_translated_and_zebras():
    scenes = [data.render_scene(0, index, 32) for index in range(64)]
    horses, zebras = (
        torch.from_numpy(np.stack(side)).permute(0, 3, 1, 2).float() / 127.5 - 1
        for side in zip(*(scene[:2] for scene in scenes), strict=True)
    )
    test, others = slice(0, 24), zebras[24:]
    shown = [horses[test], (horses[test] + zebras[test]) / 2, zebras[test]]
    distances = pocket.relative_distances(shown, zebras[test], others)
    assert distances[0] > 1.1 * distances[1] and distances[1] > 1.1 * distances[2]
    assert distances[2] == 1


@pytest.fixture(scope="module")
def classifier():
    return shapes.train_classifier(16, trained_on=512, held_out=256)


def test_drawn_shapes_are_recognized_whatever_their_colours(classifier):
    assert classifier.accuracy > 0.9
    pictures = torch.stack(
        [torch.from_numpy(data.render_shape(5, index, 16)) for index in range(64)]
    )
    images = pictures.permute(0, 3, 1, 2) / 127.5 - 1
    found = classifier.recognize(images)
    assert (found == torch.arange(64) % 4).float().mean() > 0.9
    assert torch.equal(classifier.recognize(images[:, [2, 0, 1]]), found)


def test_silhouettes_of_known_pictures():
    picture = torch.full((1, 3, 8, 8), -0.5)
    picture[:, 1, 2:4, 2:5] = 0.3
    picture[:, 0, 5, 5] = -0.1
    expected = torch.zeros(1, 1, 8, 8)
    expected[:, :, 2:4, 2:5] = 1
    expected[:, :, 5, 5] = 0.5
    assert torch.allclose(shapes.silhouettes(picture), expected)
    assert not shapes.silhouettes(torch.zeros(1, 3, 8, 8)).any()


def test_recognize_prints_what_each_class_is_taken_for(classifier, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(shapes, "train_classifier", lambda size_px: classifier)
    pocket.main(["shapes", "--output", str(tmp_path / "a"), "--size", "16", "--count", "40"])
    (tmp_path / "a" / "ring").rename(tmp_path / "aside")
    (tmp_path / "a" / "square").rename(tmp_path / "a" / "ring")
    (tmp_path / "aside").rename(tmp_path / "a" / "square")
    sheet = tmp_path / "new" / "sheet.png"
    pocket.main(["recognize", "--samples", str(tmp_path / "a"), "--sheet", str(sheet)])
    printed = capsys.readouterr().out
    rows = [line.split("│")[1:-1] for line in printed.splitlines() if line.startswith("│")]
    shares = np.array([[float(cell) for cell in row[1:]] for row in rows])
    assert [row[0].strip() for row in rows] == list(data.SHAPES)
    assert np.allclose(shares.sum(1), 100, atol=0.2)
    assert shares.argmax(1).tolist() == [0, 2, 1, 3]
    assert f"{shares.trace() / 400:.1%} of 40 samples" in printed
    with Image.open(sheet) as image:
        assert image.size == (8 * (8 * 18 + 2), 8 * (4 * 18 + 2))


def test_samples_that_cannot_be_recognized(tmp_path, fails):
    given = ["recognize", "--samples", tmp_path, "--sheet", tmp_path / "s.png"]
    assert "--samples" in fails(pocket, given)
    for place, shape in enumerate(data.SHAPES):
        (tmp_path / shape).mkdir()
        Image.new("RGB", (16 + place, 16)).save(tmp_path / shape / "a.png")
    assert "of one size" in fails(pocket, given)
    assert not (tmp_path / "s.png").exists()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--size", "4"], "--size 4: below 16"),
        (["--train", "0"], "--train 0: below 1"),
        (["--seed", "-1"], "--seed -1: below 0"),
    ],
)
def test_sizes_that_cannot_be_drawn(options, words, tmp_path):
    with pytest.raises(UserError, match=words):
        pocket.main(["draw", "--output", str(tmp_path / "data"), *options])
    assert not (tmp_path / "data").exists()


def test_a_missing_translation_is_named(drawn, tmp_path):
    with pytest.raises(UserError, match="--translated: .* is missing"):
        pocket.main(
            ["score", "--data", str(drawn), "--translated", str(tmp_path), "--sheet", "x.png"]
        )
    assert np.asarray(Image.open(next((drawn / "testMask").iterdir()))).max() == 255
