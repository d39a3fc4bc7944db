"""attack.py on translators, CycleGANs and GANs: numbers against slow ones, files, refusals."""

import json
import re
from functools import partial

import numpy as np
import pytest
import torch
from PIL import Image

import attack
import data
import generate
import models
import train_gan
from commands.attacking import discriminating
from commands.attacking.options import AttackOptions
from models.resnet_generator import ResnetGenerator, ResnetSizes
from tests.test_train_gan import SMALL
from tests.test_train_gan import pictures as gan_pictures
from tests.training_runs import noise


def generator(seed):
    """A translator with weights so large that its outputs differ visibly."""
    random = torch.Generator().manual_seed(seed)
    return models.initialize(
        ResnetGenerator(ResnetSizes(base_channels=2, blocks=1)), random, "normal", 0.3
    ).eval()


@pytest.fixture(scope="module")
def translator(tmp_path_factory):
    path = tmp_path_factory.mktemp("translator") / "generator.safetensors"
    models.save_generator(path, generator(0), {})
    return path


@pytest.fixture(scope="module")
def cycle(tmp_path_factory):
    run = tmp_path_factory.mktemp("cycle")
    for seed, name in enumerate(("a2b", "b2a")):
        models.save_generator(run / f"generator_{name}.safetensors", generator(seed), {})
    return run


@pytest.fixture(scope="module")
def sources(tmp_path_factory):
    """Pictures of two sizes, in a subfolder too."""
    root = tmp_path_factory.mktemp("sources")
    (root / "deep").mkdir()
    for number, (name, size) in enumerate((("a", (18, 22)), ("deep/b", (18, 22)), ("c", (16, 16)))):
        picture = torch.nn.functional.interpolate(
            noise(1, 3, 4, 4, seed=number), size[::-1], mode="bilinear"
        )
        data.to_image(picture[0]).save(root / f"{name}.png")
    return root


@pytest.fixture
def run(result_of):
    """Return a function that runs the command and returns its JSON object and its stderr."""
    return partial(result_of, attack)


def floats(path):
    return data.to_tensor(data.decode_image(path))[None]


def test_the_worst_translation(translator, sources, run, tmp_path):
    out = tmp_path / "out"
    found, told = run(
        *("--checkpoint", translator, "--input", sources, "--output", out),
        *("--objective", "content", "--epsilon", 2, 8, "--steps", 3),
    )
    small, large = found["distances"]
    assert found["n"] == 3 and (small["epsilon"], large["epsilon"]) == (2, 8)
    for line in (small, large):
        assert line["output_rms"] > line["output_of_noise_rms"] > 0
        assert line["input_l1"] <= line["input_rms"] <= line["epsilon"] + 1e-4
    assert large["output_rms"] > small["output_rms"]
    assert "grey levels (RMS)" in told

    network, distances = generator(0), []
    for path in data.list_images(sources, "sources"):
        pair = floats(path), floats(out / "pictures" / path.relative_to(sources))
        assert (pair[0] - pair[1]).abs().max() * 127.5 <= 8 + 1e-3
        clean, moved = (models.translate(network, picture) for picture in pair)
        distances.append((moved - clean).square().mean().sqrt().item() * 127.5)
    assert large["output_rms"] == pytest.approx(sorted(distances)[1], rel=1e-3)
    for file in ("sheet.png", "robustness.png"):
        with Image.open(out / file) as image:
            assert image.width > 300 and len(image.getcolors(10**6)) > 20


def test_towards_a_picture(translator, sources, run, tmp_path):
    found, _ = run(
        *("--checkpoint", translator, "--input", sources, "--output", tmp_path / "out"),
        *("--objective", "toward", "--target_picture", sources / "c.png"),
        *("--epsilon", 4, 32, "--steps", 8, "--num", 2, "--attack", "momentum"),
    )
    assert found["n"] == 2
    nearer = [line["to_target_rms"] for line in found["distances"]]
    assert found["distances"][0]["to_target_before_rms"] >= nearer[0] >= nearer[1]
    assert found["distances"][0]["to_target_before_rms"] > nearer[1]


def test_a_translation_has_a_gradient_and_the_same_values():
    network, pictures = generator(0), noise(1, 3, 13, 18).requires_grad_()
    found = models.translate_with_gradient(network, pictures)
    assert torch.equal(found.detach(), models.translate(network, pictures))
    (slope,) = torch.autograd.grad(found.square().sum(), pictures)
    assert slope.shape == pictures.shape and slope.abs().sum() > 0


