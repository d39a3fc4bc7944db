"""train_gan.py: the players' updates, resume, several processes, health, and whole runs."""

import dataclasses
import json
import math
import os
import signal

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

import data
import generate
import models
import train_gan
import training
from commands.gan import health
from tests import training_runs
from tests.training_runs import (
    CPU,
    assert_equal,
    assert_logs_agree,
    assert_same_run,
    noise,
    states,
    train_in_two_processes,
)
from training.log import log_lines

SMALL = ["--base_channels", "8", "--discriminator_channels", "8", "--latent_channels", "8"]
SMALL += ["--crop_size", "16", "--batch_size", "4", "--workers", "0", "--log_every", "8"]
SMALL += ["--save_every", "100", "--preview_every", "16"]
GROWING = ["--preset", "progressive", *SMALL, "--base_channels", "32"]
GROWING += ["--discriminator_channels", "32", "--most_channels", "8", "--ema_halflife_images", "20"]
GROWING += ["--stable_images", "12", "--fade_images", "16", "--batch_size_at", "4", "8", "8", "6"]
GROWING += ["--learning_rate_at", "8", "0.002", "--deviation_group", "2"]
# Every network and objective, with what can be added to it.
RUNS = {
    "vanilla": ["--preset", "vanilla", *SMALL],
    "vanilla-conv": ["--preset", "vanilla_conv", *SMALL, "--objective", "lsgan"],
    "dcgan": ["--preset", "dcgan", *SMALL, "--ema_halflife_images", "20", "--flip"],
    "dcgan-ada": [
        *("--preset", "dcgan", *SMALL, "--objective", "hinge"),
        *("--augment", "colour,translation,cutout", "--ada_target", "0.3", "--ada_images", "100"),
    ],
    "sngan": ["--preset", "sngan", *SMALL, "--discriminator_steps", "2"],
    "wgan-gp": ["--preset", "wgan_gp", *SMALL, "--discriminator_steps", "2"],
    "progressive": GROWING,
    "r3gan": [
        *("--preset", "r3gan_tiny", *SMALL, "--group_channels", "4"),
        *("--schedule_images", "24", "--ema_halflife_end", "10"),
    ],
}


def pictures(folder, count=12, size=20, classes=3):
    """Noise in sub-folders of classes, each with a colour of its own."""
    random = np.random.default_rng(0)
    for number in range(count):
        levels = random.integers(0, 256, (size, size + 4, 3), dtype=np.uint8)
        levels[..., number % 3] |= 128
        path = folder / f"class{number % classes}" / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(levels).save(path)
    return folder


def arguments(dataroot, run_dir, name, *more):
    return ["--dataroot", dataroot, "--run_dir", run_dir, *RUNS[name], *more]


def train(dataroot, run_dir, name, *more):
    train_gan.main([str(part) for part in arguments(dataroot, run_dir, name, *more)])


def method(name, *more, processes=None, **changes):
    """A Gan as the command would build it, of three classes where `--labels` is among `more`."""
    chosen = train_gan.cli.parse(
        train_gan.Options, [*RUNS[name], "--dataroot", "x", *more], train_gan.PRESETS
    )
    classes = 3 if "--labels" in more else 0
    changes = {"classes": classes, "precision": "fp32", **changes}
    options = dataclasses.replace(chosen, **changes)
    return train_gan.Gan(options, CPU, processes or training.Processes())


def batch(images=8, px=16, seed=0):
    labels = torch.arange(images) % 3
    return data.ImageBatch(noise(images, 3, px, px, seed=seed), labels)


def everything(network):
    return {name: value.clone() for name, value in network.state_dict().items()}


