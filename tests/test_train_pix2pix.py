"""pix2pix: the official trace, what pairs may be, presets, resume, validation, the real command."""

import copy
import json
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from safetensors import safe_open
from safetensors.torch import load_file

import data
import models
import train_pix2pix
import training
import translate
from tests.evaluating import measure
from tests.training_runs import (
    CPU,
    OFFICIAL_LIMITS,
    OFFICIAL_STEPS,
    assert_equal,
    assert_gradients_agree,
    assert_logs_agree,
    assert_official,
    assert_same_run,
    initial_state,
    kept_gradients,
    noise,
    official_batch,
    states,
    train_in_two_processes,
)
from training.log import log_lines

TINY = {
    "base_channels": 4,
    "discriminator_channels": 4,
    "generator": "unet_128",
    "load_size": 128,
    "crop_size": 128,
}
LOSSES = {
    "adversarial": "G_GAN",
    "l1": "G_L1",
    "discriminator_real": "D_real",
    "discriminator_fake": "D_fake",
}


def method(preset="pix2pix", **values):
    resolved = {**TINY, "epoch_images": 100, "precision": "fp32", "preset": preset}
    options = train_pix2pix.Options(**{**resolved, **train_pix2pix.PRESETS[preset], **values})
    return train_pix2pix.Pix2Pix(options, CPU, training.Processes())


def pair_batch(batch=1, size=128, channels=(3, 3), seed=0):
    source, target = (
        noise(batch, count, size, size, seed=seed + side) for side, count in enumerate(channels)
    )
    return data.TranslationBatch(source, target)


@pytest.mark.numeric
@OFFICIAL_STEPS
def test_steps_give_the_official_losses(dtype, steps, reference):
    arrays = reference("pix2pix_three_steps")[1]
    pix2pix = method(base_channels=2, discriminator_channels=4, dropout=False)
    for name, official in {"generator": "G", "discriminator": "D"}.items():
        pix2pix.trained.networks[name].load_state_dict(initial_state(arrays, official))
        pix2pix.trained.networks[name].to(dtype)
    for step in range(1, 1 + steps):
        batch = official_batch(arrays, step, dtype)
        assert_official(pix2pix.step(batch, 0), arrays, step, LOSSES, rel=OFFICIAL_LIMITS[dtype])


def bce(logits, label):
    return F.binary_cross_entropy_with_logits(logits, torch.full_like(logits, label))


@pytest.mark.numeric
@pytest.mark.parametrize("norm", ["batch", "instance"])
def test_the_gradients_are_those_of_the_papers_losses(norm):
    """In float64, and before any update: the trace shows that the judge is updated first."""
    pix2pix = method(
        dropout=False,
        batch_size=2,
        generator_norm=norm,
        discriminator_norm=norm,
        initialization_gain=0.1,
        l1_weight=10.0,
        adversarial_weight=3.0,
        learning_rate=0.0,
    )
    for network in pix2pix.trained.networks.values():
        network.double()
    batch = data.TranslationBatch(*(part.double() for part in pair_batch(2)))
    generator, judge = copy.deepcopy(pix2pix.trained.networks).values()
    fake = generator(batch.source)
    expected = {}
    on_fake = bce(judge(torch.cat([batch.source, fake.detach()], 1)), 0.0)
    on_real = bce(judge(torch.cat(batch, 1)), 1.0)
    fooling = bce(judge(torch.cat([batch.source, fake], 1)), 1.0)
    for name, network, loss in (
        ("discriminator", judge, (on_fake + on_real) / 2),
        ("generator", generator, 3 * fooling + 10 * F.l1_loss(fake, batch.target)),
    ):
        trained = {key: p for key, p in network.named_parameters() if p.requires_grad}
        gradients = torch.autograd.grad(loss, trained.values(), retain_graph=True)
        expected |= {f"{name}.{key}": g for key, g in zip(trained, gradients, strict=True)}
    found = kept_gradients(pix2pix)
    values = pix2pix.update(*batch)
    assert_gradients_agree(found, expected, rel=1e-9)
    assert values["discriminator_fake"].item() == pytest.approx(on_fake.item())


