"""--accelerate: captured and compiled steps give what eager steps give; what is refused."""

from functools import partial

import pytest
import torch

import models
import train_cut
import train_cyclegan
import train_gan
from benchmarks import launches
from tests.processes import run_together
from tests.recorded import Operators, let_steps_be_recorded
from tests.test_train_cut import PRESETS, train
from tests.training_runs import OF_THE_MACHINE, assert_logs_agree, folders
from training import capture
from training.log import log_lines

SUBJECTS = {
    **launches.OURS,
    # Full after two steps.
    "simgan": partial(launches.cut, batch_size=2, history_size=4),
    "sincut": partial(launches.cut, base_channels=2, discriminator_channels=2, crop_size=16),
    # At the end of its schedule after two.
    "r3gan_tiny": partial(launches.gan, schedule_images=8, crop_size=8, base_channels=8),
}


def growing(_name, precision, **options):
    """A progressive GAN whose resolutions stay for four steps and fade in two."""
    growth = {"first_px": 4, "stable_images": 16, "fade_images": 8}
    return launches.gan("progressive", precision, **growth, **options)


SUBJECTS["growing"] = growing

SMALL = {
    "base_channels": 4,
    "discriminator_channels": 4,
    "discriminator_layers": 2,
    "crop_size": 32,
    "generator": "resnet_6blocks",
    "nce_layers": (0, 4, 8, 12),
}
SETTINGS = dict.fromkeys(("cut", "fastcut", "cut_qs", "simgan", "cyclegan", "dclgan"), SMALL)
SETTINGS["cut_monce"] = {**SMALL, "nce_patches": 32}
NARROW = {"base_channels": 8, "discriminator_channels": 8, "most_channels": 8}
SETTINGS |= dict.fromkeys(("wgan_gp", "sngan"), NARROW)
SETTINGS["pix2pix"] = {"crop_size": 32}
STEPS = {
    "simgan": 10,
    "fastcut": 16,
    "growing": 16,
    "r3gan_tiny": 16,
}  # whose steps are of several kinds

NEVER_CAPTURED = {"cut_hneg"}  # its gamma changes in every step


@pytest.fixture
def recorded(recorded, monkeypatch):
    """Let one call come before a capture, in which Adam makes its moments."""
    monkeypatch.setattr(capture, "WARM_UPS", 1)
    return recorded


def replays(made):
    """How often a recorded part was repeated."""
    parts = [part for steps in made for part in steps.parts.values() if part.recording]
    return sum(part.calls - capture.WARM_UPS - 1 for part in parts)


@pytest.mark.parametrize("name", sorted(SUBJECTS.keys() - NEVER_CAPTURED))
def test_captured_steps_are_the_eager_ones(name, recorded, shallow):
    """A replay runs no Python: whatever a step takes from there would stay what it was."""
    with models.forced_few_launches(True):
        eager, other = (
            SUBJECTS[name](name, "fp32", accelerate=x, **SETTINGS.get(name, {}))
            for x in ("off", "graph")
        )
        for number in range(STEPS.get(name, 8)):
            expected = {key: value.item() for key, value in eager.step(number).items()}
            found = {key: value.item() for key, value in other.step(number).items()}
            assert found == pytest.approx(expected, rel=1e-5, abs=1e-7), number
    assert replays(recorded) >= 6
    for key, network in eager.method.trained.networks.items():
        for own, theirs in zip(
            network.state_dict().values(),
            other.method.trained.networks[key].state_dict().values(),
            strict=True,
        ):
            torch.testing.assert_close(theirs, own, rtol=1e-4, atol=1e-6)


def test_bf16_steps_are_captured_with_their_casts_of_weights(recorded, shallow):
    """Both under a mode that keeps every tensor, since autograd adds in place where it can.

    Out of place a sum of gradients may lie in another layout, which bf16 rounds otherwise.
    """
    with models.forced_few_launches(True):
        eager, other = (
            launches.cut("cut", "bf16", accelerate=x, **SMALL) for x in ("off", "graph")
        )
        for number in range(4):
            with Operators():
                losses = eager.step(number), other.step(number)
            expected, found = ({key: x.item() for key, x in side.items()} for side in losses)
            assert found == pytest.approx(expected, rel=1e-5), number
    assert replays(recorded) == 2


