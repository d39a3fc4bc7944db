"""train_features.py: the steps against lightly's parts, resume, processes, measures, whole runs."""

import copy
import dataclasses
import json
import os
import re
import signal

import numpy as np
import pytest
import torch
from PIL import Image

import data
import losses
import models
import train_features
import training
from commands.features import measuring, sheets
from commands.features.parts import open_parts
from commands.features.probe import fit_linear
from tests import training_runs
from tests.close import assert_close_in_scale
from tests.training_runs import (
    CPU,
    assert_equal,
    assert_gradients_agree,
    assert_logs_agree,
    assert_same_run,
    kept_gradients,
    noise,
    states,
    train_in_two_processes,
)
from training.log import log_lines

SMALL = ["--base_channels", "2", "--crop_size", "8", "--batch_size", "8", "--workers", "0"]
SMALL += ["--embedding_channels", "8", "--hidden_channels", "16", "--log_every", "8"]
SMALL += ["--save_every", "100", "--preview_every", "16", "--epochs", "4", "--warm_up_epochs", "1"]
SMALL += ["--queue_size", "16", "--labels", "folders"]
PRESETS = list(train_features.PRESETS)


def pictures(folder, count=24, px=10, classes=2):
    """Noise in a folder for each class, with a colour of its own."""
    random = np.random.default_rng(0)
    for number in range(count):
        levels = random.integers(0, 256, (px, px + 2, 3), dtype=np.uint8)
        levels[..., number % classes] |= 192
        path = folder / f"class{number % classes}" / f"{number:03d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(levels).save(path)
    return folder


def arguments(dataroot, run_dir, preset, *more):
    return ["--dataroot", dataroot, "--run_dir", run_dir, "--preset", preset, *SMALL, *more]


def train(dataroot, run_dir, preset, *more):
    train_features.main([str(part) for part in arguments(dataroot, run_dir, preset, *more)])


def method(preset, *more, processes=None, **changes):
    """A method as the command would build it, for two classes and 24 pictures."""
    chosen = train_features.cli.parse(
        train_features.Options,
        ["--preset", preset, *SMALL, "--dataroot", "x", "--run_dir", "x", *more],
        train_features.PRESETS,
    )
    train_features.feature_options.check(chosen)
    resolved = {"classes": 2, "epoch_images": 24, "precision": "fp32", **changes}
    options = dataclasses.replace(chosen, **resolved)
    return train_features.Features(options, CPU, processes or training.Processes())


def two_views(batch=8, px=8):
    return list(noise(2, batch, 3, px, px))


def labels(batch=8):
    return torch.arange(batch) % 2


@pytest.fixture
def lightly():
    """Return lightly's losses and heads; it wants pytorch-lightning, so it is no requirement."""
    reason = "lightly is not installed: pip install --no-deps lightly lightly_utils"
    return (
        pytest.importorskip("lightly.loss", reason=reason),
        pytest.importorskip("lightly.models.modules.heads", reason=reason),
    )


def same_weights(theirs, ours):
    """Load our weights into lightly's head, whose layers have other names in the same order."""
    state = zip(theirs.state_dict(), ours.state_dict().values(), strict=True)
    theirs.load_state_dict(dict(state))
    return theirs


def gradients_of(**networks):
    return {
        f"{name}.{key}": parameter.grad.double()
        for name, network in networks.items()
        for (key, _), parameter in zip(
            ours_of[name].named_parameters(), network.parameters(), strict=True
        )
    }


ours_of = {}


