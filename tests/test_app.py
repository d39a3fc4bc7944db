"""app.py: the page in a real browser, its addresses, and what it refuses."""

import base64
import io
import os
import re
import signal
import socket
import time
import zlib

import numpy as np
import pytest
import torch
from PIL import Image
from werkzeug.test import Client

import app
import data
import models
from commands.app import application
from models.resnet_generator import ResnetGenerator, ResnetSizes
from tests.models.gan.pairs import small_generator, stirred
from tests.pages.browser import browser, needs_browser
from tests.processes import start_script

NAMES = ["cat", "dog", "fish"]
URL = re.compile(r"open (http://127\.0\.0\.1:\d+) ")


def translator(seed: int = 0) -> ResnetGenerator:
    network = ResnetGenerator(ResnetSizes(base_channels=4, blocks=6))
    random = torch.Generator().manual_seed(seed)
    return models.initialize(network, random, "normal", 0.2).eval()


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory):
    """Runs one, two (translators), both (CycleGAN), gan, plain (no classes); official.pth."""
    folder = tmp_path_factory.mktemp("runs")
    networks = {
        "one/generator": translator(0),
        "two/generator": translator(1),
        "both/generator_a2b": translator(2),
        "both/generator_b2a": translator(3),
        "gan/generator": stirred(small_generator("sngan", 3)),
        "plain/generator": stirred(small_generator("dcgan")),
    }
    for name, network in networks.items():
        (folder / name).parent.mkdir(exist_ok=True)
        about = {"class_names": NAMES} if name.startswith("gan") else {}
        models.save_generator(folder / f"{name}.safetensors", network, about)
    models.save_official(folder / "official.pth", translator(4))
    return folder


@pytest.fixture(scope="module")
def picture(tmp_path_factory):
    """A file of 60 x 40 pixels."""
    levels = np.random.default_rng(0).integers(0, 256, (5, 6, 3), dtype=np.uint8).repeat(10, 0)
    levels = np.repeat(levels, 10, axis=1)[:40, :60]
    path = tmp_path_factory.mktemp("pictures") / "scene.png"
    Image.fromarray(levels).save(path)
    return path


@pytest.fixture(scope="module")
def opened():
    with browser() as found:
        yield found


@pytest.fixture
def serving(tmp_path):
    """Return a function that starts app.py in a process of its own and returns its address."""
    started = []

    def start(*arguments: object) -> str:
        folder = tmp_path / str(len(started))
        folder.mkdir()
        process, (_, told) = start_script(folder, ["app.py", *map(str, arguments), "--port", "0"])
        started.append((process, told))
        deadline = time.monotonic() + 60
        while not (found := URL.search(told.read_text() if told.exists() else "")):
            assert process.exitcode is None and time.monotonic() < deadline, told.read_text()
            time.sleep(0.05)
        return found[1]

    yield start
    for process, told in started:
        os.kill(process.pid, signal.SIGINT)
        process.join(20)
        assert process.exitcode == 0 and told.read_text().count("\n") == 1, told.read_text()


def client(*arguments: object, **limits: object) -> Client:
    """Return a client of the application of these options, without a server."""
    options = app.cli.parse(app.Options, [*map(str, arguments), "--device", "cpu"])
    shown = app.open_checkpoints(options)
    host = limits.pop("host", "127.0.0.1")
    return Client(application(shown, host=host, **{"most_megabytes": 1.0, **limits}))


def drop(page, path) -> None:
    """Drop a file on the page, as from a file manager."""
    dropped = page.evaluate_handle(
        """([content, name]) => {
            const bytes = Uint8Array.from(atob(content), (one) => one.charCodeAt(0));
            const dropped = new DataTransfer();
            dropped.items.add(new File([bytes], name));
            return dropped;
        }""",
        [base64.b64encode(path.read_bytes()).decode(), path.name],
    )
    page.dispatch_event("#drop", "drop", {"dataTransfer": dropped})


