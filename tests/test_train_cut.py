"""CUT: the official traces, gradients, several processes, resume, and the real command."""

import copy
import json
import os
import re
import signal

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

import data
import models
import train_cut
import training
from tests.processes import run_together
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
    has_saved,
    initial_state,
    kept_gradients,
    official_batch,
    random_batch,
    start,
    start_two,
    start_under_torchrun,
    states,
    train_in_two_processes,
)

TINY = {
    "base_channels": 4,
    "discriminator_channels": 4,
    "generator": "resnet_6blocks",
    "nce_channels": 8,
    "nce_patches": 16,
    "load_size": 40,
    "crop_size": 32,
}


def options(preset="cut", **values):
    resolved = {"epoch_images": 100, "precision": "fp32"}
    row = {**train_cut.PRESETS[preset], "preset": preset}
    return train_cut.Options(**{**row, **resolved, **values})


def method(chosen, processes=None):
    return train_cut.Cut(chosen, CPU, processes or training.Processes())


class ScriptedPositions:
    """The positions of a step of an official trace, in drawing order."""

    def __init__(self, arrays, step):
        self.arrays, self.step, self.drawn = arrays, step, 0

    def __call__(self, sizes, patches, generator):
        first, self.drawn = self.drawn, self.drawn + len(sizes)
        return [self.arrays[f"step{self.step}/patch_ids/{i}"] for i in range(first, self.drawn)]


OFFICIAL_NAMES = {
    "adversarial": "G_GAN",
    "discriminator_real": "D_real",
    "discriminator_fake": "D_fake",
    "generator": "G",
    "nce": "NCE",
    "nce_identity": "NCE_Y",
}


@pytest.mark.numeric
@pytest.mark.parametrize("few_launches", [False, True])
@OFFICIAL_STEPS
@pytest.mark.parametrize("preset", ["cut", "fastcut"])
def test_steps_give_the_official_losses(preset, dtype, steps, few_launches, reference, monkeypatch):
    arrays = reference(f"{preset}_three_steps")[1]
    cut = method(
        options(
            preset,
            base_channels=2,
            discriminator_channels=2,
            nce_channels=16,
            nce_patches=64,
            crop_size=32,
        )
    )
    for network, letter in zip(cut.trained.networks.values(), "GDF", strict=True):
        state = initial_state(arrays, letter)
        network.load_state_dict({re.sub(r"^mlp_", "heads.", k): v for k, v in state.items()})
        network.to(dtype)
    for step in range(1, 1 + steps):
        batch = official_batch(arrays, step, dtype)
        monkeypatch.setattr(models, "draw_positions", ScriptedPositions(arrays, step))
        coin = bool(arrays.get(f"step{step}/flipped", False))
        with models.forced_few_launches(few_launches):
            losses = cut.update(cut.moment(0)._replace(mirrored=coin), *batch)
        names = {name: OFFICIAL_NAMES[name] for name in losses}
        assert len(names) == (6 if preset == "cut" else 5)
        assert_official(losses, arrays, step, names, rel=OFFICIAL_LIMITS[dtype])


@pytest.mark.parametrize("preset", ["cut", "fastcut", "cut_monce", "cut_hneg", "cut_qs"])
def test_both_forms_of_a_step_have_one_gradient(preset):
    """In float64: source and target one after the other, and in one pass with fused operators."""
    found = []
    for few_launches in (False, True):
        cut = method(options(preset, **TINY, initialization="normal", learning_rate=0.0))
        for network in cut.trained.networks.values():
            network.double()
        batch = data.TranslationBatch(*(side.double() for side in random_batch(1)))
        with models.forced_few_launches(few_launches):
            kept = kept_gradients(cut)
            losses = cut.update(cut.moment(0), *batch)
        found.append((losses, kept))
    (losses, kept), (other_losses, other_kept) = found
    assert losses.keys() == other_losses.keys() and kept.keys() == other_kept.keys()
    for name, value in losses.items():
        assert value.item() == pytest.approx(other_losses[name].item(), rel=1e-9), name
    for name, gradient in kept.items():
        difference = (gradient - other_kept[name]).abs().max()
        assert difference <= 1e-8 * gradient.abs().max() + 1e-12, name