def moved(network, before):
    return any(not torch.equal(*pair) for pair in zip(before, network.parameters(), strict=True))


@pytest.mark.parametrize("preset", train_pix2pix.PRESETS)
def test_an_update_moves_every_network_and_the_average_and_leaves_no_gradient(preset):
    pix2pix = method(preset, ema_halflife_images=10)
    parts = [*pix2pix.trained.networks.values(), pix2pix.trained.averages["generator"].network]
    before = [[p.detach().clone() for p in part.parameters()] for part in parts]
    values = pix2pix.step(pair_batch(), 0)
    assert values.keys() == {*LOSSES, "learning_rate"}
    assert len(parts) == 3 and all(map(moved, parts, before))
    assert all(p.grad is None for part in parts for p in part.parameters())


def test_dropout_follows_from_the_seed_and_the_images_seen():
    def losses(images_seen, **values):
        return method(initialization_gain=0.2, **values).step(pair_batch(), images_seen)["l1"]

    first = losses(0)
    assert first == losses(0)
    assert first != losses(1) and first != losses(0, seed=1)  # (the seed draws weights as well)
    assert losses(0, dropout=False) == losses(1, dropout=False) != first


def test_a_weight_of_a_loss_scales_it():
    plain, heavy = (
        method(**values).step(pair_batch(), 0)
        for values in ({}, {"l1_weight": 50.0, "adversarial_weight": 2.0})
    )
    assert heavy["l1"].item() == pytest.approx(plain["l1"].item() / 2)
    assert heavy["adversarial"].item() == pytest.approx(2 * plain["adversarial"].item())


@pytest.mark.numeric
def test_bf16_changes_the_losses_by_a_few_percent_only():
    values = {
        precision: method(precision=precision).step(pair_batch(2), 0)
        for precision in ("fp32", "bf16")
    }
    for name, value in values["fp32"].items():
        assert values["bf16"][name].item() == pytest.approx(value.item(), rel=0.05), name


def test_colours_are_learned_and_judged_in_lab():
    """The official program's: L in, ab out, the discriminator sees L and ab, 3 channels."""
    pix2pix = method("colorization", learning_rate=0.0, dropout=False)
    batch = pair_batch()
    lightness, colours = models.split_lab(batch.source)
    seen = []
    pix2pix.discriminator.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    values = pix2pix.update(batch.source, batch.source)
    with torch.no_grad():
        pix2pix.generator.load_state_dict(method("colorization").generator.state_dict())
        made = pix2pix.generator.colours(lightness)
    assert torch.equal(seen[1], torch.cat([lightness, colours], 1))
    for pair in (seen[0], seen[2]):
        assert torch.allclose(pair, torch.cat([lightness, made], 1), atol=1e-5)
    expected = 100 * (made - colours).abs().mean()
    assert values["l1"].item() == pytest.approx(expected.item(), rel=1e-4)


# Whole runs. The networks that the kind of data does not matter to are small ResNets.

COMMAND = [
    *("--base_channels", "4", "--discriminator_channels", "4", "--workers", "0"),
    *("--device", "cpu", "--log_every", "2", "--preview_every", "4", "--evaluate_every", "0"),
    *("--constant_epochs", "1", "--decay_epochs", "1"),
]
RESNET = [
    *(*COMMAND, "--generator", "resnet_6blocks", "--load_size", "36", "--crop_size", "32"),
    *("--generator_norm", "instance", "--discriminator_norm", "instance"),
]
UNET = [*COMMAND, "--generator", "unet_128", "--load_size", "136", "--crop_size", "128"]


