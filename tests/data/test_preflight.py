import pytest
from PIL import Image

from data import Preprocessing, check_sizes
from errors import UserError
from tests.data.pictures import noise, save_noise


def test_the_first_small_image_and_their_number_are_told(tmp_path):
    files = save_noise(tmp_path, ["a.png", "b.png", "c.png", "d.png"])
    noise(100, 15).save(files[1])
    noise(15, 100).save(files[3])
    with pytest.raises(UserError) as caught:
        check_sizes(files, Preprocessing("crop", 16, 16, flip=True))
    assert str(caught.value) == (
        f"`crop_size` 16: larger than the short side of 2 of 4 images, first {files[1]} (15 px); "
        "use `preprocess` resize_and_crop or a smaller `crop_size`"
    )


def test_images_of_just_the_crop_size_pass_and_unreadable_ones_are_left_to_the_training(tmp_path):
    files = save_noise(tmp_path, ["a.png"], width=16, height=16)
    (tmp_path / "b.png").write_text("no picture")
    check_sizes(
        [*files, tmp_path / "b.png", tmp_path / "gone.png"],
        Preprocessing("crop", 16, 16, flip=True),
    )


def test_other_modes_open_no_file(monkeypatch, tmp_path):
    files = save_noise(tmp_path, ["a.png"], width=4, height=4)
    with pytest.raises(UserError):
        check_sizes(files, Preprocessing("crop", 16, 16, flip=True))
    monkeypatch.setattr(Image, "open", lambda *_, **__: pytest.fail("opened a file"))
    for mode in ("resize_and_crop", "scale_width", "scale_width_and_crop", "scale_shortside"):
        check_sizes(files, Preprocessing(mode, 16, 16, flip=True))
