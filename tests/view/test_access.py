"""What a stranger may send, and what he gets: a refusal of the right kind, from a server that goes on answering."""

import random
import shutil
import socket
import time
from pathlib import Path

import pytest
from serving import Served, everything

from heatproof.view.application import MOST_BYTES
from heatproof.view.runs import Runs
from heatproof.view.server import CONNECTIONS


def status(answer: bytes) -> int:
    assert answer.startswith(b"HTTP/1."), answer[:60]
    return int(answer.split(b" ", 2)[1])


def test_the_token_opens_the_list_and_leaves_a_cookie_that_no_script_reads(server: Served) -> None:
    answer = server.get(f"/?token={server.token}", headers="Accept: */*\r\n")
    assert status(answer) == 200
    assert f"Set-Cookie: heatproof-{server.port}={server.token}; HttpOnly; Path=/; SameSite=Strict".encode() in answer
    head = answer.split(b"\r\n\r\n")[0]
    assert b"Cache-Control: no-store" in head
    assert b"default-src 'none'" in head
    assert b"frame-ancestors 'none'" in head
    assert b"X-Content-Type-Options: nosniff" in head
    assert status(server.get("/")) == 200


@pytest.mark.parametrize("given", ["", "wrong", "wrong" * 1000, "%00", "é", "%ff%fe"])
def test_without_the_token_nothing_opens(server: Served, given: str) -> None:
    for path in ("/", "/run/0123456789abcdef", "/compare", "/nowhere"):
        assert status(server.get(f"{path}?token={given}", headers="Accept: */*\r\n")) == (
            403 if given.isascii() else 400
        )
        cookie = f"Cookie: heatproof-{server.port}={given}\r\n"
        assert status(server.get(path, headers=cookie)) == 403
    assert server.lives()


def test_the_token_stands_in_no_address_but_the_first(server: Served) -> None:
    assert status(server.get(f"/compare?token={server.token}", headers="Accept: */*\r\n")) == 403


def test_a_prefix_of_the_token_and_another_servers_cookie_open_nothing(server: Served) -> None:
    assert status(server.get(f"/?token={server.token[:-1]}", headers="Accept: */*\r\n")) == 403
    assert status(server.get("/", headers=f"Cookie: heatproof-1={server.token}\r\n")) == 403


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1", "127.0.0.1:1", "localhost.evil.example", "[::1]", "@"])
def test_a_name_that_was_pointed_here_opens_nothing(server: Served, host: str) -> None:
    answer = server.get("/", host=host)
    assert status(answer) == 403
    assert b"Expected this machine as the host" in answer
    assert status(server.raw(f"GET / HTTP/1.0\r\n{server.cookie}\r\n".encode())) == 403  # none at all
    assert server.lives()


def test_localhost_is_this_machine(server: Served) -> None:
    assert status(server.get("/", host=f"localhost:{server.port}")) == 200


@pytest.mark.parametrize("origin", ["http://evil.example", "null", "https://127.0.0.1", "http://127.0.0.1:1"])
def test_another_sites_request_is_refused(server: Served, origin: str) -> None:
    assert status(server.get("/", headers=f"{server.cookie}Origin: {origin}\r\n")) == 403
    own = f"{server.cookie}Origin: http://127.0.0.1:{server.port}\r\n"
    assert status(server.get("/", headers=own)) == 200


def test_another_local_servers_page_may_link_here_and_ask_for_nothing(server: Served) -> None:
    for site in ("same-site", "cross-site"):
        for mode, expected in (("navigate", 200), ("no-cors", 403), ("cors", 403)):
            fetched = f"{server.cookie}Sec-Fetch-Site: {site}\r\nSec-Fetch-Mode: {mode}\r\n"
            assert status(server.get("/", headers=fetched)) == expected
            assert status(server.get("/", method="POST", headers=fetched)) == 403
    assert status(server.get("/", headers=f"{server.cookie}Sec-Fetch-Site: same-origin\r\n")) == 200


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "TRACE", "CONNECT", "BREW", "get"])
def test_other_methods_are_not_allowed(server: Served, method: str) -> None:
    answer = server.get("/", method=method)
    assert status(answer) in (400, 405)
    assert method == "get" or b"Allow: " in answer or status(answer) == 400
    assert server.lives()


@pytest.mark.parametrize(
    "path",
    [
        "/run/..%2f..%2f..%2fetc%2fpasswd", "/run/../../etc/passwd", "/../../../etc/passwd", "//etc/passwd",
        "/run/%2e%2e/%2e%2e/etc/passwd", "/run/....//etc", "/run/0123456789ABCDEF", "/run/first", "/run/",
        "/run/0123456789abcdef", "/run/0123456789abcdef%00", "/run/0123456789abcdef/headline", "/run/%ff%fe",
        "/first/manifest.json", "/run/" + "a" * 5000, "/compare?runs=../first,below", "/compare?runs=", "/static/x",
        "/?file=/etc/passwd&token=", "/run/\\..\\..\\etc", "/apart", "/api/map",
    ],
)  # fmt: skip
def test_no_path_leads_anywhere_but_to_runs_by_their_ids(server: Served, path: str) -> None:
    answer = server.get(path)
    assert status(answer) in ((200,) if path.startswith("/?") else (400, 404))
    assert b"root:" not in answer
    assert server.lives()


def test_a_whole_address_in_the_place_of_a_path_leads_nowhere(server: Served) -> None:
    for path in ("http://evil.example/", "file:///etc/passwd", "*"):
        assert status(server.get(path)) in (200, 400, 404)  # the host is the header's, the path the address's
    assert server.lives()