@pytest.mark.parametrize("labels", [(), ("--labels", "folders")], ids=["plain", "labels"])
@pytest.mark.parametrize("name", RUNS)
def test_each_player_s_update_leaves_the_other_bitwise_as_it_is(name, labels):
    gan = method(name, *labels)
    now = gan.plan.settings(0)
    draw = gan._noise("test", 8)
    before = {key: everything(network) for key, network in gan.trained.networks.items()}
    gan.update_discriminator(batch(), now, draw)
    assert_equal(everything(gan.generator), before["generator"])
    moved = everything(gan.discriminator)
    assert any(not torch.equal(moved[key], before["discriminator"][key]) for key in moved)
    gan.update_generator(batch(), now, draw)
    assert_equal(everything(gan.discriminator), moved)
    found = everything(gan.generator)
    assert any(not torch.equal(found[key], before["generator"][key]) for key in found)
    assert all(
        p.requires_grad for network in gan.trained.networks.values() for p in network.parameters()
    )


def test_a_network_at_rest_still_uses_the_statistics_of_its_batch():
    network = torch.nn.Sequential(torch.nn.BatchNorm2d(3)).train()
    x = noise(4, 3, 2, 2) + 5
    with training.untouched(network):
        y = network(x)
    assert y.mean().abs() < 1e-5 and network[0].running_mean.abs().max() == 0
    network(x)
    assert network[0].running_mean.abs().min() > 0.1


@pytest.mark.parametrize(
    ("preset", "px", "generator", "discriminator"),
    [
        ("dcgan", 64, 3_576_704, 2_765_568),
        ("sngan", 32, 4_276_739, 1_053_825),
        ("progressive", 32, 20_719_628, 20_726_785),
        ("progressive", 64, 22_490_383, 22_498_049),
        ("progressive", 128, 22_933_394, 22_941_313),
        ("progressive", 256, 23_044_309, 23_052_353),
        ("progressive", 1024, 23_079_115, 23_087_249),
        ("progressive_paper", 1024, 23_079_115, 23_087_249),
        ("progressive_cifar10", 32, 1_296_908, 1_298_689),
        ("wgan_gp", 32, 4_276_739, 1_053_825),
        # Layer by layer: 100 -> 1200 -> 1200 -> 3072 and, in 5 pieces, 3072 -> 240 -> 240 -> 1.
        (
            *("vanilla", 32, 121_200 + 1_441_200 + 3_689_472),
            5 * (3073 * 240 + 241 * 240) + 241,
        ),
        # 4x4 kernels 100 -> 256 -> 128 -> 64 -> 3 and 3 -> 64 -> 128 -> 256 -> 1, batch norms.
        (
            *("vanilla_conv", 32, 409_600 + 524_288 + 131_072 + 3_072 + 512 + 256 + 128),
            3_072 + 131_072 + 524_288 + 4_096 + 256 + 512,
        ),
    ],
)
def test_weights_of_the_presets(preset, px, generator, discriminator):
    assert weights_of(preset, px) == [generator, discriminator]


@pytest.mark.parametrize(
    ("preset", "classes", "generator", "discriminator"),
    [("r3gan", 0, 22.4, 22.4), ("r3gan_32", 10, 20.8, 21.3)],
)
def test_weights_of_r3gan_s_presets_in_millions(preset, classes, generator, discriminator):
    px = train_gan.PRESETS[preset]["crop_size"]
    counts = [round(count / 1e6, 1) for count in weights_of(preset, px, classes)]
    assert counts == [generator, discriminator]


def weights_of(preset, px, classes=0):
    row = {**train_gan.PRESETS[preset], "crop_size": px, "classes": classes}
    with torch.device("meta"):
        networks = train_gan.build_networks(train_gan.Options(**row))
    return [sum(p.numel() for p in network.parameters()) for network in networks.values()]


@pytest.mark.parametrize("preset", train_gan.PRESETS)
def test_every_preset_passes_its_own_checks(preset, tmp_path):
    options = train_gan.cli.parse(
        train_gan.Options,
        ["--preset", preset, "--dataroot", "x", "--run_dir", str(tmp_path)],
        train_gan.PRESETS,
    )
    train_gan.check(options)
    train_gan.Plan(options).check_batches(1)
    with torch.device("meta"):
        train_gan.build_networks(options)