def complaints(opened, address: str) -> list[str]:
    """Return what was wrong with the pages, other than that they asked their own server."""
    found = [told for told in opened.wrong if not told.startswith(f"request: {address}/")]
    assert len(found) < len(opened.wrong)
    opened.wrong.clear()
    return found


def image_of(address: str) -> Image.Image:
    kind, content = address.split(",", 1)
    assert kind in ("data:image/png;base64", "data:image/gif;base64")
    return Image.open(io.BytesIO(base64.b64decode(content)))


def levels_of(address: str) -> np.ndarray:
    return np.asarray(image_of(address))


# ---- In the browser ----


@needs_browser
def test_a_picture_is_translated_by_two_checkpoints_and_compared(
    serving, checkpoints, picture, opened, tmp_path
):
    address = serving("--checkpoint", checkpoints / "one", checkpoints / "two")
    page = opened.page
    page.goto(address)
    drop(page, picture)
    page.wait_for_selector("#pictures figure:nth-child(3) img")
    assert page.text_content("#size") == "60 x 40 pixels"
    captions = page.locator("figcaption").all_text_contents()
    names = ["input", str(checkpoints / "one"), str(checkpoints / "two")]
    assert captions == [f"{name} (save)" for name in names]
    assert page.locator("#left option").all_text_contents() == names

    shown = [image.get_attribute("src") for image in page.locator("#pictures img").all()]
    left, right = (page.get_attribute(f"#{side}_picture", "src") for side in ("left", "right"))
    assert (left, right) == (shown[0], shown[1])
    pixels = data.to_tensor(data.decode_image(picture))[None]
    for seed, one in enumerate(shown[1:]):
        expected = data.RGB.to_image(models.translate(translator(seed), pixels)[0])
        assert np.abs(levels_of(one).astype(int) - np.asarray(expected)).max() <= 1

    page.select_option("#left", "1")
    page.select_option("#right", "2")
    left, right = (page.get_attribute(f"#{side}_picture", "src") for side in ("left", "right"))
    assert (left, right) == (shown[1], shown[2])
    box = page.locator("#compare").bounding_box()
    page.mouse.click(box["x"] + box["width"] / 4, box["y"] + box["height"] / 2)
    split = page.evaluate("getComputedStyle(document.getElementById('right_picture')).clipPath")
    assert 20 < float(re.search(r"(\d+(\.\d+)?)%", split)[1]) < 30  # hidden on the left

    with page.expect_download() as download:
        page.locator("#pictures a").nth(1).click()
    assert download.value.suggested_filename == "scene_1.png"
    assert np.array_equal(np.asarray(Image.open(download.value.path())), levels_of(shown[1]))

    unreadable = tmp_path / "notes.png"
    unreadable.write_text("not a picture")
    page.set_input_files("#file", unreadable)
    page.wait_for_selector("#message.wrong:not(:empty)")
    told = page.text_content("#message")
    assert told == "the picture cannot be read: not an image of a known kind"
    (refused,) = complaints(opened, address)
    assert "Failed to load resource" in refused and "422" in refused  # the answer's status
    for width_px, scheme in ((1000, "light"), (400, "dark")):
        opened.as_seen_at(width_px, scheme)


@needs_browser
def test_pictures_from_noise_by_seed_and_class(serving, checkpoints, opened):
    address = serving("--checkpoint", checkpoints / "gan")
    page = opened.page
    page.goto(address)
    image = page.locator("#pictures img")
    image.wait_for()
    assert image_of(image.get_attribute("src")).size == (2 + 4 * 18,) * 2  # 16 pictures of 16 px
    page.fill("#seed", "7")
    page.fill("#count", "4")
    page.select_option("#label", "dog")
    page.locator("#truncation").fill("0.5")
    page.click("text=Make pictures")
    page.wait_for_selector("a[download='seed_7_0.png']")
    found = levels_of(image.get_attribute("src"))
    sampler = models.load_sampler(checkpoints / "gan")
    labels = torch.full((4,), 1)
    expected = data.to_levels(sampler.sample(4, 7, labels=labels, truncation=0.5))
    tiles = [found[y : y + 16, x : x + 16] for y in (2, 20) for x in (2, 20)]
    assert np.array_equal(np.stack(tiles), expected.permute(0, 2, 3, 1).numpy())

    page.fill("#other_seed", "9")
    page.click("text=Interpolate")
    page.wait_for_selector("a[download='seed_7_0.gif']")
    assert image_of(image.get_attribute("src")).n_frames == 2 * 31
    opened.as_seen_at(400, "dark")
    assert not complaints(opened, address)


