"""generate.py run for real: names, classes, sheets, walks, weights, mistakes."""

import numpy as np
import pytest
import torch
from PIL import Image

import data
import generate
import models
from models.resnet_generator import ResnetGenerator, ResnetSizes
from tests.models.gan.pairs import PAIRS, SIZE_PX, drawn, small_generator, stirred
from training.checkpoint import save_checkpoint

NAMES = ["cat", "dog", "fish"]
SHARES = [0.5, 0.2, 0.3]


@pytest.fixture
def checkpoint(tmp_path):
    return saved(tmp_path, stirred(small_generator("sngan")))


@pytest.fixture
def conditional(tmp_path):
    network = stirred(small_generator("sngan", 3))
    return saved(tmp_path, network, class_names=NAMES, class_shares=SHARES)


def saved(folder, network, name="generator.safetensors", **about):
    models.save_generator(folder / name, network, about)
    return folder / name


def run(*arguments):
    generate.main([str(argument) for argument in arguments])


def found_below(folder):
    """Return the levels of every picture, by its place below the folder."""
    return {
        path.relative_to(folder).as_posix(): np.asarray(Image.open(path))
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def levels(pictures):
    return data.to_levels(pictures).permute(0, 2, 3, 1).numpy()


def assert_equal_pictures(found, others):
    assert found.keys() == others.keys()
    assert all(np.array_equal(found[name], others[name]) for name in found)


# ---- Pictures ----


@pytest.mark.parametrize("name", PAIRS)
def test_pictures_are_those_of_the_sampler_however_many(name, tmp_path):
    about = {"level": 3.4} if name == "progressive" else {}
    file = saved(tmp_path, stirred(small_generator(name)), **about)
    for count in (66, 3):
        out = tmp_path / str(count)
        run("--checkpoint", file, "--output", out, "--num", count, "--seed", 3)
        found = found_below(out)
        assert list(found) == [f"{number:06d}.png" for number in range(count)]
        expected = levels(models.load_sampler(file).sample(count, seed=3))
        assert np.array_equal(np.stack(list(found.values())), expected)


@pytest.mark.parametrize("batch_size", [1, 65])
def test_the_batch_size_changes_nothing(batch_size, checkpoint, tmp_path):
    options = ("--checkpoint", checkpoint, "--num", 66)
    run(*options, "--output", tmp_path / "a", "--batch_size", batch_size)
    expected = levels(models.load_sampler(checkpoint).sample(66))
    assert np.array_equal(np.stack([*found_below(tmp_path / "a").values()]), expected)


def test_the_script_writes_into_a_new_folder_and_says_so(checkpoint, tmp_path, command):
    out = tmp_path / "new" / "folder"
    finished = command("generate.py", "--checkpoint", checkpoint, "--output", out, "--num", 2)
    assert finished.returncode == 0, finished.stderr
    assert f"2 pictures written to {out}" in finished.stderr and not finished.stdout
    assert sorted(path.name for path in out.iterdir()) == ["000000.png", "000001.png"]


def test_grey_pictures_are_grey_files(tmp_path):
    network = drawn(models.gan.MlpGenerator(models.gan.MlpGeneratorSizes(8, 1, 4, 6)))
    file = saved(tmp_path, network)
    run(
        "--checkpoint", file, "--output", tmp_path / "out", "--num", 3, "--grid", tmp_path / "g.png"
    )
    with Image.open(tmp_path / "out" / "000002.png") as image:
        assert (image.mode, image.size) == ("L", (8, 8))
        expected = levels(models.load_sampler(file).sample(3))[2, :, :, 0]
        assert np.array_equal(np.asarray(image), expected)
    assert Image.open(tmp_path / "g.png").mode == "RGB"


def test_truncation_moves_every_picture_towards_one(checkpoint, tmp_path):
    for truncation in (0, 0.5):
        out = tmp_path / str(truncation)
        run(*("--checkpoint", checkpoint, "--output", out, "--num", 3, "--truncation", truncation))
    alike = [*found_below(tmp_path / "0").values()]
    assert all(np.array_equal(alike[0], other) for other in alike)
    expected = models.load_sampler(checkpoint).sample(3, truncation=0.5)
    assert np.array_equal(np.stack([*found_below(tmp_path / "0.5").values()]), levels(expected))


# ---- Classes ----


def test_classes_lie_in_folders_of_their_names_as_often_as_in_the_data(conditional, tmp_path):
    run("--checkpoint", conditional, "--output", tmp_path / "out", "--num", 70)
    sampler = models.load_sampler(conditional)
    labels = sampler.draw_labels(70)
    assert set(labels.tolist()) == {0, 1, 2}
    expected = {
        f"{NAMES[label]}/{number:06d}.png": picture
        for number, (label, picture) in enumerate(
            zip(labels, levels(sampler.sample(70)), strict=True)
        )
    }
    assert_equal_pictures(found_below(tmp_path / "out"), expected)
    files = data.list_images(tmp_path / "out", "--dataroot")
    read = data.labels.read_labels("folders", tmp_path / "out", files)
    assert read.names == NAMES and read.counts == labels.bincount().tolist()


def test_labels_by_name_or_number_are_taken_in_turn(conditional, tmp_path):
    out, more = tmp_path / "out", ("--num", 65, "--batch_size", 64)
    run("--checkpoint", conditional, "--output", out, *more, "--labels", "fish", "0")
    labels = torch.tensor([2, 0] * 33)[:65]
    expected = levels(models.load_sampler(conditional).sample(65, labels=labels))
    found = found_below(out)
    assert sorted(found) == sorted(
        f"{('fish', 'cat')[number % 2]}/{number:06d}.png" for number in range(65)
    )
    for number, picture in enumerate(expected):
        name = f"{('fish', 'cat')[number % 2]}/{number:06d}.png"
        assert np.array_equal(found[name], picture)


def test_a_class_s_name_counts_before_a_number(tmp_path):
    file = saved(tmp_path, small_generator("mlp", 3), class_names=["1", "2", "x"])
    run("--checkpoint", file, "--output", tmp_path / "out", "--num", 2, "--labels", "1", "0")
    assert sorted(found_below(tmp_path / "out")) == ["1/000000.png", "1/000001.png"]


# ---- Sheets and walks ----


def cell(sheet, row, column):
    gap = 2
    top, left = (gap + place * (SIZE_PX + gap) for place in (row, column))
    return np.asarray(sheet)[top : top + SIZE_PX, left : left + SIZE_PX]


def test_a_sheet_shows_the_first_pictures_and_nothing_else_is_written(checkpoint, tmp_path):
    run("--checkpoint", checkpoint, "--grid", tmp_path / "sheet.png", "--num", 13)
    sheet = Image.open(tmp_path / "sheet.png")
    assert sheet.size == (8 * 18 + 2, 2 * 18 + 2)
    pictures = levels(models.load_sampler(checkpoint).sample(13))
    for number, picture in enumerate(pictures):
        assert np.array_equal(cell(sheet, *divmod(number, 8)), picture)
    assert cell(sheet, 1, 5).min() == 255  # white where there is none
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "generator.safetensors",
        "sheet.png",
    ]
    run("--checkpoint", checkpoint, "--grid", tmp_path / "sheet.png", "--num", 100)
    assert Image.open(tmp_path / "sheet.png").size == (8 * 18 + 2, 8 * 18 + 2)


