import pytest

from data import Domains, find_domains, list_images
from errors import UserError


def touch(folder, *names):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()


def names_in(folder):
    return [path.relative_to(folder).as_posix() for path in list_images(folder, "`dataroot`")]


def one_line(call, *arguments):
    with pytest.raises(UserError) as caught:
        call(*arguments)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_every_extension_in_any_case_and_nothing_else(tmp_path):
    images = ["a.jpg", "b.JPEG", "c.PnG", "d.webp", "e.BMP", "f.ppm", "g.Tif", "h.tiff"]
    touch(tmp_path, *images, "i.gif", "j.txt", "png", "k.png.part", ".l.png", ".trash/m.png")
    assert names_in(tmp_path) == images


def test_order_is_that_of_relative_posix_paths(tmp_path):
    touch(tmp_path, "b.png", "a/z.png", "a.png", "a/b/c.png", "B.png", "a10.png", "a9.png")
    assert names_in(tmp_path) == sorted(
        ["b.png", "a/z.png", "a.png", "a/b/c.png", "B.png", "a10.png", "a9.png"]
    )


def test_linked_folders_are_followed_and_loops_are_not(tmp_path):
    root, elsewhere = tmp_path / "root", tmp_path / "elsewhere"
    touch(root, "a.png", "sub/b.png")
    touch(elsewhere, "c.png", "deep/d.png")
    (root / "linked").symlink_to(elsewhere)
    (root / "sub" / "up").symlink_to(root)
    (elsewhere / "deep" / "up").symlink_to(elsewhere)
    (root / "self").symlink_to(root / "self")
    assert names_in(root) == ["a.png", "linked/c.png", "linked/deep/d.png", "sub/b.png"]


def test_a_dead_link_to_an_image_is_listed_so_that_it_gets_told(tmp_path):
    (tmp_path / "gone.png").symlink_to(tmp_path / "nowhere.png")
    assert names_in(tmp_path) == ["gone.png"]


def test_a_folder_named_like_an_image_is_a_folder(tmp_path):
    touch(tmp_path, "x.png/a.jpg")
    assert names_in(tmp_path) == ["x.png/a.jpg"]


def test_a_folder_without_images_or_no_folder_is_told(tmp_path):
    touch(tmp_path, "notes.txt")
    assert one_line(list_images, tmp_path, "`source_dir`") == (
        f"`source_dir` {tmp_path}: no image in it; give a folder with images (extensions: bmp jpeg "
        "jpg png ppm tif tiff webp)"
    )
    gone = tmp_path / "gone"
    assert f"`input` {gone}: no such folder" in one_line(list_images, gone, "`input`")
    file = tmp_path / "notes.txt"
    assert f"`input` {file}: not a folder" in one_line(list_images, file, "`input`")


def test_domains_of_two_folders(tmp_path):
    touch(tmp_path, "x/a.png", "y/b.png", "y/c.png")
    source, target = [tmp_path / "x/a.png"], [tmp_path / "y/b.png", tmp_path / "y/c.png"]
    found = find_domains(None, tmp_path / "x", tmp_path / "y")
    assert found == Domains(source, target, source, target)


@pytest.mark.parametrize(
    ("extra", "phase"),
    [([], "train"), (["val"], "val"), (["test"], "test"), (["val", "test"], "test")],
)
def test_domains_of_a_dataroot(tmp_path, extra, phase):
    for name in ["train", *extra]:
        touch(tmp_path, f"{name}A/a.png", f"{name}B/b.png")
    found = find_domains(tmp_path, None, None)
    assert found.source == [tmp_path / "trainA/a.png"]
    assert found.target == [tmp_path / "trainB/b.png"]
    assert found.test_source == [tmp_path / f"{phase}A/a.png"]
    assert found.test_target == [tmp_path / f"{phase}B/b.png"]


def test_a_missing_training_folder_is_told(tmp_path):
    touch(tmp_path, "trainB/b.png")
    assert one_line(find_domains, tmp_path, None, None) == (
        f"`dataroot` {tmp_path}: no folder trainA in it; give a folder with trainA and trainB, "
        "or `source_dir` and `target_dir`"
    )
    gone = tmp_path / "gone"
    assert f"`dataroot` {gone}: no such folder" in one_line(find_domains, gone, None, None)


def test_half_a_pair_of_test_folders_is_told(tmp_path):
    touch(tmp_path, "trainA/a.png", "trainB/b.png", "testA/a.png", "valA/a.png", "valB/b.png")
    assert "testA without its partner" in one_line(find_domains, tmp_path, None, None)


def test_the_wrong_set_of_options_is_told(tmp_path):
    x, y = tmp_path / "x", tmp_path / "y"
    assert "`dataroot` is missing" in one_line(find_domains, None, None, None)
    assert f"`source_dir` {x}: `target_dir` is missing" in one_line(find_domains, None, x, None)
    assert f"`target_dir` {y}: `source_dir` is missing" in one_line(find_domains, None, None, y)
    assert "together with" in one_line(find_domains, tmp_path, None, y)
    assert "together with" in one_line(find_domains, tmp_path, x, y)
