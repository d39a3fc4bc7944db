"""One short run of each command, one after the other, as a check for daily work (`make quick`)."""

import json

import pytest
import torch
from PIL import Image
from torch import Tensor, nn

import attack
import check_data
import data
import evaluate
import export
import generate
import models
import pocket
import report
import train_cut
import train_cyclegan
import train_features
import train_gan
import train_pix2pix
import translate
from commands.pages import previews
from commands.pages.walk import FRAMES

SMALL = ["--base_channels", "4", "--discriminator_channels", "4", "--discriminator_layers", "1"]
SMALL += ["--total_images", "4", "--workers", "0", "--log_every", "2", "--preview_every", "4"]


def color_means():
    """What `--features` calls: a function of uint8 pictures [B, 3, H, W] -> [B, 3]."""
    return lambda pictures: pictures.float().mean((2, 3))


class Brightest(nn.Module):
    """A classifier: the logits [B, 3] are the mean levels of red, green and blue."""

    def forward(self, pictures: Tensor) -> Tensor:
        """Return the logits of pictures [B, 3, H, W]."""
        return pictures.mean((2, 3))


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    """Return a folder with the small drawn data sets."""
    folder = tmp_path_factory.mktemp("quick")
    small = ["--size", "32", "--train", "4", "--test", "4"]
    pocket.main(["draw", "--output", str(folder / "unpaired"), *small])
    pocket.main(["draw", "--output", str(folder / "pairs"), "--pairs", *small])
    pocket.main(["shapes", "--output", str(folder / "shapes"), "--size", "16", "--count", "16"])
    return folder


def losses_of(run):
    lines = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    assert lines[-1]["images"] == 4
    page = (run / "report.html").read_text(encoding="utf-8")
    assert "4 of 4" in page and ">Finished<" in page and '"images": 4, "source": "data:' in page
    return lines[-1]


def assert_rows(run, direction=None):
    """The page takes the second row of a preview for the translation of the first one."""
    sheet = Image.open(run / "previews" / "000000004.png")
    rows = previews.ROWS[json.loads((run / "config.json").read_text())["command"]]
    grid = previews.find_grid(sheet, len(rows.names))
    assert grid == previews.Grid(len(rows.names), 4, 2, 32, 32)
    source, translated = (
        data.to_tensor(sheet.crop((2, top, 34, top + 32)))[None] for top in (2, 36)
    )
    network = models.load_generator(run, direction=direction).network
    assert (models.translate(network, source) - translated).abs().max() < 0.05  # of 8 bits


@pytest.mark.parametrize(
    ("script", "more", "loss"),
    [
        (train_cut, ["--nce_channels", "8", "--nce_patches", "16"], "nce"),
        (train_cyclegan, [], "cycle_a"),
    ],
)
def test_unpaired(drawn, script, more, loss, capsys):
    run = drawn / script.__name__
    size = ["--load_size", "34", "--crop_size", "32", "--generator", "resnet_6blocks"]
    files = ["--dataroot", str(drawn / "unpaired"), "--run_dir", str(run)]
    script.main([*files, *SMALL, *size, *more])
    assert losses_of(run)[loss] > 0
    direction = ["--direction", "a2b"] if script is train_cyclegan else []
    assert_rows(run, *direction[1:])
    source, output = drawn / "unpaired" / "testA", drawn / f"{run.name}-translated"
    checkpoint = ["--checkpoint", str(run), *direction]
    translate.main([*checkpoint, "--input", str(source), "--output", str(output)])
    assert len(list(output.glob("*.png"))) == 4
    exported = drawn / f"{run.name}.pth"
    export.main([*checkpoint, "--format", "official", "--output", str(exported)])
    assert torch.load(exported, weights_only=True)
    real = ["--real", str(drawn / "unpaired" / "testB"), "--fake", str(output)]
    evaluate.main([*real, "--metrics", "swd,fid", "--features", "tests.test_quick:color_means"])
    numbers = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert (
        numbers["n_fake"] == 4 and min(value for key, value in numbers.items() if "swd" in key) > 0
    )


