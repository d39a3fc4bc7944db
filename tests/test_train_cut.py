"""CUT: the official traces, gradients, several processes, resume, and the real command."""

import copy
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

import data
import models
import train_cut
import training
from models.official import normalize_state
from tests.conftest import ROOT
from training.log import log_lines

CPU = torch.device("cpu")
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


class ScriptedDraws:
    """The positions and coins of an official trace, in drawing order."""

    def __init__(self, arrays, step):
        self.arrays, self.step, self.drawn = arrays, step, 0
        self.mirrored = bool(arrays.get(f"step{step}/flipped", False))

    def positions(self, features):
        first, self.drawn = self.drawn, self.drawn + len(features)
        return [self.arrays[f"step{self.step}/patch_ids/{i}"] for i in range(first, self.drawn)]


OFFICIAL_NAMES = {
    "adversarial": "G_GAN",
    "discriminator_real": "D_real",
    "discriminator_fake": "D_fake",
    "generator": "G",
    "nce": "NCE",
    "nce_identity": "NCE_Y",
}


@pytest.mark.parametrize("preset", ["cut", "fastcut"])
def test_three_steps_give_the_official_losses(preset, reference):
    arrays = reference(f"{preset}_three_steps")[1]
    cut = method(
        options(
            preset,
            base_channels=8,
            discriminator_channels=8,
            nce_channels=32,
            nce_patches=64,
            crop_size=64,
        )
    )
    for network, letter in zip(cut.networks.values(), "GDF", strict=True):
        prefix = f"initial/{letter}/"
        state = {k[len(prefix) :]: v for k, v in arrays.items() if k.startswith(prefix)}
        state = {re.sub(r"^mlp_", "heads.", k): v for k, v in normalize_state(state).items()}
        network.load_state_dict(state)
    for step in (1, 2, 3):
        batch = data.TranslationBatch(arrays[f"step{step}/source"], arrays[f"step{step}/target"])
        losses = cut.update(batch, ScriptedDraws(arrays, step))
        assert len(losses) == (6 if preset == "cut" else 5)
        for name, value in losses.items():
            official = arrays[f"step{step}/loss/{OFFICIAL_NAMES[name]}"].item()
            assert value.item() == pytest.approx(official, rel=1e-4), (step, name)


def random_batch(batch, size=32, seed=0):
    random = torch.Generator().manual_seed(seed)
    source, target = torch.rand(2, batch, 3, size, size, generator=random) * 2 - 1
    return data.TranslationBatch(source, target)


def gradients(cut, batch):
    """The gradients that one update hands to the generator's and the projector's optimisers."""
    found = {}

    def keep(name):
        for key, parameter in cut.networks[name].named_parameters():
            if parameter.requires_grad:
                found[f"{name}.{key}"] = parameter.grad.clone()
        cut.optimizers[name].zero_grad()

    cut._descend = keep
    cut.update(batch, train_cut.Draws(5, 0, cut.options.nce_patches, CPU))
    return {key: value for key, value in found.items() if not key.startswith("discriminator")}


@pytest.mark.parametrize("batch", [1, 2])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("preset", ["cut", "fastcut"])
def test_gradients_of_the_generator_loss_are_those_of_float64(batch, layout, preset):
    """The official program fails this at batch 1 on the CPU by a half of the gradient."""
    cut = method(options(preset, **TINY, initialization="normal", batch_size=batch))
    exact = copy.deepcopy(cut)
    for network in exact.networks.values():
        network.double()
    for network in cut.networks.values():
        network.to(memory_format=layout)
    pictures = random_batch(batch)
    ours = gradients(
        cut, data.TranslationBatch(*(p.contiguous(memory_format=layout) for p in pictures))
    )
    truth = gradients(exact, data.TranslationBatch(*(p.double() for p in pictures)))
    assert len(truth) > 30
    for name, gradient in truth.items():
        assert (ours[name].double() - gradient).norm() <= 1e-4 * gradient.norm(), name