def test_the_paper_s_batch_sizes_and_rates_by_resolution():
    plan = train_gan.Plan(train_gan.Options(**train_gan.PRESETS["progressive"]))
    found = {
        kimg: (plan.settings(kimg * 1000).level, plan.settings(kimg * 1000).batch_size)
        for kimg in (0, 599, 900, 3600, 9600, 11_000)
    }
    assert list(found.values()) == [
        *((2.0, 128), (2.0, 128), (2.5, 128)),
        *((5.0, 64), (10.0, 4), (10.0, 4)),
    ]
    rates = [plan.settings(images).learning_rate for images in (0, 9_000_000, 9_000_004)]
    assert rates == [1e-3, 1e-3, 1.5e-3]  # from the fade's start
    assert plan.resets_optimizers(599_999, 600_001)
    assert not plan.resets_optimizers(700_000, 700_128)
    paper = train_gan.Plan(train_gan.Options(**train_gan.PRESETS["progressive_paper"]))
    half_way = paper.settings(20_000).learning_rate
    assert half_way == pytest.approx(1e-3 * math.exp(-5 / 4)) and 2.8e-4 < half_way < 2.9e-4
    assert paper.settings(0).ema_decay == paper.settings(10**7).ema_decay == 0.999


def test_r3gan_s_settings_go_by_one_cosine():
    plan = train_gan.Plan(train_gan.Options(**train_gan.PRESETS["r3gan"]))
    start, middle, end = (plan.settings(images) for images in (0, 10_000_000, 30_000_000))
    assert start[2:] == (2e-4, (0.0, 0.9), 1.0, 0.0, 0.0)
    assert middle.learning_rate == pytest.approx(1.25e-4)
    assert middle.betas[1] == pytest.approx(0.945)
    assert end.learning_rate == 5e-5 and end.betas == (0.0, 0.99) and end.penalty_factor == 0.1
    assert end.augment_probability == 0.3 and end.ema_decay == 0.5 ** (256 / 500_000)


@pytest.mark.numeric
def test_the_discriminator_starts_at_the_values_of_indifference():
    """A last layer of zeros gives logits of zero."""
    expected = {"dcgan": 2 * math.log(2), "dcgan-ada": 2.0, "vanilla-conv": 0.5}
    for name, value in expected.items():
        gan = method(name)
        torch.nn.init.zeros_(gan.discriminator.layers[-1].weight)
        values = gan.update_discriminator(batch(), gan.plan.settings(0), gan._noise("x", 8))
        assert values["discriminator"].item() == pytest.approx(value, rel=1e-6), name
        if name == "dcgan":
            assert values["game_value"].item() == pytest.approx(-2 * math.log(2))
            assert values["implied_jensen_shannon"].item() == pytest.approx(0, abs=1e-6)


@pytest.mark.numeric
@pytest.mark.parametrize("name", ["r3gan", "wgan-gp", "progressive"])
def test_penalties_are_of_second_order_and_in_fp32_under_bf16(name):
    """The penalty's share of the gradient is there, and the one of float32."""
    shares, exact = {}, None
    wanted = "r1" if name == "r3gan" else "gradient_penalty"
    for precision in ("fp32", "bf16"):
        without, _ = gradient_and_penalty(name, precision, wanted, 0.0)
        with_it, penalty = gradient_and_penalty(name, precision, wanted, 3.0)
        shares[precision] = with_it - without
        assert penalty.dtype == torch.float32 and penalty > 0
        assert shares[precision].norm() > 1e-3 * with_it.norm()
        if precision == "bf16":
            assert penalty == exact
        exact = penalty


