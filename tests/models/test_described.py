"""Files that claim sizes which they do not have are refused before memory is taken."""

import json
import resource
from dataclasses import asdict
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
import torch
from safetensors.torch import load_file, save_file

from errors import UserError
from models import load_generator, load_sampler, save_generator
from models.described import MAY_BE_ZERO
from models.official import official_state
from models.resnet_generator import ResnetGenerator, ResnetSizes
from models.stylegan2 import Stylegan2Generator, Stylegan2GeneratorSizes
from models.unet import UnetGenerator, UnetSizes
from tests.models.gan.pairs import small_generator

TRANSLATORS = {
    "resnet": lambda: ResnetGenerator(ResnetSizes(base_channels=2, blocks=2)),
    "unet": lambda: UnetGenerator(UnetSizes(base_channels=2, halvings=5)),
    "stylegan2": lambda: Stylegan2Generator(Stylegan2GeneratorSizes(2, 64, blocks=2)),
}
FROM_NOISE = ("mlp", "dcgan", "sngan", "progressive", "r3gan")
ARCHITECTURES = (*TRANSLATORS, *FROM_NOISE)
MEMORY = 2**30  # bytes that a refusal may take, far above what it does
NUMBERS = [0, -1, -(2**70), 1.5, 2.0, True, "3", None, [3], 10**8, 2**31, 2**63, 10**400]
NUMBERS += [float("nan"), float("inf")]


@cache
def network_of(architecture):
    return TRANSLATORS.get(architecture, lambda: small_generator(architecture))()


@cache
def weights_of(architecture):
    """Return what a small generator's file holds."""
    with TemporaryDirectory() as folder:
        return load_file(written(Path(folder), architecture))


def written(folder, architecture, **lies):
    """Write a small generator's file, with other sizes in its description."""
    file = folder / "lying.safetensors"
    if lies:
        description = {"architecture": architecture, "sizes": {**sizes_of(architecture), **lies}}
        about = {"pairless": json.dumps(description)}
        save_file(weights_of(architecture), file, metadata=about)
    else:
        save_generator(file, network_of(architecture), {})
    return file


def load(file, architecture):
    return (load_sampler if architecture in FROM_NOISE else load_generator)(file)


def refused(file, architecture, within_bytes=MEMORY):
    """Return why; the address space may not grow by more than a refusal needs."""
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    with open("/proc/self/statm") as pages:
        used = int(pages.read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + within_bytes, hard))
    try:
        with pytest.raises(UserError) as caught:
            load(file, architecture)
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))
    message = str(caught.value)
    assert message.startswith(f"`checkpoint` {file}: not a ") and "\n" not in message
    assert "memory" not in message  # nothing large was asked for, not even in vain
    return message


def sizes_of(architecture):
    return asdict(network_of(architecture).sizes)


COUNTS = [
    (architecture, name)
    for architecture in ARCHITECTURES
    for name, value in sizes_of(architecture).items()
    if type(value) is int
]


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_what_a_file_says_truly_is_taken(architecture, tmp_path):
    load(written(tmp_path, architecture), architecture)
    truth = sizes_of(architecture)
    load(written(tmp_path, architecture, **truth), architecture)


@pytest.mark.parametrize(("architecture", "name"), COUNTS)
def test_numbers_that_no_network_has_are_refused(architecture, name, tmp_path):
    for value in NUMBERS:
        if name in MAY_BE_ZERO and type(value) is int and value == 0:
            continue
        message = refused(written(tmp_path, architecture, **{name: value}), architecture)
        assert name in message or "halvings" in message, (value, message)