def test_an_update_moves_every_network_and_the_average():
    cut = method(options(**TINY, ema_halflife_images=10))
    before = {
        name: [p.detach().clone() for p in part.parameters()]
        for name, part in {
            **cut.networks,
            "generator_average": cut.averages["generator"].network,
        }.items()
    }
    cut.step(random_batch(1), 0)
    for name, old in before.items():
        network = (
            cut.averages["generator"].network if name == "generator_average" else cut.networks[name]
        )
        assert any(not torch.equal(*pair) for pair in zip(old, network.parameters(), strict=True))


def test_no_gradient_is_left_behind_by_a_step():
    cut = method(options(**TINY))
    cut.step(random_batch(1), 0)
    assert all(p.grad is None for network in cut.networks.values() for p in network.parameters())


def test_bf16_changes_the_losses_by_a_few_percent_only():
    values = {}
    for precision in ("fp32", "bf16"):
        cut = method(options(**TINY, precision=precision, initialization="normal"))
        values[precision] = cut.step(random_batch(2), 0)
    for name, value in values["fp32"].items():
        assert values["bf16"][name].item() == pytest.approx(value.item(), rel=0.03), name


def folders(tmp_path, count=5, size=44):
    """Two domains of noise, one reddish, one greenish, as files."""
    random = np.random.default_rng(0)
    for letter, channel in (("A", 0), ("B", 1)):
        for split in ("train", "test"):
            folder = tmp_path / "data" / f"{split}{letter}"
            folder.mkdir(parents=True)
            for number in range(count):
                levels = random.integers(0, 256, (size, size, 3), dtype=np.uint8)
                levels[..., channel] |= 128
                Image.fromarray(levels).save(folder / f"{number}.png")
    return tmp_path / "data"


COMMAND = [
    *("--base_channels", "4", "--discriminator_channels", "4", "--nce_channels", "8"),
    *("--workers", "0", "--device", "cpu", "--log_every", "2", "--preview_every", "4"),
    *("--constant_epochs", "1", "--decay_epochs", "1"),
]
CUT = [*COMMAND, *("--load_size", "40", "--crop_size", "32", "--nce_patches", "16")]
PRESETS = {
    "cut": [*CUT, "--generator", "resnet_6blocks"],
    "cut-with-all": [
        *(*CUT, "--generator", "resnet_6blocks", "--dropout", "--ema_halflife_images", "8"),
        *("--batch_size", "2", "--nce_negatives", "batch", "--identity_weight", "1"),
    ],
    "fastcut": [
        *(*CUT, "--preset", "fastcut", "--generator", "smallstylegan2"),
        *("--nce_layers", "0", "2", "3"),
    ],
    "sincut": [*COMMAND, "--preset", "sincut", "--crop_size", "16", "--batch_size", "2"],
    "simgan": [*CUT, "--preset", "simgan", "--batch_size", "2", "--history_size", "3"],
}


def train(dataroot, run_dir, preset, *more):
    train_cut.main(
        ["--dataroot", str(dataroot), "--run_dir", str(run_dir), *PRESETS[preset], *more]
    )


def states(run_dir, images_seen):
    path = training.list_checkpoints(run_dir / "checkpoints")[0]
    checkpoint = training.read_checkpoint(path)
    assert checkpoint.images_seen == images_seen
    return checkpoint.states


def assert_equal(a, b, place="state"):
    """Nested states, bit for bit."""
    assert type(a) is type(b), place
    if isinstance(a, dict):
        assert a.keys() == b.keys(), place
        for key in a:
            assert_equal(a[key], b[key], f"{place}.{key}")
    elif isinstance(a, list | tuple):
        assert len(a) == len(b), place
        for index, pair in enumerate(zip(a, b, strict=True)):
            assert_equal(*pair, f"{place}.{index}")
    elif isinstance(a, torch.Tensor):
        assert torch.equal(a, b), place
    else:
        assert a == b, place