def gradient_and_penalty(name, precision, wanted, weight):
    """The discriminator's gradient on fixed pictures under one penalty, and its value."""
    gan = method(name, precision=precision)
    off = dict.fromkeys(("drift", "r1", "r2", "gradient_penalty"), 0.0)
    gan.options = dataclasses.replace(gan.options, **{**off, wanted: weight})
    side = 16 if gan.level is None else models.gan.resolution_px(gan.level)
    gan._generate = lambda labels, random: noise(8, 3, side, side, seed=5)
    found = []
    gan.trained.optimizers["discriminator"].register_step_pre_hook(
        lambda *_: found.extend(
            p.grad.flatten() for p in gan.discriminator.parameters() if p.grad is not None
        )
    )
    values = gan.update_discriminator(batch(), gan.plan.settings(0), gan._noise("test", 8))
    return torch.cat(found), values.get(wanted)


@pytest.mark.parametrize("name", RUNS)
def test_a_resumed_run_equals_one_that_was_never_stopped(name, tmp_path):
    """Stopped after 16 images: progressive in the middle of its first fade."""
    dataroot, more = pictures(tmp_path / "data"), ["--labels", "folders"]
    end = 48 if name == "progressive" else 24
    train(dataroot, tmp_path / "whole", name, *more, "--total_images", end)
    for reached in (16, end):
        train(dataroot, tmp_path / "parts", name, *more, "--total_images", reached)
    seen = training.read_newest_checkpoint(tmp_path / "whole" / "checkpoints").images_seen
    lines = len(log_lines(tmp_path / "whole" / "log.jsonl"))
    assert_same_run(tmp_path / "whole", tmp_path / "parts", seen, lines)


def test_a_resume_is_possible_at_every_step_of_a_fade(tmp_path):
    dataroot = pictures(tmp_path / "data")
    train(dataroot, tmp_path / "whole", "progressive", "--total_images", 70)
    for reached in range(8, 71, 6):
        train(dataroot, tmp_path / "parts", "progressive", "--total_images", reached)
    seen = training.read_newest_checkpoint(tmp_path / "whole" / "checkpoints").images_seen
    assert_equal(states(tmp_path / "whole", seen), states(tmp_path / "parts", seen))
    levels = [line["level"] for line in log_lines(tmp_path / "whole" / "log.jsonl")]
    assert levels[0] == 2 and levels[-1] == 4 and any(level % 1 for level in levels)
    sizes = {line["batch_size"] for line in log_lines(tmp_path / "whole" / "log.jsonl")}
    assert {8, 6} <= sizes


@pytest.mark.parametrize("name", ["wgan-gp", "r3gan", "dcgan-ada", "progressive"])
def test_two_processes_make_the_steps_of_one(name, tmp_path):
    """Without batch norm and minibatch deviation, which are of each process's own pictures."""
    dataroot = pictures(tmp_path / "data")
    more = ["--labels", "folders", "--total_images", "24", "--log_every", "8", "--learning_rate"]
    more += ["1e-5", "--generator", "r3gan", "--group_channels", "4", "--widest_px", "16"]
    if name == "dcgan-ada":
        more += ["--discriminator_norm", "none"]
    if name == "progressive":
        more += ["--generator", "progressive", "--deviation_group", "1", "--learning_rate_at", "8"]
        more += ["1e-5", "--total_images", "40"]
    train(dataroot, tmp_path / "one", name, *more)
    train_in_two_processes(train_gan.main, arguments(dataroot, tmp_path / "two", name, *more))
    lines = len(log_lines(tmp_path / "one" / "log.jsonl"))
    assert lines >= 3
    # Means of what each process sees in its own pictures.
    own = {"real_distance", "fake_distance"}
    if name != "dcgan-ada":
        own |= {"real_accuracy", "fake_accuracy"}  # against the middle of its own logits
    assert_logs_agree(tmp_path / "one", tmp_path / "two", lines, own)
    sampled = [models.load_sampler(tmp_path / run).sample(3) for run in ("one", "two")]
    assert torch.allclose(*sampled, atol=1e-4)