def test_what_is_too_large_is_not_read(server: Served) -> None:
    head = f"POST / HTTP/1.1\r\nHost: 127.0.0.1:{server.port}\r\n{server.cookie}"
    assert status(server.raw(f"{head}Content-Length: {MOST_BYTES + 1}\r\n\r\n".encode())) == 413
    assert status(server.raw(f"{head}Content-Length: {10**30}\r\n\r\n".encode())) == 413
    chunk = b"%x\r\n%b\r\n" % (2**20, b"x" * 2**20)
    answer = server.raw(f"{head}Transfer-Encoding: chunked\r\n\r\n".encode() + chunk * 40)
    assert answer == b"" or status(answer) == 413  # hung up on while sending, he may not read it
    assert status(server.raw(f"{head}X-Long: {'x' * 2**15}\r\n\r\n".encode())) == 431
    assert server.lives()


@pytest.mark.parametrize(
    "head",
    [
        "Content-Length: -1", "Content-Length: 1e3", "Content-Length: 5\r\nContent-Length: 6", "Bad Header: x",
        "Transfer-Encoding: gzip", "Content-Length: 5\r\nTransfer-Encoding: chunked", ": x", "no colon",
    ],
)  # fmt: skip
def test_headers_that_make_no_sense_are_refused(server: Served, head: str) -> None:
    sent = f"POST / HTTP/1.1\r\nHost: 127.0.0.1:{server.port}\r\n{server.cookie}{head}\r\n\r\nhello\r\n"
    assert status(server.raw(sent.encode())) in (400, 405, 501)
    assert server.lives()


def test_bytes_at_random_are_refused(server: Served) -> None:
    chance = random.Random(0)
    for _ in range(25):
        noise = chance.randbytes(chance.randint(1, 300))
        answer = server.raw(noise + b"\r\n\r\n", seconds=0.3)
        assert answer == b"" or status(answer) in (400, 403, 501)
    for cut in range(1, 60, 9):
        whole = f"GET / HTTP/1.1\r\nHost: 127.0.0.1:{server.port}\r\n{server.cookie}\r\n".encode()
        swapped = bytearray(whole)
        swapped[chance.randrange(len(whole) - 4)] = chance.randrange(256)
        answer = server.raw(bytes(swapped) if cut % 2 else whole[:cut] + b"\0" + whole[cut:], seconds=0.3)
        assert answer == b"" or status(answer) < 500 or status(answer) == 501
    assert server.lives()


def test_who_is_silent_or_slow_is_hung_up_on_while_others_are_answered(server: Served) -> None:
    silent = socket.create_connection(("127.0.0.1", server.port), timeout=10)
    half = socket.create_connection(("127.0.0.1", server.port), timeout=10)
    half.sendall(b"GET / HTTP/1.1\r\nHost: ")
    body = socket.create_connection(("127.0.0.1", server.port), timeout=10)
    head = f"POST / HTTP/1.1\r\nHost: 127.0.0.1:{server.port}\r\n{server.cookie}Content-Length: 1000\r\n\r\nabc"
    body.sendall(head.encode())
    trickle = socket.create_connection(("127.0.0.1", server.port), timeout=10)
    began = time.monotonic()
    ended = False
    while not ended and time.monotonic() - began < 12:
        try:
            trickle.sendall(b"G")  # never silent for long, and never done
            trickle.settimeout(0.2)
            ended = trickle.recv(100) in (b"",) or True
        except TimeoutError:
            continue
        except OSError:
            ended = True
        assert server.lives()
    assert ended
    assert everything(silent) == b""
    assert everything(half).startswith(b"HTTP/1.1 408")
    assert everything(body).startswith(b"HTTP/1.1 408")
    for one in (silent, half, body, trickle):
        one.close()
    assert server.lives()


def test_more_connections_than_are_taken_wait_for_their_turn(server: Served) -> None:
    held = [socket.create_connection(("127.0.0.1", server.port), timeout=10) for _ in range(CONNECTIONS + 20)]
    assert server.lives()  # when the silent ones were hung up on
    for one in held:
        one.close()
    assert server.lives()


def test_who_reads_nothing_costs_no_other_his_answer(server: Served) -> None:
    (run,) = [one for one in Runs(server.folder).all() if one.name == "first"]
    asked = f"GET /run/{run.id} HTTP/1.1\r\nHost: 127.0.0.1:{server.port}\r\n{server.cookie}\r\n".encode()
    held = [socket.create_connection(("127.0.0.1", server.port), timeout=10) for _ in range(12)]
    for one in held:
        one.sendall(asked)
    assert server.lives()
    for one in held:
        one.close()


def test_a_link_out_of_the_folder_is_refused(server: Served, run: Path, tmp_path: Path) -> None:
    root = tmp_path / "root"
    shutil.copytree(run, root / "good")
    shutil.copytree(run, root / "leads-out")
    (root / "leads-out" / "rows" / "all.parquet").unlink()
    (root / "leads-out" / "rows" / "all.parquet").symlink_to(run / "rows" / "all.parquet")
    (root / "elsewhere").symlink_to(run, target_is_directory=True)
    runs = Runs(root)
    assert [one.name for one in runs.all()] == ["good", "leads-out"]  # no link is followed
    good, bad = sorted(runs.summaries(), key=lambda one: one.name)
    assert good.problem == ""
    assert "'rows/all.parquet' is a link that leads out" in bad.problem


def test_a_pipe_is_not_waited_for(run: Path, tmp_path: Path) -> None:
    import os

    shutil.copytree(run, tmp_path / "run")
    os.mkfifo(tmp_path / "run" / "rows" / "more.parquet")
    (found,) = Runs(tmp_path).summaries()
    assert "is a pipe or a device" in found.problem