def train(dataroot, run_dir, *more):
    arguments = [*more, "--run_dir", run_dir]
    if dataroot:
        arguments += ["--dataroot", dataroot]
    train_pix2pix.main([str(argument) for argument in arguments])


def translated(checkpoint, source, output, *more):
    given = ["--checkpoint", checkpoint, "--input", source, "--output", output, *more]
    translate.main([str(argument) for argument in given])
    return {path.name: Image.open(path) for path in sorted(output.iterdir())}


def picture(number, size=44, mode="RGB"):
    """Blocks of noise, of any of the modes that pairs may have."""
    random = np.random.default_rng(number)
    if mode == "I;16":
        levels = random.integers(0, 65536, (size, size), dtype=np.uint16)
        return Image.fromarray(levels)
    levels = random.integers(0, 256, (4, 4, 4), dtype=np.uint8)
    image = Image.fromarray(levels, "RGBA").resize((size, size), Image.Resampling.BICUBIC)
    return image if mode == "RGBA" else image.convert(mode)


def negative(image):
    return Image.fromarray(np.invert(np.asarray(image)))


def two_folders(root, count=4, size=44, modes=("RGB", "RGB"), names=("A", "B")):
    for split, first in (("train", 0), ("test", 100)):
        for side, mode in zip(names, modes, strict=True):
            (root / f"{split}{side}").mkdir(parents=True)
            for number in range(count):
                image = picture(first + number, size, mode)
                image = image if side == "A" else negative(image)
                image.save(root / f"{split}{side}" / f"{number}.png")
    return root


def side_by_side(root, folders, left="A", right="B"):
    for split in ("train", "test"):
        (root / split).mkdir(parents=True)
        for path in (folders / f"{split}{left}").iterdir():
            image, other = (Image.open(folders / f"{split}{s}" / path.name) for s in (left, right))
            both = Image.new("RGB", (2 * image.width, image.height))
            both.paste(image, (0, 0))
            both.paste(other, (image.width, 0))
            both.save(root / split / path.name)
    return root


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    return two_folders(tmp_path_factory.mktemp("pairs"))


def test_all_layouts_and_directions_of_the_same_pairs_make_the_same_run(folders, tmp_path):
    swapped = two_folders(tmp_path / "swapped")
    for split in ("train", "test"):
        (swapped / f"{split}A").rename(tmp_path / "A")
        (swapped / f"{split}B").rename(swapped / f"{split}A")
        (tmp_path / "A").rename(swapped / f"{split}B")
    halves = side_by_side(tmp_path / "side-by-side", folders)
    exchanged = side_by_side(tmp_path / "side-by-side-swapped", folders, left="B", right="A")
    own = ("--source_dir", folders / "trainA", "--target_dir", folders / "trainB")
    ways = {
        "folders": (folders,),
        "halves": (halves,),
        "folders-back": (swapped, "--direction", "BtoA"),
        "halves-back": (exchanged, "--direction", "BtoA"),
        "own": (None, *own),
        "wrong-way": (exchanged,),
    }
    runs = {}
    for name, (dataroot, *more) in ways.items():
        train(dataroot, tmp_path / "runs" / name, *RESNET, *more, "--total_images", 4)
        runs[name] = states(tmp_path / "runs" / name, 4)
    for name in ("halves", "folders-back", "halves-back", "own"):
        assert_equal(runs[name], runs["folders"])
    with pytest.raises(AssertionError):
        assert_equal(runs["wrong-way"], runs["folders"])


MODES = {1: "L", 3: "RGB", 4: "RGBA"}