def test_a_sheet_with_classes_has_a_row_for_each(conditional, tmp_path):
    run("--checkpoint", conditional, "--grid", tmp_path / "sheet.png", "--seed", 4)
    sheet = Image.open(tmp_path / "sheet.png")
    assert sheet.size == (8 * 18 + 2, 3 * 18 + 2)
    sampler = models.load_sampler(conditional)
    for row in range(3):
        pictures = levels(sampler.sample(8, 4, labels=torch.full((8,), row)))
        for column, picture in enumerate(pictures):
            difference = cell(sheet, row, column).astype(int) - picture
            assert np.abs(difference).max() <= 1
    run(
        *("--checkpoint", conditional, "--grid", tmp_path / "two.png", "--seed", 4),
        *("--labels", "dog", "cat", "dog"),
    )
    two = Image.open(tmp_path / "two.png")
    assert two.size == (8 * 18 + 2, 2 * 18 + 2)
    assert np.abs(cell(two, 1, 3).astype(int) - cell(sheet, 0, 3)).max() <= 1


def test_more_classes_than_places_are_told(tmp_path, capsys):
    file = saved(tmp_path, small_generator("mlp", 70))
    run("--checkpoint", file, "--grid", tmp_path / "sheet.png")
    assert "64 of 70 classes" in capsys.readouterr().err
    assert Image.open(tmp_path / "sheet.png").size == (18 + 2, 64 * 18 + 2)