def test_a_run_leaves_what_its_readers_need(tmp_path):
    dataroot, run = pictures(tmp_path / "data"), tmp_path / "run"
    train(dataroot, run, "dcgan", "--labels", "folders", "--total_images", "16")
    assert {path.name for path in run.iterdir()} == {
        *("config.json", "log.jsonl", "tensorboard", "previews", "checkpoints", ".lock"),
        *("generator.safetensors", "report.html"),
    }
    config = json.loads((run / "config.json").read_text())
    assert config["command"] == "train_gan.py" and config["options"]["classes"] == 3
    sampler = models.load_sampler(run)
    assert sampler.class_names == ("class0", "class1", "class2") and sampler.size_px == 16
    assert_equal(
        load_file(run / "generator.safetensors"), dict(states(run, 16)["generator_average"])
    )
    line = log_lines(run / "log.jsonl")[-1]
    assert line["implied_jensen_shannon"] == pytest.approx(
        (line["game_value"] + math.log(4)) / 2, abs=1e-5
    )
    assert line["game_value_at_equilibrium"] == pytest.approx(-math.log(4))
    assert line["skipped_updates"] == 0 and 0 <= line["real_accuracy"] <= 1
    events = EventAccumulator(str(run / "tensorboard")).Reload()
    assert {"game_value", "game_value_at_equilibrium"} <= set(events.Tags()["scalars"])
    layout = events.Tensors("custom_scalars__config__")[0].tensor_proto.string_val[0]
    assert b"game_value_at_equilibrium" in layout
    with Image.open(next(iter((run / "previews").glob("*.png")))) as sheet:
        assert sheet.size == (8 * 18 + 2, 4 * 18 + 2)  # a row of reals, one for each class


def test_a_growing_generator_is_given_away_with_its_level(tmp_path):
    dataroot, run = pictures(tmp_path / "data"), tmp_path / "run"
    train(dataroot, run, "progressive", "--total_images", "20")
    sampler = models.load_sampler(run)
    assert sampler.size_px == 8 and 2 < sampler.level < 3
    assert sampler.sample(2).shape == (2, 3, 8, 8)
    assert not list(run.glob("best*"))


def test_adam_forgets_at_both_ends_of_a_fade():
    gan = method("progressive")
    seen, forgot = 0, []
    while seen < 60:
        level = gan.plan.level(seen)
        size = gan.plan.images_a_step(seen)
        gan.step(batch(size), seen)
        if not gan.trained.optimizers["generator"].state:
            forgot.append((level, gan.plan.level(seen + size)))
        seen += size
    assert len(forgot) == 4  # two doublings
    for before, after in forgot:
        assert (math.floor(before), math.ceil(before)) != (math.floor(after), math.ceil(after))


def test_the_adaptive_probability_moves_within_its_range_and_is_saved(tmp_path):
    gan = method("dcgan-ada", ada_target=0.0001)
    gan.adaptive.target = -1.0  # always below the mean sign
    for step in range(60):
        values = gan.step(batch(4, seed=step), 4 * step)
        assert 0 <= values["augment_probability"] <= 1
    assert gan.adaptive.probability == 1
    other = method("dcgan-ada")
    training.restore(other.state(), {k: part.state_dict() for k, part in gan.state().items()}, "x")
    assert other.adaptive.probability == 1


@pytest.mark.parametrize("name", ["r3gan", "dcgan", "vanilla-conv", "sngan", "progressive"])
def test_an_update_that_is_not_finite_is_skipped_and_counted(name):
    """Weights, moments and running statistics stay as they are, of both players."""
    gan = method(name)
    before = {key: everything(network) for key, network in gan.trained.networks.items()}
    images = gan.plan.images_a_step(0)
    bad = batch(images)
    bad.images[:, 0, 3, 3] = math.nan
    with torch.no_grad():
        gan.generator.train()
    gan._generate = lambda labels, noise, make=gan._generate: make(labels, noise) * math.nan
    values = gan.step(bad, 0)
    for key, network in gan.trained.networks.items():
        if key == "generator" or name != "sngan":  # spectral norm's vectors may move on
            assert_equal(everything(network), before[key])
    assert values["skipped_updates"] == 1 and values["discriminator"].isnan()
    del gan._generate
    values = gan.step(batch(images), images)
    assert values["skipped_updates"] == 0 and values["discriminator"].isfinite()


