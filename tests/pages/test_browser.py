"""Pages in a real browser: nothing fails, nothing is requested, sliders move, curves draw."""

import re
import shutil
from datetime import datetime, timedelta

import pytest
import torch

import check_data
import data
import generate
import report
import translate
from commands.pages.run_page import RunPage
from tests.data.inspection.folders import pairs, scene
from tests.fixtures.draw_old_runs import OLD_RUNS
from tests.pages.browser import browser, needs_browser
from tests.pages.runs import run_folder

pytestmark = [needs_browser, pytest.mark.slow]

SEEN_AT = [(1600, "light"), (400, "dark")]
HOSTILE = "<script>alert('name')</script>"


@pytest.fixture(scope="module")
def opened():
    with browser() as found:
        yield found


@pytest.fixture(autouse=True)
def _nothing_wrong(opened):
    opened.wrong.clear()
    yield
    assert opened.wrong == []


def drawn_charts(page):
    """Scroll until every chart is drawn; return how many curves each of them has."""
    count = page.locator(".plot").count()
    for place in range(count):
        page.locator(".plot").nth(place).scroll_into_view_if_needed()
        page.locator(".plot[data-drawn]").nth(place).wait_for()
    assert count > 0
    return page.evaluate(
        "[...document.querySelectorAll('.plot')].map("
        "plot => plot.querySelectorAll('.scatterlayer .trace path.js-line').length)"
    )


def test_a_page_that_a_killed_run_left_says_that_it_is_old(opened, tmp_path):
    run = run_folder(tmp_path / "run", images=2000, previews=0)
    text = RunPage(run, torch.device("cpu")).text(going_on=True)
    (renewed,) = re.findall(r'data-renewed="(\d+)"', text)
    for seconds_ago, is_old in ((int(renewed), False), (700 + 3 * int(renewed), True)):
        then = datetime.now().astimezone() - timedelta(seconds=seconds_ago)
        shown = re.sub(r'data-written="[^"]*"', f'data-written="{then.isoformat()}"', text)
        (tmp_path / "page.html").write_text(shown, encoding="utf-8")
        opened.look(tmp_path / "page.html")
        drawn_charts(opened.page)
        assert ("not renewed since" in opened.page.locator(".written").inner_text()) == is_old


def test_the_page_of_a_translator(opened, tmp_path):
    warning = (2000, f"the discriminator has won: {HOSTILE}")
    run = run_folder(tmp_path / f"{HOSTILE.replace('/', '')}", warnings=[warning])
    report.main([str(run)])
    opened.look(run / "report.html")
    page = opened.page
    for width_px, scheme in SEEN_AT:
        opened.as_seen_at(width_px, scheme)
    assert page.locator("h1").inner_text() == run.name
    assert HOSTILE in page.locator(".note").inner_text()
    assert min(drawn_charts(page)) >= 1

    time = page.locator("#pictures .control input")
    assert page.locator("#pictures output").inner_text() == "4,000 images"
    last = opened.pixels("#pictures .after")
    time.fill("0")
    page.wait_for_function("document.querySelector('#pictures output').textContent[0] === '8'")
    page.wait_for_function(
        "last => document.querySelector('#pictures .after').toDataURL() !== last", arg=last
    )
    over = page.locator("#pictures .over").first
    over.locator("input").fill("20")
    clip = over.locator(".after").evaluate("one => getComputedStyle(one).clipPath")
    assert clip == "inset(0px 0px 0px 20%)"

    first = page.locator("#curves .plot").last
    before = first.locator("path.js-line").first.get_attribute("d")
    page.locator("#curves input[type=checkbox]").check()
    page.locator("#curves .control input[type=range]").fill("0")
    generator = page.locator(".plot[aria-label^=generator] path.js-line")
    page.wait_for_function(
        "document.querySelectorAll('.plot[aria-label^=generator] path.js-line').length === 1"
    )
    assert generator.count() == 1 and before


