"""From a dataclass to a command line and from exceptions to exit codes."""

import dataclasses
import sys
from pathlib import Path

import pytest

import train_cut
from commands import cli
from errors import PairlessError, UserError


def parse(*arguments):
    return cli.parse(train_cut.Options, arguments, train_cut.PRESETS)


def test_dashes_and_underscores_are_the_same():
    assert parse("--crop-size", "64") == parse("--crop_size", "64")


def test_the_help_breaks_lines_where_the_terminal_does(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "400")
    with pytest.raises(SystemExit):
        parse("--help")
    shown = capsys.readouterr().out
    for paragraph in train_cut.__doc__.strip().split("\n\n"):
        assert " ".join(paragraph.split())[:300] in shown


@pytest.mark.parametrize("preset", train_cut.PRESETS)
def test_a_preset_is_a_row_of_defaults_that_options_stand_on(preset):
    chosen = parse("--preset", preset, "--seed", "3")
    expected = {**train_cut.PRESETS[preset], "preset": preset, "seed": 3}
    assert chosen == train_cut.Options(**expected)


def test_the_published_numbers_of_the_presets():
    cut, fastcut, sincut = (parse("--preset", name) for name in ("cut", "fastcut", "sincut"))
    assert (cut.nce_weight, cut.nce_identity, cut.flip_equivariance) == (1, True, False)
    assert (fastcut.nce_weight, fastcut.nce_identity, fastcut.flip_equivariance) == (
        10,
        False,
        True,
    )
    assert (cut.constant_epochs, cut.decay_epochs) == (200, 200)
    assert (fastcut.constant_epochs, fastcut.decay_epochs) == (150, 50)
    for options in (cut, fastcut):
        assert (options.learning_rate, options.betas) == (2e-4, (0.5, 0.999))
        assert (options.load_size, options.crop_size, options.batch_size) == (286, 256, 1)
        assert options.nce_layers == (0, 4, 8, 12, 16) and options.nce_patches == 256
        assert options.nce_temperature == 0.07 and options.adversarial == "lsgan"
    assert (sincut.learning_rate, sincut.betas) == (2e-3, (0.0, 0.99))
    assert (sincut.base_channels, sincut.discriminator_channels) == (10, 8)
    assert (sincut.nce_layers, sincut.nce_patches, sincut.nce_weight) == ((0, 2, 4), 1, 4)
    assert (sincut.r1_weight, sincut.identity_weight, sincut.nce_negatives) == (1, 1, "batch")
    assert sincut.epoch_images * (sincut.constant_epochs + sincut.decay_epochs) == 1_600_000


def test_an_option_s_help_has_no_line_breaks_of_the_source(monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "1000")
    for _ in range(2):  # reading the options again changes nothing
        with pytest.raises(SystemExit):
            parse("--help")
        shown = capsys.readouterr().out
        assert "or a .safetensors or official .pth file (the generator). (default: None)" in shown


def test_options_cannot_be_changed_on_the_way():
    with pytest.raises(dataclasses.FrozenInstanceError):
        parse().seed = 1


def test_plain_values_are_json_with_absolute_paths():
    values = cli.plain_values(parse("--run_dir", "here", "--nce_layers", "0", "4"))
    assert values["run_dir"] == str(Path("here").absolute())
    assert values["nce_layers"] == [0, 4]


def ends_with(error):
    def main(_):
        raise error

    with pytest.raises(SystemExit) as end:
        cli.run(main)
    return end.value.code


def test_exit_codes_and_one_line(capsys):
    assert ends_with(UserError("--x 1: wrong;\n give 2")) == 2
    assert capsys.readouterr().err == "error: --x 1: wrong; give 2\n"
    assert ends_with(PairlessError("stopped")) == 1
    assert capsys.readouterr().err == "error: stopped\n"


def test_our_own_mistakes_keep_their_traceback():
    def main(_):
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        cli.run(main)


def test_arguments_come_from_the_command_line(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["train_cut.py", "--seed", "5", "--preset", "fastcut"])
    assert parse_from_command_line().seed == 5
    assert parse_from_command_line().nce_weight == 10


def parse_from_command_line():
    return cli.parse(train_cut.Options, None, train_cut.PRESETS)