# ---- Its addresses ----


def test_both_directions_of_a_run_and_official_weights(checkpoints, picture):
    both = client("--checkpoint", checkpoints / "both")
    page = both.get("/").text
    assert "A to B" in page and "B to A" in page
    made = {}
    for direction in ("a2b", "b2a"):
        answer = both.post(f"/translate?direction={direction}", data=picture.read_bytes())
        _, shown = answer.json["pictures"]
        made[direction] = levels_of(shown["picture"])
    assert not np.array_equal(made["a2b"], made["b2a"])
    chosen = client("--checkpoint", checkpoints / "both", "--direction", "b2a")
    assert "A to B" not in chosen.get("/").text
    answer = chosen.post("/translate?direction=b2a", data=picture.read_bytes())
    assert np.array_equal(levels_of(answer.json["pictures"][1]["picture"]), made["b2a"])
    official = client("--checkpoint", checkpoints / "official.pth")
    answer = official.post("/translate?direction=", data=picture.read_bytes())
    assert levels_of(answer.json["pictures"][1]["picture"]).shape == (40, 60, 3)
    assert official.post("/translate?direction=a2b", data=picture.read_bytes()).status_code == 422


def test_a_large_picture_is_shrunk_and_told_so(checkpoints, picture):
    small = client("--checkpoint", checkpoints / "one", "--longest_side", 30)
    answer = small.post("/translate", data=picture.read_bytes()).json
    assert (answer["size"], answer["full_size"]) == ([30, 20], [60, 40])
    assert levels_of(answer["pictures"][1]["picture"]).shape == (20, 30, 3)


def bomb() -> bytes:
    """A PNG of a few bytes that claims 900 million pixels."""
    file = io.BytesIO()
    Image.new("1", (1, 1)).save(file, "PNG")
    content = bytearray(file.getvalue())
    content[16:24] = (30000).to_bytes(4, "big") * 2
    content[29:33] = zlib.crc32(content[12:29]).to_bytes(4, "big")
    return bytes(content)


def large() -> bytes:
    file = io.BytesIO()
    Image.new("1", (8000, 7000)).save(file, "PNG")
    return file.getvalue()


@pytest.mark.parametrize(
    ("content", "status", "words"),
    [
        (b"", 422, "the picture cannot be read: empty file"),
        (b"\x89PNG\r\n\x1a\n", 422, "the picture cannot be read: "),
        (bomb(), 422, "could be a decompression bomb"),
        (large(), 422, "8000 x 7000 pixels, which is 56 megapixels; at most 50 are accepted (--"),
        (b"x" * 1_000_001, 413, "larger than 1 MB (--most_megabytes)"),
    ],
    ids=["empty", "damaged", "bomb", "megapixels", "megabytes"],
)
def test_uploads_that_are_refused_in_words(checkpoints, content, status, words):
    answer = client("--checkpoint", checkpoints / "one").post("/translate", data=content)
    assert answer.status_code == status and words in answer.json["error"]


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("seed=-1&count=1", "seed -1: give a whole number from 0 to 4294967295"),
        ("seed=&count=1", "seed : give"),
        ("seed=1&count=65", "count 65: give a whole number from 1 to 64"),
        (f"seed=1&count={'1':0>20}99", f"count {'1':0>20}: give a whole number from 1 to 64"),
        ("seed=1&count=1&truncation=nan", "truncation nan: give a number from 0 to 1"),
        ("seed=1&count=1&truncation=x", "truncation x: give a number from 0 to 1"),
        ("seed=1&count=1&label=cow", "class cow: not one of this checkpoint"),
    ],
)
def test_values_that_no_page_sends(checkpoints, query, words):
    answer = client("--checkpoint", checkpoints / "gan").get(f"/sample?{query}")
    assert answer.status_code == 422 and words in answer.json["error"]