@pytest.mark.parametrize("preset", PRESETS)
def test_a_resumed_run_is_the_run_that_was_never_stopped(preset, tmp_path):
    dataroot = folders(tmp_path, count=1 if preset == "sincut" else 5)
    train(dataroot, tmp_path / "whole", preset, "--total_images", "14")
    train(dataroot, tmp_path / "parts", preset, "--total_images", "4", "--save_every", "2")
    train(dataroot, tmp_path / "parts", preset, "--total_images", "10", "--workers", "2")
    train(dataroot, tmp_path / "parts", preset, "--total_images", "14", "--workers", "1")
    assert_equal(states(tmp_path / "whole", 14), states(tmp_path / "parts", 14))
    weights = [load_file(tmp_path / run / "generator.safetensors") for run in ("whole", "parts")]
    assert_equal(*weights)
    logs = [log_lines(tmp_path / run / "log.jsonl") for run in ("whole", "parts")]
    for log in logs:
        for line in log:
            del line["images_per_second"], line["peak_memory_gb"]
    assert logs[0] == logs[1] and len(logs[0]) == 7
    previews = [sorted((tmp_path / run / "previews").iterdir()) for run in ("whole", "parts")]
    assert [path.name for path in previews[0]] == [path.name for path in previews[1]]
    assert all(a.read_bytes() == b.read_bytes() for a, b in zip(*previews, strict=True))