@pytest.mark.parametrize(
    ("architecture", "lies"),
    [
        ("resnet", {"base_channels": 60_000}),  # 12 TB
        ("resnet", {"base_channels": 4_000}),  # 48 GB
        ("resnet", {"base_channels": 3}),
        ("resnet", {"in_channels": 65_536, "out_channels": 65_536}),
        ("resnet", {"blocks": 256}),
        ("resnet", {"blocks": 3}),
        ("resnet", {"norm": "batch"}),
        ("unet", {"base_channels": 4_096}),  # 300 GB
        ("unet", {"halvings": 9}),
        ("stylegan2", {"base_channels": 65_536}),
        ("stylegan2", {"size_px": 4, "base_channels": 65_536}),
        ("stylegan2", {"blocks": 256}),
        ("stylegan2", {"downs": 256}),
        ("resnet", {"blocks": 0}),
        ("stylegan2", {"blocks": 0}),
        ("stylegan2", {"downs": 0}),
        ("mlp", {"hidden_channels": 65_536}),
        ("mlp", {"size_px": 16_384}),
        ("dcgan", {"base_channels": 65_536}),
        ("dcgan", {"size_px": 16_384}),
        ("dcgan", {"latent_channels": 65_536, "classes": 65_536}),
        ("sngan", {"base_channels": 65_536}),
        ("sngan", {"classes": 65_536}),
        ("progressive", {"base_channels": 65_536, "most_channels": 65_536}),
        ("progressive", {"size_px": 16_384}),
        ("r3gan", {"base_channels": 65_536}),
        ("r3gan", {"blocks": 256}),
    ],
)
@pytest.mark.slow
def test_sizes_that_the_weights_do_not_have_take_no_memory(architecture, lies, tmp_path):
    refused(written(tmp_path, architecture, **lies), architecture)


@pytest.mark.parametrize(
    "lies",
    [{"norm": 3}, {"norm": "none such"}, {"dropout": 1}, {"antialias_up": "yes"}, {"none": 3}],
)
def test_other_values_of_no_use(lies, tmp_path):
    message = refused(written(tmp_path, "resnet", **lies), "resnet")
    assert next(iter(lies)) in message


@pytest.mark.parametrize("about", ["[]", "3", "{}", '{"architecture": "resnet", "sizes": 3}'])
def test_descriptions_of_another_form(about, tmp_path):
    file = written(tmp_path, "resnet")
    save_file(load_file(file), file, metadata={"pairless": about})
    refused(file, "resnet")


def test_weights_of_another_type(tmp_path):
    file = written(tmp_path, "resnet")
    sizes = json.dumps({"architecture": "resnet", "sizes": sizes_of("resnet")})
    weights = load_file(file)
    for kind, words in ((torch.float16, "F16"), (torch.int64, "torch.int64, not torch.float32")):
        other = {**weights, "model.1.bias": weights["model.1.bias"].to(kind)}
        save_file(other, file, metadata={"pairless": sizes})
        assert f"model.1.bias is {words}" in refused(file, "resnet")


def refused_state(state, folder):
    torch.save(state, folder / "official.pth")
    return refused_official(folder / "official.pth")


def refused_official(file):
    with pytest.raises(UserError, match=f"^`checkpoint` {file}: ") as caught:
        load_generator(file)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_tensors_that_repeat_few_numbers_are_refused(tmp_path):
    """A stride of 0 makes 5 TB of four bytes."""
    state = official_state(TRANSLATORS["resnet"]())
    huge = {
        name: torch.zeros(()).expand([size * 30_000 if size == 2 else size for size in v.shape])
        for name, v in state.items()
    }
    assert "claim" in refused_state(huge, tmp_path)
    assert (tmp_path / "official.pth").stat().st_size < 1e5
    shared = state["model.1.weight"]
    again = {**state, "model.1.weight": shared.expand(2, *shared.shape)}
    assert "claim" in refused_state(again, tmp_path)


def test_one_storage_under_many_names_is_refused(tmp_path):
    state = official_state(TRANSLATORS["resnet"]())
    numbers = torch.zeros(max(value.numel() for value in state.values()))
    views = {name: numbers[: value.numel()].view(value.shape) for name, value in state.items()}
    assert "claim" in refused_state(views, tmp_path)


def test_sparse_tensors_are_refused(tmp_path):
    state = official_state(TRANSLATORS["resnet"]())
    name = "model.1.weight"
    assert "not a plain dense tensor" in refused_state(
        {**state, name: state[name].to_sparse()}, tmp_path
    )


def test_official_files_of_another_precision_are_taken(tmp_path):
    network = TRANSLATORS["resnet"]()
    state = {name: value.half() for name, value in official_state(network).items()}
    torch.save(state, tmp_path / "half.pth")
    loaded = load_generator(tmp_path / "half.pth").network
    for name, value in loaded.state_dict().items():
        assert value.dtype == torch.float32 and torch.equal(value, state[name].float()), name