def test_pairs(drawn):
    run = drawn / "pairs-run"
    size = ["--load_size", "32", "--crop_size", "32", "--generator", "resnet_6blocks"]
    maps = ["--source_classes", "11", "--evaluate_every", "0"]
    files = ["--dataroot", str(drawn / "pairs"), "--run_dir", str(run)]
    train_pix2pix.main([*files, *SMALL, *size, *maps])
    assert losses_of(run)["l1"] > 0
    sheet = Image.open(run / "previews" / "000000004.png")
    assert previews.find_grid(sheet, 3) == previews.Grid(3, 4, 2, 32, 32)


def test_from_noise(drawn):
    run = drawn / "gan-run"
    small = ["--base_channels", "4", "--discriminator_channels", "4", "--latent_channels", "4"]
    few = ["--batch_size", "4", "--total_images", "4", "--workers", "0", "--log_every", "4"]
    few += ["--preview_every", "4"]
    files = ["--dataroot", str(drawn / "shapes"), "--labels", "folders", "--run_dir", str(run)]
    train_gan.main([*files, "--preset", "dcgan", "--crop_size", "16", *small, *few])
    assert losses_of(run)["generator"] > 0
    sheet = Image.open(run / "previews" / "000000004.png")
    assert previews.find_grid(sheet, 0) == previews.Grid(5, 8, 2, 16, 16)
    assert f'"frames": {FRAMES}' in (run / "report.html").read_text(encoding="utf-8")
    output, sheet = drawn / "samples", drawn / "sheet.png"
    generate.main(
        ["--checkpoint", str(run), "--output", str(output), "--num", "4", "--grid", str(sheet)]
    )
    assert len(list(output.rglob("*.png"))) == 4 and sheet.exists()
    (run / "report.html").unlink()
    report.main(["--run_dir", str(run), "--device", "cpu"])
    assert f'"frames": {FRAMES}' in (run / "report.html").read_text(encoding="utf-8")


def test_features(drawn):
    run = drawn / "features-run"
    files = ["--dataroot", str(drawn / "shapes"), "--labels", "folders", "--run_dir", str(run)]
    small = ["--base_channels", "2", "--embedding_channels", "8", "--hidden_channels", "8"]
    few = ["--crop_size", "16", "--batch_size", "4", "--total_images", "4", "--workers", "0"]
    train_features.main([*files, *small, *few, "--log_every", "4", "--preview_every", "0"])
    lines = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    assert lines[-1]["images"] == 4 and lines[-1]["loss"] > 0
    network = models.load_encoder(run).network
    assert network(torch.zeros(2, 3, 16, 16)).shape[0] == 2


def test_attack(tmp_path, capsys):
    folder = tmp_path / "pictures" / "red"
    folder.mkdir(parents=True)
    for number in range(2):
        Image.new("RGB", (8, 8), (128 + 4 * number, 120, 120)).save(folder / f"{number}.png")
    checkpoint = ["--checkpoint", "tests.test_quick:Brightest", "--class_names", "red", "g", "b"]
    files = ["--input", str(folder.parent), "--output", str(tmp_path / "out")]
    attack.main([*checkpoint, *files, "--epsilon", "1", "8", "--steps", "4"])
    found = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert found["clean_accuracy"] == 1
    # the lead of red is 8 and 12 levels, of which a bound takes twice itself
    assert [line["accuracy"] for line in found["robust"]] == [1, 0]


def test_check_data(drawn, capsys):
    check_data.main(["--dataroot", str(drawn / "unpaired"), "--no-timing", "--workers", "0"])
    found = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert found["layout"] == "unpaired"
    assert [group["files"] for group in found["groups"]] == [4, 4, 4, 4]