@pytest.mark.parametrize(
    ("channels", "bits", "mode"),
    [
        ((1, 3), (8, 8), "RGB"),
        ((3, 1), (8, 8), "L"),
        ((4, 3), (8, 8), "RGB"),
        ((3, 4), (8, 8), "RGBA"),
        ((3, 1), (8, 16), "I;16"),
        ((1, 1), (16, 16), "I;16"),
    ],
)
def test_source_and_target_may_have_other_channels_and_bits(channels, bits, mode, tmp_path):
    modes = ["I;16" if b == 16 else MODES[c] for c, b in zip(channels, bits, strict=True)]
    dataroot = two_folders(tmp_path / "data", modes=modes)
    more = ["--total_images", 2, "--preview_every", 2, "--evaluate_every", 2]
    for side, count, depth in zip(("source", "target"), channels, bits, strict=True):
        more += [f"--{side}_channels", count, f"--{side}_bits", depth]
    train(dataroot, tmp_path / "run", *RESNET, *more)
    saved = models.load_generator(tmp_path / "run", "--checkpoint")
    assert (saved.network.in_channels, saved.network.out_channels) == channels
    out = translated(tmp_path / "run", dataroot / "testA", tmp_path / "out")
    assert len(out) == 4
    source = data.Content(channels=channels[0], bits=bits[0])
    for name, image in out.items():
        assert (image.format, image.mode, image.size) == ("PNG", mode, (44, 44))
        pixels = source.to_tensor(source.decode(dataroot / "testA" / name))
        exact = (models.translate(saved.network, pixels[None])[0] + 1) / 2 * (2 ** bits[1] - 1)
        levels = torch.from_numpy(np.asarray(image).astype(np.float32))
        levels = levels[None] if levels.dim() == 2 else levels.permute(2, 0, 1)
        assert (levels - exact).abs().max() <= 0.5 + 0.01
        if bits[1] == 16:
            assert len(set((levels % 257).flatten().tolist())) > 10  # no 8-bit levels blown up
    with Image.open(tmp_path / "run" / "previews" / "000000002.png") as sheet:
        assert sheet.size == (4 * 34 + 2, 3 * 34 + 2) and sheet.mode == "RGB"
    (line,) = log_lines(tmp_path / "run" / "metrics.jsonl")
    assert line.keys() >= {"l1", "psnr", "ssim"}


