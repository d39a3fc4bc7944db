"""Files of the official programs, with everything that they add, and other files refused."""

import pickle

import pytest
import torch

from errors import UserError
from models import load_generator
from models.official import build_like, normalize_state
from models.resnet_generator import ResnetGenerator, ResnetSizes
from models.stylegan2 import Stylegan2Generator, Stylegan2GeneratorSizes
from tests.conftest import REFERENCE

SIZES = [
    ResnetSizes(2, 3, 4, blocks, norm, down, up, dropout)
    for blocks in (6, 9)
    for norm in ("instance", "batch", "none")
    for down in (True, False)
    for up in (True, False)
    for dropout in (True, False)
]


@pytest.mark.parametrize("sizes", SIZES, ids=str)
def test_every_resnet_is_recognised_by_names_and_shapes(sizes):
    state = normalize_state(ResnetGenerator(sizes).state_dict())
    network = build_like(state)
    assert network.sizes == sizes
    network.load_state_dict(state)


@pytest.mark.parametrize("sizes", [(10, 64), (2, 64), (64, 256)])
@pytest.mark.parametrize("blocks", [2, 6])
@pytest.mark.parametrize("noise", [True, False])
def test_stylegan2_generators_are_recognised(sizes, blocks, noise):
    network = Stylegan2Generator(Stylegan2GeneratorSizes(*sizes, blocks=blocks, inject_noise=noise))
    found = build_like(network.state_dict())
    assert found.sizes.widths == network.sizes.widths
    found.load_state_dict(network.state_dict())


@pytest.mark.parametrize("name", ["cut_generator", "cyclegan_generator", "sincut_generator"])
@torch.no_grad()
def test_official_files_load_by_themselves(name, reference):
    arrays = reference(name)[1]
    network, description = load_generator(REFERENCE / f"{name}.pth", "--checkpoint")
    assert description == {}
    error = (network(arrays["input"]) - arrays["output"]).abs().max()
    assert error < 1e-5 * arrays["output"].abs().max()


def old_file(state):
    """What PyTorch before 0.4 wrote from a wrapped network: statistics under instance norms."""
    added = {f"module.{name}": value for name, value in state.items()}
    for layer in (2, 5, 8, 10):
        name = f"module.model.{layer}" + (".conv_block.2" if layer == 10 else "")
        added[f"{name}.running_mean"] = torch.zeros(4)
        added[f"{name}.running_var"] = torch.ones(4)
    return added


@torch.no_grad()
def test_wrappers_and_statistics_of_old_files_are_taken_off(tmp_path):
    network = ResnetGenerator(ResnetSizes(3, 3, 4, 6, "instance", False, False)).eval()
    torch.save(old_file(network.state_dict()), tmp_path / "old.pth")
    loaded = load_generator(tmp_path / "old.pth", "--checkpoint").network
    pictures = torch.rand(1, 3, 16, 16)
    assert torch.equal(loaded(pictures), network(pictures))


def test_missing_batch_counters_of_old_files_are_filled_in(tmp_path):
    network = ResnetGenerator(ResnetSizes(3, 3, 4, 6, "batch", False, False))
    state = {k: v for k, v in network.state_dict().items() if "num_batches" not in k}
    assert len(state) < len(network.state_dict())
    torch.save(state, tmp_path / "old.pth")
    loaded = load_generator(tmp_path / "old.pth", "--checkpoint").network
    assert (
        loaded.sizes.norm == "batch" and loaded.state_dict().keys() == network.state_dict().keys()
    )


class RunsCode:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (open, (str(self.path), "w"))


def write_random(path):
    path.write_bytes(bytes(range(256)) * 40)


def write_truncated(path):
    torch.save(ResnetGenerator(ResnetSizes(base_channels=4)).state_dict(), path)
    path.write_bytes(path.read_bytes()[:-500])


def write_pickle(path):
    path.write_bytes(pickle.dumps(RunsCode(path.with_name("code-was-run"))))


def write_saved_object(path):
    torch.save({"model": RunsCode(path.with_name("code-was-run"))}, path)


def write_other_network(path):
    torch.save({"fc.weight": torch.zeros(2, 2)}, path)


def write_discriminator(path):
    torch.save({"model.1.weight": torch.zeros(2, 2, 3, 3)}, path)


def write_nested(path):
    torch.save({"state_dict": {"model.1.weight": torch.zeros(2)}}, path)


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
@pytest.mark.parametrize(
    "write",
    [
        write_random,
        write_truncated,
        write_pickle,
        write_saved_object,
        write_other_network,
        write_discriminator,
        write_nested,
    ],
)
def test_other_files_are_refused_in_one_line_and_run_nothing(write, suffix, tmp_path):
    path = tmp_path / f"file{suffix}"
    write(path)
    with pytest.raises(UserError, match=f"--checkpoint .*file{suffix}") as caught:
        load_generator(path, "--checkpoint")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "code-was-run").exists()


def test_missing_files_are_named(tmp_path):
    with pytest.raises(UserError, match="no such file"):
        load_generator(tmp_path / "nothing", "--checkpoint")
    with pytest.raises(UserError, match="no generator.safetensors"):
        load_generator(tmp_path, "--checkpoint")