def test_what_changes_in_every_step_is_never_captured(recorded, shallow):
    schedule = {"constant_epochs": 0.005, "decay_epochs": 0.001}
    method = launches.cut("cut_hneg", "fp32", accelerate="graph", **schedule, **SMALL)
    for number in range(10):  # gamma stays from the sixth image on
        method.step(number)
        assert bool(replays(recorded)) == (number >= 6 + capture.WARM_UPS + 1)


def test_a_growing_gan_has_a_graph_for_each_resolution_and_none_while_it_fades(recorded):
    subject = growing("", "fp32", accelerate="graph")
    for number in range(16):
        subject.step(number)
    (steps,) = recorded
    captured = {key[1].level for key, part in steps.parts.items() if part.recording}
    assert captured == {2.0, 3.0, 4.0}


def test_fastcut_has_a_graph_for_each_side_of_its_coin(recorded, shallow):
    method = launches.cut("fastcut", "fp32", accelerate="graph", **SMALL)
    for number in range(10):
        method.step(number)
    (steps,) = recorded
    captured = {key[1].mirrored for key, part in steps.parts.items() if part.recording}
    assert captured == {False, True}


def test_a_captured_run_writes_what_an_eager_one_writes_across_a_resume(tmp_path, recorded):
    """Averages, previews and log, bit for bit."""
    dataroot, off = folders(tmp_path), ["--accelerate", "off"]
    train(dataroot, tmp_path / "eager", "cut-with-all", "--total_images", "12", *off)
    graph = ["--accelerate", "graph", "--save_every", "2"]
    for total in ("6", "12"):
        train(dataroot, tmp_path / "graph", "cut-with-all", "--total_images", total, *graph)
    assert len(recorded) == 2 and all(replays([steps]) for steps in recorded)
    patterns = ("*.safetensors", "previews/*.png")
    files = [path for pattern in patterns for path in (tmp_path / "eager").glob(pattern)]
    assert {path.suffix for path in files} == {".safetensors", ".png"}
    for path in files:
        other = tmp_path / "graph" / path.relative_to(tmp_path / "eager")
        assert path.read_bytes() == other.read_bytes(), path
    logs = [log_lines(tmp_path / run / "log.jsonl") for run in ("eager", "graph")]
    for line in logs[0] + logs[1]:
        for name in OF_THE_MACHINE:
            del line[name]
    assert logs[0] == logs[1]


def test_a_captured_run_stops_at_a_loss_that_is_not_finite(tmp_path, recorded, fails):
    places = ["--dataroot", folders(tmp_path), "--run_dir", tmp_path / "run"]
    arguments = [*places, *PRESETS["cut"], "--total_images", "40", "--accelerate", "graph"]
    line = fails(train_cut, [*arguments, "--learning_rate", "1e18"], code=1)
    assert "is not finite" in line


def train_captured(arguments):
    """Train in a process of its own."""
    made = let_steps_be_recorded()
    train_cut.main(arguments)
    assert all(replays([steps]) for steps in made)


def test_two_captured_processes_make_the_steps_of_one(tmp_path):
    dataroot = folders(tmp_path)
    more = ["--batch_size", "2", "--total_images", "16"]
    more += ["--initialization", "normal", "--learning_rate", "2e-5"]  # no ReLU flips by rounding
    train(dataroot, tmp_path / "one", "cut", *more)
    places = ["--dataroot", str(dataroot), "--run_dir", str(tmp_path / "two")]
    run_together(train_captured, [*places, *PRESETS["cut"], *more, "--accelerate", "graph"])
    assert_logs_agree(tmp_path / "one", tmp_path / "two", lines=8)


@pytest.fixture
def compiled(monkeypatch):
    """Let networks be compiled without a code generator, and refuse what is not traced whole."""
    compile_ = partial(torch.compile, backend="aot_eager", fullgraph=True)
    monkeypatch.setattr(torch, "compile", compile_)
    yield
    torch._dynamo.reset()