def gradients(cut, batch):
    """The gradients that one update hands to the generator's and the projector's optimisers."""
    found = kept_gradients(cut)
    cut.update(cut.moment(0), *batch)
    return {key: value for key, value in found.items() if not key.startswith("discriminator")}


@pytest.mark.numeric
@pytest.mark.parametrize("batch", [1, 2])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("preset", ["cut", "fastcut"])
def test_gradients_of_the_generator_loss_are_those_of_float64(batch, layout, preset):
    """The official program fails this at batch 1 on the CPU by a half of the gradient."""
    chosen = options(preset, **TINY, initialization="normal", batch_size=batch, learning_rate=0.0)
    cut = method(chosen)
    exact = copy.deepcopy(cut)
    for network in exact.trained.networks.values():
        network.double()
    for network in cut.trained.networks.values():
        network.to(memory_format=layout)
    pictures = random_batch(batch)
    ours = gradients(
        cut, data.TranslationBatch(*(p.contiguous(memory_format=layout) for p in pictures))
    )
    truth = gradients(exact, data.TranslationBatch(*(p.double() for p in pictures)))
    # Inputs within rounding of a ReLU's kink fall on its other side: up to 1.1e-4, by processor.
    assert_gradients_agree(ours, truth, rel=5e-4)


def test_an_update_moves_every_network_and_the_average():
    cut = method(options(**TINY, ema_halflife_images=10))
    before = {
        name: [p.detach().clone() for p in part.parameters()]
        for name, part in {
            **cut.trained.networks,
            "generator_average": cut.trained.averages["generator"].network,
        }.items()
    }
    cut.step(random_batch(1), 0)
    for name, old in before.items():
        network = (
            cut.trained.averages["generator"].network
            if name == "generator_average"
            else cut.trained.networks[name]
        )
        assert any(not torch.equal(*pair) for pair in zip(old, network.parameters(), strict=True))


def test_no_gradient_is_left_behind_by_a_step():
    cut = method(options(**TINY))
    cut.step(random_batch(1), 0)
    assert all(
        p.grad is None for network in cut.trained.networks.values() for p in network.parameters()
    )


@pytest.mark.numeric
def test_bf16_changes_the_losses_by_a_few_percent_only():
    values = {}
    for precision in ("fp32", "bf16"):
        cut = method(options(**TINY, precision=precision, initialization="normal"))
        values[precision] = cut.step(random_batch(2), 0)
    for name, value in values["fp32"].items():
        assert values["bf16"][name].item() == pytest.approx(value.item(), rel=0.05), name


COMMAND = [
    *("--base_channels", "4", "--discriminator_channels", "4", "--nce_channels", "8"),
    *("--workers", "0", "--device", "cpu", "--log_every", "2", "--preview_every", "4"),
    *("--constant_epochs", "1", "--decay_epochs", "1"),
]
CUT = [*COMMAND, *("--load_size", "40", "--crop_size", "32", "--nce_patches", "16")]
SHALLOW_LAYERS = ("--nce_layers", "0", "4", "8", "12")  # that a ResNet of one block has
NARROW = ["--base_channels", "1", "--discriminator_channels", "1"]  # 64 channels and more
PRESETS = {
    "cut": [*CUT, "--generator", "resnet_6blocks"],
    "cut-with-all": [
        *(*CUT, "--generator", "resnet_6blocks", "--dropout", "--ema_halflife_images", "8"),
        *("--batch_size", "2", "--nce_negatives", "batch", "--identity_weight", "1"),
    ],
    "fastcut": [
        *(*CUT, "--preset", "fastcut", "--generator", "smallstylegan2"),
        *("--nce_layers", "0", "2", "3", *NARROW),
    ],
    "sincut": [*COMMAND, "--preset", "sincut", "--crop_size", "16", "--batch_size", "2", *NARROW],
    "simgan": [*CUT, "--preset", "simgan", "--batch_size", "2", "--history_size", "3"],
}


def train(dataroot, run_dir, preset, *more):
    train_cut.main(
        ["--dataroot", str(dataroot), "--run_dir", str(run_dir), *PRESETS[preset], *more]
    )


