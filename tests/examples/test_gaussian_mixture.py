"""The mixture of Gaussians: densities and counting by hand, and the command run for real."""

import json
import math

import pytest
import torch
from PIL import Image

from examples import gaussian_mixture
from examples.gaussian_mixture import Mixture

RANDOM = torch.Generator().manual_seed(0)


@pytest.mark.parametrize("modes", [1, 3, 8])
def test_the_density_on_a_line_sums_to_one_and_fits_the_points(modes):
    mixture = Mixture(1, modes)
    at = torch.linspace(-6, 6, 6001)[:, None]
    density = mixture.density(at)
    assert torch.trapezoid(density, at[:, 0]).item() == pytest.approx(1, abs=1e-4)
    points = mixture.sample(20_000, RANDOM)
    below = torch.trapezoid(density[at[:, 0] <= 0.3], at[at[:, 0] <= 0.3, 0]).item()
    assert (points <= 0.3).float().mean().item() == pytest.approx(below, abs=0.02)


def test_the_density_in_the_plane_sums_to_one_and_is_highest_at_the_centres():
    mixture = Mixture(2, 8)
    side = torch.linspace(-3, 3, 601)
    density = mixture.density(torch.cartesian_prod(side, side))
    assert density.sum().item() * 0.01**2 == pytest.approx(1, abs=1e-3)
    peak = 1 / 8 / (2 * math.pi * mixture.deviation**2)
    assert mixture.density(mixture.centres).tolist() == pytest.approx([peak] * 8, rel=1e-3)
    assert mixture.centres.norm(dim=1).tolist() == pytest.approx([2.0] * 8)


@pytest.mark.parametrize("dimensions", [1, 2])
@pytest.mark.parametrize("modes", [1, 2, 8, 25])
def test_the_data_cover_all_their_modes(dimensions, modes):
    mixture = Mixture(dimensions, modes)
    covered, near = mixture.covered(mixture.sample(2000, RANDOM))
    assert covered == modes and near > 0.97


def test_a_mode_counts_with_a_quarter_of_its_share_near_it():
    """Of 80 samples and 8 modes, 10 are a fair share: 3 are enough, 2 are not."""
    mixture = Mixture(2, 8)
    away = torch.tensor([[1.0, 0.0]]) * mixture.deviation
    near, far = mixture.centres + 2.9 * away, mixture.centres + 3.1 * away
    samples = [near[0].repeat(60, 1), near[1].repeat(3, 1), near[2].repeat(2, 1)]
    samples += [far[3].repeat(15, 1)]
    assert mixture.covered(torch.cat(samples)) == (2, pytest.approx(65 / 80))


def run(capsys, *arguments):
    gaussian_mixture.main([*map(str, arguments)])
    lines = capsys.readouterr().out.splitlines()
    return lines, json.loads(lines[-1])


@pytest.mark.parametrize(
    ("dimensions", "arguments"),
    [(2, ("--preset", "vanilla")), (1, ()), (1, ("--objective", "wgan", "--modes", 3))],
)
def test_the_command_plays_draws_and_tells(tmp_path, capsys, dimensions, arguments):
    output = tmp_path / "new" / "mixture.png"
    lines, numbers = run(
        capsys, "--output", output, "--dimensions", dimensions, "--steps", 20, *arguments
    )
    with Image.open(output) as picture:
        assert picture.format == "PNG" and picture.size == (1950, 840)
        assert len(picture.convert("RGB").getcolors(10**6)) > 100
    modes = 3 if "--modes" in arguments else 8
    assert numbers["modes"] == modes and 0 <= numbers["modes_covered"] <= modes
    assert f"{numbers['modes_covered']} of {modes} modes" in lines[0]
    expected = (numbers["value"] + math.log(4)) / 2
    assert numbers["implied_jensen_shannon"] == pytest.approx(expected, abs=1e-6)
    assert sorted(path.name for path in output.parent.iterdir()) == ["mixture.png"]


def test_a_seed_decides_everything_and_nothing_is_drawn_globally(tmp_path, capsys):
    options = ("--output", tmp_path / "mixture.svg", "--steps", 5)
    before = torch.get_rng_state()
    found = [run(capsys, *options, "--seed", seed)[1] for seed in (0, 0, 1)]
    assert found[0] == found[1] and found[0]["value"] != found[2]["value"]
    assert torch.equal(before, torch.get_rng_state())


def test_the_relativistic_game_with_its_penalties_finds_two_modes(tmp_path, capsys):
    arguments = ("--dimensions", 1, "--modes", 2, "--steps", 700, "--batch_size", 128)
    _, numbers = run(capsys, "--output", tmp_path / "mixture.png", *arguments)
    assert numbers["modes_covered"] == 2 and numbers["share_near_a_mode"] > 0.6
    assert -math.log(4) - 0.05 < numbers["value"] < -1.1


def test_presets_are_rows_of_defaults_that_options_replace():
    parsed = gaussian_mixture.cli.parse(
        gaussian_mixture.Options,
        ["--preset", "vanilla", "--r1", "0.5"],
        gaussian_mixture.PRESETS,
    )
    assert (parsed.objective, parsed.r1, parsed.r2) == ("non_saturating", 0.5, 0.0)
    default = gaussian_mixture.Options()
    row = gaussian_mixture.PRESETS[default.preset]
    assert row == {"objective": default.objective, "r1": default.r1, "r2": default.r2}


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("--output", "mixture.jpeg"), "--output mixture.jpeg"),
        (("--modes", 0), "--modes 0"),
        (("--steps", 0), "--steps 0"),
        (("--r1", -1), "--r1 -1"),
        (("--learning_rate", "nan"), "--learning_rate nan"),
    ],
)
def test_mistakes_are_told_in_one_line(fails, tmp_path, monkeypatch, arguments, told):
    monkeypatch.chdir(tmp_path)
    assert told in fails(gaussian_mixture, arguments)
    assert not list(tmp_path.iterdir())


def test_a_game_that_diverges_is_told_and_draws_nothing(fails, tmp_path):
    arguments = ("--output", tmp_path / "mixture.png", "--steps", 60, "--objective", "wgan")
    line = fails(
        gaussian_mixture, (*arguments, "--r1", 0, "--r2", 0, "--learning_rate", 1e18), code=1
    )
    assert "diverged" in line and not list(tmp_path.iterdir())


def test_the_file_runs_from_anywhere(command, tmp_path):
    script = gaussian_mixture.__file__
    process = command(script, "--output", tmp_path / "mixture.pdf", "--steps", 3)
    assert process.returncode == 0, process.stderr
    assert json.loads(process.stdout.splitlines()[-1])["modes"] == 8
    assert (tmp_path / "mixture.pdf").read_bytes().startswith(b"%PDF")