@pytest.mark.parametrize("direction", ["a2b", "b2a"])
def test_the_code_hidden_in_a_cycle(direction, cycle, sources, run, tmp_path):
    out = tmp_path / "out"
    found, _ = run(
        *("--checkpoint", cycle, "--input", sources, "--output", out, "--objective", "hidden"),
        *("--direction", direction, "--epsilon", 4, "--jpeg", 50, "--batch_size", 2),
    )
    kinds = [(line["kind"], line["level"]) for line in found["curve"]]
    assert kinds == [("none", None), ("rounding", None), ("noise", 4), ("jpeg", 50)]
    none, rounding, noisy, _ = found["curve"]
    assert none["disturbance_l1"] == 0 < rounding["disturbance_l1"] <= 0.26
    # The mean of |N(0, 4)|, 3.19, less what is clipped at the ends of the range.
    assert 2.2 < noisy["disturbance_l1"] < 3.4
    there, back = (generator(seed) for seed in ((0, 1) if direction == "a2b" else (1, 0)))
    errors = [
        (models.translate(back, models.translate(there, x)) - x).abs().mean().item() * 127.5
        for x in map(floats, data.list_images(sources, "sources"))
    ]
    assert none["reconstruction_l1"] == pytest.approx(sorted(errors)[1], rel=1e-4)
    assert (out / "sheet.png").is_file() and (out / "robustness.png").is_file()


@pytest.fixture(scope="module")
def gans(tmp_path_factory):
    """Runs of train_gan.py: with and without an absolute judgement, with classes, growing."""
    root = tmp_path_factory.mktemp("gans")
    reals = gan_pictures(root / "reals")
    chosen = {
        "dcgan": ["--preset", "dcgan", *SMALL, "--discriminator_norm", "instance"],
        "wgan": ["--preset", "wgan_gp", *SMALL, "--labels", "folders"],
    }
    for name, arguments in chosen.items():
        rest = ["--dataroot", reals, "--run_dir", root / name, "--total_images", 8]
        train_gan.main([str(part) for part in [*arguments, *rest]])
    return root


def test_fakes_that_pass_for_real(gans, run, tmp_path):
    out = tmp_path / "out"
    found, _ = run(
        *("--checkpoint", gans / "wgan", "--input", gans / "reals", "--output", out),
        *("--num", 4, "--steps", 3, "--epsilon", 64),
    )
    assert found["kind"] == "gan" and found["threshold_of"] == "median of reals"
    assert found["n"] == 4 and len(list((out / "pictures").iterdir())) == 4
    generate.main(
        [
            *("--checkpoint", str(gans / "wgan"), "--output", str(tmp_path / "fakes")),
            *("--num", "4", "--device", "cpu"),
        ]
    )
    fakes = {path.name: path for path in (tmp_path / "fakes").rglob("*.png")}
    for path in (out / "pictures").iterdir():
        assert (floats(path) - floats(fakes[path.name])).abs().max() * 127.5 <= 65
    median, (low, high) = found["median_epsilon"], found["epsilon_quartiles"]
    assert median is None or 0 <= low <= median <= 64
    assert high is None or high >= median
    assert (out / "sheet.png").is_file()


def test_a_discriminator_that_judges_alone_needs_no_pictures(gans, run, tmp_path):
    found, _ = run(
        *("--checkpoint", gans / "dcgan", "--output", tmp_path / "out", "--num", 3, "--steps", 2),
    )
    assert found["threshold"] == 0 and found["threshold_of"] == "loss"
    total = found["real_from_the_start"] + found["not_reached"]
    assert 0 <= total <= 1


