"""The page's server; by default it answers this machine only."""

import errno
import ipaddress
import json
import re
import socket
from collections.abc import Callable, Iterable
from pathlib import Path

import jinja2
from werkzeug.exceptions import Forbidden, HTTPException, RequestEntityTooLarge
from werkzeug.serving import BaseWSGIServer, WSGIRequestHandler, make_server
from werkzeug.wrappers import Request, Response

from commands import cli
from commands.app.samplers import MOST_PICTURES, MOST_SEED, Samplers
from commands.app.translators import Translators
from commands.pages import rendering
from errors import UserError

HEADERS = {
    # The browser itself refuses whatever the page would load from elsewhere.
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; "
    "connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}
_HERE, _PAGES = Path(__file__).parent, Path(rendering.__file__).parent
FILES = {
    "/page.css": _HERE / "page.css",
    "/page.js": _HERE / "page.js",
    "/style.css": _PAGES / "style.css",
    "/overlay.js": _PAGES / "overlay.js",
}
KINDS = {".css": "text/css", ".js": "text/javascript"}


def application(
    shown: Translators | Samplers, *, host: str, most_megabytes: float
) -> Callable[[dict, Callable], Iterable[bytes]]:
    """Return the WSGI application.

    If `host` is this machine only, requests must name this machine as their host: a page from
    elsewhere cannot reach it under a name of its own (DNS rebinding).
    """
    page = _page(shown, most_megabytes)

    def answer(environ: dict, start: Callable) -> Iterable[bytes]:
        request = Request(environ)
        request.max_content_length = round(most_megabytes * 1e6)
        try:
            _check_origin(request, host)
            response = _respond(request, shown, page)
        except UserError as error:
            response = _json({"error": cli.named_as_options(str(error))}, 422)
        except RequestEntityTooLarge:
            words = f"the file is larger than {most_megabytes:g} MB (--most_megabytes)"
            response = _json({"error": words}, 413)
        except HTTPException as error:
            response = _json({"error": error.description}, error.code)
        response.headers.extend(HEADERS)
        return response(environ, start)

    return answer


def bind(host: str, port: int) -> socket.socket:
    """Return a listening socket; raises UserError if the address cannot be used."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        listener.listen()
    except (OSError, UnicodeError) as error:
        listener.close()
        is_address = not isinstance(error, socket.gaierror | UnicodeError)
        if not is_address or error.errno == errno.EADDRNOTAVAIL:
            raise UserError(
                f"--host {host}: not an address of this machine; give 127.0.0.1, or 0.0.0.0 to "
                "let others in"
            ) from error
        raise UserError(
            f"--port {port}: cannot be used on --host {host} ({error.strerror}); give another, or "
            "0 for any free one"
        ) from error
    return listener


def serve(
    listener: socket.socket, host: str, app: Callable[[dict, Callable], Iterable[bytes]]
) -> BaseWSGIServer:
    """Return the server of a listening socket; `serve_forever` answers until Ctrl-C."""
    port = listener.getsockname()[1]
    server = make_server(
        host, port, app, threaded=True, request_handler=_Quiet, fd=listener.fileno()
    )
    listener.close()  # the server holds a duplicate
    return server


class _Quiet(WSGIRequestHandler):
    """Prints no line for each request."""

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        pass


def _is_this_machine(host: str) -> bool:
    """Return whether an address or a name can be reached from this machine only."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def _check_origin(request: Request, host: str) -> None:
    """Raise Forbidden for a request under another name, or from another site's page."""
    asked = re.sub(r":\d*$", "", request.headers.get("Host", ""))
    if _is_this_machine(host) and not _is_this_machine(asked.strip("[]")):
        raise Forbidden("the page is for this machine only (--host)")
    site = request.headers.get("Sec-Fetch-Site", "none")
    if site not in ("same-origin", "none") and request.path != "/":
        raise Forbidden("the request comes from another site's page")


def _respond(request: Request, shown: Translators | Samplers, page: str) -> Response:
    asked = (request.method, request.path)
    if asked == ("GET", "/"):
        return Response(page, mimetype="text/html")
    if request.method == "GET" and request.path in FILES:
        file = FILES[request.path]
        return Response(file.read_bytes(), mimetype=KINDS[file.suffix])
    if isinstance(shown, Translators) and asked == ("POST", "/translate"):
        return _json(shown.translate(request.get_data(), request.args.get("direction", "")))
    if isinstance(shown, Samplers) and asked == ("GET", "/sample"):
        return _json(shown.sample(request.args))
    if isinstance(shown, Samplers) and asked == ("GET", "/interpolate"):
        return _json(shown.interpolate(request.args))
    return _json({"error": f"nothing at {request.path}"}, 404)


def _json(values: dict[str, object], status: int = 200) -> Response:
    return Response(json.dumps(values), status, mimetype="application/json")


def _page(shown: Translators | Samplers, most_megabytes: float) -> str:
    template = Path(__file__).with_name("page.html").read_text(encoding="utf-8")
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined)
    return environment.from_string(template).render(
        kind=shown.kind,
        most_megabytes=most_megabytes,
        most_pictures=MOST_PICTURES,
        most_seed=MOST_SEED,
        **shown.described(),
    )
