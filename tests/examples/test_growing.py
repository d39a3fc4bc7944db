"""The strip of a progressive GAN's previews."""

import numpy as np
import torch
from PIL import Image

import data
import training
from examples import growing


def preview(folder, images_seen, size_px):
    """Write a preview of 8 columns: reals, then two rows of fakes, each picture of one colour."""
    levels = torch.arange(24) / 12 - 1
    rows = levels.view(3, 8, 1, 1, 1).expand(-1, -1, 3, size_px, size_px)
    training.save_sheet(folder / f"{images_seen:09d}.png", training.sheet(list(rows)))
    return data.to_levels(levels[8:16])


def test_each_resolution_has_a_row_of_the_last_preview(tmp_path):
    previews = tmp_path / "previews"
    previews.mkdir()
    for images_seen, size_px in ((10, 4), (20, 4), (30, 8), (40, 16)):
        expected = preview(previews, images_seen, size_px)
    Image.new("RGB", Image.open(previews / "000000010.png").size).save(previews / "000000010.png")
    growing.main(["--run_dir", str(tmp_path), "--output", str(tmp_path / "out" / "strip.png")])
    with Image.open(tmp_path / "out" / "strip.png") as strip:
        assert strip.size == (8 * 18 + 2, 3 * 18 + 2)
        shown = np.asarray(strip)
    for row in range(3):
        for column in range(8):
            top, left = 2 + 18 * row, 2 + 18 * column
            assert (shown[top : top + 16, left : left + 16] == expected[column].item()).all()


def test_a_folder_without_previews_is_refused(tmp_path, fails):
    assert "--run_dir" in fails(growing, ["--run_dir", tmp_path])