@pytest.mark.parametrize("labels", [(), ("dog", "cat")])
def test_a_walk_passes_its_keys_and_closes(labels, conditional, tmp_path):
    options = ("--checkpoint", conditional, "--keys", 3, "--frames", 4, "--seed", 2)
    if labels:
        options += ("--labels", *labels)
    run(*options, "--interpolate", tmp_path / "walk.png")
    run(*options, "--interpolate", tmp_path / "walk.gif")
    run(*options, "--interpolate", tmp_path / "walk.webp")
    sheet = Image.open(tmp_path / "walk.png")
    assert sheet.size == (4 * 18 + 2, 3 * 18 + 2)
    sampler = models.load_sampler(conditional)
    label = torch.full((3,), NAMES.index(labels[0]) if labels else 0)
    for row, picture in enumerate(levels(sampler.sample(3, 2, labels=label))):
        assert np.abs(cell(sheet, row, 0).astype(int) - picture).max() <= 1
    steps = [cell(sheet, *divmod(number % 12, 4)).astype(int) for number in range(13)]
    changes = [np.abs(a - b).mean() for a, b in zip(steps, steps[1:], strict=False)]
    assert 0 < max(changes) < np.abs(steps[0] - steps[4]).mean()
    for ending in ("gif", "webp"):
        with Image.open(tmp_path / f"walk.{ending}") as moving:
            side = (SIZE_PX, SIZE_PX) if not labels else (2 * 18 + 2, 18 + 2)
            assert (moving.n_frames, moving.size) == (12, side)
            assert moving.info["loop"] == 0
            for number in (0, 4, 8):
                moving.seek(number)
                frame = moving.convert("RGB")
                assert moving.info["duration"] == 40
                first = cell(frame, 0, 0) if labels else np.asarray(frame)
                errors = {key: np.abs(steps[key] - first).mean() for key in (0, 4, 8)}
                assert min(errors, key=errors.get) == number and errors[number] < 30  # lossy


def test_classes_walk_side_by_side_from_the_same_latents(conditional, tmp_path):
    options = ("--checkpoint", conditional, "--keys", 2, "--frames", 2)
    run(*options, "--labels", "fish", "cat", "fish", "--interpolate", tmp_path / "both.gif")
    for column, name in enumerate(("fish", "cat")):
        run(*options, "--labels", name, "--interpolate", tmp_path / f"{name}.gif")
        with (
            Image.open(tmp_path / "both.gif") as both,
            Image.open(tmp_path / f"{name}.gif") as one,
        ):
            assert both.n_frames == one.n_frames == 4
            both.seek(3)
            one.seek(3)
            alone = np.asarray(one.convert("RGB")).astype(int)
            assert np.abs(cell(both.convert("RGB"), 0, column) - alone).mean() < 8


def test_a_progressive_file_in_mid_fade_shows_its_current_size(tmp_path):
    file = saved(tmp_path, stirred(small_generator("progressive")), level=2.4)
    run("--checkpoint", file, "--grid", tmp_path / "sheet.png", "--num", 5)
    assert Image.open(tmp_path / "sheet.png").size == (5 * 10 + 2, 10 + 2)


# ---- Weights ----


def run_folder(tmp_path, level=None, seen=(100, 100)):
    averaged, network = (drawn(small_generator("progressive"), seed) for seed in (1, 2))
    saved(tmp_path, averaged, images_seen=seen[0], level=level)
    (tmp_path / "checkpoints").mkdir()
    save_checkpoint(tmp_path / "checkpoints", seen[1], {"generator": network.state_dict()})
    return averaged, network


def test_raw_weights_are_those_of_the_newest_checkpoint(tmp_path, files_read):
    networks = dict(zip(("ema", "raw"), run_folder(tmp_path, level=3.4), strict=True))
    for weights, network in networks.items():
        out = tmp_path / weights
        files_read.clear()
        run("--checkpoint", tmp_path, "--output", out, "--num", 2, "--weights", weights)
        assert files_read == [tmp_path / "generator.safetensors"]
        expected = levels(models.Sampler(network, level=3.4).sample(2))
        assert np.array_equal(np.stack([*found_below(out).values()]), expected)


def test_raw_weights_of_another_moment_of_growth_are_refused(tmp_path, fails):
    run_folder(tmp_path, level=3.4, seen=(100, 200))
    line = fails(generate, ["--checkpoint", tmp_path, "--grid", "g.png", "--weights", "raw"])
    assert "200 images" in line and "--weights" in line


