"""What is computed while a network is taken apart: the same numbers as the library gives, call by call."""

import io
import json
import threading
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn
from toys import a_subject, a_text, bomb, net, picture

import heatproof as hp
from heatproof.auditing.from_spec import demo_spec
from heatproof.checks.base import Maps
from heatproof.checks.similarities import chance_rows
from heatproof.data import Dataset, ImageFolder
from heatproof.data.pictures import PictureSource
from heatproof.errors import HeatproofError, InputError
from heatproof.features import Pixels
from heatproof.randomization import Cascading
from heatproof.similarity import SSIM, Spearman
from heatproof.targets import Region
from heatproof.view.bench import Bench
from heatproof.view.drawn import drawn
from heatproof.view.dropped import LargePictureError, PictureError, dropped
from heatproof.view.subject import USUAL, of_spec, subject
from heatproof.view.turns import BusyError, OvertakenError, Turns


@pytest.mark.parametrize("method", USUAL)
@pytest.mark.parametrize("stage", [0, 1, 2])
def test_maps_and_numbers_are_the_librarys(method: str, stage: int) -> None:
    given, model, recipe = a_subject(), net(), hp.methods.get(method)
    bench = Bench(given)
    opened = bench.drop(picture())
    found = bench.map(opened["sample"], 3, method, "cascading he", 7, stage)
    inputs = dropped(picture(), given.picture).inputs
    trained = Pixels().pool(recipe(model, inputs, 3), inputs.shape[1:])
    stages = Cascading(seed=7).stages(model, inputs)
    expected, outputs = trained, model(inputs)
    if stage:
        with stages[stage - 1]:
            expected, outputs = Pixels().pool(recipe(model, inputs, 3), inputs.shape[1:]), model(inputs)
    assert found["map"] == drawn(expected[0].double().numpy(), (8, 8))
    share = float(outputs.detach().softmax(1)[0, 3])
    assert f"{100 * share:.1f} %" in found["network"]
    if stage == 0:
        assert found["alike"] == {}
        return
    assert found["alike"]["spearman"][0] == float(Spearman()(trained, expected)[0])
    assert found["alike"]["ssim"][0] == float(SSIM()(trained, expected)[0])
    ids = (opened["name"],)
    chance = chance_rows(
        (Spearman(),), Maps(trained, {}), Maps(expected, {}), "chance of its own", 7, samples=ids, setting=""
    )
    assert found["alike"]["spearman"][1] == float(next(iter(chance)).values[0])


def test_the_network_is_as_trained_afterwards() -> None:
    given = a_subject()
    before = {name: value.clone() for name, value in given.model.state_dict().items()}
    bench = Bench(given)
    sample = bench.drop(picture())["sample"]
    for stage in (2, 1, 2):
        bench.map(sample, 0, "gradient", "cascading he", 0, stage)
    after = given.model.state_dict()
    assert all(torch.equal(value, after[name]) for name, value in before.items())


def test_a_picture_is_told_by_what_the_network_sees_in_it() -> None:
    bench = Bench(a_subject())
    opened = bench.drop(picture())
    outputs = net()(dropped(picture(), a_subject().picture).inputs).detach().softmax(1)[0]
    order = outputs.argsort(descending=True).tolist()
    names = ("ant", "bee", "cat", "dog", "elk")
    assert opened["labels"] == [[k, f"{names[k]}, {100 * float(outputs[k]):.1f} %"] for k in order]
    assert opened["label"] == order[0]
    assert opened["picture"].startswith("data:image/webp;base64,")
    assert bench.stages("cascading he", 0)["stages"] == ["3", "0"]
    assert bench.stages("cascading he", 0)["measures"][:2] == ["spearman", "spearman-absolute"]


