"""Classes of files: by folder and by JSON, and every mistake in them as one line."""

import json

import pytest

from data import Labels, list_images, read_labels
from errors import UserError
from tests.data.pictures import save_noise

NAMES = ["a/1.png", "a/2.jpg", "b/1.png", "b/x/3.png", "c/1.webp"]


@pytest.fixture
def folder(tmp_path):
    for name in NAMES:
        save_noise((tmp_path / "data" / name).parent, [name.split("/")[-1]], 6, 5)
    return tmp_path / "data"


def read(folder, source):
    return read_labels(str(source), folder, list_images(folder, "`data`"))


def written(folder, content):
    path = folder.parent / "labels.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def told(folder, source):
    with pytest.raises(UserError) as caught:
        read(folder, source)
    message = str(caught.value)
    assert message.startswith(f"`labels` {source}: ") and "\n" not in message
    return message.removeprefix(f"`labels` {source}: ")


def test_without_a_source_there_are_no_classes(folder):
    files = list_images(folder, "`data`")
    labels = read_labels(None, folder, files)
    assert labels == Labels([], [0] * 5) and labels.counts == []


# ---- By folder ----


def test_the_first_sub_folder_is_the_class(folder):
    labels = read(folder, "folders")
    assert labels == Labels(["a", "b", "c"], [0, 0, 1, 1, 2])
    assert labels.counts == [2, 2, 1]


def test_hidden_folders_and_other_files_are_no_classes(folder):
    (folder / ".cache").mkdir()
    (folder / "notes.txt").write_text("none")
    assert read(folder, "folders").names == ["a", "b", "c"]


def test_linked_folders_are_classes(folder, tmp_path):
    save_noise(tmp_path / "elsewhere", ["9.png"], 6, 5)
    (folder / "B").symlink_to(tmp_path / "elsewhere")
    assert read(folder, "folders") == Labels(["B", "a", "b", "c"], [0, 1, 1, 2, 2, 3])


def test_files_outside_of_the_classes_are_told(folder):
    save_noise(folder, ["z.png", "y.png"], 6, 5)
    assert told(folder, "folders") == (
        f"2 of 7 images are in no sub-folder of {folder}, first {folder / 'y.png'}; move each into "
        "the folder of its class"
    )


def test_a_folder_without_an_image_is_told(folder):
    (folder / "bb").mkdir()
    (folder / "bb" / "notes.txt").write_text("none")
    assert told(folder, "folders").startswith('class "bb" has no image; add images of it or remove')


def test_one_folder_alone_is_told(tmp_path):
    save_noise(tmp_path / "data" / "only", ["1.png"], 6, 5)
    assert told(tmp_path / "data", "folders") == (
        'all images are of one class, "only"; leave `labels` out to train without classes'
    )


def test_a_folder_whose_name_other_systems_cannot_have_is_told(folder):
    save_noise(folder / "d\\e", ["1.png"], 6, 5)
    assert 'class "d\\\\e" cannot be the name of a folder' in told(folder, "folders")


# ---- By JSON ----


@pytest.mark.parametrize("ending", [True, False])
@pytest.mark.parametrize("stylegan", [True, False])
def test_both_forms_with_and_without_endings(folder, stylegan, ending):
    names = NAMES if ending else [name.rsplit(".", 1)[0] for name in NAMES]
    table = dict(zip(names, [2, 0, 1, 1, 0], strict=True))
    content = {"labels": [list(pair) for pair in reversed(table.items())]} if stylegan else table
    assert read(folder, written(folder, content)) == Labels(["0", "1", "2"], [2, 0, 1, 1, 0])


def test_names_of_classes_are_sorted_and_numbers_count(folder):
    words = dict(zip(NAMES, ["pony", "cat", "Ox", "cat", "pony"], strict=True))
    labels = read(folder, written(folder, words))
    assert labels == Labels(["Ox", "cat", "pony"], [2, 1, 0, 1, 2])
    assert labels.counts == [1, 2, 2]
    save_noise(folder, [f"{k:02}.png" for k in range(11)], 6, 5)
    numbers = {f"{k:02}.png": k for k in range(11)} | dict.fromkeys(NAMES, 0)
    assert read(folder, written(folder, numbers)).names == [str(k) for k in range(11)]