def label_maps(root, classes=5, count=4, size=44):
    """Maps of blocks as palette files whose colours say nothing, and a grey a class as target."""
    for split, first in (("train", 0), ("test", 100)):
        for side in "AB":
            (root / f"{split}{side}").mkdir(parents=True)
        for number in range(count):
            random = np.random.default_rng(first + number)
            blocks = random.integers(0, classes, (11, 11), dtype=np.uint8)
            values = blocks.repeat(size // 11, 0).repeat(size // 11, 1)
            labels = Image.fromarray(values)
            labels.putpalette([7] * 768)
            labels.save(root / f"{split}A" / f"{number}.png")
            grey = Image.fromarray(values * 50).convert("RGB")
            grey.save(root / f"{split}B" / f"{number}.png")
    return root


def test_label_maps_become_pictures(tmp_path):
    dataroot = label_maps(tmp_path / "data")
    more = ("--source_classes", 5, "--total_images", 4, "--evaluate_every", 4)
    train(dataroot, tmp_path / "run", *RESNET, *more)
    saved = models.load_generator(tmp_path / "run", "--checkpoint")
    assert saved.network.in_channels == 5
    assert saved.description["source"]["kind"] == "labels"
    out = translated(tmp_path / "run", dataroot / "testA", tmp_path / "out")
    for name, image in out.items():
        values = np.asarray(Image.open(dataroot / "testA" / name)).astype(np.int64)
        one_hot = F.one_hot(torch.from_numpy(values), 5).permute(2, 0, 1)[None].float()
        exact = data.to_levels(models.translate(saved.network, one_hot)[0])
        assert np.array_equal(np.asarray(image), exact.permute(1, 2, 0).numpy())
    with Image.open(tmp_path / "run" / "previews" / "000000004.png") as sheet:
        shown = np.asarray(sheet)[2:34, 2:34].reshape(-1, 3)
    known = {tuple(colour) for colour in data.label_colours(5).tolist()}
    assert {tuple(colour) for colour in shown.tolist()} <= known  # nearest pixels, no blends
    (line,) = log_lines(tmp_path / "run" / "metrics.jsonl")
    found = measure(
        checkpoint=tmp_path / "run",
        source=dataroot / "testA",
        real=dataroot / "testB",
        metrics="l1,psnr,ssim",
    ).numbers
    for name in ("l1", "psnr", "ssim"):
        assert line[name] == pytest.approx(found[name], rel=1e-9), name


@pytest.fixture(scope="module")
def unet_pairs(tmp_path_factory):
    return two_folders(tmp_path_factory.mktemp("unet"), size=140)


@pytest.fixture(scope="module")
def unet_run(unet_pairs, tmp_path_factory):
    """pix2pix as it is by default but small, with an average, measured on its test pairs."""
    run = tmp_path_factory.mktemp("runs") / "unet"
    more = ("--batch_size", 2, "--total_images", 14, "--ema_halflife_images", 8)
    train(unet_pairs, run, *UNET, *more, "--evaluate_every", 4)
    return run


def test_a_resumed_run_is_the_run_that_was_never_stopped(unet_pairs, unet_run, tmp_path):
    more = ("--batch_size", 2, "--ema_halflife_images", 8, "--evaluate_every", 4)
    parts = tmp_path / "parts"
    train(unet_pairs, parts, *UNET, *more, "--total_images", 4, "--save_every", 2)
    train(unet_pairs, parts, *UNET, *more, "--total_images", 8, "--workers", 1)
    train(unet_pairs, parts, *UNET, *more, "--total_images", 14)
    assert_same_run(unet_run, parts, 14, log_lines_expected=7)


def about(path):
    with safe_open(path, "pt") as file:
        return json.loads(file.metadata()["pairless"])


def test_the_run_folder_holds_what_is_promised(unet_run):
    assert {path.name for path in unet_run.iterdir()} == {
        *("config.json", "log.jsonl", "metrics.jsonl", "tensorboard", "previews", "checkpoints"),
        *(".lock", "generator.safetensors", "best.safetensors", "report.html"),
    }
    config = json.loads((unet_run / "config.json").read_text())["options"]
    assert (config["l1_weight"], config["dropout"]) == (100, True)
    assert config["generator_norm"] == config["discriminator_norm"] == "batch"
    saved, weights = states(unet_run, 14), load_file(unet_run / "generator.safetensors")
    assert_equal(weights, dict(saved["generator_average"]))
    raw = saved["generator"]
    assert any(not torch.equal(weights[name], raw[name]) for name in weights)
    statistics = [name for name in weights if "running" in name]
    assert statistics and not any(torch.equal(weights[name], raw[name]) for name in statistics)
    description = about(unet_run / "generator.safetensors")
    assert description["source"] == description["target"] == data.RGB.describe()
    lines = log_lines(unet_run / "log.jsonl")
    assert len(lines) == 7 and lines[0].keys() >= {*LOSSES, "learning_rate", "images"}


def test_validation_on_held_out_pairs_is_what_evaluate_says_of_the_run(unet_run, unet_pairs):
    lines = log_lines(unet_run / "metrics.jsonl")
    assert [line["images"] for line in lines] == [4, 8, 12, 14]
    best = min(lines, key=lambda line: line["l1"])
    assert about(unet_run / "best.safetensors")["images_seen"] == best["images"]
    for checkpoint, line in ((unet_run, lines[-1]), (unet_run / "best.safetensors", best)):
        found = measure(
            checkpoint=checkpoint,
            source=unet_pairs / "testA",
            real=unet_pairs / "testB",
            metrics="l1,psnr,ssim",
        ).numbers
        for name in ("l1", "psnr", "ssim"):
            assert line[name] == pytest.approx(found[name], rel=1e-9), name
    assert len({line["l1"] for line in lines}) == 4


def test_the_preview_shows_source_translation_and_target(unet_run, unet_pairs):
    with Image.open(unet_run / "previews" / "000000012.png") as sheet:
        levels = np.asarray(sheet).astype(int)
    assert levels.shape == (3 * 130 + 2, 4 * 130 + 2, 3)
    source, translation, target = (
        levels[2 + 130 * row : 130 + 130 * row, 2:130] for row in range(3)
    )
    assert np.abs(255 - source - target).max() <= 1  # the pairs are negatives
    assert translation.std() < source.std()


def test_batch_statistics_is_another_translation_that_follows_from_its_seed(
    unet_run, unet_pairs, tmp_path
):
    def levels(name, *more):
        found = translated(unet_run, unet_pairs / "testA", tmp_path / name, *more)
        return np.stack([np.asarray(image) for image in found.values()])

    plain = levels("plain")
    first, again = (levels(name, "--batch_statistics") for name in ("first", "again"))
    other = levels("other", "--batch_statistics", "--seed", 1)
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other) and not np.array_equal(first, plain)
    assert np.array_equal(plain, levels("default", "--seed", 1))  # without dropout, no seed


