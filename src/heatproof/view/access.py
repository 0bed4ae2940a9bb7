"""Who may ask: whoever opened the address that the terminal showed, in a browser on this machine, from these pages."""

import hmac
import secrets
from dataclasses import dataclass, field

from werkzeug.exceptions import Forbidden
from werkzeug.wrappers import Request, Response

LOOPBACK = "127.0.0.1"
HERE = (LOOPBACK, "localhost", "[::1]")


@dataclass(frozen=True, kw_only=True)
class Access:
    """The key of one server, drawn anew for each.

    A request must name this machine as its host, so that no name of a stranger's that was pointed here opens anything;
    must come from a page of this server, if a browser says where it comes from; and must bring the token, in the
    address once and then as a cookie that no script reads and no other site's request carries.
    """

    port: int
    token: str = field(default_factory=lambda: secrets.token_urlsafe(32), repr=False)

    @property
    def address(self) -> str:
        """What is to be opened in a browser."""
        return f"http://{LOOPBACK}:{self.port}/?token={self.token}"

    @property
    def cookie(self) -> str:
        """Cookies know no ports: two servers on one machine must not take each other's."""
        return f"heatproof-{self.port}"

    def check(self, request: Request) -> None:
        """Refuse who may not ask. Raises: Forbidden."""
        if request.environ.get("HTTP_HOST", "").lower() not in self._hosts():
            raise Forbidden(f"Expected this machine as the host, but got another; open http://{LOOPBACK}:{self.port}.")
        origin = request.headers.get("Origin")
        if origin is not None and origin.lower() not in {f"http://{host}" for host in self._hosts()}:
            raise Forbidden("Expected a request of this server's own pages, but another site sent it.")
        fetched = request.headers.get("Sec-Fetch-Site", "none") not in ("same-origin", "none")
        if fetched and (request.headers.get("Sec-Fetch-Mode") != "navigate" or request.method != "GET"):
            raise Forbidden("Expected a request of this server's own pages, but another site sent it.")
        if not (self._is(self._given(request)) or self._is(request.cookies.get(self.cookie, ""))):
            raise Forbidden("Expected the token of this server; open the address that heatproof view has printed.")

    def admit(self, request: Request, response: Response) -> None:
        """Give who came with the token the cookie that stands for it."""
        if self._is(self._given(request)):
            response.set_cookie(self.cookie, self.token, httponly=True, samesite="Strict", path="/")

    def _given(self, request: Request) -> str:
        """The token in the address: of the first page alone, so that it stands in no other."""
        return request.args.get("token", "") if request.path == "/" else ""

    def _is(self, given: str) -> bool:
        return hmac.compare_digest(given.encode(errors="surrogateescape"), self.token.encode())

    def _hosts(self) -> set[str]:
        hosts = {f"{host}:{self.port}" for host in HERE}
        return hosts | set(HERE) if self.port == 80 else hosts