def test_what_is_asked_wrongly_is_said() -> None:
    bench = Bench(a_subject())
    with pytest.raises(InputError, match="Expected a sample to be opened first"):
        bench.stages("cascading he", 0)
    with pytest.raises(InputError, match="Expected a sample that is open"):
        bench.map("sample-0", 0, "gradient", "cascading he", 0, 1)
    with pytest.raises(InputError, match="Expected one of 0 samples"):
        bench.sample(0)
    sample = bench.drop(picture())["sample"]
    for wrong, said in (
        ({"method": "gradent"}, "did you mean 'gradient'"),
        ({"by": "cascading"}, "did you mean 'cascading he'"),
        ({"stage": 3}, "Expected a stage from 0 to 2, but got 3"),
        ({"label": 5}, "targets"),
    ):
        asked = {"label": 0, "method": "gradient", "by": "cascading he", "seed": 0, "stage": 1, **wrong}
        with pytest.raises(InputError, match=said):
            bench.map(sample, **asked)


def test_what_is_no_picture_or_too_large_a_one_is_refused() -> None:
    source, whole = PictureSource(resize=8, crop=8), picture((64, 64))
    for raw in (
        b"",
        b"hello",
        b"\x89PNG\r\n\x1a\n",
        whole[:100],
        whole[: len(whole) // 2],
        b"<svg></svg>",
        b"%PDF-1.7",
    ):
        with pytest.raises(PictureError, match="This is no picture"):
            dropped(raw, source)
    with pytest.raises(LargePictureError, match="too large"):
        dropped(bomb(), source)
    with pytest.raises(LargePictureError, match="2200 x 2200 pixels would be explained"):
        dropped(picture((2200, 2200), "JPEG"), PictureSource(resize=None, crop=None))
    file = io.BytesIO()
    Image.fromarray(np.zeros((9, 9), np.float32)).save(file, "TIFF")
    with pytest.raises(PictureError, match="it is floating-point grey"):
        dropped(file.getvalue(), source)


def test_a_spec_brings_samples_methods_randomizations_and_how_pictures_are_read(tmp_path: Path) -> None:
    (tmp_path / "net.py").write_text("from heatproof.zoo import DemoCNN\n")
    spec = tmp_path / "small.toml"
    spec.write_text(
        'methods = ["cgi", "edge-detector", { name = "smoothgrad", samples = 3, label = "smooth" }]\n'
        '[[checks]]\nname = "parameter-randomization"\n'
        'randomization = { name = "bottom-up", initializer = "uniform" }\n'
        '[model]\nname = "net:DemoCNN"\n[data]\nname = "demo"\nlimit = 4\n'
    )
    found = subject(str(spec))
    assert list(found.methods)[:3] == ["cgi", "edge-detector", "smooth"]
    assert "occlusion" in found.methods
    assert "pattern-net" not in found.methods  # it learns, and there is nothing to learn from
    assert found.chosen == ("cgi", "smooth")
    assert list(found.randomizations) == ["bottom-up uniform", "cascading he", "bottom-up he", "independent he"]
    bench = Bench(found)
    assert bench.about()["samples"] == 4
    assert bench.sample(3)["labels"][0][1].split(",")[0] in "0123456789"
    shown = demo_spec().data.load().display[:1]
    file = io.BytesIO()
    Image.fromarray(shown[0].numpy()).save(file, "PNG")
    assert torch.equal(dropped(file.getvalue(), found.picture).inputs, shown[:, None].float() / 255)


def test_a_runs_own_spec_opens_its_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "net.py").write_text("from heatproof.zoo import DemoCNN\n")
    spec = tmp_path / "small.toml"
    spec.write_text(
        'methods = ["gradient"]\nchecks = ["calibration"]\n[model]\nname = "net:DemoCNN"\n[data]\nname = "demo"\n'
        "limit = 2\n"
    )
    from heatproof.auditing.from_spec import run
    from heatproof.auditing.spec import read

    run(read(spec), tmp_path / "run", progress=False)
    monkeypatch.chdir(tmp_path)
    assert Bench(subject(str(tmp_path / "run"))).about()["samples"] == 2
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    with pytest.raises(InputError, match="net"):
        subject(str(tmp_path / "run"))
    with pytest.raises(InputError, match="Expected nothing beside a spec, which says all that, but got layer"):
        subject(str(spec), layer="0")


