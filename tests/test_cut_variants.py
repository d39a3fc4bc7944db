"""CUT with other comparisons of patches: literal steps, resume, several processes, bad options."""

import os
from dataclasses import replace

import pytest
import torch

import data
import losses
import models
import train_cut
import training
from commands.translation import patches
from tests.processes import free_port, run_together
from tests.test_train_cut import COMMAND, PRESETS, SHALLOW_LAYERS, TINY, method, options
from tests.training_runs import (
    CPU,
    assert_gradients_agree,
    assert_logs_agree,
    assert_same_run,
    folders,
    kept_gradients,
    random_batch,
)
from training.log import log_lines

CUT = PRESETS["cut"]
COMMANDS = {
    "cut_monce": [*CUT, "--preset", "cut_monce"],
    "cut_hneg": [*CUT, "--preset", "cut_hneg"],
    "cut_qs": [*CUT, "--preset", "cut_qs"],
    # Mirrored inputs, attention and relations at once.
    "fastcut": [
        *(*CUT, "--preset", "fastcut", "--patch_loss", "decoupled", "--patch_sampler", "attention"),
        *("--semantic_relation_weight", "0.1"),
    ],
}
# Name -> preset, what differs from it.
VARIANTS = {
    "monce": ("cut_monce", {}),
    "hneg": ("cut_hneg", {}),
    "qs": ("cut_qs", {}),
    "decoupled": ("cut", {"patch_loss": "decoupled", "nce_weight": 0.1}),
    "mirrored": (
        "fastcut",
        {"patch_loss": "hdce", "patch_sampler": "attention", "hdce_gamma": (2.0, 0.5)}
        | {"semantic_relation_weight": 0.3},
    ),
    "qs of a batch": ("cut_qs", {"nce_negatives": "batch", "semantic_relation_weight": 0.2}),
}


def train(dataroot, run_dir, variant, *more):
    places = ["--dataroot", str(dataroot), "--run_dir", str(run_dir)]
    train_cut.main([*places, *COMMANDS[variant], *more])


@pytest.mark.parametrize("variant", COMMANDS)
def test_a_resumed_run_is_the_run_that_was_never_stopped(variant, tmp_path, shallow):
    dataroot = folders(tmp_path)
    train(dataroot, tmp_path / "whole", variant, *SHALLOW_LAYERS, "--total_images", "8")
    for total, *more in (("4", "--save_every", "2"), ("8", "--workers", "1")):
        more += [*SHALLOW_LAYERS, "--total_images", total]
        train(dataroot, tmp_path / "parts", variant, *more)
    assert_same_run(tmp_path / "whole", tmp_path / "parts", 8, log_lines_expected=4)
    logged = log_lines(tmp_path / "whole" / "log.jsonl")[0]
    assert ("semantic_relation" in logged) == (variant in ("cut_hneg", "fastcut"))


# Small steps, for the reason that tests/test_train_cut.py gives.
SHARED_OUT = ["--batch_size", "4", "--total_images", "8", "--log_every", "4"]
SHARED_OUT += ["--initialization", "normal", "--learning_rate", "2e-5"]


def train_one_after_another(ports, dataroot, folder):
    for preset, port in ports.items():
        os.environ["MASTER_PORT"] = str(port)
        train(dataroot, folder / preset, preset, *SHARED_OUT)


@pytest.fixture(scope="module")
def two_processes(tmp_path_factory):
    """The folder of runs of all three presets by two processes, and their data."""
    folder = tmp_path_factory.mktemp("two")
    dataroot = folders(folder)
    ports = {preset: free_port() for preset in ("cut_monce", "cut_hneg", "cut_qs")}
    run_together(train_one_after_another, ports, dataroot, folder)
    return folder, dataroot


@pytest.mark.parametrize("preset", ["cut_monce", "cut_hneg", "cut_qs"])
def test_two_processes_make_the_steps_of_one(preset, two_processes, tmp_path):
    folder, dataroot = two_processes
    train(dataroot, tmp_path / "one", preset, *SHARED_OUT)
    assert_logs_agree(tmp_path / "one", folder / preset, lines=2)


def variant_of(name):
    """Options without the deepest layer, whose entropies reach down to 1e-42."""
    values = {"batch_size": 2, "learning_rate": 0.0, "initialization": "normal"}
    values |= {"constant_epochs": 1.5, "decay_epochs": 0.5, "nce_layers": (0, 2, 4, 8, 12)}
    preset, differing = VARIANTS[name]
    return options(preset, **{**TINY, **values, **differing})


