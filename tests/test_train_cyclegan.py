"""CycleGAN: the official trace, gradients, pool, several processes, resume, the real command."""

import copy
import json

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from safetensors import safe_open
from safetensors.torch import load_file

import data
import models
import train_cyclegan
import training
import translate
from errors import UserError
from tests.close import assert_close_in_scale
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
    folders,
    initial_state,
    kept_gradients,
    official_batch,
    random_batch,
    states,
    train_in_two_processes,
)
from training.log import log_lines

TINY = {
    "base_channels": 4,
    "discriminator_channels": 4,
    "generator": "resnet_6blocks",
    "load_size": 40,
    "crop_size": 32,
}


def options(**values):
    resolved = {"epoch_images": 100, "precision": "fp32"}
    return train_cyclegan.Options(**{**resolved, **values})


def method(**values):
    return train_cyclegan.CycleGan(options(**{**TINY, **values}), CPU, training.Processes())


NETWORKS = {  # ours: the official program's
    "generator_a2b": "G_A",
    "generator_b2a": "G_B",
    "discriminator_b": "D_A",
    "discriminator_a": "D_B",
}
LOSSES = {
    "adversarial_a2b": "G_A",
    "adversarial_b2a": "G_B",
    "cycle_a": "cycle_A",
    "cycle_b": "cycle_B",
    "identity_b": "idt_A",
    "identity_a": "idt_B",
    "discriminator_b": "D_A",
    "discriminator_a": "D_B",
}


@pytest.mark.numeric
@OFFICIAL_STEPS
def test_steps_give_the_official_losses(dtype, steps, reference):
    arrays = reference("cyclegan_three_steps")[1]
    cyclegan = method(
        base_channels=2, discriminator_channels=2, crop_size=32, load_size=32, history_size=0
    )
    assert cyclegan.trained.networks.keys() == NETWORKS.keys()
    for name, official in NETWORKS.items():
        cyclegan.trained.networks[name].load_state_dict(initial_state(arrays, official))
        cyclegan.trained.networks[name].to(dtype)
    for step in range(1, 1 + steps):
        batch = official_batch(arrays, step, dtype)
        assert_official(cyclegan.step(batch, 0), arrays, step, LOSSES, rel=OFFICIAL_LIMITS[dtype])


def joint_gradients(cyclegan, batch):
    """The official losses written down as they are, in one graph, one pass a term."""
    a2b, d_b, b2a, d_a = cyclegan.trained.networks.values()
    cycle_weight = cyclegan.options.cycle_weight
    identity_weight = cyclegan.options.identity_weight
    a, b = batch
    fake_b, fake_a = a2b(a), b2a(b)
    on_b, on_a = d_b(fake_b), d_a(fake_a)
    loss = F.mse_loss(on_b, torch.ones_like(on_b)) + F.mse_loss(on_a, torch.ones_like(on_a))
    loss = loss + cycle_weight * (F.l1_loss(b2a(fake_b), a) + F.l1_loss(a2b(fake_a), b))
    if identity_weight:
        loss = loss + identity_weight * (F.l1_loss(a2b(b), b) + F.l1_loss(b2a(a), a))
    totals = {"generator_a2b": loss, "generator_b2a": loss}
    for judge, domain, real, fake in ((d_b, "b", b, fake_b), (d_a, "a", a, fake_a)):
        on_real, on_fake = judge(real), judge(fake.detach())
        totals[f"discriminator_{domain}"] = 0.5 * (
            F.mse_loss(on_real, torch.ones_like(on_real))
            + F.mse_loss(on_fake, torch.zeros_like(on_fake))
        )
    found = {}
    for name, total in totals.items():
        trained = {
            k: p for k, p in cyclegan.trained.networks[name].named_parameters() if p.requires_grad
        }
        gradients = torch.autograd.grad(total, trained.values(), retain_graph=True)
        found |= {f"{name}.{key}": g for key, g in zip(trained, gradients, strict=True)}
    return found


