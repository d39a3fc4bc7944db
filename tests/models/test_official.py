"""Files of the official programs, with everything that they add, and other files refused."""

import pickle

import pytest
import torch

from errors import UserError
from models import load_generator, save_generator
from models.architecture import build_like
from models.normalization import InstanceNorm
from models.official import normalize_state, official_state, save_official
from models.resnet_generator import ResnetGenerator, ResnetSizes
from models.stylegan2 import Stylegan2Generator, Stylegan2GeneratorSizes
from models.unet import UnetGenerator, UnetSizes
from tests.close import assert_close_in_scale
from tests.conftest import REFERENCE
from tests.models.test_networks import NETWORKS, loaded

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


UNETS = [
    UnetSizes(channels, 3 - channels, base_channels, halvings, norm)
    for channels in (1, 2)
    for base_channels in (1, 3)
    for halvings in (5, 6, 9)
    for norm in ("instance", "batch", "none")
]


@pytest.mark.parametrize("sizes", UNETS, ids=str)
def test_every_unet_is_recognised_by_names_and_shapes(sizes):
    state = normalize_state(UnetGenerator(sizes).state_dict())
    network = build_like(state)
    assert network.sizes == sizes
    network.load_state_dict(state)


GENERATORS = [f"{program}_generator" for program in ("cut", "cyclegan", "pix2pix", "sincut")]


@pytest.mark.parametrize("name", GENERATORS)
@torch.no_grad()
def test_official_files_load_by_themselves(name, reference):
    arrays = reference(name)[1]
    network, description = load_generator(REFERENCE / f"{name}.pth", "`checkpoint`")
    assert description == {}
    assert_close_in_scale(network(arrays["input"]), arrays["output"], 2e-5)


def assert_equal_bit_for_bit(ours, theirs):
    assert ours.keys() == theirs.keys()
    for name, value in theirs.items():
        assert ours[name].dtype == value.dtype and torch.equal(ours[name], value), name
        assert ours[name].is_contiguous() and not ours[name].requires_grad


@pytest.mark.parametrize("name", GENERATORS)
def test_official_generators_come_out_of_the_file_as_they_went_in(name, reference, tmp_path):
    state = reference(name)[0]
    network = load_generator(REFERENCE / f"{name}.pth", "`checkpoint`").network
    save_official(tmp_path / "ours.pth", network)
    assert_equal_bit_for_bit(torch.load(tmp_path / "ours.pth", weights_only=True), state)


@pytest.mark.parametrize("name", [name for name in NETWORKS if name.endswith("_discriminator")])
def test_official_discriminators_come_out_as_they_went_in(name, reference):
    network = loaded(name, reference)[0]
    assert_equal_bit_for_bit(official_state(network), reference(name)[0])


OLD_NETWORKS = [
    lambda norm: ResnetGenerator(ResnetSizes(3, 3, 4, 6, norm, False, False)),
    lambda norm: UnetGenerator(UnetSizes(base_channels=2, halvings=5, norm=norm)),
]


def old_file(network):
    """What PyTorch before 0.4 wrote from a wrapped network: statistics under instance norms."""
    added = {f"module.{name}": value for name, value in network.state_dict().items()}
    for name, layer in network.named_modules():
        if isinstance(layer, InstanceNorm):
            added[f"module.{name}.running_mean"] = torch.zeros(layer.channels)
            added[f"module.{name}.running_var"] = torch.ones(layer.channels)
    return added


@pytest.mark.parametrize("build", OLD_NETWORKS)
@torch.no_grad()
def test_wrappers_and_statistics_of_old_files_are_taken_off(build, tmp_path):
    network = build("instance").eval()
    state = old_file(network)
    assert len(state) > len(network.state_dict()) + 10
    torch.save(state, tmp_path / "old.pth")
    found = load_generator(tmp_path / "old.pth", "`checkpoint`").network
    pictures = torch.rand(1, 3, 32, 32)
    assert torch.equal(found(pictures), network(pictures))


