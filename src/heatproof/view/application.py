"""What is answered to which request. It reads runs, and writes nothing."""

import json
import logging
import re
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from werkzeug.exceptions import HTTPException, InternalServerError, NotFound
from werkzeug.routing import Map
from werkzeug.routing import Rule as Route
from werkzeug.wrappers import Request, Response

from heatproof.errors import HeatproofError
from heatproof.view import pages
from heatproof.view.access import Access
from heatproof.view.pages import POLICIES, Pages
from heatproof.view.runs import Found, Runs

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

    from heatproof.view.apart import Apart

MOST_BYTES = 2**25  # of an uploaded picture
MOST_COMPARED = 12
ID = re.compile(r"[0-9a-f]{16}").fullmatch

log = logging.getLogger("heatproof.view")
Rule = tuple[str, str, Callable[..., Response]]  # address, method, answer


class Application:
    """The answers of one server. Each request is looked at before it is read: host, origin, token, then where to."""

    def __init__(self, runs: Runs, access: Access, apart: "Apart | None" = None) -> None:
        self.runs, self.access, self.apart, self.pages = runs, access, apart, Pages(runs)
        rules: list[Rule] = [
            ("/", "GET", self._list),
            ("/run/<id_>", "GET", self._report),
            ("/run/<id_>/headline", "GET", self._headline),
            ("/compare", "GET", self._compare),
            *([] if apart is None else apart.rules()),
        ]
        routes = [Route(path, endpoint=answer, methods=[method]) for path, method, answer in rules]
        self._routes = Map(routes, merge_slashes=False, strict_slashes=False)

    def __call__(self, environ: "WSGIEnvironment", start: "StartResponse") -> Iterable[bytes]:
        """WSGI."""
        request = Request(environ)
        request.max_content_length = MOST_BYTES
        try:
            response = self._answered(request)
        except HTTPException as error:
            response = refused(request, error.code or 500, error.description or error.name, error)
        except HeatproofError as error:
            response = refused(request, 422, str(error))
        except Exception:
            log.exception("A request failed")
            response = refused(request, 500, "Something failed that should not; the terminal says what.")
        for name, value in HEADERS.items():
            response.headers.setdefault(name, value)
        return response(environ, start)

    def close(self) -> None:
        """Nothing more is computed."""
        if self.apart is not None:
            self.apart.close()

    def _answered(self, request: Request) -> Response:
        self.access.check(request)
        answer, values = self._routes.bind_to_environ(request.environ).match()
        response: Response = answer(request, **values)
        self.access.admit(request, response)
        return response

    def _list(self, request: Request) -> Response:
        return html(pages.listing(self.runs, model="" if self.apart is None else self.apart.name), "list")

    def _report(self, request: Request, id_: str) -> Response:
        return html(self.pages.report(self._run(id_)), "report")

    def _headline(self, request: Request, id_: str) -> Response:
        return data({"headline": self.pages.headline(self._run(id_))})

    def _compare(self, request: Request) -> Response:
        ids = request.args.get("runs", "").split(",")[:MOST_COMPARED]
        return html(self.pages.comparison([self._run(one) for one in dict.fromkeys(ids)]), "plain")

    def _run(self, id_: str) -> Found:
        found = self.runs.get(id_) if ID(id_) else None
        if found is None:
            raise NotFound("Expected the id of a run in this folder, but got none that is there.")
        return found


HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}


def html(page: str, policy: str) -> Response:
    """A page, held to one of `POLICIES`."""
    held = {"Content-Security-Policy": f"{POLICIES[policy]}; frame-ancestors 'none'"}
    text = page.encode("utf-8", "backslashreplace")  # a name in a run may hold half a character
    return Response(text, mimetype="text/html", headers=held)


def data(value: Mapping[str, Any], status: int = 200) -> Response:
    """Plain data."""
    return Response(json.dumps(value, allow_nan=False), status, mimetype="application/json")


def refused(request: Request, status: int, sentence: str, error: HTTPException | None = None) -> Response:
    """A refusal as who asked reads it: a page for who opened one, data for a script."""
    if request.headers.get("Sec-Fetch-Dest", "document") == "document" and request.method in ("GET", "HEAD"):
        title = error.name if error is not None and not isinstance(error, InternalServerError) else "Cannot be shown"
        response = html(pages.refusal(title, sentence), "plain")
        response.status_code = status
    else:
        response = data({"error": sentence}, status)
    if error is not None and status == 405:
        response.headers.extend({name: value for name, value in error.get_headers() if name == "Allow"})
    return response
