"""The embedded data set's command: what it draws, what it measures."""

import numpy as np
import pytest
import torch
from PIL import Image

import data
import pocket
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
