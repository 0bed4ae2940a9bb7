"""Taking a network apart in a browser: the page, and what its script asks. One computation at a time."""

import json
import re
from collections.abc import Callable, Mapping
from typing import Any

from werkzeug.exceptions import BadRequest, RequestEntityTooLarge
from werkzeug.wrappers import Request, Response

from heatproof.errors import HeatproofError
from heatproof.report import page
from heatproof.view.application import Rule, data, html
from heatproof.view.bench import Bench
from heatproof.view.dropped import LargePictureError, PictureError
from heatproof.view.pages import OF_APART, OWN
from heatproof.view.turns import BusyError, OvertakenError, Turns

MOST_ASKED = 2**14  # bytes of what a script asks
LARGEST_SEED = 2**31
PAGE = re.compile(r"[A-Za-z0-9-]{1,64}").fullmatch
STATUS = {LargePictureError: 413, PictureError: 415, OvertakenError: 409, BusyError: 503}


class Apart:
    """What is answered of one network. Nothing is written, but what methods learn, into the cache folder."""

    def __init__(self, bench: Bench) -> None:
        self.bench, self.turns, self.name = bench, Turns(), bench.subject.name

    def rules(self) -> list[Rule]:
        """Address, method and answer."""
        return [
            ("/apart", "GET", self._page),
            ("/apart/sample/<int:place>", "GET", self._sample),
            ("/apart/picture", "POST", self._picture),
            ("/apart/stages", "POST", self._stages),
            ("/apart/map", "POST", self._map),
        ]

    def close(self) -> None:
        """Nothing more is computed."""
        self.turns.close()

    def _page(self, request: Request) -> Response:
        about = self.bench.about()
        values = {"about": about, "data": about}
        return html(page.render("apart.html", values, scripts=OF_APART, own=OWN, asks=True), "apart")

    def _sample(self, request: Request, place: int) -> Response:
        return self._computed(request, lambda: self.bench.sample(place))

    def _picture(self, request: Request) -> Response:
        raw = request.get_data()
        return self._computed(request, lambda: self.bench.drop(raw))

    def _stages(self, request: Request) -> Response:
        asked = _asked(request, {"by": str, "seed": int})
        return self._computed(request, lambda: self.bench.stages(**asked))

    def _map(self, request: Request) -> Response:
        kinds = {"sample": str, "label": int, "method": str, "by": str, "seed": int, "stage": int}
        asked = _asked(request, kinds)
        return self._computed(request, lambda: self.bench.map(**asked))

    def _computed(self, request: Request, work: Callable[[], Mapping[str, Any]]) -> Response:
        """What `work` gives in its turn; whatever a model or a method raises is a sentence, and the server goes on."""
        who = request.headers.get("X-Page", "")
        if not PAGE(who):
            raise BadRequest("Expected X-Page, a name that the page gives itself.")
        try:
            return data(self.turns.ask(who, work))
        except HeatproofError as error:
            status = next((number for kind, number in STATUS.items() if isinstance(error, kind)), 422)
            return data({"error": str(error)}, status)
        except Exception as error:
            return data({"error": f"Computing this failed with {type(error).__name__}: {error}"}, 422)


def _asked(request: Request, kinds: Mapping[str, type]) -> dict[str, Any]:
    """The fields of a request, each of its kind. Raises: BadRequest."""
    if (request.content_length or 0) > MOST_ASKED:
        raise RequestEntityTooLarge(f"Expected at most {MOST_ASKED} bytes.")
    try:
        asked = json.loads(request.get_data())
    except (ValueError, RecursionError):
        raise BadRequest("Expected a JSON object.") from None
    if not isinstance(asked, dict) or set(asked) != set(kinds):
        raise BadRequest(f"Expected a JSON object of {', '.join(kinds)}.")
    for name, kind in kinds.items():
        if type(asked[name]) is not kind or (kind is int and not 0 <= asked[name] < LARGEST_SEED):
            raise BadRequest(f"Expected {name} as {'a whole number from 0 on' if kind is int else 'text'}.")
    return asked