def test_the_run_folder_holds_what_is_promised(tmp_path):
    train(folders(tmp_path), tmp_path / "run", "cut-with-all", "--total_images", "8")
    run = tmp_path / "run"
    config = json.loads((run / "config.json").read_text())
    assert config["options"]["preset"] == "cut" and config["options"]["nce_temperature"] == 0.07
    assert config["versions"]["torch"] == torch.__version__.split("+")[0]
    assert {path.name for path in run.iterdir()} == {
        *("config.json", "log.jsonl", "tensorboard", "previews", "checkpoints"),
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


def start(dataroot, run_dir, *more, launcher=()):
    arguments = ["--dataroot", str(dataroot), "--run_dir", str(run_dir), *PRESETS["cut"], *more]
    return subprocess.Popen(
        [sys.executable, *launcher, "train_cut.py", *arguments],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def wait_for(condition, process, seconds=60):
    deadline = time.monotonic() + seconds
    while not condition():
        assert process.poll() is None, process.stderr.read()
        assert time.monotonic() < deadline
        time.sleep(0.05)


def has_saved(run_dir):
    return lambda: bool(training.list_checkpoints(run_dir / "checkpoints"))


ENDS = {signal.SIGKILL: -9, signal.SIGTERM: 143, signal.SIGINT: 130}


@pytest.mark.parametrize("killer", ENDS)
def test_a_run_that_is_killed_goes_on_as_if_nothing_had_been(killer, tmp_path):
    dataroot, run = folders(tmp_path), tmp_path / "run"
    more = ("--total_images", "10000", "--save_every", "3", "--workers", "1")
    process = start(dataroot, run, *more)
    wait_for(has_saved(run), process)
    os.killpg(process.pid, killer)  # to the reading process as well, as schedulers do
    told = process.communicate(timeout=60)[1]
    assert process.returncode == ENDS[killer]
    if killer != signal.SIGKILL:
        assert re.search(r"stopped and saved at \d+ images; the same command goes on", told)
    reached = training.read_newest_checkpoint(run / "checkpoints").images_seen
    end = reached + 5
    for folder in (run, tmp_path / "whole"):
        process = start(dataroot, folder, "--total_images", str(end))
        told = process.communicate(timeout=60)[1]
        assert process.returncode == 0
        assert (f"resumed at {reached} images" in told) == (folder == run)
    assert_equal(states(run, end), states(tmp_path / "whole", end))


TORCHRUN = ["-m", "torch.distributed.run", "--nproc_per_node", "2", "--master_port"]


@pytest.mark.parametrize("preset", ["cut-with-all", "simgan"])
def test_two_processes_make_the_steps_of_one(preset, tmp_path):
    dataroot = folders(tmp_path)
    more = ["--batch_size", "4", "--total_images", "12", "--log_every", "4"]
    # Rounding flips single ReLUs, and Adam makes a full step of each: small steps keep that below
    # the tolerance. Adam would also hide a wrong scale of the gradients: the next test sees that.
    more += ["--initialization", "normal", "--learning_rate", "2e-5"]
    train(dataroot, tmp_path / "one", preset, *more)
    arguments = ["--dataroot", str(dataroot), "--run_dir", str(tmp_path / "two"), *PRESETS[preset]]
    finished = subprocess.run(
        [sys.executable, *TORCHRUN, str(free_port()), "train_cut.py", *arguments, *more],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=200,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert finished.returncode == 0, finished.stderr
    logs = [log_lines(tmp_path / run / "log.jsonl") for run in ("one", "two")]
    assert len(logs[0]) == len(logs[1]) == 3
    for one, two in zip(*logs, strict=True):
        for name in one.keys() - {"images_per_second", "peak_memory_gb"}:
            assert two[name] == pytest.approx(one[name], rel=1e-5, abs=1e-6), name
    outputs = [
        models.translate(
            models.load_generator(tmp_path / run, "--checkpoint").network, random_batch(1).source
        )
        for run in ("one", "two")
    ]
    assert torch.allclose(*outputs, atol=1e-5)


def averaged_gradients(rank, world_size, port, folder):
    """What each of `world_size` processes hands to its optimisers for its part of one batch."""
    torch.set_num_threads(1)
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    os.environ |= {"RANK": str(rank), "WORLD_SIZE": str(world_size), "LOCAL_RANK": str(rank)}
    processes = training.places_from_environment()
    with training.process_group(processes, CPU):
        chosen = options(**TINY, initialization="normal", batch_size=4, nce_negatives="batch")
        cut = method(chosen, processes)
        found = {}

        def keep(name):
            training.average_gradients(cut.networks[name])
            for key, parameter in cut.networks[name].named_parameters():
                if parameter.requires_grad:
                    found[f"{name}.{key}"] = parameter.grad.clone()

        cut._descend = keep
        parts = (part.chunk(world_size)[rank] for part in random_batch(4))
        cut.update(data.TranslationBatch(*parts), train_cut.Draws(5, 0, 16, CPU))
    torch.save(found, folder / f"{world_size}-{rank}.pt")


def test_two_processes_average_to_the_gradients_of_one(tmp_path):
    for world_size in (1, 2):
        torch.multiprocessing.spawn(
            averaged_gradients, (world_size, free_port(), tmp_path), nprocs=world_size
        )
    one, *two = (torch.load(tmp_path / name) for name in ("1-0.pt", "2-0.pt", "2-1.pt"))
    assert len(one) > 30
    for name, gradient in one.items():
        assert torch.equal(two[0][name], two[1][name])
        assert (two[0][name] - gradient).norm() <= 1e-4 * gradient.norm(), name


def test_sigterm_to_torchrun_saves_in_all_processes(tmp_path):
    dataroot, run = folders(tmp_path), tmp_path / "run"
    more = ("--batch_size", "2", "--total_images", "100000", "--save_every", "4")
    process = start(dataroot, run, *more, launcher=[*TORCHRUN, str(free_port())])
    wait_for(has_saved(run), process)
    process.send_signal(signal.SIGTERM)
    told = process.communicate(timeout=60)[1]
    assert process.returncode != 0
    reached = training.read_newest_checkpoint(run / "checkpoints").images_seen
    assert f"stopped and saved at {reached} images" in told


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def test_a_process_that_dies_ends_the_run_and_one_process_resumes_it(tmp_path):
    dataroot, run = folders(tmp_path), tmp_path / "run"
    launcher = [*TORCHRUN, str(free_port())]
    more = ("--batch_size", "2", "--total_images", "100000", "--save_every", "4")
    process = start(dataroot, run, *more, launcher=launcher)
    wait_for(has_saved(run), process)
    children = subprocess.run(
        ["pgrep", "-P", str(process.pid), "-f", "train_cut.py"], capture_output=True, text=True
    ).stdout.split()
    assert len(children) == 2
    os.kill(int(children[-1]), signal.SIGKILL)
    told = process.communicate(timeout=60)[1]
    assert process.returncode != 0
    assert "error: talking to the other processes of this run failed" in told
    reached = training.read_newest_checkpoint(run / "checkpoints").images_seen
    process = start(dataroot, run, "--batch_size", "2", "--total_images", str(reached + 4))
    told = process.communicate(timeout=60)[1]
    assert process.returncode == 0 and f"resumed at {reached} images" in told
