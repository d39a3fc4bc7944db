"""Try a trained generator on a page in the browser.

Reads what translate.py and generate.py read. With a translator: drop a picture on the page, and
compare it with its translation, or the translations of two checkpoints, by a slider. With a
generator from noise: choose seed, class and truncation of pictures, or interpolate between two
seeds. The page can be opened on this machine only, unless --host says otherwise, and loads nothing
from elsewhere.
"""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import models
import training
from commands import app, cli
from commands.options import check_least
from errors import UserError
from models.saved import DIRECTIONS

MOST_CHECKPOINTS = 2
MOST_PORT = 65535


@dataclass(frozen=True)
class Options:
    """Every option of this command."""

    checkpoint: tuple[Path, ...]
    """Run folder, .safetensors file, or official .pth; two of the same kind are compared."""
    direction: Literal["a2b", "b2a"] | None = None
    """For a CycleGAN run: one of its generators only; by default the page offers both."""
    host: str = "127.0.0.1"
    """Address to listen on. 127.0.0.1: for this machine only; 0.0.0.0: for everyone who can reach
    this machine, without a password."""
    port: int = 7860
    """Port to listen on; 0: any free port."""
    longest_side: int = 1024
    """Larger pictures are shrunk to this size, in pixels, before they are translated; 0: never."""
    most_megapixels: float = 50.0
    """Files with more pixels are refused, in millions."""
    most_megabytes: float = 30.0
    """Larger files are refused, in MB."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """auto: a GPU if there is one."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Read the checkpoints, then answer until Ctrl-C."""
    options = cli.parse(Options, arguments)
    check(options)
    listener = app.bind(options.host, options.port)
    with listener:
        shown = open_checkpoints(options)
        answer = app.application(shown, host=options.host, most_megabytes=options.most_megabytes)
        server = app.serve(listener, options.host, answer)
    host = f"[{options.host}]" if ":" in options.host else options.host
    print(f"open http://{host}:{server.port} in a browser; Ctrl-C ends", file=sys.stderr)
    server.serve_forever()


def check(options: Options) -> None:
    """Raise UserError for invalid options."""
    check_least(options, port=0, longest_side=0)
    if not options.host:
        raise UserError("--host is empty; give 127.0.0.1, or 0.0.0.0 to let others in")
    if options.port > MOST_PORT:
        raise UserError(f"--port {options.port}: above {MOST_PORT}; give another, or 0")
    if not options.checkpoint:
        raise UserError("--checkpoint is missing; give a run folder, .safetensors or .pth")
    if len(options.checkpoint) > MOST_CHECKPOINTS:
        raise UserError(
            f"--checkpoint: {len(options.checkpoint)} were given; give {MOST_CHECKPOINTS} at most"
        )
    if len({path.resolve() for path in options.checkpoint}) < len(options.checkpoint):
        raise UserError(f"--checkpoint {options.checkpoint[0]}: given twice; give another")
    for name in ("most_megapixels", "most_megabytes"):
        value = vars(options)[name]
        if not 0 < value < float("inf"):
            raise UserError(f"--{name} {value}: give a number above 0")


def open_checkpoints(options: Options) -> app.Translators | app.Samplers:
    """Read the checkpoints; raises UserError for two of different kinds."""
    device = training.choose_device(options.device, training.Processes())
    if not makes_from_noise(options.checkpoint[0], options.direction):
        return app.Translators(
            options.checkpoint,
            options.direction,
            device,
            longest_side=options.longest_side,
            most_megapixels=options.most_megapixels,
        )
    return app.Samplers(options.checkpoint, device)


def makes_from_noise(path: Path, direction: str | None) -> bool:
    """Return whether a checkpoint is a generator from noise; raises UserError if it is none."""
    if direction is None and any(
        (path / f"generator_{one}.safetensors").exists() for one in DIRECTIONS
    ):
        return False
    return models.makes_from_noise(models.read_saved(path, "--checkpoint", direction))


if __name__ == "__main__":
    cli.run(main)
