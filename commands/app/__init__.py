"""For app.py: checkpoints opened for a page in the browser, and the page's server."""

from commands.app.samplers import Samplers
from commands.app.server import application, bind, serve
from commands.app.translators import Translators

__all__ = ["Samplers", "Translators", "application", "bind", "serve"]
