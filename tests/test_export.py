"""export.py run for real as onnx and torch_export: what its files compute, and what it refuses."""

import contextlib
import io
import json
import subprocess
import sys
from typing import NamedTuple

import onnx
import onnxruntime
import pytest
import torch
from torch.onnx._internal.exporter import _registration

import data
import export as exporter
import models
from commands.exporting import files, parity, samplers, translators
from errors import UserError
from models import gan, unet
from models.colorizer import Colorizer
from models.resnet_encoder import EncoderSizes, ResnetEncoder
from models.resnet_generator import ResnetGenerator, ResnetSizes
from models.stylegan2 import NoiseInjection, Stylegan2Generator, Stylegan2GeneratorSizes
from models.unet import UnetSizes
from tests.conftest import REFERENCE

pytestmark = pytest.mark.numeric


class Case(NamedTuple):
    network: torch.nn.Module
    options: tuple[str, ...] = ()
    about: dict = {}  # noqa: RUF012


LABEL_MAPS = {"source": data.Content("labels", classes=4).describe()}
STRIDED = ResnetSizes(base_channels=4, blocks=0, antialias_down=False, antialias_up=False)
TRANSLATORS = {
    "labels": lambda: Case(
        ResnetGenerator(ResnetSizes(4, 1, base_channels=4, blocks=1)),
        ("--uint8", "--fp16"),
        LABEL_MAPS,
    ),
    # A U-Net between conversions of colours. An export takes seconds: one for both.
    "colorizer": lambda: Case(Colorizer(UnetSizes(1, 2, base_channels=2, halvings=3))),
    "sincut": lambda: Case(
        Stylegan2Generator(Stylegan2GeneratorSizes(base_channels=2, size_px=32, blocks=0))
    ),
}
SAMPLERS = {
    "mlp": lambda: Case(gan.MlpGenerator(gan.MlpGeneratorSizes(8, 3, 5, 6)), ("--uint8",)),
    "dcgan": lambda: Case(
        gan.DcganGenerator(
            gan.DcganGeneratorSizes(16, 3, 5, 2, classes=3, conditioning="projection")
        )
    ),
    "sngan": lambda: Case(gan.SnganGenerator(gan.SnganGeneratorSizes(16, 3, 5, 4, classes=3))),
    "progressive": lambda: Case(
        gan.ProgressiveGenerator(
            gan.ProgressiveGeneratorSizes(16, 3, latent_channels=8, base_channels=64, classes=3)
        ),
        about={"level": 3.4},
    ),
    "r3gan": lambda: Case(
        gan.R3ganGenerator(gan.R3ganGeneratorSizes(8, 3, 5, 4, 8, 4, 2, 1, classes=3)), ("--fp16",)
    ),
}
SIZES = [(37, 20), (7, 64)]  # 7: smaller than the colorizer takes
TRUNCATIONS = [1.0, 0.6]


class Exported(NamedTuple):
    saved: models.SavedGenerator
    checkpoint: str
    session: onnxruntime.InferenceSession
    program: onnx.ModelProto
    told: str


@pytest.fixture(scope="module", autouse=True)
def quickly():
    """PyTorch's table of ONNX operators is built once; each program is timed once.

    Three levels of a U-Net are all kinds of them.
    """
    with pytest.MonkeyPatch.context() as patch:
        registry = _registration.ONNXRegistry.from_torchlib(opset_version=exporter.exporting.OPSET)
        patch.setattr(_registration.ONNXRegistry, "from_torchlib", lambda *_, **__: registry)
        patch.setattr(parity, "RUNS", 1)
        patch.setattr(unet, "FEWEST_HALVINGS", 3)
        yield


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """Return a function from a name to what `export.py --format onnx` made of a tiny network."""
    made = {}

    def of(name: str) -> Exported:
        if name not in made:
            folder = tmp_path_factory.mktemp(name)
            checkpoint = saved_case(folder, {**TRANSLATORS, **SAMPLERS}[name]())
            made[name] = opened(checkpoint, folder / "deep" / "g.onnx")
        return made[name]

    return of


