"""DCLGAN: the formulas written out, whose gradient goes where, resume, processes, refusals."""

import copy
import json

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image

import data
import models
import train_cyclegan
import training
import translate
from tests.training_runs import (
    CPU,
    assert_gradients_agree,
    assert_logs_agree,
    assert_same_run,
    folders,
    kept_gradients,
    random_batch,
    states,
    train_in_two_processes,
)

TINY = {
    "base_channels": 4,
    "discriminator_channels": 4,
    "generator": "resnet_6blocks",
    "nce_channels": 16,
    "nce_patches": 12,
    "load_size": 40,
    "crop_size": 32,
}
LAYERS = (4, 8, 12, 16)
A2B, B2A = train_cyclegan.DIRECTIONS


def method(**values):
    resolved = {"preset": "dclgan", "epoch_images": 100, "precision": "fp32"}
    row = {**train_cyclegan.PRESETS["dclgan"], **resolved, **TINY, **values}
    return train_cyclegan.CycleGan(train_cyclegan.Options(**row), CPU, training.Processes())


def test_the_preset_is_the_paper_s_row():
    options = method().options
    assert (options.nce_weight, options.identity_weight, options.cycle_weight) == (2, 1, 0)
    assert options.nce_layers == LAYERS and options.nce_temperature == 0.07
    assert train_cyclegan.Options().nce_patches == train_cyclegan.Options().nce_channels == 256
    assert options.adversarial == "hinge" and options.history_size == 0
    assert (options.learning_rate, options.betas) == (2e-4, (0.5, 0.999))
    assert (options.constant_epochs, options.decay_epochs) == (200, 200)


@pytest.fixture
def drawn(monkeypatch):
    """Keep all positions that are drawn, in order: those of a2b, then those of b2a."""
    kept, draw = [], models.draw_positions

    def keep(*arguments):
        kept.append(draw(*arguments))
        return kept[-1]

    monkeypatch.setattr(models, "draw_positions", keep)
    return kept


def encoded(generator, picture):
    """What the layers 4, 8, 12, 16 put out; the last ones are residual blocks."""
    features, x = [], picture
    for number, layer in enumerate(generator.model[:17]):
        x = layer(x)
        if number in LAYERS:
            features.append(x)
    return features