def test_weights_start_another_run_from_its_folder_or_its_file(folders, tmp_path):
    train(folders, tmp_path / "first", *RESNET, "--total_images", 2)
    old = states(tmp_path / "first", 2)
    for number, origin in enumerate(("first", "first/generator.safetensors")):
        run = tmp_path / f"second-{number}"
        more = ("--total_images", 1, "--learning_rate", 0, "--init_from", tmp_path / origin)
        train(folders, run, *RESNET, *more)
        new = states(run, 1)
        assert_equal(new["generator"], old["generator"])
        same_judge = all(
            torch.equal(new["discriminator"][key], value)
            for key, value in old["discriminator"].items()
        )
        assert same_judge == (origin == "first")


def test_two_processes_make_the_steps_of_one(folders, tmp_path):
    """With instance norm: the statistics of batch norm are those of each process."""
    more = ["--batch_size", 4, "--total_images", 12, "--log_every", 4, "--dropout"]
    more += ["--learning_rate", "2e-5", "--ema_halflife_images", 8, "--evaluate_every", 8]
    train(folders, tmp_path / "one", *RESNET, *more)
    arguments = ["--dataroot", folders, "--run_dir", tmp_path / "two", *RESNET, *more]
    train_in_two_processes(train_pix2pix.main, arguments)
    assert_logs_agree(tmp_path / "one", tmp_path / "two", lines=3)
    one, two = (log_lines(tmp_path / run / "metrics.jsonl") for run in ("one", "two"))
    assert [line["images"] for line in one] == [line["images"] for line in two] == [8, 12]
    for first, second in zip(one, two, strict=True):
        assert second["l1"] == pytest.approx(first["l1"], rel=1e-4)


def test_two_processes_measure_the_network_that_they_save(unet_pairs, tmp_path):
    """Batch norm's running statistics, by which pictures are translated, are those of both."""
    run, more = tmp_path / "run", ["--batch_size", 4, "--total_images", 12, "--evaluate_every", 12]
    arguments = ["--dataroot", unet_pairs, "--run_dir", run, *UNET, *more]
    train_in_two_processes(train_pix2pix.main, arguments)
    (line,) = log_lines(run / "metrics.jsonl")
    found = measure(
        checkpoint=run,
        source=unet_pairs / "testA",
        real=unet_pairs / "testB",
        metrics="l1,psnr,ssim",
    ).numbers
    for name in ("l1", "psnr", "ssim"):
        assert line[name] == pytest.approx(found[name], rel=1e-9), name


# Colorization.


def photos(root, count=4, size=140):
    """Single pictures of mild colours, and so of colours that RGB can show at any lightness."""
    for split, first in (("train", 0), ("test", 100)):
        (root / split).mkdir(parents=True)
        for number in range(count):
            levels = np.asarray(picture(first + number, size)).astype(int)
            grey = levels.mean(2, keepdims=True)
            mild = 48 + 0.6 * (grey + 0.3 * (levels - grey))
            Image.fromarray(mild.astype(np.uint8)).save(root / split / f"{number}.png")
    return root