@pytest.mark.numeric
def test_a_step_of_simclr_is_lightlys_and_the_papers(lightly):
    loss_package, heads = lightly
    ours = method("simclr", "--learning_rate", "0")
    encoder = copy.deepcopy(ours.encoder)
    projector = same_weights(
        heads.SimCLRProjectionHead(16, 16, 8), ours.trained.networks["projector"]
    )
    ours_of.update(ours.trained.networks)
    views, found = two_views(), kept_gradients(ours)
    value = ours.update(views, labels())["loss"].item()
    embeddings = projector(encoder(torch.cat(views)))
    expected = loss_package.NTXentLoss(temperature=0.5)(*embeddings.chunk(2))
    assert value == pytest.approx(expected.item(), rel=1e-5)
    expected.backward()
    assert_gradients_agree(found, gradients_of(encoder=encoder, projector=projector), 1e-4)

    # Algorithm 1 of the paper, by loops.
    z = torch.nn.functional.normalize(embeddings.detach().double(), dim=1)
    terms = []
    for i in range(16):
        others = [torch.exp(z[i] @ z[k] / 0.5) for k in range(16) if k != i]
        terms.append(-torch.log(torch.exp(z[i] @ z[(i + 8) % 16] / 0.5) / sum(others)))
    assert value == pytest.approx((sum(terms) / 16).item(), rel=1e-5)


@pytest.mark.numeric
def test_a_step_of_moco_is_lightlys_and_the_papers(lightly):
    """The second of two, so that the momentum encoder differs from the encoder."""
    loss_package, heads = lightly
    ours = method("moco", "--learning_rate", "0.5", "--momentum", "0.9")
    ours.step(data.ImageBatch(noise(8, 3, 8, 8, seed=5), labels()), 8)
    ours.options = dataclasses.replace(ours.options, learning_rate=0.0)
    for optimizer in ours.trained.optimizers.values():
        training.set_learning_rate(optimizer, 0.0)
    networks = ours.trained.networks
    ours_of.update(networks)
    encoder = copy.deepcopy(ours.encoder)
    projector = same_weights(heads.MoCoProjectionHead(16, 16, 8), networks["projector"])
    keys_encoder, keys_projector = (
        copy.deepcopy(average.network) for average in ours.trained.averages.values()
    )
    peer = loss_package.NTXentLoss(temperature=0.1, memory_bank_size=(16, 8))
    peer.memory_bank.bank = ours.queue.features.clone()
    views, found = two_views(), kept_gradients(ours)
    before = ours.queue.features.clone()
    value = ours.update(views, labels())["loss"].item()

    for online, average in ((ours.encoder, keys_encoder), (networks["projector"], keys_projector)):
        for own, kept in zip(online.parameters(), average.parameters(), strict=True):
            kept.data = 0.9 * kept.data + 0.1 * own.data
    with torch.no_grad():
        keys = keys_projector(keys_encoder(views[1]))
    queries = projector(encoder(views[0]))
    expected = peer(queries, keys)
    assert value == pytest.approx(expected.item(), rel=1e-5)
    expected.backward()
    assert_gradients_agree(found, gradients_of(encoder=encoder, projector=projector), 1e-4)

    q, k = (
        torch.nn.functional.normalize(rows.detach().double(), dim=1) for rows in (queries, keys)
    )
    terms = []
    for i in range(8):
        positive = torch.exp(q[i] @ k[i] / 0.1)
        negatives = [torch.exp(q[i] @ row / 0.1) for row in before.double()]
        terms.append(-torch.log(positive / (positive + sum(negatives))))
    assert value == pytest.approx((sum(terms) / 8).item(), rel=1e-5)
    assert_close_in_scale(ours.queue.features[8:], k.float(), 1e-5)  # the older half is replaced
    assert torch.equal(ours.queue.features[:8], before[:8])


def test_views_do_not_depend_on_the_process_that_makes_them():
    batch = noise(8, 3, 10, 10)
    whole = method("simclr")
    whole.trained.random.start(16)
    expected = whole.views(batch, 16, 2)
    for rank in range(2):
        part = method("simclr", processes=training.Processes(rank, 2))
        part.trained.random.start(16)
        own = slice(4 * rank, 4 * rank + 4)
        for view, other in zip(part.views(batch[own], 16, 2), expected, strict=True):
            torch.testing.assert_close(view, other[own], rtol=0, atol=1e-6)
    assert not torch.allclose(expected[0], expected[1])
    whole.trained.random.start(24)
    assert not torch.allclose(whole.views(batch, 24, 1)[0], expected[0])