@pytest.mark.parametrize("build", OLD_NETWORKS)
def test_missing_batch_counters_of_old_files_are_filled_in(build, tmp_path):
    network = build("batch")
    state = {k: v for k, v in network.state_dict().items() if "num_batches" not in k}
    assert len(state) < len(network.state_dict())
    torch.save(state, tmp_path / "old.pth")
    found = load_generator(tmp_path / "old.pth", "`checkpoint`").network
    assert found.sizes.norm == "batch"
    assert found.state_dict().keys() == network.state_dict().keys()


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


def write_unet_with_a_hole(path):
    state = UnetGenerator(UnetSizes(base_channels=1, halvings=5)).state_dict()
    del state["model.model.1.model.3.model.5.weight"]
    torch.save(state, path)


def write_unet_of_other_shapes(path):
    state = UnetGenerator(UnetSizes(base_channels=1, halvings=5)).state_dict()
    state["model.model.1.model.3.model.1.weight"] = torch.zeros(7, 2, 4, 4)
    torch.save(state, path)


def write_unet_without_depth(path):
    state = UnetGenerator(UnetSizes(base_channels=1, halvings=5)).state_dict()
    torch.save({k: v for k, v in state.items() if not k.startswith("model.model.1.")}, path)


def write_unet_of_vectors(path):
    torch.save({"model.model.0.weight": torch.zeros(3)}, path)


def write_other_blur(path):
    state = official_state(ResnetGenerator(ResnetSizes(base_channels=4)))
    state["model.7.filt"] = state["model.7.filt"].flip(0) * 0.5
    torch.save(state, path)


def write_blur_where_there_is_none(path):
    network = ResnetGenerator(ResnetSizes(base_channels=4, antialias_down=False))
    torch.save(official_state(network) | {"model.7.filt": torch.zeros(8, 1, 3, 3)}, path)


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
        write_unet_with_a_hole,
        write_unet_of_other_shapes,
        write_unet_without_depth,
        write_unet_of_vectors,
        write_other_blur,
        write_blur_where_there_is_none,
        write_nested,
    ],
)
def test_other_files_are_refused_in_one_line_and_run_nothing(write, suffix, tmp_path):
    path = tmp_path / f"file{suffix}"
    write(path)
    with pytest.raises(UserError, match=f"`checkpoint` .*file{suffix}") as caught:
        load_generator(path, "`checkpoint`")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "code-was-run").exists()


def test_a_folder_with_both_directions_needs_one(tmp_path):
    for name, width in (("a2b", 1), ("b2a", 2)):
        network = UnetGenerator(UnetSizes(base_channels=width, halvings=5))
        save_generator(tmp_path / f"generator_{name}.safetensors", network, {})
    for name, width in (("a2b", 1), ("b2a", 2)):
        found = load_generator(tmp_path, "`checkpoint`", name)
        assert found.network.sizes.base_channels == width
        found = load_generator(tmp_path / f"generator_{name}.safetensors", "`checkpoint`")
        assert found.network.sizes.base_channels == width
    with pytest.raises(UserError, match="both directions; give `direction` a2b or b2a"):
        load_generator(tmp_path, "`checkpoint`")
    (tmp_path / "generator_b2a.safetensors").unlink()
    with pytest.raises(UserError, match="no generator_b2a.safetensors"):
        load_generator(tmp_path, "`checkpoint`", "b2a")


def test_one_way_checkpoints_take_no_direction(tmp_path):
    file = tmp_path / "generator.safetensors"
    save_generator(file, UnetGenerator(UnetSizes(base_channels=1, halvings=5)), {})
    for checkpoint in (tmp_path, file):
        with pytest.raises(UserError, match="`direction` a2b: .*leave `direction` out"):
            load_generator(checkpoint, "`checkpoint`", "a2b")


def test_missing_files_are_named(tmp_path):
    with pytest.raises(UserError, match="no such file"):
        load_generator(tmp_path / "nothing", "`checkpoint`")
    with pytest.raises(UserError, match="no generator.safetensors"):
        load_generator(tmp_path, "`checkpoint`")