def literal_patches(cut, inputs, positions, mirrored):
    """Projected patches of the translation of `inputs`, and of `inputs`, layer by layer."""
    chosen = cut.options
    outputs = cut.generator(inputs.flip(3) if mirrored else inputs)
    queries = cut.generator.encode(outputs, chosen.nce_layers)
    keys = [key.detach() for key in cut.generator.encode(inputs, chosen.nce_layers)]
    picked = []
    for layer, (query, key) in enumerate(zip(queries, keys, strict=True)):
        query, key = ((f.flip(3) if f is query and mirrored else f) for f in (query, key))
        query, key = (f.flatten(2).transpose(1, 2) for f in (query, key))  # [B, H * W, C]
        if chosen.patch_sampler == "attention" and layer >= 3:
            attention = (key @ key.transpose(1, 2)).softmax(2)
            entropy = -(attention * attention.clamp_min(1e-300).log()).sum(2)
            rows = entropy.argsort(1)[:, : chosen.nce_patches]
            attention = torch.stack([a[r] for a, r in zip(attention, rows, strict=True)])
            query, key = attention @ query, attention @ key
        else:
            query, key = query[:, positions[layer]], key[:, positions[layer]]
        head = cut.projector.heads[layer]
        query, key = (v / (v.norm(dim=2, keepdim=True) + 1e-7) for v in (head(query), head(key)))
        picked.append((query, key.detach()))
    return outputs, picked


def literal_loss(chosen, query, key, gamma):
    """The patch loss of one layer by the functions of losses/, with the options written out."""
    t = chosen.nce_temperature
    if chosen.nce_negatives == "batch":
        return losses.patch_nce(query, key, temperature=t, all_keys=key.flatten(0, 1))
    return {
        "patch_nce": lambda: losses.patch_nce(query, key, temperature=t),
        "mo_nce": lambda: losses.mo_nce(query, key, temperature=t, cost="hard", epsilon=0.1),
        "hdce": lambda: losses.hdce(query, key, temperature=t, gamma=gamma),
        "decoupled": lambda: losses.decoupled_patch_nce(query, key, temperature=t),
    }[chosen.patch_loss]()


def literal_values(cut, batch, images_seen, gamma):
    """All losses of the generator and the projector, written out for the six variants."""
    chosen, mirrored = cut.options, cut.moment(images_seen).mirrored
    random = training.generator_for(CPU, chosen.seed, images_seen, "step")
    values = {}
    for name, inputs in (("nce", batch.source), ("nce_identity", batch.target)):
        if name == "nce_identity" and not chosen.nce_identity:
            continue
        with torch.no_grad():
            maps = cut.generator.encode(inputs, chosen.nce_layers)
        sizes = [feature.shape[2] * feature.shape[3] for feature in maps]
        positions = models.draw_positions(sizes, 16, random)
        outputs, picked = literal_patches(cut, inputs, positions, mirrored)
        layers = [literal_loss(chosen, *pair, gamma).mean() for pair in picked]
        values[name] = chosen.nce_weight * sum(layers) / 5
        if name == "nce":
            values["adversarial"] = ((cut.discriminator(outputs) - 1) ** 2).mean()
            if chosen.semantic_relation_weight:
                layers = [losses.semantic_relation(*pair).mean() for pair in picked]
                weight = chosen.semantic_relation_weight
                values["semantic_relation"] = weight * sum(layers) / 5
    share = 0.5 if chosen.nce_identity else 1.0
    total = sum(value * (share if "nce" in name else 1.0) for name, value in values.items())
    return {**values, "generator": total}


@pytest.mark.numeric
@pytest.mark.parametrize("images_seen", [60, 100])
@pytest.mark.parametrize("name", VARIANTS)
def test_a_step_is_what_is_written_out_from_the_features(name, images_seen):
    """Values and gradients, in float64: places of nearly equal entropy change ranks in less."""
    cut = method(variant_of(name))
    for network in cut.trained.networks.values():
        network.double()
    batch = data.TranslationBatch(*(pictures.double() for pictures in random_batch(2)))
    found = kept_gradients(cut)
    step = cut.step(batch, images_seen)

    start, end = cut.options.hdce_gamma
    gamma = start + (end - start) * images_seen / 200
    expected = literal_values(cut, batch, images_seen, gamma)
    assert {key: step[key].item() for key in expected} == pytest.approx(
        {key: value.item() for key, value in expected.items()}, rel=1e-6
    )
    expected["generator"].backward()
    gradients = {
        f"{network}.{key}": parameter.grad
        for network in ("generator", "projector")
        for key, parameter in cut.trained.networks[network].named_parameters()
        if parameter.requires_grad
    }
    found = {key: value for key, value in found.items() if not key.startswith("discriminator")}
    assert_gradients_agree(found, gradients, rel=1e-5)