def saved_case(folder, case: Case) -> list[str]:
    """Save a network with drawn weights; return the arguments that export it."""
    torch.manual_seed(0)
    seeded = torch.Generator().manual_seed(0)
    if isinstance(case.network, gan.Generator):
        case.network.draw_weights(seeded)
    for layer in case.network.modules():
        if isinstance(layer, NoiseInjection):
            layer.weight.data.fill_(0.5)
    models.save_generator(folder / "generator.safetensors", case.network, case.about)
    return ["--checkpoint", str(folder), *case.options, "--compare_px", "16"]


def opened(arguments, output) -> Exported:
    told = io.StringIO()
    with contextlib.redirect_stdout(told), contextlib.redirect_stderr(told):
        exporter.main([*arguments, "--output", str(output)])
    saved = models.read_saved(arguments[1], "--checkpoint")
    session = onnxruntime.InferenceSession(output, providers=["CPUExecutionProvider"])
    return Exported(saved, arguments[1], session, onnx.load(output), told.getvalue())


def run(session, *arguments) -> torch.Tensor:
    names = [given.name for given in session.get_inputs()]
    given = {name: value.numpy() for name, value in zip(names, arguments, strict=True)}
    return torch.from_numpy(session.run(None, given)[0])


@pytest.mark.parametrize("name", TRANSLATORS)
def test_onnx_translates_any_size_as_we_do(name, exported):
    made, options = exported(name), TRANSLATORS[name]().options
    network, seeded = made.saved.network, torch.Generator().manual_seed(1)
    for batch, (height, width) in enumerate(SIZES, start=1):
        if "--uint8" in options:  # label maps
            given = torch.randint(4, (batch, height, width, 1), generator=seeded).to(torch.uint8)
            source = torch.nn.functional.one_hot(given[..., 0].long()).permute(0, 3, 1, 2).float()
            levels = data.to_levels(models.translate(network, source)).permute(0, 2, 3, 1)
            difference = run(made.session, given).short() - levels.short()
            assert difference.shape == (batch, height, width, 1) and difference.abs().max() <= 3
            continue
        given = torch.rand(batch, 3, height, width, generator=seeded) * 2 - 1
        found, expected = run(made.session, given), models.translate(network, given)
        assert found.dtype == torch.float32 and found.shape == expected.shape
        assert (found - expected).abs().max() <= 1e-4


@pytest.mark.parametrize("name", SAMPLERS)
def test_onnx_makes_pictures_of_latents_classes_and_truncation_as_we_do(name, exported):
    made, options = exported(name), SAMPLERS[name]().options
    sampler = models.load_sampler(made.checkpoint)
    for count, truncation in enumerate(TRUNCATIONS, start=1):
        latents = gan.draw_latents(3, count, sampler.network.latent_channels)
        labels = torch.arange(count) + 1 if sampler.classes else None
        given = [latents, *([] if labels is None else [labels]), torch.tensor(truncation)]
        found = run(made.session, *given)
        expected = sampler.sample(count, 3, labels=labels, truncation=truncation)
        if "--uint8" in options:
            levels = data.to_levels(expected).permute(0, 2, 3, 1)
            assert found.shape == levels.shape and (found.short() - levels.short()).abs().max() <= 1
        else:
            assert found.shape == expected.shape
            assert (found - expected).abs().max() <= (2e-2 if "--fp16" in options else 1e-4)