def test_the_nearest_bound_is_that_of_a_linear_judge():
    """For w x + b the least bound is -(w x + b) / |w|_1, where no value meets the range."""
    random = torch.Generator().manual_seed(0)
    w = torch.randn(3, 4, 4, generator=random)
    fakes = noise(6, 3, 4, 4) * 0.3
    offsets = torch.tensor([-0.4, -1.0, -2.0, -3.0, 9.0, -500.0])
    shift = offsets - (fakes * w).sum((1, 2, 3))  # so that each fake's logit is its offset

    def margin(pictures, labels):
        return (pictures * w).sum((1, 2, 3)) + shift

    options = AttackOptions("x", None, steps=4)
    found = discriminating.nearest(options, margin, fakes, None, 32.0)
    expected = -offsets / w.abs().sum() * 127.5
    for bound, right in zip(found.bounds[:4].tolist(), expected.tolist(), strict=False):
        assert right <= bound + 1e-3 and bound - right <= 2 * 32 / 2**discriminating.HALVINGS
    assert found.bounds[4] == 0 and torch.equal(found.pictures[4], fakes[4])
    assert found.bounds[5] == torch.inf and torch.equal(found.pictures[5], fakes[5])
    assert discriminating.quantile(found.bounds, 0.5) == pytest.approx(
        found.bounds.sort().values[2]
    )
    assert discriminating.quantile(found.bounds, 1.0) is None


@pytest.mark.parametrize(
    ("what", "more", "told"),
    [
        ("translator", ["--attack", "deepfool"], "--attack deepfool: needs a classifier"),
        ("translator", ["--attack", "one_pixel"], "--attack one_pixel: needs a classifier"),
        ("translator", [], "--objective is missing: --checkpoint .* is a translator"),
        ("translator", ["--objective", "toward"], "--objective toward: --target_picture"),
        (
            "translator",
            ["--objective", "content", "--target_picture", "x"],
            "--objective content: --target_picture goes with toward",
        ),
        (
            "translator",
            ["--objective", "toward", "--target_picture", "/nowhere.png"],
            "--target_picture /nowhere.png: no such file",
        ),
        ("translator", ["--objective", "content", "--target", "1"], "--target: is for a class"),
        ("translator", ["--objective", "hidden"], "--objective hidden: .*no run of train_cycle"),
        ("cycle", ["--objective", "content"], "give --direction a2b or b2a"),
        ("cycle", ["--objective", "hidden", "--jpeg", "0"], "--jpeg 0: outside 1 to 100"),
        ("cycle", ["--objective", "hidden", "--norm", "l2"], "--norm l2: --objective hidden adds"),
        ("dcgan", ["--objective", "content"], "--objective content: is not for a GAN"),
        ("dcgan", ["--attack", "fgsm"], "--attack fgsm: fakes are moved by pgd"),
        ("file", [], "without its discriminator; give its run folder"),
        ("wgan", [], "--input is missing: the discriminator of .* only compares"),
    ],
)
def test_bad_input(what, more, told, translator, cycle, gans, sources, tmp_path, fails):
    places = {"translator": translator, "cycle": cycle}
    places |= {"file": gans / "dcgan" / "generator.safetensors"}
    out = tmp_path / "out"
    arguments = ["--checkpoint", places.get(what, gans / what), "--output", out, *more]
    if what in ("translator", "cycle"):
        arguments += ["--input", sources]
    line = fails(attack, arguments)
    assert re.search(told, line), line
    assert not out.exists()


def test_a_gan_whose_folder_was_changed(gans, tmp_path, fails):
    run = tmp_path / "run"
    run.mkdir()
    (run / "generator.safetensors").symlink_to(gans / "dcgan" / "generator.safetensors")
    arguments = ["--checkpoint", run, "--output", tmp_path / "out"]
    assert "its config.json is not that of a run" in fails(attack, arguments)
    config = json.loads((gans / "dcgan" / "config.json").read_text())
    (run / "config.json").write_text(json.dumps(config))
    assert "holds no checkpoint" in fails(attack, arguments)
    (run / "checkpoints").symlink_to(gans / "dcgan" / "checkpoints")
    config["options"]["discriminator_channels"] = 4
    (run / "config.json").write_text(json.dumps(config))
    assert "discriminator differs in size" in fails(attack, arguments)


def test_pictures_that_cannot_be_read(translator, tmp_path, fails):
    source = tmp_path / "in"
    source.mkdir()
    (source / "x.png").write_bytes(b"no picture")
    arguments = ["--checkpoint", translator, "--input", source, "--output", tmp_path / "out"]
    line = fails(attack, [*arguments, "--objective", "content"])
    assert re.search("--input .*x.png: cannot be read", line)
    grey = np.zeros((4, 4), dtype=np.uint8)
    Image.fromarray(grey).save(source / "x.png")
    (tmp_path / "bad.png").write_bytes(b"no picture")
    more = ["--objective", "toward", "--target_picture", tmp_path / "bad.png"]
    assert "bad.png" in fails(attack, [*arguments, *more])