@pytest.mark.numeric
@pytest.mark.parametrize("preset", ["simclr", "moco", "nnclr", "supcon"])
def test_two_processes_make_the_steps_of_one(preset, tmp_path):
    """With group norm, which does not couple the pictures of a process; three steps."""
    dataroot = pictures(tmp_path / "data")
    more = ["--norm", "group", "--total_images", "24", "--learning_rate", "0.01", "--grey", "0.5"]
    more += ["--weight_decay", "0"]
    train(dataroot, tmp_path / "one", preset, *more)
    train_in_two_processes(
        train_features.main, arguments(dataroot, tmp_path / "two", preset, *more)
    )
    own = {"spread", "uniformity"} if preset == "moco" else set()
    assert_logs_agree(tmp_path / "one", tmp_path / "two", 3, own)
    one, two = (states(tmp_path / run, 24) for run in ("one", "two"))
    for part in one.keys() - {"loss_means"}:
        if part.endswith("optimizer"):  # velocities, which are sums of gradients
            limit = 1e-4
            pairs = [
                (entry["momentum_buffer"], two[part]["state"][key]["momentum_buffer"])
                for key, entry in one[part]["state"].items()
            ]
        else:
            limit = 1e-5
            pairs = [(value, two[part][key]) for key, value in one[part].items()]
        assert pairs
        for expected, found in pairs:
            scale = max(expected.abs().max().item(), 1e-3)  # of biases after three steps
            assert (found - expected).abs().max().item() <= limit * scale, part


@pytest.mark.parametrize("preset", PRESETS)
def test_a_run_leaves_its_files_and_goes_on_bit_for_bit(preset, tmp_path):
    dataroot = pictures(tmp_path / "data")
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    train(dataroot, whole, preset, "--total_images", "32")
    if preset in ("simclr", "moco", "nnclr"):  # the others have no more state than simclr
        train(dataroot, parts, preset, "--total_images", "16")
        train(dataroot, parts, preset, "--total_images", "32", "--workers", "1")
        assert_same_run(whole, parts, 32, log_lines_expected=4)
    line = log_lines(whole / "log.jsonl")[-1]
    paired = {"alignment", "uniformity"}
    assert line.keys() & paired == (set() if preset == "supervised" else paired)
    assert line["loss"] > 0 and 0 < line["spread"] < 2 and line["learning_rate"] > 0

    encoder = models.load_encoder(whole)
    assert encoder(noise(2, 3, 8, 8)).shape == (2, 16)
    about = encoder.description
    assert about["method"] == preset and about["images_seen"] == 32
    assert about["preprocessing"] == {
        "size_px": 8,
        "resize": "bicubic",
        "crop": "centre",
        "channels": 3,
    }
    assert (whole / "classifier.safetensors").exists() == (preset == "supervised")
    if preset == "supervised":
        classifier = models.load_classifier(whole)
        assert classifier.class_names == ("class0", "class1")
        assert classifier(noise(2, 3, 8, 8)).shape == (2, 2)
    for name, size in (("embeddings.png", (790, 640)), ("neighbours.png", (122, 102))):
        with Image.open(whole / name) as image:
            assert image.size == size and len(image.getcolors(10**6)) > 2, name


def test_a_run_that_is_killed_goes_on_as_if_nothing_had_been(tmp_path):
    dataroot, run = pictures(tmp_path / "data"), tmp_path / "run"
    more = ["--epochs", "10000", "--save_every", "8", "--workers", "1"]
    started = training_runs.start(
        tmp_path,
        "train_features.py",
        arguments(dataroot, run, "moco", *more, "--total_images", "100000"),
    )
    started.wait_for(training_runs.has_saved(run))
    os.kill(started.pid, signal.SIGKILL)
    started.end()
    reached = training.read_newest_checkpoint(run / "checkpoints").images_seen
    for folder in (run, tmp_path / "whole"):
        train(dataroot, folder, "moco", *more, "--total_images", reached + 8)
    seen = training.read_newest_checkpoint(run / "checkpoints").images_seen
    assert_equal(states(run, seen), states(tmp_path / "whole", seen))