def test_the_file_and_the_report_say_what_they_are(exported):
    made = exported("colorizer")
    (opset,) = made.program.opset_import
    assert opset.version == exporter.exporting.OPSET and not opset.domain
    (about,) = made.program.metadata_props
    assert json.loads(about.value) == {"size_multiple": 8, "smallest_size_px": 8}
    (given,), (output,) = made.session.get_inputs(), made.session.get_outputs()
    assert (given.name, given.shape) == ("pictures", ["batch", 3, "height", "width"])
    assert (output.name, output.type) == ("translated", "tensor(float)")
    lines = made.told.splitlines()
    rows = [line.split() for line in lines if line.split()[0] in made_sizes()]
    assert len(rows) == 10 and all(len(row) == 1 + 3 * len(parity.BATCHES) for row in rows)
    assert all(float(row[column]) <= 1e-4 for row in rows for column in (1, 4))
    assert "opset 20" in made.told and "multiples of 8 from 8 px" in made.told
    names = [given.name for given in exported("sngan").session.get_inputs()]
    assert names == ["latents", "labels", "truncation"]


def made_sizes() -> set[str]:
    return {f"{height}x{width}" for height, width in translators.sizes_around(16, 8)}


def test_half_the_bytes_in_fp16(exported):
    floats = {
        "colorizer": onnx.TensorProto.FLOAT,
        "labels": onnx.TensorProto.FLOAT16,
        "r3gan": onnx.TensorProto.FLOAT16,
    }
    for name, kind in floats.items():
        weights = exported(name).program.graph.initializer
        assert {weight.data_type for weight in weights if len(weight.dims) == 4} == {kind}


def test_classes_out_of_range_are_refused_by_the_program(exported):
    four = torch.full((1, 32, 32, 1), 4, dtype=torch.uint8)
    with pytest.raises(Exception, match="out of"):
        run(exported("labels").session, four)
    latents = torch.zeros(1, 5)
    with pytest.raises(Exception, match="out of"):
        run(exported("sngan").session, latents, torch.tensor([3]), torch.tensor(1.0))


def test_truncation_without_erfinv_is_that_in_float64():
    latents = torch.cat([torch.linspace(-6, 6, 4001), torch.tensor([0.0, 14.0, -14.0])])[:, None]
    for truncation in (0.0, 0.1, 0.5, 0.9, 0.999, 1.0):
        found = samplers.truncate(latents, torch.tensor(truncation))
        expected = gan.truncate(latents, torch.tensor(truncation).item())
        assert (found - expected).abs().max() <= 2e-6
    assert torch.equal(samplers.truncate(latents, torch.tensor(1.0)), latents)


LOADER = """
import sys, torch
folder = sys.argv[1]
program = torch.export.load(f"{folder}/g.pt2").module()
torch.save(program(torch.load(f"{folder}/given.pt")), f"{folder}/found.pt")
assert not {"models", "commands"} & set(sys.modules)
"""


def test_torch_export_runs_without_our_code(tmp_path, quiet):
    case = Case(ResnetGenerator(STRIDED))
    arguments = saved_case(tmp_path, case)
    quiet([*arguments, "--format", "torch_export", "--output", tmp_path / "g.pt2"])
    given = torch.rand(1, 3, 37, 20, generator=torch.Generator().manual_seed(2)) * 2 - 1
    torch.save(given, tmp_path / "given.pt")
    command = [sys.executable, "-c", LOADER, str(tmp_path)]
    finished = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert finished.returncode == 0, finished.stderr
    found, expected = torch.load(tmp_path / "found.pt"), models.translate(case.network, given)
    assert found.shape == expected.shape and (found - expected).abs().max() <= 1e-4


@pytest.fixture
def quiet(capsys):
    """Return a function that runs the command and swallows what it prints."""

    def main(arguments):
        exporter.main([str(argument) for argument in arguments])
        capsys.readouterr()

    return main


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory):
    """Tiny checkpoints of all kinds in one folder."""
    root = tmp_path_factory.mktemp("checkpoints")
    for name, case in {**TRANSLATORS, **SAMPLERS}.items():
        (root / name).mkdir()
        saved_case(root / name, case())
    sides = {side: data.Content(channels=1, bits=16).describe() for side in ("source", "target")}
    maps = {"source": data.Content("labels", classes=300).describe()}
    for name, channels, about in (("wide", 1, sides), ("maps", 300, maps)):
        network = ResnetGenerator(ResnetSizes(channels, 1, base_channels=2, blocks=1))
        models.save_generator(root / f"{name}.safetensors", network, about)
    encoder = ResnetEncoder(EncoderSizes(base_channels=2))
    models.save_encoder(root / "encoder.safetensors", encoder, {})
    return root