@pytest.mark.parametrize("preset", PRESETS)
def test_a_resumed_run_is_the_run_that_was_never_stopped(preset, tmp_path, shallow):
    dataroot = folders(tmp_path, count=1 if preset == "sincut" else 5)
    layers = () if preset in ("fastcut", "sincut") else SHALLOW_LAYERS
    train(dataroot, tmp_path / "whole", preset, *layers, "--total_images", "10")
    for total, *more in (
        ("4", "--save_every", "2"),
        ("8", "--workers", "2"),
        ("10", "--workers", "1"),
    ):
        train(dataroot, tmp_path / "parts", preset, *layers, "--total_images", total, *more)
    assert_same_run(tmp_path / "whole", tmp_path / "parts", 10, log_lines_expected=5)


def test_the_run_folder_holds_what_is_promised(tmp_path):
    train(folders(tmp_path), tmp_path / "run", "cut-with-all", "--total_images", "8")
    run = tmp_path / "run"
    config = json.loads((run / "config.json").read_text())
    assert config["options"]["preset"] == "cut" and config["options"]["nce_temperature"] == 0.07
    assert config["versions"]["torch"] == torch.__version__.split("+")[0]
    assert {path.name for path in run.iterdir()} == {
        *("config.json", "log.jsonl", "tensorboard", "previews", "checkpoints", "report.html"),
        *("generator.safetensors", ".lock"),
    }
    with Image.open(run / "previews" / "000000004.png") as sheet:
        assert sheet.size == (5 * 34 + 2, 4 * 34 + 2)  # five test pictures, four rows
    events = EventAccumulator(str(run / "tensorboard")).Reload()
    assert "generator" in events.Tags()["scalars"] and "preview" in events.Tags()["images"]
    assert_equal(
        load_file(run / "generator.safetensors"), dict(states(run, 8)["generator_average"])
    )


def test_another_run_s_weights_start_a_new_one(tmp_path):
    dataroot = folders(tmp_path)
    train(dataroot, tmp_path / "first", "cut", "--total_images", "2")
    for origin in (tmp_path / "first", tmp_path / "first" / "generator.safetensors"):
        run = tmp_path / f"from-{origin.stem}"
        more = ("--total_images", "1", "--learning_rate", "0", "--init_from", str(origin))
        more += ("--ema_halflife_images", "9")
        train(dataroot, run, "cut", *more)
        assert_equal(
            load_file(run / "generator.safetensors"),
            load_file(tmp_path / "first" / "generator.safetensors"),
        )


def test_a_dry_run_tells_the_plan_and_touches_nothing(tmp_path, capsys):
    train(folders(tmp_path), tmp_path / "run", "cut", "--dry_run", "--base_channels", "64")
    told = capsys.readouterr().out
    assert "7,837,699 weights" in told and "total_images" in told and "nce_temperature" in told
    assert not (tmp_path / "run").exists()


def test_help_tells_each_option_with_its_default(command):
    finished = command("train_cut.py", "--help")
    assert finished.returncode == 0
    for words in ("--nce-temperature", "0.07", "--total-images", "Images between log lines"):
        assert words in finished.stdout


def command_of(dataroot, run_dir, *more):
    return ["--dataroot", dataroot, "--run_dir", run_dir, *PRESETS["cut"], *more]


ENDS = {signal.SIGKILL: -9, signal.SIGTERM: 143, signal.SIGINT: 130}


@pytest.mark.parametrize("killer", ENDS)
def test_a_run_that_is_killed_goes_on_as_if_nothing_had_been(killer, tmp_path, capsys):
    dataroot, run = folders(tmp_path), tmp_path / "run"
    more = ("--total_images", "10000", "--save_every", "3", "--workers", "1")
    started = start(tmp_path, "train_cut.py", command_of(dataroot, run, *more))
    started.wait_for(has_saved(run))
    os.killpg(started.pid, killer)  # to the reading process as well, as schedulers do
    told = started.end()
    assert started.returncode() == ENDS[killer]
    if killer != signal.SIGKILL:
        assert re.search(r"stopped and saved at \d+ images; the same command resumes", told)
    reached = training.read_newest_checkpoint(run / "checkpoints").images_seen
    end = reached + 5
    for folder in (run, tmp_path / "whole"):
        train(dataroot, folder, "cut", "--total_images", str(end))
        told = capsys.readouterr().err
        assert (f"resumed at {reached} images" in told) == (folder == run)
    assert_equal(states(run, end), states(tmp_path / "whole", end))