def test_generators_statistics_come_back_after_a_skipped_update():
    network = torch.nn.Sequential(torch.nn.BatchNorm2d(3)).train()
    before = everything(network)
    kept = training.running_statistics(network)
    network(torch.full((2, 3, 2, 2), math.nan))
    assert network[0].running_mean.isnan().all()
    training.restore_unless(torch.tensor(True), network, kept)
    assert network[0].running_mean.isnan().all()
    training.restore_unless(torch.tensor(False), network, kept)
    assert_equal(everything(network), before)


def test_the_players_may_learn_at_different_rates():
    gan = method("sngan", discriminator_learning_rate=4e-4, learning_rate=1e-4)
    gan.step(batch(8), 16_000_000)  # half-way down to 0
    rates = {name: part.param_groups[0]["lr"] for name, part in gan.trained.optimizers.items()}
    assert rates == pytest.approx({"generator": 0.5e-4, "discriminator": 2e-4})


def test_the_caller_s_batch_is_left_alone():
    for name in ("r3gan", "wgan-gp"):
        gan, shown = method(name, augment=""), batch()
        gan.step(shown, 0)
        assert not shown.images.requires_grad and shown.images.grad is None


def test_fewer_pictures_than_a_sheet_has_columns(tmp_path):
    dataroot, run = pictures(tmp_path / "data", count=4, classes=2), tmp_path / "run"
    train(dataroot, run, "dcgan", "--total_images", "16", "--labels", "folders")
    assert len(list((run / "previews").glob("*.png"))) == 1


def poisoned(monkeypatch, is_bad):
    """Make the pictures of some steps NaN, as a broken driver might."""
    step = train_gan.Gan.step

    def with_nan(gan, batch, images_seen):
        images = batch.images * math.nan if is_bad(images_seen) else batch.images
        return step(gan, batch._replace(images=images), images_seen)

    monkeypatch.setattr(train_gan.Gan, "step", with_nan)


def test_a_few_bad_steps_are_told_and_survived(tmp_path, monkeypatch, capsys):
    poisoned(monkeypatch, lambda seen: 8 <= seen < 16)
    dataroot, run = pictures(tmp_path / "data"), tmp_path / "run"
    train(dataroot, run, "r3gan", "--total_images", "24")
    lines = log_lines(run / "log.jsonl")
    assert [line["skipped_updates"] for line in lines] == [0, 1, 0]
    assert lines[1]["discriminator"] is None and lines[2]["discriminator"] > 0
    assert "not finite" in lines[1]["warnings"][0] and "warnings" not in lines[2]
    assert "    16  warning:  100.00% of the updates were skipped" in capsys.readouterr().err


def test_twenty_bad_steps_in_a_row_end_the_run_with_the_last_good_checkpoint(
    tmp_path, monkeypatch, fails
):
    poisoned(monkeypatch, lambda seen: seen >= 16)
    dataroot, run = pictures(tmp_path / "data"), tmp_path / "run"
    more = ["--total_images", "1000", "--save_every", "16"]
    line = fails(train_gan, arguments(dataroot, run, "r3gan", *more), code=1)
    assert "20th time in a row" in line and "the last good checkpoint is" in line
    reached = training.read_newest_checkpoint(run / "checkpoints").images_seen
    assert 16 <= reached < 16 + 20 * 4 + 16
    for name, state in states(run, reached).items():
        if name != "loss_means":
            assert training.checkpoint.first_not_finite(state) is None, name


