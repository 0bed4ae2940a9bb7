"""A run behind a URL: the same operations as in a folder, on a real S3 server on this machine."""

import pickle
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch

import heatproof as hp
from heatproof.runs import Store, leases
from heatproof.runs.status import Status
from heatproof.runs.urls import UrlFiles

pytest.importorskip("s3fs", reason="S3 needs the extra s3")
moto = pytest.importorskip("moto.server", reason="a server of S3 needs moto")
QUESTION: dict[str, Any] = {"schema": 3, "questions": {}, "summaries": {}}


@pytest.fixture(scope="module")
def options() -> Iterator[dict[str, Any]]:
    import boto3

    server = moto.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    where = {"endpoint_url": f"http://{host}:{port}", "region_name": "us-east-1"}
    boto3.client("s3", aws_access_key_id="x", aws_secret_access_key="x", **where).create_bucket(Bucket="bucket")
    yield {"key": "x", "secret": "x", "client_kwargs": where}
    server.stop()


@pytest.fixture
def files(options: dict[str, Any], request: pytest.FixtureRequest) -> UrlFiles:
    return UrlFiles(f"s3://bucket/{request.node.name}", **options)


def test_a_file_is_created_once(files: UrlFiles) -> None:
    assert files.names("rows") == []
    assert files.create("rows/b", b"first")
    assert not files.create("rows/b", b"second")
    assert files.read("rows/b") == b"first"
    files.replace("rows/b", b"third")
    assert files.read("rows/b") == b"third"
    files.move("rows/b", "superseded/b")
    assert (files.names("rows"), files.names("superseded"), files.names("superseded", "c")) == ([], ["b"], [])
    files.remove("superseded/b")
    files.remove("superseded/b")
    with pytest.raises(FileNotFoundError):
        files.read("superseded/b")


def test_of_eight_racers_one_wins(files: UrlFiles, options: dict[str, Any]) -> None:
    won: list[int] = []

    def race(racer: int) -> None:
        own = UrlFiles(files.url, skip_instance_cache=True, **options)
        if own.create("leases/block", str(racer).encode()):
            won.append(racer)

    racers = [threading.Thread(target=race, args=(racer,)) for racer in range(8)]
    for one in racers:
        one.start()
    for one in racers:
        one.join()
    assert len(won) == 1
    assert files.read("leases/block") == str(won[0]).encode()


def test_goes_to_another_process(files: UrlFiles) -> None:
    files.create("a", b"1")
    assert pickle.loads(pickle.dumps(files)).read("a") == b"1"


def test_a_store_and_its_leases_live_there(files: UrlFiles) -> None:
    store = Store(files)
    store.open()
    assert store.ask(QUESTION)
    assert not store.ask({**QUESTION, "schema": 4})
    assert store.question() == QUESTION
    with leases.alone(files, "run", "x"):
        assert leases.held(files) == ["run"]
    assert leases.held(files) == []


SETTINGS: dict[str, Any] = {
    "methods": ["gradient", "smoothgrad"], "checks": ["calibration", "degradation"], "batch": 3, "progress": False,
    "threads": 1,
}  # fmt: skip


def asked() -> tuple[torch.nn.Module, torch.Tensor]:
    """A network and images, the same in every process."""
    torch.manual_seed(0)
    net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(144, 4)).eval()
    return net, torch.rand(7, 1, 12, 12, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def variables(options: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """The server by the variables of AWS, as a user has it."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", options["client_kwargs"]["endpoint_url"])
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "x")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")


TAKE = """
import test_urls, heatproof as hp
if __name__ == "__main__":
    hp.audit(*test_urls.asked(), out="s3://bucket/take", take=True, **test_urls.SETTINGS)
"""


@pytest.mark.slow
@pytest.mark.parametrize("way", ["local", "processes", "shard", "take", "ray"])
@pytest.mark.usefixtures("variables")
def test_every_way_there_gives_the_rows_of_one_here(way: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if way == "ray":
        pytest.importorskip("ray", reason="needs the extra ray")
        monkeypatch.setenv("HOME", str(tmp_path))
    net, images = asked()
    out = f"s3://bucket/{way}"
    if way == "shard":
        for shard in ("1/3", "2/3", "3/3"):
            hp.audit(net, images, out=out, shard=shard, **SETTINGS)
    elif way == "take":
        taking = [subprocess.Popen([sys.executable, "-c", TAKE], cwd=Path(__file__).parent) for _ in range(2)]
        assert [one.wait(timeout=120) for one in taking] == [0, 0]
    else:
        more = {"local": {}, "processes": {"workers": 2}, "ray": {"engine": "ray", "workers": 2}}[way]
        hp.audit(net, images, out=out, **SETTINGS, **more)
    here = hp.audit(net, images, out=tmp_path / "here", **SETTINGS)
    there = hp.open(out)
    assert there.manifest["status"] == "complete"
    pd.testing.assert_frame_equal(there.rows(), here.rows(), check_exact=True)


@pytest.mark.slow
@pytest.mark.usefixtures("variables")
def test_an_audit_there_is_read_changed_and_changed_back(tmp_path: Path) -> None:
    (net, images), settings = asked(), SETTINGS
    here = hp.audit(net, images, out=tmp_path, **settings)
    for shard in ("1/2", "2/2"):
        there = hp.audit(net, images, out="s3://bucket/run", shard=shard, **settings)
    pd.testing.assert_frame_equal(there.rows(), here.rows(), check_exact=True)
    assert there.manifest["status"] == "complete"
    assert Status.of("s3://bucket/run").finished == 3
    assert there.headline() == here.headline()
    there.report()
    assert "report.html" in Store("s3://bucket/run").files.names()
    more = hp.audit(net, images, out="s3://bucket/run", **{**settings, "methods": ["gradient", "saliency"]})
    assert set(more.rows()["method"]) == {"", "gradient", "saliency"}
    pd.testing.assert_frame_equal(hp.audit(net, images, out="s3://bucket/run", **settings).rows(), here.rows())