COMPILED = {
    "cut": {},
    "simgan": {"r1_weight": 1.0},
    "cyclegan": {},
    "pix2pix": {"dropout": False},  # its random numbers are drawn between two programs
    "dcgan": {},
    "wgan_gp": {},
    "r3gan_tiny": {"r1": 10.0, "r2": 10.0},
}


def losses_and_gradients(name, accelerate, **options):
    """The losses of one step, and all gradients before they are used."""
    settings = {**SETTINGS.get(name, {}), **options}
    subject = SUBJECTS[name](name, "fp32", accelerate=accelerate, **settings)
    found = {}

    def keep(name):
        network = subject.method.trained.networks[name]
        found.update({f"{name}.{key}": p.grad for key, p in network.named_parameters()})
        network.zero_grad()
        return torch.tensor(True)

    subject.method._optimize = keep
    subject.method.trained.optimize = lambda *names: [keep(name) for name in names]
    losses = {key: value.item() for key, value in subject.step(0).items()}
    return losses, {key: gradient for key, gradient in found.items() if gradient is not None}


@pytest.mark.parametrize("name", COMPILED)
def test_compiled_networks_give_the_eager_losses_and_gradients(name, compiled, shallow):
    """R1, R2 and the gradient penalty included, whose gradients need a graph of a gradient."""
    with models.forced_few_launches(True):
        values, expected = losses_and_gradients(name, "off", **COMPILED[name])
        own_values, own = losses_and_gradients(name, "compile", **COMPILED[name])
        if name == "r3gan_tiny":
            assert_penalties_move_the_weights(own, losses_and_gradients(name, "off", r1=0, r2=0)[1])
    assert own_values == pytest.approx(values, rel=1e-4, abs=1e-6)
    assert own.keys() == expected.keys()
    largest = max(gradient.abs().max() for gradient in expected.values())
    for key, gradient in expected.items():
        difference = (own[key] - gradient).abs().max()
        assert difference <= 1e-3 * gradient.abs().max() + 1e-6 * largest, key


def assert_penalties_move_the_weights(gradients, without):
    """Without the penalties the gradients are others: they do not vanish in silence."""
    differences = [
        (gradients[key] - without[key]).abs().max().item()
        for key in without
        if key.startswith("discriminator") and key.endswith("weight")
    ]
    assert max(differences) > 1e-3


def test_dropout_in_a_compiled_network_draws_what_it_draws_in_an_eager_one(monkeypatch, shallow):
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend="aot_eager"))
    found = []
    for accelerate in ("off", "compile"):
        subject = launches.pix2pix("pix2pix", "fp32", accelerate=accelerate, crop_size=32)
        found.append({key: value.item() for key, value in subject.step(0).items()})
    assert found[1] == pytest.approx(found[0], rel=1e-5)
    torch._dynamo.reset()


@pytest.mark.parametrize(
    ("script", "given", "words"),
    [
        (train_cut, [], ["need a GPU", "on cpu", "--accelerate off"]),
        (train_cut, ["--preprocess", "none"], ["--preprocess none", "several sizes"]),
        (train_cyclegan, ["--preprocess", "scale_width"], ["--preprocess scale_width"]),
        (train_cut, ["--preset", "cut_hneg"], ["--patch_loss hdce", "every step"]),
        (train_gan, ["--total_images", "8"], ["need a GPU", "on cpu"]),
    ],
)
def test_graphs_are_refused_where_there_can_be_none(script, given, words, tmp_path, fails):
    places = ["--dataroot", tmp_path, "--run_dir", tmp_path / "run", "--device", "cpu"]
    line = fails(script, [*places, "--accelerate", "graph", *given])
    assert "--accelerate graph" in line and all(word in line for word in words), line
    assert not (tmp_path / "run").exists()


def test_growing_networks_are_not_compiled(tmp_path, fails):
    places = ["--dataroot", tmp_path, "--run_dir", tmp_path / "run", "--total_images", "8"]
    line = fails(train_gan, [*places, "--preset", "progressive", "--accelerate", "compile"])
    assert "--accelerate compile" in line and "--accelerate off" in line