COLORIZATION = [*UNET, "--preset", "colorization", "--evaluate_every", "4"]


@pytest.fixture(scope="module")
def colour_photos(tmp_path_factory):
    return photos(tmp_path_factory.mktemp("photos"))


@pytest.fixture(scope="module")
def colour_run(colour_photos, tmp_path_factory):
    run = tmp_path_factory.mktemp("runs") / "colours"
    train(colour_photos, run, *COLORIZATION, "--total_images", 8)
    return run


def lightness(path: Path):
    return (models.split_lab(data.to_tensor(data.decode_image(path))[None])[0] + 1) * 50


def test_translated_photos_keep_their_lightness_and_get_colours(
    colour_run, colour_photos, tmp_path
):
    out = translated(colour_run, colour_photos / "test", tmp_path / "out")
    assert len(out) == 4
    for name, image in out.items():
        assert (image.mode, image.size) == ("RGB", (140, 140))
        error = lightness(tmp_path / "out" / name) - lightness(colour_photos / "test" / name)
        assert error.abs().max() < 0.5  # of 100: the rounding to 8 bits
        assert np.ptp(np.asarray(image).astype(int), axis=2).max() > 0
    # Only the lightness is looked at: a grey copy gives the same picture.
    (tmp_path / "grey").mkdir()
    picture = models.split_lab(
        data.to_tensor(data.decode_image(colour_photos / "test" / "0.png"))[None]
    )
    grey = models.join_lab(picture[0], torch.zeros_like(picture[1]))[0]
    data.to_image(grey, 3, 8).save(tmp_path / "grey" / "0.png")
    regained = translated(colour_run, tmp_path / "grey", tmp_path / "regained")["0.png"]
    difference = np.asarray(regained).astype(int) - np.asarray(out["0.png"]).astype(int)
    assert np.abs(difference).max() <= 2


def test_colorization_is_logged_shown_and_measured_in_rgb(colour_run, colour_photos):
    lines = log_lines(colour_run / "log.jsonl")
    assert len(lines) == 4
    assert lines[0].keys() == {
        *(*LOSSES, "learning_rate", "images"),
        *("images_per_second", "peak_memory_gb"),
    }
    with Image.open(colour_run / "previews" / "000000008.png") as sheet:
        levels = np.asarray(sheet).astype(int)
    assert levels.shape == (3 * 130 + 2, 4 * 130 + 2, 3)
    source, made, target = (levels[2 + 130 * row : 130 + 130 * row, 2:130] for row in range(3))
    assert np.ptp(source, axis=2).max() <= 1 < np.ptp(target, axis=2).max()
    assert not np.array_equal(made, target)
    with Image.open(colour_photos / "test" / "0.png") as photo:
        small = np.asarray(photo.resize((128, 128), Image.Resampling.BICUBIC)).astype(int)
    assert np.abs(small - target).max() <= 1
    found = measure(
        checkpoint=colour_run,
        source=colour_photos / "test",
        real=colour_photos / "test",
        metrics="l1,psnr,ssim",
    ).numbers
    line = log_lines(colour_run / "metrics.jsonl")[-1]
    for name in ("l1", "psnr", "ssim"):
        assert line[name] == pytest.approx(found[name], rel=1e-9), name


def test_a_resumed_colorization_is_the_run_that_was_never_stopped(
    colour_run, colour_photos, tmp_path
):
    parts = tmp_path / "parts"
    train(colour_photos, parts, *COLORIZATION, "--total_images", 4)
    train(colour_photos, parts, *COLORIZATION, "--total_images", 8)
    assert_same_run(colour_run, parts, 8, log_lines_expected=4)
