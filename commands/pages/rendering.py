"""From templates to a page."""

import base64
import zlib
from functools import cache, partial
from importlib.util import find_spec
from pathlib import Path

import jinja2

import training

_FOLDER = Path(__file__).parent
_FAST = 1  # of zlib's levels: 0.2 s and 2.3 MB; level 9 needs three times as long for 2.0 MB


def render(template: str, **values: object) -> str:
    """Return the page that a template of this folder makes of the values."""
    return _environment().get_template(template).render(values)


def write(path: Path, option: str, text: str) -> None:
    """Write a page, atomically; raises UserError, which names `option`, if that fails."""
    training.write_output(path, option, partial(save, text))


def save(text: str, path: Path) -> None:
    """Write the text of a page; bytes of a file's name that are no UTF-8 are shown as numbers."""
    path.write_text(text, encoding="utf-8", errors="backslashreplace")


@cache
def plotting_library() -> str:
    """Return plotly.js, compressed by zlib and in base64, as `curves.js` reads it.

    The file is found without importing the Python package, which would take a fifth of a second.
    """
    (folder,) = find_spec("plotly").submodule_search_locations
    script = (Path(folder) / "package_data" / "plotly.min.js").read_bytes()
    return base64.b64encode(zlib.compress(script, _FAST)).decode("ascii")


@cache
def _environment() -> jinja2.Environment:
    return jinja2.Environment(
        loader=jinja2.FileSystemLoader(_FOLDER),
        autoescape=jinja2.select_autoescape(["html"]),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
