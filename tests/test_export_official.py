"""export.py --format official run for real: what it writes, where it does not, exit codes."""

import pytest
import torch

import export as exporter
import models
from errors import UserError
from models.resnet_generator import ResnetGenerator, ResnetSizes
from models.stylegan2 import Stylegan2Generator, Stylegan2GeneratorSizes
from models.unet import UnetGenerator, UnetSizes

NETWORKS = {
    "cut": lambda: ResnetGenerator(ResnetSizes(base_channels=4, blocks=6)),
    "cyclegan": lambda: ResnetGenerator(
        ResnetSizes(base_channels=4, blocks=6, antialias_down=False, antialias_up=False)
    ),
    "pix2pix": lambda: UnetGenerator(UnetSizes(base_channels=2, halvings=5)),
    "sincut": lambda: Stylegan2Generator(Stylegan2GeneratorSizes(base_channels=2, size_px=32)),
}
FILTERS = {  # what the official file has beside our weights
    "cut": {f"model.{number}.filt" for number in (7, 11, 18, 22)},
    "cyclegan": set(),
    "pix2pix": set(),
    "sincut": {
        *("encoder.convs.2.conv2.0.kernel", "encoder.convs.2.skip.0.kernel"),
        "decoder.convs.3.conv.blur.kernel",
    },
}


def export(checkpoint, output, *more):
    arguments = ["--format", "official", "--checkpoint", checkpoint, "--output", output, *more]
    exporter.main([str(argument) for argument in arguments])


@pytest.mark.parametrize("name", NETWORKS)
def test_a_run_becomes_an_official_file_that_comes_back_the_same(name, tmp_path):
    network, run = NETWORKS[name](), tmp_path / "run"
    run.mkdir()
    models.save_generator(run / "generator.safetensors", network, {})
    output = tmp_path / "deep" / "er" / "latest_net_G.pth"
    export(run, output)
    written = torch.load(output, weights_only=True)
    state = network.state_dict()
    assert written.keys() - state.keys() == FILTERS[name] and state.keys() <= written.keys()
    assert all(torch.equal(written[key], value) for key, value in state.items())

    export(output, tmp_path / "again.pth")
    again = torch.load(tmp_path / "again.pth", weights_only=True)
    assert again.keys() == written.keys()
    assert all(torch.equal(again[key], value) for key, value in written.items())
    assert [path.name for path in output.parent.iterdir()] == [output.name]


def test_both_directions_are_written_from_a_run_that_learns_both(tmp_path):
    for direction, width in (("a2b", 4), ("b2a", 8)):
        network = ResnetGenerator(ResnetSizes(base_channels=width, blocks=6))
        models.save_generator(tmp_path / f"generator_{direction}.safetensors", network, {})
    with pytest.raises(UserError, match="--checkpoint .*`direction` a2b or b2a"):
        export(tmp_path, tmp_path / "out.pth")
    for direction, width in (("a2b", 4), ("b2a", 8)):
        export(tmp_path, tmp_path / "out.pth", "--direction", direction)
        written = torch.load(tmp_path / "out.pth", weights_only=True)
        assert written["model.1.weight"].shape[0] == width


@pytest.fixture
def checkpoint(tmp_path):
    models.save_generator(tmp_path / "g.safetensors", NETWORKS["pix2pix"](), {})
    return tmp_path / "g.safetensors"


def test_places_that_cannot_be_written_are_named(checkpoint, tmp_path):
    (tmp_path / "folder.pth").mkdir()
    official = tmp_path / "official.pth"
    export(checkpoint, official)
    before = official.read_bytes()
    for source, output, words in (
        (checkpoint, tmp_path / "out.safetensors", "end it with .pth"),
        (checkpoint, tmp_path / "folder.pth", "is a folder"),
        (checkpoint, "/dev/null/out.pth", "cannot be written"),
        (official, tmp_path / "folder.pth" / ".." / "official.pth", "would replace the checkpoint"),
    ):
        with pytest.raises(UserError, match=f"--output {output}: .*{words}"):
            export(source, output)
    assert official.read_bytes() == before
    with pytest.raises(UserError, match="`direction` b2a: .*leave it out"):
        export(checkpoint, official, "--direction", "b2a")
    with pytest.raises(UserError, match="--checkpoint .*nothing: no such file"):
        export(tmp_path / "nothing", tmp_path / "new" / "out.pth")
    assert not (tmp_path / "new").exists()


def test_the_command_ends_with_its_exit_code(checkpoint, tmp_path, command):
    output = tmp_path / "out.pth"
    arguments = (
        "export.py",
        "--format",
        "official",
        "--checkpoint",
        checkpoint,
        "--output",
        output,
    )
    finished = command(*arguments)
    assert finished.returncode == 0, finished.stderr
    assert f"UnetGenerator, {weights(checkpoint):,} weights: written to {output}" in finished.stderr
    before = output.read_bytes()
    finished = command(*arguments, file_bytes=len(before) // 2)
    assert finished.returncode == 2, finished.stderr
    (line,) = finished.stderr.strip().splitlines()
    assert line.startswith(f"error: --output {output}: cannot be written")
    assert output.read_bytes() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["g.safetensors", "out.pth"]


def weights(checkpoint):
    network = models.load_generator(checkpoint, "--checkpoint").network
    return sum(parameter.numel() for parameter in network.parameters())
