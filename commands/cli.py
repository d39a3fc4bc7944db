"""Command lines from frozen dataclasses of options, and exit codes from exceptions."""

import argparse
import json
import os
import re
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, is_dataclass
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Annotated, TypeVar, get_type_hints

import docstring_parser
import tyro

import training
from commands.options import RunOptions
from errors import PairlessError

Options = TypeVar("Options")


def parse(
    options_type: type[Options],
    arguments: Sequence[str] | None = None,
    presets: Mapping[str, Mapping] | None = None,
) -> Options:
    """Read the command line into the dataclass; `--preset NAME` replaces the defaults first.

    `-` and `_` are the same in option names. A value that does not fit an option ends the program
    with exit code 2 and a message on stderr.
    """
    _join_help_lines(options_type)
    default = None
    if presets:
        default = options_type()
        early = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
        early.add_argument("--preset", default=default.preset)
        name = early.parse_known_args(arguments)[0].preset
        # The full parser refuses an unknown name and lists the choices.
        default = options_type(**{**presets.get(name, {}), "preset": default.preset})
    return tyro.cli(
        options_type,
        args=arguments,
        default=default,
        description=_paragraphs(sys.modules[options_type.__module__].__doc__),
        config=(tyro.conf.OmitArgPrefixes,),
    )


def parse_one_of(
    options_types: Sequence[type], arguments: Sequence[str] | None, description: str
) -> object:
    """Parse a subcommand, named after its dataclass in lower case, and its options."""
    for kind in options_types:
        _join_help_lines(kind)
    return tyro.extras.subcommand_cli_from_dict(
        {kind.__name__.lower(): kind for kind in options_types},
        args=arguments,
        description=description,
    )


@cache
def _join_help_lines(options_type: type) -> None:
    """Make each option's help one paragraph: tyro keeps the line breaks of indented docstrings."""
    for kind in filter(is_dataclass, options_type.__mro__):
        types = get_type_hints(kind, include_extras=True)
        for option in docstring_parser.parse_from_object(kind).params:
            if "\n" in (option.description or ""):
                text = tyro.conf.arg(help=" ".join(option.description.split()))
                kind.__annotations__[option.arg_name] = Annotated[types[option.arg_name], text]


def _paragraphs(text: str) -> str:
    """Return a docstring with each paragraph on one line, which tyro breaks to the terminal."""
    return "\n\n".join(" ".join(part.split()) for part in text.split("\n\n"))


def run(main: Callable[[Sequence[str] | None], None]) -> None:
    """Run a command and end the process with its exit code.

    0 success; 2 a user error and 1 a run that could not continue, each reported in one line on
    stderr; 128 + N after signal N. Any other exception is a bug: a traceback, exit code 1.
    """
    try:
        main(None)
    except PairlessError as end:
        rank = os.environ.get("RANK", "0")
        prefix = end.prefix if rank == "0" else f"rank {rank}: {end.prefix}"
        message = named_as_options(" ".join(str(end).split()))
        print(prefix + message, file=sys.stderr, flush=True)
        sys.exit(end.exit_code)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        sys.exit(128 + signal.SIGINT)


def report_json(result: object, path: Path | None) -> None:
    """Print a result as one line of JSON on stdout, and write it to --json if that is given."""
    line = json.dumps(result)
    print(line, flush=True)
    if path:
        training.write_output(
            path, "--json", lambda temporary: temporary.write_text(line + "\n", encoding="utf-8")
        )


def named_as_options(message: str) -> str:
    """Return a message with each `argument` replaced by its option --argument."""
    return re.sub(r"`([a-z][a-z0-9_]*)`", r"--\1", message)


def config(
    options: RunOptions, data_description: Mapping[str, str], given: Sequence[str] = ()
) -> dict:
    """Return the content of config.json: command, arguments, resolved options, data, versions."""
    return {
        "command": Path(sys.modules[type(options).__module__].__file__).name,
        "given": list(given),
        "options": plain_values(options),
        "data": dict(data_description),
        "versions": versions(),
    }


def arguments_of(options: RunOptions, presets: Mapping[str, Mapping]) -> list[str]:
    """Return arguments that `parse` reads as these options: what their preset does not set.

    Paths are absolute, so that the arguments mean the same in every folder.
    """
    kind = type(options)
    preset = {"preset": options.preset}
    defaults = [kind(), kind(**{**presets.get(options.preset, {}), **preset})]
    arguments = []
    for name, value in vars(options).items():
        if value == vars(defaults[name != "preset"])[name]:
            continue
        if isinstance(value, bool):
            arguments.append(f"--{name}" if value else f"--no-{name}")
        else:
            arguments += [f"--{name}", *_words(value)]
    return arguments


def _words(value: object) -> list[str]:
    if isinstance(value, tuple):
        return [word for one in value for word in _words(one)]
    return [str(value.resolve() if isinstance(value, Path) else value)]


def plain_values(options: object) -> dict:
    """Return the options as JSON values: paths as absolute strings, tuples as lists."""
    values = asdict(options)
    for name, value in values.items():
        if isinstance(value, Path):
            values[name] = str(value.resolve())
    return json.loads(json.dumps(values))


def describe(values: Mapping) -> str:
    """Format names and values as lines to be printed."""
    width = max(len(str(name)) for name in values)
    return "\n".join(f"  {name:<{width}}  {value}" for name, value in values.items())


def versions() -> dict[str, str]:
    """Return the versions of Python and of the packages that a result depends on."""
    names = ("torch", "numpy", "pillow")
    return {"python": sys.version.split()[0], **{name: metadata.version(name) for name in names}}