def test_a_picture_may_be_called_labels(tmp_path):
    save_noise(tmp_path / "data", ["labels.png", "other.png"], 6, 5)
    labels = read(tmp_path / "data", written(tmp_path / "data", {"labels": 1, "other": 0}))
    assert labels.of_files == [1, 0]


def test_names_without_a_file_are_told_and_passed_over(folder, capsys):
    table = {**dict(zip(NAMES, "xyxyx", strict=True)), "gone.png": "x", "b/gone": "y"}
    source = written(folder, table)
    assert read(folder, source).counts == [3, 2]
    assert capsys.readouterr().err == (
        f'`labels` {source}: 2 of its 7 names have no image in {folder}, first "gone.png"\n'
    )


GOOD = dict(zip(NAMES, [0, 1, 0, 1, 0], strict=True))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "not JSON (Expecting property name"),
        ("[" * 200_000, "not JSON ("),
        ("[1, 2]", "holds no names with classes; give {"),
        ("{}", "names no picture; give {"),
        ('{"labels": []}', "names no picture; give {"),
        (
            '{"labels": null}',
            '"labels" has null, which is not a class; give each picture one class',
        ),
        ('{"labels": ["a/1.png"]}', '"a/1.png" is not a name with a class; give {'),
        ('{"labels": [["a/1.png", 0, 1]]}', '["a/1.png", 0, 1] is not a name with a class'),
        ('{"labels": [[0, "a/1.png"]]}', '[0, "a/1.png"] is not a name with a class'),
        ({**GOOD, "a/1.png": True}, '"a/1.png" has true, which is not a class'),
        ({**GOOD, "a/1.png": 1.0}, '"a/1.png" has 1.0, which is not a class'),
        (
            {**GOOD, "a/1.png": [0, 1]},
            '"a/1.png" has [0, 1], which is not a class; give each picture',
        ),
        ({**GOOD, "a/1.png": {"x": 1}}, '"a/1.png" has [["x", 1]], which is not a class'),
        ({**GOOD, "a/1.png": "one"}, "some classes are integers and some are names; make all"),
        ('{"a/1.png": 0, "a/1.png": 1}', '"a/1.png" has two classes; give each'),
        ({**GOOD, "a/1": 1}, "a/1 and a/1.png have two classes; give each"),
        ({**GOOD, "a/1.png": 3}, "class 2 has no image; add images of it or remove it (integer"),
        ({**GOOD, "gone": 2}, "class 2 has no image"),
        ({**GOOD, "gone": 10**30}, "class 2 has no image"),
        ({**GOOD, "a/1.png": -1}, "class -1 is below 0; count classes from 0"),
        ({name: label + 1 for name, label in GOOD.items()}, "class 0 has no image"),
        (dict.fromkeys(NAMES, 0), "all images are of one class, 0; leave `labels` out"),
        ({"x.png": 0, "y.png": 1}, 'none of its 2 names, first "x.png", is an image in'),
        ({"a/1.png": 0, "b/1": 1}, "3 of 5 images have no class, first a/2.jpg; add them"),
        (dict(zip(NAMES, "xyxyx", strict=True)) | {"gone": "z"}, 'class "z" has no image'),
    ],
)
def test_mistakes_in_the_file_are_told(folder, content, message):
    assert message in told(folder, written(folder, content))


@pytest.mark.parametrize(
    "name", ["", ".", "..", ".x", "x/y", "x\\y", "x\ny", "x\0", "\ud800", "x" * 256]
)
def test_classes_that_cannot_be_folders_are_told(folder, name):
    table = dict(zip(NAMES, ["good", name, "good", name, "good"], strict=True))
    message = told(folder, written(folder, table))
    assert "cannot be the name of a folder for its pictures; rename it" in message


def test_names_in_any_language_are_good(folder):
    words = ["Pferd mit Huf", "斑馬", "می‌خواهم", "a.b", "Pferd mit Huf"]
    source = written(folder, dict(zip(NAMES, words, strict=True)))
    assert sorted(read(folder, source).names) == sorted(set(words))


def test_no_file_and_a_folder_are_told(folder):
    assert told(folder, folder / "no.json") == (
        "cannot be read (No such file or directory); give a JSON file, or folders"
    )
    assert told(folder, folder).startswith("cannot be read (Is a directory)")
    (folder / "latin.json").write_bytes(b'{"\xe4": 1}')
    assert told(folder, folder / "latin.json").startswith("not JSON (")