@pytest.mark.numeric
@pytest.mark.parametrize(
    ("norm", "identity_weight"), [("instance", 5.0), ("instance", 0.0), ("batch", 5.0)]
)
@pytest.mark.parametrize("batch_size", [1, 2])
def test_the_gradients_are_those_of_the_joint_loss(batch_size, norm, identity_weight):
    cyclegan = method(
        initialization_gain=0.1,
        identity_weight=identity_weight,
        cycle_weight=7.0,
        generator_norm=norm,
        discriminator_norm=norm,
        history_size=0,
        batch_size=batch_size,
        learning_rate=0.0,
    )
    compare_with_joint_gradients(cyclegan, random_batch(batch_size))


def compare_with_joint_gradients(cyclegan, batch):
    """In float64: in float32, signs of the L1 terms flip by rounding."""
    for network in cyclegan.trained.networks.values():
        network.double()
    batch = data.TranslationBatch(*(part.double() for part in batch))
    expected = joint_gradients(copy.deepcopy(cyclegan), batch)
    found = kept_gradients(cyclegan)
    cyclegan.update(*batch, 0)
    assert_gradients_agree(found, expected, rel=1e-9)


def test_source_and_target_may_have_different_sizes():
    source, target = random_batch(1).source, random_batch(1, size=48).target
    still = method(history_size=0, learning_rate=0.0)
    compare_with_joint_gradients(still, data.TranslationBatch(source, target))
    cyclegan = method(history_size=1)
    for images_seen, batch in enumerate([(source, target), (target, source)] * 2):
        cyclegan.step(data.TranslationBatch(*batch), images_seen)  # pools of mixed sizes


def test_a_pass_is_shared_where_that_changes_nothing():
    """Without batch norm: each generator thrice a step, each discriminator twice."""
    for norm, passes in (("instance", (2, 2)), ("batch", (3, 3))):
        cyclegan = method(generator_norm=norm, discriminator_norm=norm)
        counts = dict.fromkeys(cyclegan.trained.networks, 0)

        def count(network, _, counts=counts, networks=cyclegan.trained.networks):
            counts[next(name for name, found in networks.items() if found is network)] += 1

        for network in cyclegan.trained.networks.values():
            network.register_forward_pre_hook(count)
        cyclegan.step(random_batch(1), 0)
        generator, discriminator = passes
        assert counts == {
            "generator_a2b": generator,
            "generator_b2a": generator,
            "discriminator_b": discriminator,
            "discriminator_a": discriminator,
        }


def test_an_update_moves_every_network_and_the_averages_and_leaves_no_gradient():
    cyclegan = method(ema_halflife_images=10)
    averages = {f"{name} average": part.network for name, part in cyclegan.trained.averages.items()}
    parts = {**cyclegan.trained.networks, **averages}
    assert len(parts) == 6
    before = {name: [p.detach().clone() for p in part.parameters()] for name, part in parts.items()}
    cyclegan.step(random_batch(1), 0)
    for name, old in before.items():
        pairs = zip(old, parts[name].parameters(), strict=True)
        assert any(not torch.equal(*pair) for pair in pairs), name
        assert all(p.grad is None for p in parts[name].parameters()), name


def test_the_average_is_the_mean_of_old_and_new_at_its_half_life():
    cyclegan = method(ema_halflife_images=1)
    before = {name: copy.deepcopy(part) for name, part in cyclegan.trained.networks.items()}
    cyclegan.step(random_batch(1), 0)
    for name, average in cyclegan.trained.averages.items():
        triples = zip(
            *(part.parameters() for part in (before[name], cyclegan.trained.networks[name])),
            average.network.parameters(),
            strict=True,
        )
        for old, new, mean in triples:
            assert torch.allclose((old + new) / 2, mean, rtol=1e-5, atol=1e-7)


@pytest.mark.numeric
def test_the_discriminators_see_what_the_pools_hand_back(monkeypatch):
    asked = []

    def grey(pool, fakes, _):
        asked.append((pool, fakes))
        return torch.zeros_like(fakes)

    monkeypatch.setattr(training.FakePool, "mix", grey)
    cyclegan, fresh = method(), method()
    batch = random_batch(1)
    values = cyclegan.step(batch, 0)
    assert [pool for pool, _ in asked] == [cyclegan.pools["b"], cyclegan.pools["a"]]
    assert all(pool.size == 50 for pool in cyclegan.pools.values())
    for (_, fakes), way, start in zip(asked, ("a2b", "b2a"), batch, strict=True):
        # Two float32 passes of a generator differ by about 1e-6 of its largest output.
        assert_close_in_scale(fakes, fresh.trained.networks[f"generator_{way}"](start), 1e-5)
    for domain, real in (("a", batch.source), ("b", batch.target)):
        judge = fresh.trained.networks[f"discriminator_{domain}"]
        loss = (judge(real) - 1).square().mean() + judge(torch.zeros_like(real)).square().mean()
        assert values[f"discriminator_{domain}"].item() == pytest.approx(loss.item() / 2, rel=1e-4)