@pytest.mark.parametrize(
    ("checkpoint", "output", "options", "words"),
    [
        ("sincut", "g.pth", (), "--output .*g.pth: end it with .onnx, as --format onnx does"),
        ("sincut", "g.onnx", ("--format", "torch_export"), "end it with .pt2"),
        ("sincut", "folder.onnx", (), "--output .*folder.onnx: is a folder"),
        ("sincut", "g.pth", ("--format", "official", "--uint8"), "--uint8: official files"),
        ("sincut", "g.onnx", ("--limit", "0"), "--limit 0.0: give a number above 0"),
        ("sincut", "g.onnx", ("--compare_px", "8"), "compare_px"),
        ("sincut", "g.onnx", ("--direction", "a2b"), "`direction` a2b: .*leave it out"),
        ("mlp", "g.pth", ("--format", "official"), "--checkpoint .*mlp: makes pictures from noise"),
        ("encoder.safetensors", "g.onnx", (), "--checkpoint .*: an encoder, not a generator"),
        (REFERENCE / "cut_discriminator.pth", "g.onnx", (), "--checkpoint .*: not a generator"),
        (REFERENCE / "patch_projector.pth", "g.onnx", (), "--checkpoint .*: not a generator"),
        ("nothing", "g.onnx", (), "--checkpoint .*nothing: no such file"),
        ("wide.safetensors", "g.onnx", ("--uint8",), "--uint8: the source pictures have 16 bits"),
        ("maps.safetensors", "g.onnx", ("--uint8",), "--uint8: 300 classes do not fit a byte"),
    ],
)
def test_what_cannot_be_exported_is_named(
    checkpoint, output, options, words, checkpoints, tmp_path
):
    (tmp_path / "folder.onnx").mkdir()
    place = tmp_path / output if output.startswith("folder") else tmp_path / "new" / output
    arguments = ["--checkpoint", checkpoints / checkpoint, "--output", place, *options]
    with pytest.raises(UserError, match=words):
        exporter.main([str(argument) for argument in arguments])
    assert [path.name for path in tmp_path.iterdir()] == ["folder.onnx"]


def test_missing_packages_are_named_with_the_extra(checkpoints, tmp_path, monkeypatch, fails):
    find = files.find_spec
    monkeypatch.setattr(files, "find_spec", lambda name: name != "onnxruntime" and find(name))
    arguments = ["--checkpoint", checkpoints / "sincut", "--output", tmp_path / "g.onnx"]
    line = fails(exporter, arguments)
    assert "--format onnx: needs onnxruntime; install the extra export" in line
    assert not list(tmp_path.iterdir())


def test_weights_that_one_onnx_file_cannot_hold_are_refused(
    checkpoints, tmp_path, monkeypatch, fails
):
    monkeypatch.setattr(files, "MOST_ONNX_BYTES", 1000)
    arguments = ["--checkpoint", checkpoints / "mlp", "--output", tmp_path / "g.onnx"]
    line = fails(exporter, arguments)
    assert "one ONNX file holds" in line and "--format torch_export" in line
    assert not list(tmp_path.iterdir())


def test_a_file_that_differs_too_much_replaces_nothing(checkpoints, tmp_path, fails, quiet):
    output = tmp_path / "g.pt2"
    given = ["--checkpoint", checkpoints / "mlp", "--output", output]
    given += ["--format", "torch_export"]
    output.write_bytes(b"an older file")
    line = fails(exporter, [*given, "--fp16", "--limit", "1e-9"], code=1)
    assert f"--output {output}: not written, since it differs" in line and "--limit" in line
    assert output.read_bytes() == b"an older file"
    quiet(given)
    assert output.stat().st_size > 1000
    assert [path.name for path in tmp_path.iterdir()] == ["g.pt2"]