def test_held_out_pictures_are_measured_and_probed(tmp_path, capsys):
    dataroot, run = pictures(tmp_path / "data", count=40), tmp_path / "run"
    more = ["--held_out", "0.25", "--evaluate_every", "16", "--total_images", "32"]
    train(dataroot, run, "simclr", *more, "--jitter", "0", "--grey", "0")
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert [line["images"] for line in lines] == [16, 32]
    assert lines[0]["n_bank"] == 30 and lines[0]["n_test"] == 10
    assert lines[0]["knn_accuracy_of_pixels"] == 1.0  # classes have colours of their own
    capsys.readouterr()
    more += ["--jitter", "0", "--grey", "0", "--probe"]
    train(dataroot, run, "simclr", *more)
    found = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert found["knn_accuracy"] == lines[-1]["knn_accuracy"]
    assert found["n_train"] == 30 and found["n_test"] == 10 and found["images_seen"] == 32
    assert found["linear_accuracy_of_training"] > 0.7
    classifier = models.load_classifier(run / "probe.safetensors")
    assert classifier.class_names == ("class0", "class1")
    assert classifier.description["probe"] == found
    parts = open_parts(options_of(dataroot, run, more))
    images = torch.stack([measuring.prepared(path, 8, 3)[0] for path in parts.test.files])
    right = classifier(images).argmax(1) == torch.tensor(parts.test.labels.of_files)
    assert right.double().mean().item() == pytest.approx(found["linear_accuracy"])
    kept = set(parts.train.files) | set(parts.test.files)
    assert len(kept) == 40 and parts.test.labels.counts == [5, 5]


def options_of(dataroot, run, more):
    return train_features.cli.parse(
        train_features.Options,
        [str(part) for part in arguments(dataroot, run, "simclr", *more)],
        train_features.PRESETS,
    )


def test_a_folder_with_train_and_test_is_used_as_such(tmp_path):
    pictures(tmp_path / "data" / "train", count=16)
    pictures(tmp_path / "data" / "test", count=6)
    run = tmp_path / "run"
    train(tmp_path / "data", run, "supcon", "--total_images", "16")
    (line,) = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert (line["n_bank"], line["n_test"]) == (16, 6)


def test_without_labels_nothing_is_measured_but_sheets_are_drawn(tmp_path):
    dataroot, run = pictures(tmp_path / "data"), tmp_path / "run"
    unlabelled = [part for part in SMALL if part not in ("--labels", "folders")]
    given = ["--dataroot", dataroot, "--run_dir", run, *unlabelled, "--total_images", "8"]
    train_features.main([str(part) for part in given])
    assert not (run / "metrics.jsonl").exists() and (run / "neighbours.png").exists()


def test_weights_of_another_run_or_encoder_are_a_start(tmp_path):
    dataroot = pictures(tmp_path / "data")
    train(dataroot, tmp_path / "first", "simclr", "--total_images", "8")
    frozen = ["--total_images", "8", "--learning_rate", "0", "--norm", "batch"]
    for preset, name in (("simclr", "."), ("supervised", "encoder.safetensors")):
        run = tmp_path / preset
        train(dataroot, run, preset, *frozen, "--init_from", tmp_path / "first" / name)
        first, second = (models.load_encoder(path).network for path in (tmp_path / "first", run))
        for own, other in zip(first.parameters(), second.parameters(), strict=True):
            assert torch.equal(own, other)