def test_code_that_lies_elsewhere_needs_trust(tmp_path: Path) -> None:
    spec = tmp_path / "small.toml"
    spec.write_text(
        'methods = ["gradient"]\nchecks = ["calibration"]\n'
        '[model]\nname = "jinja2:Environment"\n[data]\nname = "demo"\n'
    )
    with pytest.raises(InputError, match="--trust jinja2"):
        subject(str(spec))


def test_a_network_by_its_name_has_the_pictures_of_a_folder(tmp_path: Path) -> None:
    (tmp_path / "pictures").mkdir()
    for k in range(3):
        (tmp_path / "pictures" / f"{k}.png").write_bytes(picture((60, 56), seed=k, mode="L"))
    pictures = {"resize": 56, "crop": 56, "channels": 1, "mean": (), "std": ()}
    found = subject("heatproof.zoo:DemoCNN", data=tmp_path / "pictures", pictures=pictures)
    bench = Bench(found)
    assert bench.about()["samples"] == 3
    opened = bench.sample(1)
    inputs = ImageFolder(root=str(tmp_path / "pictures"), **pictures).load().inputs[1:2]
    label = int(found.model(inputs).argmax())
    assert opened["label"] == label
    stages = bench.stages("cascading he", 0)["stages"]
    assert stages[-1] == "features.0"
    assert bench.map(opened["sample"], label, "gradient", "cascading he", 0, len(stages))["alike"]["spearman"][0] < 1


def test_a_method_that_learns_is_fitted_and_refitted_as_an_audit_does() -> None:
    found = of_spec(demo_spec())
    bench = Bench(found)
    sample = bench.sample(0)
    assert bench.map(sample["sample"], 0, "pattern-attribution", "cascading he", 0, 0)["map"]["image"]
    with pytest.raises(InputError, match="pattern-attribution has no map of a network that was changed: the signal"):
        bench.map(sample["sample"], 0, "pattern-attribution", "cascading he", 0, 1)


def test_any_target_of_a_spec_is_explained() -> None:
    class Map(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            with torch.random.fork_rng():
                torch.manual_seed(0)
                self.net = nn.Conv2d(3, 2, 3, padding=1)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.net(x)

    bench = Bench(a_subject(model=Map().eval(), target=Region(1), classes=None))
    opened = bench.drop(picture())
    assert opened["fixed"] == Region(1).name
    stage = bench.map(opened["sample"], 0, "gradient", "cascading he", 0, 1)
    assert stage["network"].startswith(Region(1).name)
    assert np.isfinite(stage["alike"]["spearman"][0])


def test_texts_are_words_in_color_and_blank_maps_are_said() -> None:
    said = drawn(np.array([1.0, -1.0, 0.0]), (3,), ("good", "<b>bad", "film"))
    assert said["text"] == '<i class="p8">good</i> <i class="n8">&lt;b&gt;bad</i> film'
    assert drawn(np.zeros((4, 4)), (4, 4))["flat"] == "blank: all zero"
    assert drawn(np.full((4, 4), 2.0), (4, 4)) | {"image": ""} == {
        "signed": False, "scale": 2.0, "flat": "constant: 2", "text": "", "image": "",
    }  # fmt: skip


def test_a_text_is_opened_as_words_with_what_fills_it_up_counted() -> None:
    bench = Bench(a_text())
    opened = bench.sample(0)
    assert opened["text"] == "good &lt;b&gt; [new] &lt;pad&gt; × 5"
    assert opened["picture"] == ""
    assert opened["labels"][0][1].startswith("the one output, ")
    found = bench.map("sample-0", 0, "gradient-x-input", "cascading he", 0, 1)
    assert found["map"]["text"].endswith("× 5</i>")
    assert found["map"]["image"] == ""
    assert found["network"].startswith("The network’s output: ")


def test_samples_that_are_no_pictures_take_none() -> None:
    data = Dataset(
        name="table", inputs=torch.rand(3, 4), targets=torch.zeros(3, dtype=torch.int64), ids=("a", "b", "c")
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 3)).eval()
    methods = {"gradient": hp.methods.get("gradient")}
    given = a_subject(
        model=model, methods=methods, samples=hp.data.as_blocks(data), picture=None, no_picture="None.", classes=None
    )
    bench = Bench(given)
    with pytest.raises(InputError, match=r"None\."):
        bench.drop(picture())
    opened = bench.sample(2)
    assert opened["name"] == "c"
    assert bench.map(opened["sample"], 0, "gradient", "cascading he", 0, 1)["map"]["image"]