def test_what_the_pools_choose_follows_from_the_seed_and_the_images_seen():
    def chosen(seed, first):
        cyclegan = method(history_size=2, seed=seed)
        for number in range(2):  # both pools are full and full of known pictures
            for domain, shift in (("a", 0), ("b", 10)):
                picture = torch.full((1, 3, 8, 8), number + shift, dtype=torch.float)
                cyclegan.pools[domain].mix(picture, torch.Generator())
        new = torch.full((1, 3, 8, 8), 99.0)
        return [
            cyclegan._mixed_with_pool(domain, new, seen).mean().item()
            for seen in range(first, first + 20)
            for domain in "ab"
        ]

    first = chosen(0, 0)
    assert first == chosen(0, 0)
    assert first != chosen(1, 0) and first != chosen(0, 20)
    choices = [value == 99 for value in first]
    assert choices[::2] != choices[1::2]  # the pools draw apart
    assert 99 in first and len(set(first)) > 2


@pytest.mark.parametrize(("mode", "told"), [("none", True), ("scale_width", True), ("crop", False)])
def test_processes_that_share_a_pool_need_pictures_of_one_size(mode, told, monkeypatch):
    """Gloo would end the process with SIGABRT, and NCCL fill the pool with what it finds."""
    cyclegan = method(preprocess=mode, history_size=2)
    cyclegan.step(random_batch(1), 0)
    monkeypatch.setattr(training, "gather_objects", lambda size: [size, (8, 8)])
    if not told:
        cyclegan.step(random_batch(1), 1)
        return
    with pytest.raises(UserError, match="--history_size 2: .*after 7 images.*mode that crops"):
        cyclegan.step(random_batch(1), 7)


def test_the_learning_rate_is_whole_for_100_epochs_and_never_0():
    cyclegan = method()
    rates = {}
    for epoch in (1, 100, 101, 200):
        for images_seen in ((epoch - 1) * 100, epoch * 100 - 1):
            values = cyclegan.step(random_batch(1), images_seen)
            rates.setdefault(epoch, set()).add(values["learning_rate"].item())
            for optimizer in cyclegan.trained.optimizers.values():
                used = optimizer.param_groups[0]["lr"]
                assert used == pytest.approx(values["learning_rate"].item())
    assert all(len(found) == 1 for found in rates.values())
    factors = {1: 1, 100: 1, 101: 1 - 1 / 101, 200: 1 / 101}
    found = {epoch: rate for epoch, (rate,) in rates.items()}
    assert found == pytest.approx({epoch: 2e-4 * factor for epoch, factor in factors.items()})


def test_the_preview_shows_translated_returned_and_identity_both_ways():
    cyclegan = method(initialization_gain=0.2)
    batch = random_batch(3)
    a2b, b2a = (cyclegan.trained.networks[f"generator_{way}"].eval() for way in ("a2b", "b2a"))
    with torch.no_grad():
        expected = [
            *(batch.source, a2b(batch.source), b2a(a2b(batch.source)), b2a(batch.source)),
            *(batch.target, b2a(batch.target), a2b(b2a(batch.target)), a2b(batch.target)),
        ]
    for network in cyclegan.trained.networks.values():
        network.train()
    sheet = cyclegan.preview(batch)
    assert sheet.shape == (3, 8 * 34 + 2, 3 * 34 + 2)
    for row, pictures in enumerate(expected):
        for column, picture in enumerate(pictures):
            top, left = 2 + 34 * row, 2 + 34 * column
            shown = sheet[:, top : top + 32, left : left + 32]
            assert torch.allclose(shown, picture, atol=1e-5), (row, column)
    assert all(network.training for network in cyclegan.trained.networks.values())


