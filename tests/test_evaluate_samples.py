"""evaluate.py on pictures that a generator makes from noise."""

import pytest
import torch

import data
import generate
import models
from commands import pictures
from models.resnet_generator import ResnetGenerator, ResnetSizes
from tests.evaluating import measure, refused, write_pictures
from tests.models.gan.pairs import SIZE_PX, drawn, small_generator, stirred

COUNT = 70


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("samples")


@pytest.fixture(scope="module")
def real(folder):
    return write_pictures(folder / "real", 12, 0, sizes_px=((SIZE_PX, SIZE_PX),))


@pytest.fixture(scope="module")
def checkpoint(folder):
    """A generator of three classes."""
    about = {"class_names": ["a", "b", "c"], "class_shares": [0.1, 0.6, 0.3]}
    file = folder / "noise.safetensors"
    models.save_generator(file, stirred(small_generator("sngan", 3)), about)
    return file


@pytest.fixture(scope="module")
def translator(folder):
    file = folder / "translator.safetensors"
    models.save_generator(file, ResnetGenerator(ResnetSizes(base_channels=2, blocks=1)), {})
    return file


@pytest.fixture(scope="module")
def quick(real):
    """Return a measurement that needs no network."""
    return {"real": real, "metrics": "swd"}


def sampled(checkpoint, count=COUNT, seed=3, truncation=1.0):
    sampler = models.load_sampler(checkpoint)
    return pictures.SampledPictures("these", sampler, count, seed, truncation)


@pytest.mark.parametrize("truncation", [1.0, 0.5])
def test_they_are_the_files_of_generate_bit_for_bit(truncation, checkpoint, tmp_path):
    options = ("--output", tmp_path, "--num", COUNT, "--seed", 3, "--truncation", truncation)
    generate.main([str(argument) for argument in ("--checkpoint", checkpoint, *options)])
    files = {path.name: path for path in data.list_images(tmp_path, "--fake")}
    pictures = sampled(checkpoint, truncation=truncation)
    assert [str(path) for path in pictures.files] == sorted(files)
    assert [f"{name}.png" for name in pictures.names] == sorted(files)
    found = list(pictures.read(range(COUNT)))
    assert [picture.index for picture in found] == list(range(COUNT))
    for picture, path in zip(found, pictures.files, strict=True):
        expected, _ = data.plain_levels(files[path.name])
        assert picture.pixels.dtype == torch.uint8 and torch.equal(picture.pixels, expected)


def test_grey_pictures_are_measured_as_their_files_are_read(tmp_path):
    network = drawn(models.gan.MlpGenerator(models.gan.MlpGeneratorSizes(8, 1, 4, 6)))
    file = tmp_path / "grey.safetensors"
    models.save_generator(file, network, {})
    (first,) = sampled(file, 1).read([0])
    options = ("--output", tmp_path, "--num", 1, "--seed", 3)
    generate.main([str(argument) for argument in ("--checkpoint", file, *options)])
    assert torch.equal(first.pixels, data.plain_levels(tmp_path / "000000.png")[0])


def test_processes_that_share_them_run_only_the_passes_they_need(checkpoint):
    pictures = sampled(checkpoint, 200)
    whole = {picture.index: picture.pixels for picture in pictures.read(range(200))}
    runs = []
    pictures.sampler.network.register_forward_hook(lambda *_: runs.append(1))
    for indices, passes in (
        ([2, 3, 6, 7, 130, 131], 2),
        ([199], 1),
        (range(0, 200, 2), 4),
        ([], 0),
    ):
        runs.clear()
        found = list(pictures.read(indices))
        assert [picture.index for picture in found] == list(indices) and len(runs) == passes
        assert all(torch.equal(picture.pixels, whole[picture.index]) for picture in found)


def test_the_numbers_are_those_of_the_files(quick, folder, tmp_path, files_read):
    checkpoint = folder / "plain.safetensors"
    models.save_generator(checkpoint, stirred(small_generator("dcgan")), {})
    made = {"num": 20, "seed": 5, "truncation": 0.8}
    options = [word for name, value in made.items() for word in (f"--{name}", str(value))]
    generate.main(["--checkpoint", str(checkpoint), "--output", str(tmp_path), *options])
    files_read.clear()
    from_noise = measure(**quick, checkpoint=checkpoint, **made).numbers
    assert files_read == [checkpoint]
    files = measure(**quick, fake=tmp_path).numbers
    assert from_noise["swd"] == files["swd"] and from_noise["n_fake"] == 20
    assert (from_noise["seed"], from_noise["truncation"]) == (5, 0.8)
    assert "seed" not in files and "truncation" not in files
    other = measure(**quick, checkpoint=checkpoint, **{**made, "seed": 6}).numbers
    assert other["swd"] != from_noise["swd"]


def test_fid_of_pictures_from_noise(checkpoint, real, inception_file):
    options = {"real": real, "weights": inception_file, "layer": 64}
    numbers = measure(**options, checkpoint=checkpoint, num=12).numbers
    assert numbers["fid"] > 0 and numbers["n_fake"] == 12


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"num": 1}, ("--num 1", "2 or more")),
        ({"num": -3}, ("--num -3", "2 or more")),
        ({"num": 5, "seed": -1}, ("--seed -1", "0 or more")),
        ({"num": 5, "truncation": 1.5}, ("--truncation 1.5", "0 to 1")),
        ({"num": 5, "source": "here"}, ("--num 5", "--source")),
        ({"num": 5, "direction": "a2b"}, ("--num 5", "--direction")),
        ({"num": 5, "metrics": "fid,l1"}, ("--metrics fid,l1", "--num", "not paired")),
        ({}, ("--checkpoint", "--source", "--num")),
        ({"source": "here", "seed": 4}, ("--seed 4", "--num")),
        ({"source": "here", "truncation": 0.5}, ("--truncation 0.5", "--num")),
    ],
)
def test_options_that_do_not_go_together(options, words, checkpoint, quick):
    line = refused(**{**quick, "checkpoint": checkpoint, **options})
    assert all(word in line for word in words), line


def test_num_needs_a_checkpoint(quick, real, folder):
    line = refused(**quick, fake=folder, num=5)
    assert "--num 5" in line and "--checkpoint" in line


def test_each_kind_of_checkpoint_is_refused_with_the_other_s_option(
    checkpoint, translator, quick, real
):
    line = refused(**quick, checkpoint=checkpoint, source=real)
    assert f"--checkpoint {checkpoint}" in line and "--num instead of --source" in line
    line = refused(**quick, checkpoint=translator, num=5)
    assert f"--checkpoint {translator}" in line and "--source instead of --num" in line


def test_pictures_that_are_not_finite(quick, tmp_path):
    network = small_generator("mlp")
    torch.nn.init.constant_(network.layers[0].weight, float("nan"))
    models.save_generator(tmp_path / "nan.safetensors", network, {})
    line = refused(**quick, checkpoint=tmp_path / "nan.safetensors", num=5)
    assert "nan.safetensors" in line and "not finite" in line