def test_the_page_of_a_gan_with_its_walk(opened, tmp_path):
    run = run_folder(tmp_path / "run", "train_gan.py", previews=2, columns=4, measured=False)
    shutil.copy(OLD_RUNS / "gan" / "run" / "generator.safetensors", run)
    report.main(["--run_dir", str(run), "--device", "cpu"])
    opened.look(run / "report.html")
    page = opened.page
    opened.as_seen_at(*SEEN_AT[0])
    assert page.locator("#pictures .strip canvas").count() == 1
    frame = opened.pixels("#walk canvas")
    page.locator("#walk button").click()
    page.wait_for_function(
        "frame => document.querySelector('#walk canvas').toDataURL() !== frame", arg=frame
    )
    page.locator("#walk button").click()
    assert page.locator("#walk button").inner_text() == "Play"


def test_runs_compared(opened, tmp_path):
    runs = tmp_path / "runs"
    run_folder(runs / "one", previews=2)
    run_folder(runs / "two", previews=3, preset="fastcut", learning_rate=4e-4)
    run_folder(runs / "noise", "train_gan.py", previews=1, columns=4, measured=False)
    report.main([str(path) for path in sorted(runs.iterdir())])
    opened.look(runs / "comparison.html")
    page = opened.page
    for width_px, scheme in SEEN_AT:
        opened.as_seen_at(width_px, scheme)
    assert page.locator("thead").first.inner_text().split() == ["noise", "one", "two"]
    assert max(drawn_charts(page)) >= 3
    of_translators = page.locator(".group", has=page.locator("text=source")).last
    assert of_translators.locator("canvas").count() == 4  # source, two translations, target
    shown = [figure.inner_text() for figure in of_translators.locator("figcaption").all()]
    assert shown == ["source", "one", "two", "target"]


def test_galleries(opened, tmp_path):
    names = [HOSTILE.replace("/", "\u2215"), 'a # 50% "of" it\'s?', "x" * 200, "line\nbreak"]
    (tmp_path / "in").mkdir()
    for number, name in enumerate(names):
        scene(number, 24).save(tmp_path / "in" / f"{name}.png")
    scene(9, 400).save(tmp_path / "in" / "large.png")
    checkpoint = ["--checkpoint", str(OLD_RUNS / "cut" / "run" / "generator.safetensors")]
    output = tmp_path / "out"
    translate.main(
        [*checkpoint, "--input", str(tmp_path / "in"), "--output", str(output), "--gallery"]
    )
    assert len(data.list_images(output, "--fake")) == 5  # thumbnails are not for FID
    opened.look(output / "index.html")
    page = opened.page
    for width_px, scheme in SEEN_AT:
        opened.as_seen_at(width_px, scheme)
    assert page.locator(".over").count() == 5
    for place in range(5):
        page.locator(".over").nth(place).scroll_into_view_if_needed()
    page.wait_for_function("[...document.images].every(one => one.complete && one.naturalWidth)")
    page.locator(".over input").first.fill("70")
    clip = page.locator(".after").first.evaluate("one => getComputedStyle(one).clipPath")
    assert clip == "inset(0px 0px 0px 70%)"
    links = page.evaluate("[...document.querySelectorAll('figcaption a')].map(one => one.href)")
    for link in links:
        page.goto(link)
        assert page.evaluate("document.images[0].naturalWidth") in (24, 400)


def test_a_gallery_of_generated_pictures(opened, tmp_path):
    checkpoint = ["--checkpoint", str(OLD_RUNS / "gan" / "run")]
    output = tmp_path / "out"
    generate.main([*checkpoint, "--output", str(output), "--num", "3", "--gallery"])
    opened.look(output / "index.html")
    opened.as_seen_at(*SEEN_AT[0])
    opened.page.wait_for_function(
        "[...document.images].every(one => one.complete && one.naturalWidth)"
    )
    assert opened.page.locator("main img").count() == 3


def test_the_page_of_a_data_set(opened, tmp_path):
    folder = pairs(tmp_path / "pairs", count=6)
    arguments = ["--dataroot", str(folder), "--no-timing", "--workers", "0", "--layout", "pairs"]
    check_data.main([*arguments, "--page", str(tmp_path / "page.html")])
    opened.look(tmp_path / "page.html")
    for width_px, scheme in SEEN_AT:
        opened.as_seen_at(width_px, scheme)
    assert opened.page.evaluate("[...document.images].every(one => one.naturalWidth)")