def projected(projector, features, positions):
    """Rows of length 1, [P, C] a layer, of one picture."""
    rows = []
    for head, feature, position in zip(projector.heads, features, positions, strict=True):
        pixels = torch.stack([feature[0, :, p // feature.shape[3], p % feature.shape[3]]
                              for p in position.tolist()])  # fmt: skip
        hidden = F.relu(pixels @ head[0].weight.T + head[0].bias)
        vectors = hidden @ head[2].weight.T + head[2].bias
        rows.append(vectors / (vectors.square().sum(1, keepdim=True).sqrt() + 1e-7))
    return rows


def literal_nce(queries, keys):
    """-log of the softmax at temperature .07, patch by patch, layer by layer."""
    layers = []
    for q, k in zip(queries, keys, strict=True):
        similar = [[torch.exp(q[i] @ k[j] / 0.07) for j in range(len(k))] for i in range(len(q))]
        patches = [-torch.log(row[i] / sum(row)) for i, row in enumerate(similar)]
        layers.append(sum(patches) / len(patches))
    return sum(layers) / len(layers)


def literal_terms(dclgan, batch, drawn):
    """The terms in one graph, one pass a term, picture by picture."""
    nets = dclgan.trained.networks
    terms = {}
    for direction, start, goal, positions in (
        (A2B, batch.source, batch.target, drawn[0]),
        (B2A, batch.target, batch.source, drawn[1]),
    ):
        forward, backward = (
            nets[f"generator_{direction.name}"],
            nets[f"generator_{direction.target}2{direction.source}"],
        )
        own, other = nets[f"projector_{direction.source}"], nets[f"projector_{direction.target}"]
        fake, judge = forward(start), nets[f"discriminator_{direction.target}"]
        on_fake, on_real = judge(fake), judge(goal)
        terms[f"adversarial_{direction.name}"] = -on_fake.mean()
        terms[f"identity_{direction.target}"] = (forward(goal) - goal).abs().mean()
        terms[f"cycle_{direction.source}"] = (backward(fake) - start).abs().mean()
        losses = []
        for one, translated in zip(start.split(1), fake.split(1), strict=True):
            keys = projected(own, encoded(forward, one), positions)
            queries = projected(other, encoded(backward, translated), positions)
            losses.append(literal_nce(queries, [key.detach() for key in keys]))
        terms[f"nce_{direction.name}"] = 2 * sum(losses) / len(losses)
        on_old_fake = judge(fake.detach())
        terms[f"discriminator_{direction.target}"] = (
            torch.relu(1 - on_real).mean() + torch.relu(1 + on_old_fake).mean()
        ) / 2
    return terms


def literal_gradients(dclgan, terms):
    """Of the mean of the ways' losses for generators and projectors; of their own for the rest."""
    players = sum(value for name, value in terms.items() if "discriminator" not in name) / 2
    found = {}
    for name, network in dclgan.trained.networks.items():
        total = terms[name] if "discriminator" in name else players
        trained = {key: p for key, p in network.named_parameters() if p.requires_grad}
        gradients = torch.autograd.grad(total, trained.values(), retain_graph=True)
        found |= {f"{name}.{key}": g for key, g in zip(trained, gradients, strict=True)}
    return found


@pytest.mark.numeric
@pytest.mark.parametrize(
    ("batch_size", "cycle_weight", "target_px"), [(1, 0.0, 32), (2, 0.0, 32), (1, 3.0, 36)]
)
def test_a_step_is_the_formulas_written_out(batch_size, cycle_weight, target_px, drawn):
    """The third case has a cycle, too, in the pass of the queries, and pictures of two sizes."""
    dclgan = method(
        batch_size=batch_size,
        cycle_weight=cycle_weight,
        learning_rate=0.0,
        initialization="normal",
        initialization_gain=0.1,
    )
    for network in dclgan.trained.networks.values():
        network.double()
    source = random_batch(batch_size).source.double()
    target = random_batch(batch_size, target_px, seed=1).target.double()
    batch = data.TranslationBatch(source, target)
    before = copy.deepcopy(dclgan)
    found = kept_gradients(dclgan)
    values = dclgan.update(*batch, 5)
    terms = literal_terms(before, batch, drawn)
    for domain in "ab":
        cycle = terms.pop(f"cycle_{domain}")
        if cycle_weight:
            terms[f"cycle_{domain}"] = cycle_weight * cycle
    assert values.keys() == terms.keys()
    for name, value in terms.items():
        assert values[name].item() == pytest.approx(value.item(), rel=1e-9), name
    assert_gradients_agree(found, literal_gradients(before, terms), rel=1e-8)


def test_each_way_and_step_draws_its_own_patches(drawn):
    dclgan = method()
    for images_seen in (0, 1, 0):
        dclgan.step(random_batch(1), images_seen)
    flat = [torch.cat(layers).tolist() for layers in drawn]
    assert [len(layers) for layers in drawn] == 6 * [4]
    assert all(len(set(layer.tolist())) == 12 for layers in drawn for layer in layers)
    assert flat[:2] == flat[4:] and len({tuple(positions) for positions in flat}) == 4


def learned(dclgan, direction):
    """Which parameters one direction gives a gradient that is not 0."""
    for network in dclgan.trained.networks.values():
        network.zero_grad()
    batch = random_batch(1)
    dclgan._backward_generators(direction, {"a": batch.source, "b": batch.target})
    return {
        f"{name}.{key}"
        for name, network in dclgan.trained.networks.items()
        for key, p in network.named_parameters()
        if p.grad is not None and p.grad.any()
    }


@pytest.mark.parametrize("direction", train_cyclegan.DIRECTIONS)
def test_keys_get_no_gradient(direction):
    """Queries: the other generator's encoder and its projector. Of its decoder nothing is asked."""
    names = learned(method(initialization="normal"), direction)
    owners = {name.split(".")[0] for name in names}
    back = f"generator_{direction.target}2{direction.source}"
    assert owners == {f"generator_{direction.name}", back, f"projector_{direction.target}"}
    layers = {int(name.split(".")[2]) for name in names if name.startswith(back)}
    assert {12, 13, 14, 15, 16} <= layers <= {1, 4, 8, 12, 13, 14, 15, 16}


def test_features_come_from_passes_that_are_made_anyway():
    """Each generator: start and goal in one pass, an encoding; with a cycle a pass instead."""
    for more, passes in (
        ({}, {"generator": 1, "encoder": 1}),
        ({"cycle_weight": 1.0}, {"generator": 2, "encoder": 0}),
        ({"generator_norm": "batch"}, {"generator": 2, "encoder": 1}),
        ({"nce_weight": 0.0}, {"generator": 1, "encoder": 0}),
    ):
        dclgan = method(**more)
        for network in (
            dclgan.trained.networks["generator_a2b"],
            dclgan.trained.networks["generator_b2a"],
        ):
            counts = {"first": 0, "last": 0}

            def count(place, counts=counts):
                counts[place] += 1

            network.model[0].register_forward_hook(lambda *_, count=count: count("first"))
            network.model[-1].register_forward_hook(lambda *_, count=count: count("last"))
            dclgan.step(random_batch(1), 0)
            found = {"generator": counts["last"], "encoder": counts["first"] - counts["last"]}
            assert found == passes, more


def test_an_update_moves_every_network_and_leaves_no_gradient():
    dclgan = method(ema_halflife_images=10)
    assert {"projector_a", "projector_b"} < dclgan.trained.networks.keys()
    assert dclgan.state().keys() > {"projector_a", "projector_b_optimizer"}
    before = copy.deepcopy(dclgan.trained.networks)
    values = dclgan.step(random_batch(1), 0)
    for name, network in dclgan.trained.networks.items():
        pairs = zip(before[name].parameters(), network.parameters(), strict=True)
        assert any(not torch.equal(*pair) for pair in pairs), name
        assert all(p.grad is None for p in network.parameters()), name
        assert dclgan.trained.optimizers[name].param_groups[0]["lr"] == 2e-4
    assert all(value.isfinite() and not value.requires_grad for value in values.values())


def test_without_patch_nce_there_are_no_projectors():
    networks = method(nce_weight=0.0).trained.networks
    assert not [name for name in networks if name.startswith("projector")]


@pytest.mark.numeric
def test_bf16_changes_the_losses_by_a_few_percent_only():
    values = {
        precision: method(precision=precision, initialization="normal").step(random_batch(2), 0)
        for precision in ("fp32", "bf16")
    }
    for name, value in values["fp32"].items():
        assert values["bf16"][name].item() == pytest.approx(value.item(), rel=0.05), name


COMMAND = [
    *("--preset", "dclgan", "--base_channels", "4", "--discriminator_channels", "4"),
    *("--generator", "resnet_6blocks", "--nce_channels", "8", "--nce_patches", "12"),
    *("--load_size", "40", "--crop_size", "32", "--workers", "0", "--device", "cpu"),
    *("--log_every", "2", "--preview_every", "4", "--constant_epochs", "1", "--decay_epochs", "1"),
]


def train(dataroot, run_dir, *more):
    arguments = ["--dataroot", dataroot, "--run_dir", run_dir, *COMMAND, *more]
    train_cyclegan.main([str(argument) for argument in arguments])


@pytest.fixture(scope="module")
def dataroot(tmp_path_factory):
    return folders(tmp_path_factory.mktemp("dclgan"))


@pytest.fixture(scope="module")
def finished(dataroot, tmp_path_factory):
    run = tmp_path_factory.mktemp("runs") / "finished"
    train(dataroot, run, "--total_images", 10)
    return run


def test_a_resumed_run_is_the_run_that_was_never_stopped(finished, dataroot, tmp_path):
    train(dataroot, tmp_path / "parts", "--total_images", 4, "--save_every", 2)
    train(dataroot, tmp_path / "parts", "--total_images", 8, "--workers", 1)
    train(dataroot, tmp_path / "parts", "--total_images", 10)
    assert_same_run(finished, tmp_path / "parts", 10, log_lines_expected=5)
    options = json.loads((finished / "config.json").read_text())["options"]
    assert options["preset"] == "dclgan" and options["nce_layers"] == list(LAYERS)


def test_a_run_folder_starts_another_run_with_all_its_networks(finished, dataroot, tmp_path):
    more = ("--total_images", 1, "--learning_rate", 0, "--init_from", finished)
    train(dataroot, tmp_path / "run", *more)
    old, new = states(finished, 10), states(tmp_path / "run", 1)
    for name in method().trained.networks:
        assert all(torch.equal(old[name][key], new[name][key]) for key in old[name]), name


def test_two_processes_make_the_steps_of_one(dataroot, tmp_path):
    # As for CUT: small steps keep what Adam makes of rounding below the tolerance.
    more = ["--batch_size", 4, "--total_images", 12, "--log_every", 4, "--learning_rate", "2e-5"]
    more += ["--initialization", "normal", "--dropout"]
    train(dataroot, tmp_path / "one", *more)
    arguments = ["--dataroot", dataroot, "--run_dir", tmp_path / "two", *COMMAND, *more]
    train_in_two_processes(train_cyclegan.main, arguments)
    assert_logs_agree(tmp_path / "one", tmp_path / "two", lines=3)
    one, two = (states(tmp_path / run, 12) for run in ("one", "two"))
    for name in ("generator_a2b", "generator_b2a", "projector_a", "projector_b"):
        for key, value in one[name].items():
            assert torch.allclose(value, two[name][key], atol=1e-5), (name, key)


def test_translate_goes_both_ways(finished, dataroot, tmp_path):
    written = {}
    for way in ("a2b", "b2a"):
        given = {"--checkpoint": finished, "--input": dataroot / "testA", "--direction": way}
        given["--output"] = tmp_path / way
        translate.main([str(part) for pair in given.items() for part in pair])
        network = models.load_generator(finished, "-", way).network
        pixels = data.to_tensor(data.decode_image(dataroot / "testA" / "0.png"))[None]
        exact = data.to_levels(models.translate(network, pixels)[0]).permute(1, 2, 0).numpy()
        written[way] = np.asarray(Image.open(tmp_path / way / "0.png"))
        assert np.array_equal(written[way], exact)
    assert not np.array_equal(written["a2b"], written["b2a"])


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (("--preset", "cyclegan", "--nce_weight", "1"), ("--nce_weight 1", "no --nce_layers")),
        (("--generator", "unet_128"), ("--generator unet_128", "--nce_weight 0")),
        (("--nce_layers", "4", "99"), ("--nce_layers 4 99", "0 to")),
        (("--nce_layers", "8", "4"), ("--nce_layers 8 4", "increasing")),
        (("--nce_patches", "1"), ("--nce_patches 1", "negatives")),
        (("--nce_weight", "-1"), ("--nce_weight -1", "0 or more")),
        (("--nce_weight", "nan"), ("--nce_weight nan", "0 or more")),
        (("--cycle_weight", "-1"), ("--cycle_weight -1", "0 or more")),
        (("--identity_weight", "-1"), ("--identity_weight -1", "0 or more")),
        (("--nce_temperature", "0"), ("--nce_temperature 0", "above 0")),
        (("--nce_channels", "0"), ("--nce_channels 0", "above 0")),
        (
            ("--preset", "cyclegan", "--nce_patches", "9"),
            ("--nce_", "has no effect without --nce_weight"),
        ),
        (("--nce_weight", "0", "--identity_weight", "0"), ("--cycle_weight 0", "give one of them")),
    ],
)
def test_options_that_cannot_train(given, words, fails, dataroot, tmp_path):
    arguments = ["--dataroot", dataroot, "--run_dir", tmp_path / "run", *COMMAND, *given]
    line = fails(train_cyclegan, arguments)
    assert all(word in line for word in words), line
    assert not (tmp_path / "run").exists()
