"""Requests to the page on which a network is taken apart: what is refused, with what, and that it goes on."""

import json
import random
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from serving import Served, served
from torch import nn
from toys import a_subject, bomb, net, picture

from heatproof.view.apart import Apart
from heatproof.view.bench import Bench

ASKED = {"sample": "", "label": 3, "method": "gradient", "by": "cascading he", "seed": 0, "stage": 1}


@pytest.fixture(scope="module")
def apart(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    yield from served(tmp_path_factory.mktemp("runs"), apart=Apart(Bench(a_subject())))


def asked(server: Served, path: str, body: bytes, headers: str = "X-Page: test\r\n") -> tuple[int, dict[str, Any]]:
    answer = server.get(f"/apart/{path}", method="POST", body=body, headers=server.cookie + headers)
    return int(answer.split(b" ", 2)[1]), json.loads(answer.split(b"\r\n\r\n", 1)[1])


def test_the_page_names_the_network_and_its_methods(apart: Served) -> None:
    page = apart.get("/apart").decode()
    assert "200 OK" in page.splitlines()[0]
    assert '<input type="checkbox" name="method" value="grad-cam" checked>' in page
    assert 'href="apart"' in apart.get("/").decode()


def test_a_picture_is_opened_and_its_maps_are_those_of_the_bench(apart: Served) -> None:
    status, opened = asked(apart, "picture", picture())
    bench = Bench(a_subject())
    assert (status, opened) == (200, bench.drop(picture()))
    status, stages = asked(apart, "stages", json.dumps({"by": "cascading he", "seed": 0}).encode())
    assert (status, stages["stages"]) == (200, ["3", "0"])
    wanted = {**ASKED, "sample": opened["sample"]}
    assert asked(apart, "map", json.dumps(wanted).encode()) == (200, bench.map(**wanted))


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"hello", 415), (b"<svg xmlns='http://www.w3.org/2000/svg'/>", 415), (picture((64, 64))[:300], 415),
        (b"GIF89a" + b"\xff" * 50, 415), (b"\xff\xd8\xff\xe0" + bytes(200), 415), (bomb(), 413),
        (b"\x00" * 2**20, 415),
    ],
)  # fmt: skip
def test_what_is_no_picture_is_refused(apart: Served, body: bytes, status: int) -> None:
    found, said = asked(apart, "picture", body)
    assert found == status
    assert said["error"].startswith("This picture is too large" if status == 413 else "This is no picture")
    assert apart.lives()


@pytest.mark.filterwarnings("ignore::UserWarning:PIL")  # what Pillow says of broken files
def test_pictures_with_bytes_at_random_are_opened_or_refused(apart: Served) -> None:
    chance = random.Random(0)
    for kind in ("PNG", "JPEG", "GIF", "TIFF", "WEBP", "BMP"):
        whole = picture((20, 20), kind)
        for _ in range(6):
            broken = bytearray(whole)
            for _ in range(chance.randint(1, 8)):
                broken[chance.randrange(len(broken))] = chance.randrange(256)
            status, said = asked(apart, "picture", bytes(broken[: chance.randint(8, len(broken))]))
            assert status in (200, 413, 415), said
    assert apart.lives()


def test_a_picture_that_is_cut_off_by_its_sender_is_none(apart: Served) -> None:
    head = f"POST /apart/picture HTTP/1.1\r\nHost: 127.0.0.1:{apart.port}\r\n{apart.cookie}X-Page: a\r\n"
    with socket.create_connection(("127.0.0.1", apart.port), timeout=10) as connection:
        connection.sendall(f"{head}Content-Length: 100000\r\n\r\n".encode() + picture())
        connection.shutdown(socket.SHUT_WR)
        connection.settimeout(10)
        connection.recv(1000)
    assert apart.lives()


@pytest.mark.parametrize(
    "wrong",
    [
        b"", b"{", b"[]", b"null", b"[" * 5000, b'{"sample": "x"}', b"\xff\xfe", b"x" * 20000,
        *(json.dumps({**ASKED, **one}).encode() for one in (
            {"stage": -1}, {"stage": "1"}, {"stage": True}, {"stage": 1.5}, {"stage": 2**40}, {"label": None},
            {"sample": ["a"]}, {"method": {}}, {"more": 1}, {"seed": 10**30},
        )),
    ],
)  # fmt: skip
def test_what_makes_no_sense_is_refused(apart: Served, wrong: bytes) -> None:
    status, said = asked(apart, "map", wrong)
    assert status == (413 if len(wrong) > 2**14 else 400)
    assert said["error"].startswith("Expected")
    assert apart.lives()


def test_what_there_is_not_is_said_in_a_sentence(apart: Served) -> None:
    sample = asked(apart, "picture", picture())[1]["sample"]
    for wrong, said in (
        ({"method": "../../etc/passwd"}, "Expected the name of a method"),
        ({"by": "sideways"}, "Expected the name of a randomization"),
        ({"stage": 9}, "Expected a stage from 0 to 2"),
        ({"label": 77}, "77"),
        ({"sample": "sample-0"}, "Expected a sample that is open"),
    ):
        status, found = asked(apart, "map", json.dumps({**ASKED, "sample": sample, **wrong}).encode())
        assert status == 422
        assert said in found["error"]
    assert apart.get("/apart/sample/0", headers=f"{apart.cookie}X-Page: a\r\n").startswith(b"HTTP/1.1 422")
    for path in ("-1", "1e3", "..%2f..", "%00", "9" * 400):
        answer = apart.get(f"/apart/sample/{path}", headers=f"{apart.cookie}X-Page: a\r\n")
        assert answer.startswith((b"HTTP/1.1 404", b"HTTP/1.1 422"))
    assert apart.lives()


def test_a_page_without_a_name_or_another_sites_is_refused(apart: Served) -> None:
    assert asked(apart, "picture", picture(), headers="")[0] == 400
    assert asked(apart, "picture", picture(), headers=f"X-Page: {'x' * 65}\r\n")[0] == 400
    other = "X-Page: a\r\nOrigin: http://evil.example\r\n"
    assert asked(apart, "picture", picture(), headers=other)[0] == 403
    assert asked(apart, "picture", picture(), headers="X-Page: a\r\nSec-Fetch-Site: cross-site\r\n")[0] == 403
    answer = apart.get("/apart/picture", method="POST", body=picture(), headers="X-Page: a\r\n")
    assert answer.startswith(b"HTTP/1.1 403")  # without the cookie


class Breaks(nn.Module):
    """Raises on bright pictures."""

    def __init__(self) -> None:
        super().__init__()
        self.net = net()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if float(x.mean()) > 0.9:
            raise ZeroDivisionError("this network divides by zero")
        return self.net(x)


def test_an_error_of_the_network_is_a_sentence_and_the_next_picture_is_computed(tmp_path: Path) -> None:
    import io

    from PIL import Image

    white = io.BytesIO()
    Image.new("RGB", (8, 8), (255, 255, 255)).save(white, "PNG")
    for server in served(tmp_path, apart=Apart(Bench(a_subject(model=Breaks().eval())))):
        status, said = asked(server, "picture", white.getvalue())
        assert status == 422
        assert "this network divides by zero" in said["error"]
        assert asked(server, "picture", picture())[0] == 200
        assert server.lives()
