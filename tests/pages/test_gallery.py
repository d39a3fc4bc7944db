"""Galleries without a browser: what is refused, thumbnails, the most that is shown."""

import generate
import translate
from commands.pages import gallery
from tests.data.inspection.folders import scene


def test_galleries_that_cannot_be(tmp_path, fails):
    scene(0).save(tmp_path / "a.png")
    one = ["--input", tmp_path / "a.png", "--output", tmp_path / "b.png"]
    told = fails(translate, ["--checkpoint", "x.safetensors", *one, "--gallery"])
    assert "--gallery: --output" in told and "is one picture; give a folder" in told
    grid = ["--grid", tmp_path / "sheet.png", "--gallery"]
    assert "give that folder too" in fails(generate, ["--checkpoint", "x.safetensors", *grid])


def test_only_large_pictures_get_thumbnails_and_only_some_are_shown(tmp_path, monkeypatch):
    monkeypatch.setattr(gallery, "MOST_PICTURES", 3)
    made = gallery.Gallery(tmp_path, "--output")
    for number, size in enumerate((40, 700, 40, 40)):
        made.add(tmp_path / f"{number}.png", scene(number, size), group="b" if number else "a<b>")
    text = made.write("four", "words").read_text(encoding="utf-8")
    assert [path.name for path in (tmp_path / ".gallery").iterdir()] == ["000001.jpg"]
    assert "The first 3 of 4 pictures" in text and "a&lt;b&gt;" in text and "<b>" not in text
    assert 'src=".gallery/000001.jpg"' in text and 'href="1.png"' in text and "3.png" not in text