def test_the_steps_above_are_not_mirrored_and_mirrored():
    cut = method(variant_of("mirrored"))
    assert [cut.moment(seen).mirrored for seen in (60, 100)] == [False, True]


def test_gamma_falls_evenly_over_the_schedule_and_stays():
    chosen = options("cut_hneg", epoch_images=10, constant_epochs=3, decay_epochs=1)
    found = [patches.hdce_gamma(seen, chosen) for seen in (0, 10, 20, 39, 40, 1000)]
    assert found == pytest.approx([50, 40, 30, 11, 10, 10])
    longer = replace(chosen, total_images=400)
    assert patches.hdce_gamma(10, longer) == found[1]


def test_the_first_three_layers_stay_random():
    generator = torch.Generator().manual_seed(0)
    maps = [torch.randn(2, 3, 4, 5, generator=generator) for _ in range(5)]
    positions = [torch.tensor([7, layer]) for layer in range(5)]
    queries, keys, places = patches.route(maps, maps, positions, 6)
    for layer in range(3):
        assert queries[layer] is maps[layer] is keys[layer]
        assert places[layer] is positions[layer]
    for layer in (3, 4):
        assert queries[layer].shape == keys[layer].shape == (2, 3, 6, 1)
        assert places[layer].tolist() == [0, 1, 2, 3, 4, 5]


BAD = [
    (("--patch_loss", "mo_nce", "--nce_negatives", "batch"), ("--nce_negatives batch", "mo_nce")),
    (("--preset", "cut_hneg", "--nce_negatives", "batch"), ("--nce_negatives batch", "hdce")),
    (("--patch_loss", "decoupled", "--nce_patches", "1"), ("--nce_patches 1", "negatives")),
    (("--mo_nce_epsilon", "0"), ("--mo_nce_epsilon 0", "above 0")),
    (("--mo_nce_epsilon", "nan"), ("--mo_nce_epsilon nan", "above 0")),
    (("--hdce_gamma", "50", "0"), ("--hdce_gamma 50.0 0.0", "above 0")),
    (("--hdce_gamma", "inf", "10"), ("--hdce_gamma inf 10.0", "above 0")),
    (("--semantic_relation_weight", "-1"), ("--semantic_relation_weight -1", "0 or more")),
    (
        ("--preset", "cut_hneg", "--nce_weight", "0"),
        ("--semantic_relation_weight 0.05", "needs patches"),
    ),
    (
        (
            *("--semantic_relation_weight", "1", "--nce_patches", "1", "--batch_size", "2"),
            *("--nce_negatives", "batch"),
        ),
        ("--nce_patches 1", "--semantic_relation_weight"),
    ),
    (
        ("--preset", "cut_qs", "--nce_layers", "0", "4", "8"),
        ("--patch_sampler attention", "0 4 8 are 3", "more layers"),
    ),
    (("--mo_nce_cost", "hard"), ("--mo_nce_cost hard", "--patch_loss mo_nce")),
    (("--preset", "cut_monce", "--patch_loss", "hdce"), ("--mo_nce_cost hard", "has no effect")),
    (("--hdce_gamma", "5", "1"), ("--hdce_gamma (5.0, 1.0)", "--patch_loss hdce")),
    (("--nce_weight", "0", "--patch_loss", "mo_nce"), ("has no effect without --nce_weight",)),
]


@pytest.mark.parametrize(("given", "words"), BAD)
def test_options_that_cannot_train(given, words, fails, tmp_path):
    places = ["--dataroot", folders(tmp_path), "--run_dir", tmp_path / "run"]
    line = fails(train_cut, [*places, *COMMAND, *given])
    assert all(word in line for word in words), line
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    "given", [("--patch_loss", "nce"), ("--patch_sampler", "x"), ("--mo_nce_cost", "cheap")]
)
def test_choices_that_do_not_exist(given, tmp_path, capsys):
    with pytest.raises(SystemExit) as end:
        train_cut.main(["--run_dir", str(tmp_path / "run"), *given])
    assert end.value.code == 2 and given[1] in capsys.readouterr().err