def test_a_collapse_and_a_won_game_are_warned_of_in_words():
    values = {"real_accuracy": 1.0, "fake_accuracy": 1.0, "real_distance": 1.0}
    values |= {"fake_distance": 0.01, "skipped_updates": 0.0}
    found = health.warnings(values, "non_saturating")
    assert len(found) == 2 and "discriminator has won" in found[0] and "collapsed" in found[1]
    assert [text for text in health.warnings(values, "wgan") if "won" in text] == []


@pytest.mark.usefixtures("small_inputs")
def test_evaluation_measures_samples_against_all_pictures(tmp_path, inception_file):
    dataroot, run = pictures(tmp_path / "data"), tmp_path / "run"
    more = ["--evaluate_every", "8", "--evaluate_images", "12", "--layer", "64"]
    more += ["--weights", inception_file, "--metrics", "fid"]
    train(dataroot, run, "progressive", "--total_images", "24", *more)
    lines = log_lines(run / "metrics.jsonl")
    assert len(lines) >= 2 and all(line["fid"] > 0 for line in lines)
    assert {(line["n_real"], line["n_fake"]) for line in lines} == {(12, 12)}
    assert (run / "best.safetensors").exists()
    models.load_sampler(run / "best.safetensors").sample(1)


def test_another_run_s_weights_start_a_new_one(tmp_path):
    dataroot = pictures(tmp_path / "data")
    train(dataroot, tmp_path / "first", "dcgan", "--total_images", "8")
    for origin in (tmp_path / "first", tmp_path / "first" / "generator.safetensors"):
        run = tmp_path / f"from-{origin.stem}"
        train(
            *(dataroot, run, "dcgan", "--total_images", "4"),
            *("--learning_rate", "0", "--init_from", origin, "--ema_halflife_images", "0"),
        )
        name = "generator_average" if origin.is_file() else "generator"
        first, found = states(tmp_path / "first", 8)[name], states(run, 4)["generator"]
        for key in first:
            if "running" not in key and "batches" not in key:
                assert torch.equal(first[key], found[key]), key


def test_grey_pictures_are_learned_and_made(tmp_path):
    dataroot, run = pictures(tmp_path / "data"), tmp_path / "run"
    train(dataroot, run, "vanilla", "--channels", "1", "--total_images", "8")
    generate.main(["--checkpoint", str(run), "--output", str(tmp_path / "out"), "--num", "2"])
    with Image.open(tmp_path / "out" / "000001.png") as picture:
        assert picture.mode == "L" and picture.size == (16, 16)


def test_a_dry_run_tells_the_plan_and_touches_nothing(tmp_path, capsys):
    dataroot = pictures(tmp_path / "data", count=80)
    more = ["--dry_run", "--base_channels", "64", "--crop_size", "64", "--latent_channels", "100"]
    train(dataroot, tmp_path / "run", "dcgan", *more)
    told = capsys.readouterr().out
    assert "3,576,704 weights" in told and "80 images" in told and "ema_halflife_images" in told
    assert not (tmp_path / "run").exists()


def test_a_run_that_is_killed_goes_on_as_if_nothing_had_been(tmp_path):
    dataroot, run = pictures(tmp_path / "data"), tmp_path / "run"
    more = ["--total_images", "100000", "--save_every", "8", "--workers", "1"]
    started = training_runs.start(
        tmp_path, "train_gan.py", arguments(dataroot, run, "progressive", *more)
    )
    started.wait_for(training_runs.has_saved(run))
    os.kill(started.pid, signal.SIGKILL)
    started.end()
    reached = training.read_newest_checkpoint(run / "checkpoints").images_seen
    for folder in (run, tmp_path / "whole"):
        train(dataroot, folder, "progressive", "--total_images", reached + 8)
    seen = training.read_newest_checkpoint(run / "checkpoints").images_seen
    assert_equal(states(run, seen), states(tmp_path / "whole", seen))