@pytest.mark.numeric
def test_bf16_changes_the_losses_by_a_few_percent_only():
    values = {
        precision: method(precision=precision).step(random_batch(2), 0)
        for precision in ("fp32", "bf16")
    }
    for name, value in values["fp32"].items():
        assert values["bf16"][name].item() == pytest.approx(value.item(), rel=0.05), name


COMMAND = [
    *("--base_channels", "4", "--discriminator_channels", "4", "--generator", "resnet_6blocks"),
    *("--load_size", "40", "--crop_size", "32", "--workers", "0", "--device", "cpu"),
    *("--log_every", "2", "--preview_every", "4", "--history_size", "2"),
    *("--constant_epochs", "1", "--decay_epochs", "1"),
]
KINDS = {
    "plain": COMMAND,
    "with-all": [
        *(*COMMAND, "--batch_size", "2", "--ema_halflife_images", "8", "--dropout"),
        *("--generator_norm", "batch", "--no-jitter_in_decay"),
    ],
}


def train(dataroot, run_dir, kind, *more):
    arguments = ["--dataroot", dataroot, "--run_dir", run_dir, *KINDS[kind], *more]
    train_cyclegan.main([str(argument) for argument in arguments])


@pytest.fixture(scope="module")
def dataroot(tmp_path_factory):
    return folders(tmp_path_factory.mktemp("cyclegan"))


@pytest.fixture(scope="module")
def finished(dataroot, tmp_path_factory):
    """A run of 14 images with averages, measured at its end."""
    run = tmp_path_factory.mktemp("runs") / "finished"
    train(dataroot, run, "with-all", "--total_images", 14, "--evaluate_every", 6, *SSIM)
    return run


SSIM = ("--metrics", "ssim,l1")


@pytest.mark.parametrize("kind", KINDS)
def test_a_resumed_run_is_the_run_that_was_never_stopped(kind, dataroot, tmp_path, shallow):
    train(dataroot, tmp_path / "whole", kind, "--total_images", 10)
    train(dataroot, tmp_path / "parts", kind, "--total_images", 6, "--save_every", 2)
    early = states(tmp_path / "parts", 6)
    train(dataroot, tmp_path / "parts", kind, "--total_images", 8, "--workers", 1)
    train(dataroot, tmp_path / "parts", kind, "--total_images", 10)
    assert_same_run(tmp_path / "whole", tmp_path / "parts", 10, log_lines_expected=5)
    late = states(tmp_path / "whole", 10)
    for name in ("pool_a", "pool_b"):  # it was full when the run was stopped, and acted later
        stored = [part[name]["stored"] for part in (early, late)]
        assert [len(pictures) for pictures in stored] == [2, 2]
        assert any(not torch.equal(*pair) for pair in zip(*stored, strict=True))


def test_two_processes_make_the_steps_of_one(dataroot, tmp_path):
    more = ["--batch_size", 4, "--total_images", 12, "--log_every", 4, "--history_size", 3]
    # As for CUT: small steps keep what Adam makes of rounding below the tolerance.
    more += ["--learning_rate", "2e-5", "--dropout", "--ema_halflife_images", 8]
    train(dataroot, tmp_path / "one", "plain", *more)
    arguments = ["--dataroot", dataroot, "--run_dir", tmp_path / "two", *KINDS["plain"], *more]
    train_in_two_processes(train_cyclegan.main, arguments)
    assert_logs_agree(tmp_path / "one", tmp_path / "two", lines=3)
    one, two = (states(tmp_path / run, 12) for run in ("one", "two"))
    for domain in "ab":
        pools = [torch.stack(part[f"pool_{domain}"]["stored"]) for part in (one, two)]
        assert len(pools[0]) == 3 and torch.allclose(*pools, atol=1e-4)
    for way in ("a2b", "b2a"):
        outputs = [
            models.translate(
                models.load_generator(tmp_path / run, "--checkpoint", way).network,
                random_batch(1).source,
            )
            for run in ("one", "two")
        ]
        assert torch.allclose(*outputs, atol=1e-5)