def test_raw_weights_need_a_run_with_a_checkpoint(checkpoint, tmp_path, fails):
    for path, word in ((checkpoint, "one network"), (tmp_path, "holds no checkpoint")):
        line = fails(generate, ["--checkpoint", path, "--output", "out", "--weights", "raw"])
        assert "--checkpoint" in line and word in line


# ---- Mistakes ----


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--num", 0], ("--num 0", "1 or more")),
        (["--seed", -1], ("--seed -1", "0 or more")),
        (["--batch_size", 0], ("--batch_size 0", "1 or more")),
        (["--keys", 1], ("--keys 1", "2 or more")),
        (["--frames", 0], ("--frames 0", "1 or more")),
        (["--truncation", 1.1], ("--truncation 1.1", "0 to 1")),
        (["--truncation", "nan"], ("--truncation nan", "0 to 1")),
        (["--grid", "g.jpg"], ("--grid g.jpg", ".png")),
        (["--interpolate", "walk.mp4"], ("--interpolate walk.mp4", ".webp or .png")),
        (["--grid", "a.png", "--interpolate", "a.png"], ("--interpolate a.png", "--grid")),
        (["--labels", "cat"], ("--labels cat", "no classes", "leave --labels out")),
    ],
)
def test_options_that_cannot_be(options, words, checkpoint, tmp_path, fails):
    given = ["--checkpoint", checkpoint, "--output", tmp_path / "out", *options]
    line = fails(generate, given)
    assert all(word in line for word in words), line
    assert not (tmp_path / "out").exists()


def test_an_output_that_cannot_be(checkpoint, tmp_path, fails):
    assert "--output is missing" in fails(generate, ["--checkpoint", checkpoint])
    line = fails(generate, ["--checkpoint", checkpoint, "--output", checkpoint])
    assert f"--output {checkpoint}: is a file" in line
    (tmp_path / "g.png").mkdir()
    line = fails(generate, ["--checkpoint", checkpoint, "--grid", tmp_path / "g.png"])
    assert "--grid" in line and "is a folder" in line
    line = fails(generate, ["--checkpoint", checkpoint, "--grid", checkpoint / "g.png"])
    assert "--grid" in line and "cannot be written" in line


def test_checkpoints_that_make_nothing_from_noise(tmp_path, fails):
    out = ["--output", tmp_path / "out"]
    assert "no such file" in fails(generate, ["--checkpoint", tmp_path / "nowhere", *out])
    assert "generator.safetensors" in fails(generate, ["--checkpoint", tmp_path, *out])
    file = saved(tmp_path, ResnetGenerator(ResnetSizes(base_channels=2, blocks=1)))
    assert "translate.py" in fails(generate, ["--checkpoint", file, *out])
    file.write_bytes(b"hello")
    assert "not a complete safetensors file" in fails(generate, ["--checkpoint", file, *out])


@pytest.mark.parametrize("label", ["bird", "3", "-1", "1.0"])
def test_labels_that_are_no_class(label, conditional, tmp_path, fails):
    line = fails(generate, ["--checkpoint", conditional, "--grid", "g.png", f"--labels={label}"])
    assert f"--labels {label}" in line and "cat, dog, fish" in line and "0 to 2" in line


@pytest.mark.parametrize("name", ["../x", "a/b", "..", "", "a\\b"])
def test_class_names_must_not_lead_out_of_the_folder(name, tmp_path, fails):
    file = saved(tmp_path, small_generator("mlp", 2), class_names=["a", name])
    line = fails(generate, ["--checkpoint", file, "--output", tmp_path / "deep" / "out"])
    assert f"--checkpoint {file}" in line and repr(name) in line
    assert not (tmp_path / "deep").exists()


def test_channels_that_no_file_has(tmp_path, fails):
    sizes = models.gan.MlpGeneratorSizes(8, 2, 4, 6)
    file = saved(tmp_path, drawn(models.gan.MlpGenerator(sizes)))
    line = fails(generate, ["--checkpoint", file, "--output", tmp_path / "out"])
    assert f"--checkpoint {file}" in line and "channels 2" in line


def test_pictures_that_are_not_finite(tmp_path, fails):
    network = small_generator("mlp")
    torch.nn.init.constant_(network.layers[0].weight, float("nan"))
    file = saved(tmp_path, network)
    line = fails(generate, ["--checkpoint", file, "--output", tmp_path / "out"])
    assert f"--checkpoint {file}" in line and "not finite" in line
    assert not (tmp_path / "out").exists()
