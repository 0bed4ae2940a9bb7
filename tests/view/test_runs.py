"""The list of runs, the page of each, several compared, and the same as a static site."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import synthetic
from serving import Served, served
from typer.testing import CliRunner

from heatproof import report
from heatproof.cli import app
from heatproof.errors import InputError, MissingExtraError, StoreError
from heatproof.report.content import content
from heatproof.view.bundle import bundled
from heatproof.view.pages import Pages, headline, listing
from heatproof.view.runs import Runs
from heatproof.view.server import listen


def body(answer: bytes) -> str:
    return answer.split(b"\r\n\r\n", 1)[1].decode()


def ids(folder: Path) -> dict[str, str]:
    return {one.name: one.id for one in Runs(folder).all()}


def tree(folder: Path) -> list[tuple[str, int]]:
    return sorted((str(path), path.stat().st_mtime_ns) for path in folder.rglob("*"))


def test_every_run_below_the_folder_is_listed_with_what_it_is_about(several: Path) -> None:
    found = {one.name: one for one in Runs(several).summaries()}
    assert set(found) == {"first", "below/second", "damaged"}
    first = found["first"]
    manifest = json.loads((several / "first" / "manifest.json").read_text())
    assert (first.model, first.data) == (manifest["model"]["name"], manifest["data"]["name"])
    assert (first.samples, first.methods) == (16, len(synthetic.METHODS) + len(synthetic.CONTROL_METHODS))
    assert first.finished
    assert first.created == manifest["created"]
    assert found["damaged"].problem
    assert len({one.id for one in found.values()}) == 3


def test_a_run_is_looked_into_again_when_its_files_change_only(run: Path, tmp_path: Path) -> None:
    place = Path(shutil.copytree(run, tmp_path / "run")) / "manifest.json"
    runs = Runs(tmp_path)
    (first,) = runs.summaries()
    assert runs.summaries()[0] is first
    place.write_text(json.dumps({**json.loads(place.read_text()), "title": "Another title"}))
    assert runs.summaries()[0].title == "Another title"


def test_one_run_may_be_the_folder(run: Path) -> None:
    assert [one.name for one in Runs(run).all()] == [run.name]
    with pytest.raises(InputError, match=r"Expected a folder of runs, but .* is none"):
        Runs(run / "nowhere")


def test_list_names_each_run_and_says_why_one_cannot_be_opened(server: Served) -> None:
    page = body(server.get("/"))
    assert "3 runs in" in page
    for name, id_ in ids(server.folder).items():
        assert name in page
        assert (f'href="run/{id_}"' in page) == (name != "damaged")
    assert "Cannot be opened." in page
    assert synthetic.EVIL not in page
    assert server.token not in page


def test_page_of_a_run_is_the_report_and_its_sentence_the_headline(server: Served) -> None:
    id_ = ids(server.folder)["first"]
    answer = server.get(f"/run/{id_}")
    assert body(answer) == report.render(content(server.folder / "first"))
    assert b"sandbox allow-scripts" in answer.split(b"\r\n\r\n")[0]  # it can ask this server for nothing
    said = json.loads(body(server.get(f"/run/{id_}/headline")))
    assert said == {"headline": headline(server.folder / "first")}


def test_a_damaged_run_is_a_sentence_and_the_server_goes_on(server: Served) -> None:
    id_ = ids(server.folder)["damaged"]
    for path in (f"/run/{id_}", f"/run/{id_}/headline"):
        answer = server.get(path)
        assert answer.startswith(b"HTTP/1.1 422")
        assert b"Expecting property name" in answer
    assert server.lives()


def test_a_run_that_is_not_finished_is_said_to_be_so_and_opens(run: Path, tmp_path: Path) -> None:
    place = Path(shutil.copytree(run, tmp_path / "run")) / "manifest.json"
    place.write_text(json.dumps({**json.loads(place.read_text()), "status": "incomplete"}))
    runs = Runs(tmp_path)
    assert not runs.summaries()[0].finished
    assert '<span class="chip tone-mid">unfinished</span>' in listing(runs)
    assert Pages(runs).report(runs.all()[0])


def test_names_that_are_markup_or_no_text_are_shown_as_they_are(run: Path, tmp_path: Path) -> None:
    evil = "<script>alert(1)</script>\ud800"
    folders = [tmp_path / "runs" / "<b onclick=x>", tmp_path / "runs" / os.fsdecode(b"\xff\xfe")]
    for folder in folders:
        place = Path(shutil.copytree(run, folder)) / "manifest.json"
        place.write_text(json.dumps({**json.loads(place.read_text()), "title": evil}))
    for server in served(tmp_path / "runs"):
        page = body(server.get("/"))
        assert page.count("&lt;script&gt;alert(1)&lt;/script&gt;\\ud800") == 4
        assert "&lt;b onclick=x&gt;" in page
        assert "\\udcff\\udcfe" in page
        assert "<script>alert" not in page
        for name, id_ in ids(server.folder).items():  # of a name that is no text no library reads the rows
            for path in (f"/run/{id_}", f"/run/{id_}/headline"):
                assert server.get(path).startswith(b"HTTP/1.1 200" if name.isascii() else b"HTTP/1.1 422")
    index = bundled(Runs(tmp_path / "runs"), tmp_path / "site")
    assert "<script>alert" not in index.read_text()
    assert index.read_text().count("Cannot be opened.") == 1
    assert len(list((tmp_path / "site" / "runs").iterdir())) == 1


@pytest.mark.parametrize("text", ["{}", "[]", "null", '{"schema": 2}', '{"schema": 2, "data": {}, "model": 3}'])
def test_a_file_that_only_has_the_name_of_a_runs_is_a_sentence(tmp_path: Path, text: str) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "manifest.json").write_text(text)
    runs = Runs(tmp_path)
    (found,) = runs.all()
    assert runs.summary(found).problem.startswith(("Expected a run of schema", "It cannot be read ("))
    with pytest.raises(StoreError, match=r"Expected a run of schema|This run cannot be shown \("):
        Pages(runs).report(found)


def test_several_are_compared_on_one_page(server: Served) -> None:
    found = ids(server.folder)
    page = body(server.get(f"/compare?runs={found['first']},{found['below/second']}"))
    assert "2 runs compared" in page
    answer = server.get(f"/compare?runs={found['first']}")
    assert answer.startswith(b"HTTP/1.1 422")
    assert b"Expected two runs or more to compare" in answer


def test_looking_writes_nothing(server: Served) -> None:
    before = tree(server.folder)
    for id_ in ids(server.folder).values():
        server.get(f"/run/{id_}")
    server.get("/")
    assert tree(server.folder) == before


def test_a_run_that_changed_is_read_again(run: Path, tmp_path: Path) -> None:
    runs = Runs(Path(shutil.copytree(run, tmp_path / "run")).parent)
    pages, (found,) = Pages(runs), runs.all()
    first = pages.report(found)
    assert pages.report(found) is first
    manifest = json.loads((found.path / "manifest.json").read_text())
    (found.path / "manifest.json").write_text(json.dumps({**manifest, "title": "Another title"}))
    assert "Another title" in pages.report(found)


def test_bundle_is_a_list_and_the_page_of_each_run(several: Path, tmp_path: Path) -> None:
    before = tree(several)
    index = bundled(Runs(several), tmp_path / "site")
    page = index.read_text()
    links = re.findall(r'href="(runs/[^"]+)"', page)
    assert [re.sub("-[0-9a-f]{6}", "", link) for link in sorted(links)] == ["runs/below-second.html", "runs/first.html"]
    assert (index.parent / links[0]).read_text() == report.render(content(several / "first"))
    assert page.count(headline(several / "first").split(":")[0]) == 2
    assert "Cannot be opened." in page
    assert "<script" not in page
    assert tree(several) == before
    with pytest.raises(InputError, match="Expected a folder to write to"):
        bundled(Runs(several), index)


def test_the_verb_writes_a_bundle(several: Path, tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["view", str(several), "--bundle", str(tmp_path / "site")])
    assert result.output.strip() == str((tmp_path / "site" / "index.html").resolve())


def test_the_verb_prints_the_address_writes_nothing_and_ends_cleanly_on_an_interrupt(run: Path, tmp_path: Path) -> None:
    (tmp_path / "run").symlink_to(run)
    (tmp_path / "net.py").write_text("from heatproof.zoo import DemoCNN\n")
    spec = tmp_path / "small.toml"
    spec.write_text(
        'methods = ["gradient"]\nchecks = ["calibration"]\n[model]\nname = "net:DemoCNN"\n[data]\nname = "demo"\n'
    )
    before = tree(tmp_path)
    command = [sys.executable, "-m", "heatproof", "view", str(tmp_path), "--no-browser", "--model", str(spec)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        address = process.stdout.readline().strip()
        port, token = re.fullmatch(r"http://127\.0\.0\.1:(\d+)/\?token=([\w-]{43})", address).groups()
        served = Served(int(port), token, run)
        assert served.lives()
        assert served.get(f"/?token={token}", headers="Accept: */*\r\n").startswith(b"HTTP/1.1 200")
        assert b"Take net:DemoCNN apart" in served.get("/")
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=20)
    assert process.returncode == 0
    assert "Traceback" not in err
    assert err.strip().endswith("Ended.")
    assert out == ""
    assert tree(tmp_path) == before  # no cache of the code beside the spec, either


def test_a_taken_port_is_an_error_that_says_so(server: Served) -> None:
    with pytest.raises(InputError, match=f"Expected a free port, but {server.port} cannot be listened to .*--port"):
        listen(server.port)


def test_without_the_extra_it_is_named(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "heatproof.view.server")
    monkeypatch.setitem(sys.modules, "waitress.channel", None)
    result = CliRunner().invoke(app, ["view", str(run), "--no-browser"])
    assert isinstance(result.exception, MissingExtraError)
    assert "pip install 'heatproof[view]'" in str(result.exception)


def test_looking_at_runs_needs_no_torch(run: Path) -> None:
    code = (
        "import sys; sys.modules['torch'] = None; from pathlib import Path; from heatproof.view.runs import Runs;"
        "from heatproof.view.application import Application; from heatproof.view import server, access;"
        "from heatproof.view.pages import Pages; runs = Runs(Path(sys.argv[1])); Pages(runs).report(runs.all()[0])"
    )
    subprocess.run([sys.executable, "-c", code, str(run)], check=True, timeout=100)