def test_two_generators_without_classes(checkpoints, tmp_path):
    models.save_generator(tmp_path / "b.safetensors", stirred(small_generator("sngan")), {})
    two = client("--checkpoint", checkpoints / "plain", tmp_path / "b.safetensors")
    assert 'id="label"' not in two.get("/").text
    for asked in ("/sample?seed=1&count=2", "/interpolate?seed=1&other_seed=2"):
        first, second = two.get(asked).json["pictures"]
        assert first["picture"] != second["picture"]
        assert two.get(asked).json["pictures"] == [
            first,
            second,
        ]  # the same seed, the same pictures


def test_only_this_machine_and_this_page_are_answered(checkpoints):
    local = client("--checkpoint", checkpoints / "gan")
    for host in ("127.0.0.1:7860", "localhost", "[::1]:7860", "LOCALHOST:80"):
        assert local.get("/", headers={"Host": host}).status_code == 200
    for host in ("evil.example", "127.0.0.1.evil.example", "", "[", "127.0.0.1@evil.example"):
        assert local.get("/", headers={"Host": host}).status_code == 403, host
    for site, status in (("same-origin", 200), ("cross-site", 403), ("same-site", 403)):
        answer = local.get("/sample?seed=1&count=1", headers={"Sec-Fetch-Site": site})
        assert answer.status_code == status
    policy = local.get("/").headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy and "http" not in policy
    for asked in ("/nothing", "/../app.py", "/page.html", "/translate"):
        assert local.get(asked).status_code == 404
    other_address = client("--checkpoint", checkpoints / "gan", host="127.0.0.2")
    assert other_address.get("/", headers={"Host": "127.0.0.2:7860"}).status_code == 200
    assert other_address.get("/", headers={"Host": "evil.example"}).status_code == 403
    others = client("--checkpoint", checkpoints / "gan", host="0.0.0.0")
    assert others.get("/", headers={"Host": "my-server"}).status_code == 200


# ---- Mistakes ----


def test_mistakes_end_with_one_line(checkpoints, fails, tmp_path):
    (tmp_path / "none.pth").write_bytes(b"not a checkpoint")
    one, gan, both = (checkpoints / name for name in ("one", "gan", "both"))
    for checkpoint, words in (
        ((tmp_path / "missing",), "no such file"),
        ((tmp_path / "none.pth",), "--checkpoint"),
        ((one, gan), "makes pictures from noise, not translations; give checkpoints of one kind"),
        ((gan, one), "a translator, not a generator from noise; give checkpoints of one kind"),
        ((one, both), "translates other pictures than"),
        ((gan, checkpoints / "plain"), "has other classes than"),
        ((one, one), "given twice"),
        ((one, both, gan), "3 were given; give 2 at most"),
        ((), "--checkpoint is missing"),
    ):
        told = fails(app, ["--port", "0", "--checkpoint", *checkpoint])
        assert words in told, told
    assert "--host is empty" in fails(app, ["--checkpoint", one, "--host", ""])
    for option, value, words in (
        ("--port", 65536, "above 65535"),
        ("--port", -1, "below 0"),
        ("--host", "no.such.host.invalid", "not an address of this machine"),
        ("--host", "a..b", "not an address of this machine"),
        ("--host", "192.0.2.1", "not an address of this machine"),
        ("--most_megabytes", 0.0, "give a number above 0"),
        ("--direction", "a2b", "translates in one direction only"),
    ):
        told = fails(app, ["--checkpoint", one, "--port", "0", option, value])
        assert f"{option} {value}: " in told and words in told, told


def test_a_port_in_use_is_named(checkpoints, fails):
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        told = fails(app, ["--checkpoint", checkpoints / "one", "--port", port])
    assert f"--port {port}: cannot be used on --host 127.0.0.1 (Address already in use)" in told