def test_the_run_folder_holds_what_is_promised(finished):
    networks = [f"{kind}_{way}.safetensors" for kind in ("generator", "best") for way in WAYS]
    assert {path.name for path in finished.iterdir()} == {
        *(
            "config.json",
            "log.jsonl",
            "metrics.jsonl",
            "tensorboard",
            "previews",
            "checkpoints",
            "report.html",
        ),
        *(".lock", *networks),
    }
    config = json.loads((finished / "config.json").read_text())
    assert config["options"]["preset"] == "cyclegan" and config["options"]["cycle_weight"] == 10
    with Image.open(finished / "previews" / "000000012.png") as sheet:
        assert sheet.size == (5 * 34 + 2, 8 * 34 + 2)  # five test pictures of each side, 8 rows
    saved = states(finished, 14)
    for way in WAYS:
        weights = load_file(finished / f"generator_{way}.safetensors")
        assert_equal(weights, dict(saved[f"generator_{way}_average"]))
        raw = saved[f"generator_{way}"]
        assert any(not torch.equal(weights[name], raw[name]) for name in weights)
    line = log_lines(finished / "log.jsonl")[-1]
    assert line.keys() >= {*LOSSES, "learning_rate", "images"}


WAYS = ("a2b", "b2a")


def images_seen(path):
    with safe_open(path, "pt") as file:
        return json.loads(file.metadata()["pairless"])["images_seen"]


@pytest.mark.parametrize(("way", "start", "goal"), [("a2b", "A", "B"), ("b2a", "B", "A")])
def test_each_way_is_measured_and_its_best_network_kept(way, start, goal, finished, dataroot):
    lines = log_lines(finished / "metrics.jsonl")
    assert [line["images"] for line in lines] == [6, 12, 14]
    best = max(lines, key=lambda line: line[f"ssim_{way}"])
    assert images_seen(finished / f"best_{way}.safetensors") == best["images"]
    for checkpoint, direction, line in (
        (finished, way, lines[-1]),
        (finished / f"best_{way}.safetensors", None, best),
    ):
        given = {"direction": direction} if direction else {}
        numbers = measure(
            checkpoint=checkpoint,
            source=dataroot / f"test{start}",
            real=dataroot / f"test{goal}",
            metrics="ssim,l1",
            **given,
        ).numbers
        for name in ("ssim", "l1"):
            assert numbers[name] == pytest.approx(line[f"{name}_{way}"], rel=1e-9)
    other = "b2a" if way == "a2b" else "a2b"
    assert lines[-1][f"ssim_{way}"] != lines[-1][f"ssim_{other}"]


def test_translate_goes_the_way_that_is_asked_for(finished, dataroot, tmp_path):
    written = {}
    for way in WAYS:
        given = {"--checkpoint": finished, "--input": dataroot / "testA", "--direction": way}
        given["--output"] = tmp_path / way
        translate.main([str(part) for pair in given.items() for part in pair])
        network = models.load_generator(finished / f"generator_{way}.safetensors", "-").network
        for path in sorted((dataroot / "testA").iterdir()):
            pixels = data.to_tensor(data.decode_image(path))[None]
            exact = data.to_levels(models.translate(network, pixels)[0]).permute(1, 2, 0).numpy()
            written[way, path.name] = np.asarray(Image.open(tmp_path / way / path.name))
            assert np.array_equal(written[way, path.name], exact)
    assert len(written) == 10
    assert not np.array_equal(written["a2b", "0.png"], written["b2a", "0.png"])


def test_a_run_folder_starts_another_run_with_all_its_networks(finished, dataroot, tmp_path):
    more = ("--total_images", 2, "--learning_rate", 0, "--init_from", finished)
    train(dataroot, tmp_path / "run", "with-all", *more)
    old, new = states(finished, 14), states(tmp_path / "run", 2)
    for name in NETWORKS:
        trained = [key for key in old[name] if "running" not in key and "num_batches" not in key]
        assert len(trained) > 5
        assert all(torch.equal(old[name][key], new[name][key]) for key in trained), name
        if name.startswith("generator"):  # the average starts there, too, and stays there
            average = new[f"{name}_average"]
            for key in trained:
                assert torch.allclose(average[key], new[name][key], rtol=1e-6, atol=1e-8), key
    with pytest.raises(UserError, match="--init_from .*holds one generator.*has two; give a run"):
        single = finished / "generator_a2b.safetensors"
        train(dataroot, tmp_path / "other", "with-all", "--init_from", single)
    assert not (tmp_path / "other").exists()