@pytest.mark.numeric
def test_lars_scales_the_step_of_each_layer():
    """You et al. 2017, algorithm 1, with SimCLR's exceptions, for two steps with momentum."""
    torch.manual_seed(0)
    layer = torch.nn.Linear(3, 2)
    w, b = (parameter.detach().double().clone() for parameter in layer.parameters())
    optimizer = training.sgd(layer, momentum=0.9, weight_decay=0.1, trust=0.01)
    training.set_learning_rate(optimizer, 0.5)
    velocity_w, velocity_b = torch.zeros_like(w), torch.zeros_like(b)
    for step in range(2):
        gradient_w, gradient_b = noise(2, 3, seed=step), noise(2, seed=step)
        layer.weight.grad, layer.bias.grad = gradient_w.clone(), gradient_b.clone()
        optimizer.step()
        decayed = gradient_w.double() + 0.1 * w
        velocity_w = 0.9 * velocity_w + 0.01 * w.norm() / decayed.norm() * decayed
        velocity_b = 0.9 * velocity_b + gradient_b.double()
        w, b = w - 0.5 * velocity_w, b - 0.5 * velocity_b
    assert_close_in_scale(layer.weight.detach().double(), w, 1e-6)
    assert_close_in_scale(layer.bias.detach().double(), b, 1e-6)


def test_the_learning_rate_rises_and_falls_with_the_images_seen():
    features = method("simclr", "--batch_size", "8", "--learning_rate", "1.6")
    rates = [features.learning_rate(seen) for seen in (0, 8, 16, 24, 56, 88)]
    assert rates[:3] == pytest.approx([0.1 * (seen + 4) / 24 for seen in (0, 8, 16)])
    assert rates[3] > rates[4] > rates[5] > 0 and rates[4] == pytest.approx(0.1 * 0.5)


def test_collapsed_embeddings_are_told():
    even = torch.randn(64, 16, generator=torch.Generator().manual_seed(0))
    assert 0.9 < losses.spread(even) < 1.05
    same = even[:1] + 1e-3 * even
    assert not training.collapse_warnings({"spread": losses.spread(even).item()})
    (told,) = training.collapse_warnings({"spread": losses.spread(same).item()})
    assert "collapsed" in told and "`learning_rate`" in told
    assert not training.collapse_warnings({}) and not training.collapse_warnings(
        {"spread": float("nan")}
    )


@pytest.mark.numeric
def test_a_linear_fit_separates_what_a_line_separates():
    features = noise(60, 4) * 5 + 3
    classes = (features[:, 0] > features[:, 1]).long()
    fitted = fit_linear(measuring.Embedded(features, classes, []), 2)
    assert (fitted(features).argmax(1) == classes).double().mean() > 0.95


@pytest.mark.numeric
def test_principal_components_are_the_singular_vectors_of_centred_units():
    features = noise(30, 5) + 0.5
    found = sheets.principal_components(features)
    units = torch.nn.functional.normalize(features.double(), dim=1)
    u, s, _ = torch.linalg.svd(units - units.mean(0), full_matrices=False)
    assert_close_in_scale(found.abs(), (u * s)[:, :2].abs(), 1e-8)