@pytest.mark.parametrize("preset", ["cut-with-all", "simgan"])
def test_two_processes_make_the_steps_of_one(preset, tmp_path):
    dataroot = folders(tmp_path)
    more = ["--batch_size", "4", "--total_images", "12", "--log_every", "4"]
    # Rounding flips single ReLUs, and Adam makes a full step of each: small steps keep that below
    # the tolerance. Adam would also hide a wrong scale of the gradients: the next test sees that.
    more += ["--initialization", "normal", "--learning_rate", "2e-5"]
    train(dataroot, tmp_path / "one", preset, *more)
    arguments = ["--dataroot", dataroot, "--run_dir", tmp_path / "two", *PRESETS[preset], *more]
    train_in_two_processes(train_cut.main, arguments)
    assert_logs_agree(tmp_path / "one", tmp_path / "two", lines=3)
    outputs = [
        models.translate(
            models.load_generator(tmp_path / run, "--checkpoint").network, random_batch(1).source
        )
        for run in ("one", "two")
    ]
    assert torch.allclose(*outputs, atol=1e-5)


def averaged_gradients(folder):
    """What each of several processes hands to its optimisers for its part of one batch."""
    processes = training.places_from_environment()
    rank, world_size = processes.rank, processes.world_size
    with training.process_group(processes, CPU):
        chosen = options(**TINY, initialization="normal", batch_size=4, nce_negatives="batch")
        cut = method(chosen, processes)
        found = {}

        def keep(*names):
            for name in names:
                training.average_gradients(cut.trained.networks[name])
                for key, parameter in cut.trained.networks[name].named_parameters():
                    if parameter.requires_grad:
                        found[f"{name}.{key}"] = parameter.grad.clone()

        cut.trained.optimize = keep
        parts = (part.chunk(world_size)[rank] for part in random_batch(4))
        cut.update(cut.moment(0), *parts)
    torch.save(found, folder / f"{world_size}-{rank}.pt")


def test_two_processes_average_to_the_gradients_of_one(tmp_path):
    for world_size in (1, 2):
        run_together(averaged_gradients, tmp_path, processes=world_size)
    one, *two = (torch.load(tmp_path / name) for name in ("1-0.pt", "2-0.pt", "2-1.pt"))
    assert len(one) > 30
    for name, gradient in one.items():
        assert torch.equal(two[0][name], two[1][name])
        assert (two[0][name] - gradient).norm() <= 5e-4 * gradient.norm(), name  # as above


def test_sigterm_to_torchrun_saves_in_all_processes(tmp_path):
    dataroot, run = folders(tmp_path), tmp_path / "run"
    more = ("--batch_size", "2", "--total_images", "100000", "--save_every", "4")
    started = start_under_torchrun(tmp_path, "train_cut.py", command_of(dataroot, run, *more))
    started.wait_for(has_saved(run))
    os.kill(started.pid, signal.SIGTERM)
    told = started.end()
    assert started.returncode() != 0
    reached = training.read_newest_checkpoint(run / "checkpoints").images_seen
    assert f"stopped and saved at {reached} images" in told


def test_a_process_that_dies_ends_the_run_and_one_process_resumes_it(tmp_path, capsys):
    dataroot, run = folders(tmp_path), tmp_path / "run"
    more = ("--batch_size", "2", "--total_images", "100000", "--save_every", "4")
    started = start_two(tmp_path, "train_cut.py", command_of(dataroot, run, *more))
    started[0].wait_for(has_saved(run))
    os.kill(started[1].pid, signal.SIGKILL)
    told = started[0].end()
    assert started[0].returncode() == 1
    assert "error: communication with the other processes of this run failed" in told
    reached = training.read_newest_checkpoint(run / "checkpoints").images_seen
    train(dataroot, run, "cut", "--batch_size", "2", "--total_images", str(reached + 4))
    assert f"resumed at {reached} images" in capsys.readouterr().err
