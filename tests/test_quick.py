"""One short run of each command, one after the other, as a check for daily work (`make quick`)."""

import json

import pytest
import torch

import evaluate
import export_official
import generate
import pocket
import train_cut
import train_cyclegan
import train_gan
import train_pix2pix
import translate

SMALL = ["--base_channels", "4", "--discriminator_channels", "4", "--discriminator_layers", "1"]
SMALL += ["--total_images", "4", "--workers", "0", "--log_every", "2", "--preview_every", "4"]


def color_means():
    """What `--features` calls: a function of uint8 pictures [B, 3, H, W] -> [B, 3]."""
    return lambda pictures: pictures.float().mean((2, 3))


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
    return lines[-1]


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
    data = ["--dataroot", str(drawn / "unpaired"), "--run_dir", str(run)]
    script.main([*data, *SMALL, *size, *more])
    assert losses_of(run)[loss] > 0
    direction = ["--direction", "a2b"] if script is train_cyclegan else []
    source, output = drawn / "unpaired" / "testA", drawn / f"{run.name}-translated"
    checkpoint = ["--checkpoint", str(run), *direction]
    translate.main([*checkpoint, "--input", str(source), "--output", str(output)])
    assert len(list(output.glob("*.png"))) == 4
    exported = drawn / f"{run.name}.pth"
    export_official.main([*checkpoint, "--output", str(exported)])
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
    data = ["--dataroot", str(drawn / "pairs"), "--run_dir", str(run)]
    train_pix2pix.main([*data, *SMALL, *size, *maps])
    assert losses_of(run)["l1"] > 0


def test_from_noise(drawn):
    run = drawn / "gan-run"
    small = ["--base_channels", "4", "--discriminator_channels", "4", "--latent_channels", "4"]
    few = ["--batch_size", "4", "--total_images", "4", "--workers", "0", "--log_every", "4"]
    data = ["--dataroot", str(drawn / "shapes"), "--labels", "folders", "--run_dir", str(run)]
    train_gan.main([*data, "--preset", "dcgan", "--crop_size", "16", *small, *few])
    assert losses_of(run)["generator"] > 0
    output, sheet = drawn / "samples", drawn / "sheet.png"
    generate.main(
        ["--checkpoint", str(run), "--output", str(output), "--num", "4", "--grid", str(sheet)]
    )
    assert len(list(output.rglob("*.png"))) == 4 and sheet.exists()