@pytest.mark.parametrize(
    ("preset", "more", "told"),
    [
        ("simclr", ["--crop_size", "16", "--load_size", "0"], "--crop_size 16: larger than the"),
        ("simclr", ["--crop_size", "9", "--load_size", "8"], "--crop_size 9: larger than --load"),
        ("simclr", ["--batch_size", "32"], "--batch_size 32: .* only 24 images"),
        ("simclr", ["--batch_size", "1"], "--batch_size 1: .*at least 2, two for each process"),
        ("moco", ["--queue_size", "20"], "--queue_size 20: not a multiple of --batch_size 8.*16"),
        ("moco", ["--norm", "batch"], "--norm batch: .*use --norm group"),
        ("simclr", ["--held_out", "1"], "--held_out 1.0: give a number below 1"),
        ("simclr", ["--evaluate_every", "8"], "no pictures to measure on; .*--held_out 0.1"),
        ("simclr", ["--accelerate", "graph"], "--accelerate graph: .*use auto or off"),
        ("simclr", ["--accelerate", "compile"], "--accelerate compile: .*use auto or off"),
        ("simclr", ["--warm_up_epochs", "4"], "--warm_up_epochs 4: not below --epochs 4"),
        ("simclr", ["--total_images", "97"], "--total_images 97: .*at 96 images.*--epochs"),
        ("simclr", ["--temperature", "0"], "--temperature 0.0: give a number above 0"),
        ("simclr", ["--least_area", "2"], "--least_area 2.0: above 1"),
        ("simclr", ["--probe"], "no encoder.safetensors in it|no such file"),
        ("simclr", ["--adversarial", "pgd"], "--adversarial pgd: .*use --preset supervised"),
        (
            "supervised",
            ["--adversarial", "fast", "--epsilon", "-1"],
            "--epsilon -1: outside 0 to 255",
        ),
        ("supervised", ["--adversarial", "pgd", "--attack_steps", "0"], "--attack_steps 0: below"),
        ("supervised", ["--epsilon", "4"], "--epsilon 4.0: is for --adversarial"),
        ("simclr", ["--base_channels", "0"], "--base_channels 0: give a number above 0"),
    ],
)
def test_bad_input(preset, more, told, tmp_path, fails):
    dataroot = pictures(tmp_path / "data")
    line = fails(train_features, arguments(dataroot, tmp_path / "run", preset, *more))
    assert re.search(told, line), line
    assert not (tmp_path / "run").exists()


def test_classes_that_cannot_be_learned(tmp_path, fails):
    one = pictures(tmp_path / "one", classes=1)
    line = fails(train_features, arguments(one, tmp_path / "run", "supcon"))
    assert "--labels folders" in line and "one class" in line
    unlabelled = [part for part in SMALL if part not in ("--labels", "folders")]
    for preset in ("supcon", "supervised"):
        given = ["--dataroot", one, "--run_dir", tmp_path / "run", "--preset", preset, *unlabelled]
        line = fails(train_features, given)
        assert f"--preset {preset}: needs classes; give --labels folders" in line
    given = ["--dataroot", one, "--run_dir", tmp_path / "run", *unlabelled, "--evaluate_every", "8"]
    assert "give --labels folders" in fails(train_features, given)
    pictures(tmp_path / "parts" / "train", classes=2)
    pictures(tmp_path / "parts" / "test", classes=3)
    line = fails(train_features, arguments(tmp_path / "parts", tmp_path / "run", "simclr"))
    assert "classes of train and test differ (class2)" in line
    more = ["--held_out", "0.1"]
    line = fails(train_features, arguments(tmp_path / "parts", tmp_path / "run", "simclr", *more))
    assert "--held_out 0.1" in line and "leave it out" in line


def test_pictures_of_other_channels(tmp_path, fails):
    dataroot, run = pictures(tmp_path / "data"), tmp_path / "run"
    train(dataroot, run, "simclr", "--channels", "1", "--total_images", "8", "--held_out", "0.2")
    encoder = models.load_encoder(run)
    assert encoder(noise(2, 1, 8, 8)).shape == (2, 16)
    with pytest.raises(ValueError, match="3 channels.*takes 1"):
        encoder(noise(2, 3, 8, 8))
    line = fails(train_features, arguments(dataroot, run, "simclr", "--total_images", "16"))
    assert "--channels: this run was started with 1" in line
    assert "(others that differ: --epoch_images, --held_out)" in line
    more = ["--probe", "--held_out", "0.2"]
    line = fails(train_features, arguments(dataroot, run, "simclr", *more))
    assert "--channels 3: the encoder" in line and "trained with 1" in line
    more = ["--init_from", run / "encoder.safetensors"]
    line = fails(train_features, arguments(dataroot, tmp_path / "other", "simclr", *more))
    assert "--init_from" in line and "conv1.weight" in line


def test_a_queue_larger_than_the_data_is_told(tmp_path, capsys):
    dataroot = pictures(tmp_path / "data")
    train(dataroot, tmp_path / "run", "moco", "--queue_size", "32", "--total_images", "8")
    assert "--queue_size 32: more than the 24 pictures" in capsys.readouterr().err