def test_one_is_computed_at_a_time_and_of_a_page_the_last_wish() -> None:
    turns, begun, go = Turns(), threading.Event(), threading.Event()
    found: dict[str, object] = {}

    def ask(name: str, page: str, work: object) -> threading.Thread:
        def wait() -> None:
            try:
                found[name] = turns.ask(page, work)
            except HeatproofError as error:
                found[name] = type(error)

        thread = threading.Thread(target=wait)
        thread.start()
        return thread

    def slow() -> str:
        begun.set()
        assert go.wait(10)
        return "first"

    def raises() -> None:
        raise ZeroDivisionError

    threads = [ask("running", "one", slow)]
    assert begun.wait(10)
    threads.append(ask("second", "one", lambda: "second"))
    while len(turns._waiting) < 1:
        pass
    threads.append(ask("third", "one", lambda: "third"))
    threads[1].join(10)
    assert found["second"] is OvertakenError
    for k in range(4):
        threads.append(ask(f"page {k}", f"page {k}", lambda k=k: k))
    while len(turns._waiting) < 5:
        pass
    threads.append(ask("too many", "last", lambda: "last"))
    threads[-1].join(10)
    assert found["too many"] is BusyError
    go.set()
    for thread in threads:
        thread.join(10)
    assert [found[name] for name in ("running", "third", "page 0", "page 3")] == ["first", "third", 0, 3]
    with pytest.raises(ZeroDivisionError):
        turns.ask("one", raises)
    assert turns.ask("one", lambda: "goes on") == "goes on"
    turns.close()
    with pytest.raises(BusyError):
        turns.ask("one", lambda: "ended")
    assert json.dumps(found, default=str)


class Waits(nn.Module):
    """Tells of its fourth pass, and waits."""

    def __init__(self) -> None:
        super().__init__()
        self.net, self.passes, self.begun, self.go = net(), 0, threading.Event(), threading.Event()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.passes += 1
        if self.passes == 4 and not self.go.is_set():
            self.begun.set()
            assert self.go.wait(10)
        return self.net(x)


def test_what_its_page_wants_no_more_ends_at_the_next_pass_and_leaves_the_network_as_it_was() -> None:
    model, slow = Waits().eval(), hp.methods.get("meaningful-perturbation", steps=100)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    model.go.set()
    bench, turns = Bench(a_subject(model=model, methods={"slow": slow})), Turns()
    sample = bench.drop(picture())["sample"]
    bench.map(sample, 0, "slow", "cascading he", 0, 0)
    bench.stages("cascading he", 0)
    model.go.clear()
    model.passes = 0
    found: dict[str, object] = {}

    def first() -> None:
        try:
            turns.ask("page", lambda: bench.map(sample, 0, "slow", "cascading he", 0, 2))
        except OvertakenError as error:
            found["first"] = error

    def second() -> None:
        found["second"] = turns.ask("page", bool)

    threads = [threading.Thread(target=first), threading.Thread(target=second)]
    threads[0].start()
    assert model.begun.wait(10)
    threads[1].start()
    while not turns._waiting:
        pass
    model.go.set()
    for thread in threads:
        thread.join(10)
    turns.close()
    assert isinstance(found["first"], OvertakenError)
    assert found["second"] is False
    assert model.passes < 20  # of 100, on a network of which every layer was random
    assert all(torch.equal(value, model.state_dict()[name]) for name, value in before.items())
