"""A state's rows and maps come to the host together: how often an audit waits for a device, counted exactly."""

import math
import threading
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import audit_toys as toys
import numpy as np
import pytest
import torch
from torch import Tensor, nn

import heatproof as hp
from heatproof.auditing import block, plan
from heatproof.auditing.block import run_block
from heatproof.auditing.gathering import Finished, Gathering, Stopwatch
from heatproof.auditing.learning import Learned
from heatproof.auditing.planning import make
from heatproof.auditing.samples import Tensors
from heatproof.checks import Block, Check, Maps, ParameterRandomization, Scores, State, similarities
from heatproof.metrics import EXCLUDE, Metric
from heatproof.testing.waits import waits

STATES = 1 + 3 + 1 + 2 + 1  # trained, the stages, the floor's network, the last stage under two more seeds, replicate
SHOWN = 1 + 3 + 2  # of these, what a gallery shows
FULL = 1 + 2  # the last stage, under three seeds
# What is NumPy's on a CPU alone is a tensor's on a device.
ON_A_CPU = ("similarity/", "features.py")


def counted(*methods: str, show: tuple[str, ...] = ()) -> Counter[str]:
    """The waits of one block of a parameter randomization, by file."""
    samples = Tensors(inputs=toys.images(3), targets=torch.tensor([0, 1, 2]))
    recipes = {name: hp.methods.get(name) for name in methods}
    checks = {"randomization": ("parameter-randomization", ParameterRandomization())}
    one = make(toys.network(), samples, recipes, checks, features=None, batch=3, shown=show)
    found: Counter[str] = Counter()
    for times in range(2):  # once for what is settled once a model
        with waits() as seen:
            list(run_block(one, 0, one.example, Learned(), one.questions, lambda *_: None))
        if times:
            found.update({place: n for place, n in seen.items() if not place.startswith(ON_A_CPU)})
    return sum((Counter({place.split(":")[0]: n}) for place, n in found.items()), Counter())


def test_a_device_is_waited_for_twice_a_state_however_many_methods_there_are() -> None:
    methods = ("gradient", "saliency", "gradient-x-input", "smoothgrad", "random")
    # Whether inputs and labels are fine; then all rows, to the CPU and to NumPy, which shares its memory; and of the
    # trained network whether all maps are NaN.
    of_states = {"refusals.py": STATES, "auditing/gathering.py": 2 * (STATES + 1)}
    # Which samples fill the block up is a list on the host.
    expected = {**of_states, "auditing/samples.py": 2, "auditing/block.py": 1}
    assert counted(*methods) == counted(methods[0]) == expected


def test_all_maps_that_are_shown_are_one_wait_more() -> None:
    every = counted("gradient", "saliency", show=("0", "2"))
    assert every["auditing/gathering.py"] == 2 * (STATES + 1 + SHOWN)
    assert counted("gradient", show=("0",)) == every


@pytest.mark.parametrize("methods", [("gradient",), ("gradient", "saliency", "random")])
def test_the_order_that_is_chance_is_drawn_once_a_state_for_all_methods(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, methods: tuple[str, ...]
) -> None:
    drawn: list[int] = []
    own = similarities._numbers

    def counting(*arguments: Any, **more: Any) -> Tensor:
        drawn.append(1)
        return own(*arguments, **more)

    monkeypatch.setattr(similarities, "_numbers", counting)
    toys.run(tmp_path, methods=methods, checks=["parameter-randomization"])
    assert len(drawn) == 3 * FULL  # blocks


@pytest.mark.parametrize("check", ["degradation", "blurred-patch", "bounding-box"])
def test_the_orders_that_break_ties_are_drawn_once_a_block_for_all_methods(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, check: str
) -> None:
    drawn: list[str] = []
    own = hp.draws.generator

    def counting(*key: hp.draws.Key) -> torch.Generator:
        drawn.extend(str(one).replace(" ", "-") for one in key if str(one).replace(" ", "-") == check)
        return own(*key)

    monkeypatch.setattr(hp.draws, "generator", counting)
    boxes = [[(1.0, 2.0, 5.0, 6.0)]] * 7
    toys.run(tmp_path, methods=("gradient", "saliency", "random"), checks=[check], boxes=boxes)
    assert drawn == [check] * 9  # the samples of three full blocks


def test_chance_is_the_same_whether_it_is_kept_or_not() -> None:
    maps = [Maps(torch.randn(3, 4, 4, generator=torch.Generator().manual_seed(i)), {}) for i in range(3)]
    measures, _ = similarities.fitting(("spearman", "mse"), (4, 4))
    names = ("a", "b")  # the third fills the block up
    kept = Block(
        model=toys.network(), inputs=torch.zeros(3, 1, 4, 4), targets=torch.zeros(3, dtype=torch.int64), samples=names,
        features=hp.features.Pixels(),
    )  # fmt: skip
    for other in maps[1:]:
        ways = [
            list(similarities.chance_rows(measures, maps[0], other, "chance", 3, samples=names, setting="", block=one))
            for one in (None, kept, kept)
        ]
        for plain, *others in zip(*ways, strict=True):
            assert all(torch.equal(plain.values, one.values) for one in others)
    other_key = similarities.chance_rows(measures, *maps[:2], "chance", 4, samples=names, setting="", block=kept)
    first = similarities.chance_rows(measures, *maps[:2], "chance", 3, samples=names, setting="", block=kept)
    assert not torch.equal(next(other_key).values, next(first).values)


@dataclass(frozen=True, kw_only=True)
class Reusing(Check):
    """A check that gives the same tensor for every method, with other values in it."""

    def metrics(self, study: hp.checks.Study) -> tuple[Metric, ...]:
        return (Metric(name="largest", text="The largest value of a map."),)

    def shared(self, block: Block, state: State) -> Tensor:
        return torch.zeros(len(block.inputs), dtype=torch.float64)

    def rows(
        self, block: Block, state: State, method: Any, maps: Maps, kept: Mapping[str, Maps], shared: Tensor
    ) -> Iterator[Scores]:
        shared.copy_(maps.values.flatten(1).amax(1))
        yield Scores(metric="largest", values=shared)


def test_what_a_check_writes_into_its_own_afterwards_changes_no_row(tmp_path: Path) -> None:
    methods = ("gradient", "saliency", "random")
    rows = toys.run(tmp_path, methods=methods, checks={"reusing": Reusing()}, targets=[0] * 7).rows()
    for name in methods:
        maps = hp.methods.get(name)(toys.network(), toys.images(), torch.zeros(7, dtype=torch.int64))
        expected = maps.sum(1).flatten(1).amax(1).tolist()
        found = rows[rows.method == name].sort_values("sample").value.tolist()
        assert found == pytest.approx(expected, rel=1e-5)


class TestGathering:
    ABOUT: ClassVar[dict[str, Any]] = {"check": "c", "method": "m", "metric": "similarity", "question": "q"}

    def gathered(self, *, blank: Tensor | None, shrunk: int | None = None) -> Finished:
        given = Gathering(None, ("a", "b"))  # type: ignore[arg-type]  # which it hands on
        values = torch.tensor([1.0, 2.0], dtype=torch.float64)
        rows = [(self.ABOUT, values), ({**self.ABOUT, "metric": EXCLUDE.name}, 2 * values)]
        given.answer("q", ("m", "n"), rows, blank=blank, shrunk=shrunk)
        return given.finished()

    def test_rows_of_blank_maps_are_nan_but_for_what_was_done_to_the_method(self) -> None:
        done = self.gathered(blank=torch.tensor([False, True, True]))
        assert [values.tolist() for values in done.rows.values] == [[1.0, pytest.approx(math.nan, nan_ok=True)], [2, 4]]
        assert done.questions == ["q"]
        assert done.about == {"m": {"q"}, "n": {"q"}}

    def test_rows_of_smaller_passes_are_marked(self) -> None:
        done = self.gathered(blank=None, shrunk=8)
        assert [about["metric"] for about in done.rows.about] == ["similarity", EXCLUDE.name, "shrunk"]
        assert [values.tolist() for values in done.rows.values] == [[1, 2], [2, 4], [8, 8]]
        assert done.rows.samples == [("a", "b")] * 3

    def test_maps_that_cannot_be_used_are_counted_among_the_samples_that_count(self) -> None:
        given, watch = Gathering(None, ("a", "b")), Stopwatch(torch.device("cpu"))  # type: ignore[arg-type]  # as above
        watch.stop()
        given.made("good", torch.tensor([False, False, True]), watch)
        given.made("bad", torch.tensor([True, False, True]), watch)
        done = given.finished()
        assert done.unusable == {"bad": 1}
        assert done.seconds == {"good": watch.seconds(), "bad": watch.seconds()}

    def test_maps_are_shown_in_single_precision_by_sample(self) -> None:
        given = Gathering(None, ("a", "b"))  # type: ignore[arg-type]  # as above
        given.show("s", "one", {1: torch.ones(2, 2, dtype=torch.float64)})
        given.show("s", "other", {0: torch.zeros(2, 2), 1: torch.full((2, 2), 3.0)})
        given.show("s", "none", {})
        done = given.finished()
        found = {key: float(value.mean()) for key, value in done.maps.items()}
        assert found == {("s", "one", "b"): 1.0, ("s", "other", "a"): 0.0, ("s", "other", "b"): 3.0}
        assert all(value.dtype == np.float32 and value.flags.c_contiguous for value in done.maps.values())

    def test_nothing_given_is_nothing_brought(self) -> None:
        with waits() as seen:
            done = Gathering(None, ("a",)).finished()  # type: ignore[arg-type]  # as above
        assert not seen
        assert done.rows.table().num_rows == 0


def test_a_device_tells_what_a_map_took_once_it_was_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    class Event:
        """What torch has on a GPU; its clock goes on by a quarter of a second a mark."""

        marks: ClassVar[list["Event"]] = []
        waited: ClassVar[list["Event"]] = []

        def __init__(self, *, enable_timing: bool) -> None:
            assert enable_timing

        def record(self, stream: str) -> None:
            assert stream == "stream of cuda:1"
            self.marks.append(self)

        def synchronize(self) -> None:
            self.waited.append(self)

        def elapsed_time(self, other: "Event") -> float:
            return 250.0 * (self.marks.index(other) - self.marks.index(self))

    monkeypatch.setattr(torch.cuda, "Event", Event)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device: f"stream of {device}")
    watch = Stopwatch(torch.device("cuda:1"))
    watch.stop()
    assert Event.waited == []
    assert watch.seconds() == 0.25
    assert Event.waited == [Event.marks[1]]


class Robust(nn.Module):
    """A network that gives finite outputs whatever it is given."""

    def __init__(self) -> None:
        super().__init__()
        self.net = toys.network()

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.net(x.nan_to_num())
        return out


def test_inputs_that_are_not_finite_are_each_methods_own_failure() -> None:
    inputs = toys.images(6)
    samples = Tensors(inputs=inputs, targets=torch.zeros(6, dtype=torch.int64))
    recipes = {name: hp.methods.get(name) for name in ("gradient", "saliency")}
    one = make(Robust().eval(), samples, recipes, {"c": ("calibration", hp.checks.get("calibration"))}, features=None,
               batch=3)  # fmt: skip
    inputs[4] = torch.nan  # as a block of data that is read when its turn comes
    read = one.read(1)
    assert read is not None
    (done,) = run_block(one, 1, read, Learned(), one.questions, lambda *_: None)
    assert [(failure["method"], failure["error"]) for failure in done.failures] == [
        (name, "InputError: Expected finite inputs, but samples [1] hold NaN or infinity.") for name in recipes
    ]


def test_weights_are_looked_at_once_for_what_a_run_is_asked_and_how_it_is_known(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    calls: list[nn.Module] = []
    own = plan.network_fingerprint
    monkeypatch.setattr(plan, "network_fingerprint", lambda model: (calls.append(model), own(model))[1])
    scale = torch.ones(7, 4)
    run = toys.run(tmp_path, model=hp.Bound(Scaled(), given={"scale": scale}), methods=["gradient"])
    assert len(calls) == 1
    bound = hp.Bound(Scaled(), given={"scale": scale})
    assert run.manifest["model"]["fingerprint"] == hp.fingerprint.model_fingerprint(bound)


class Scaled(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.net = toys.network()
        self.eval()

    def forward(self, x: Tensor, scale: Tensor) -> Tensor:
        out: Tensor = self.net(x) * scale
        return out


def test_no_thread_draws_a_bar_that_nobody_sees(tmp_path: Path) -> None:
    seen: set[str] = set()
    model = toys.network()
    model.register_forward_hook(lambda *_: seen.update(type(thread).__name__ for thread in threading.enumerate()))
    toys.run(tmp_path, model=model, methods=["gradient"], checks=["calibration"])
    assert "_RefreshThread" not in seen
    assert "_MainThread" in seen


def test_samples_that_fill_a_block_are_named_as_they_were_read() -> None:
    samples, checks = Tensors(inputs=toys.images(2)), {"c": ("calibration", hp.checks.get("calibration"))}
    one = make(toys.network(), samples, {"random": hp.methods.get("random")}, checks, features=None, batch=3)
    run = block._BlockRun(one, 0, one.example, Learned(), (), lambda *_: None, block.Shrinking())
    with waits() as seen:
        names = hp.draws.digests(run.inputs)
    assert not seen
    assert names == hp.draws.digests(run.inputs.clone())
    assert names[2] == names[0]
    run.inputs[0] += 1
    assert hp.draws.digests(run.inputs)[0] != names[0]


def test_samples_in_memory_are_explained_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    starts: list[int] = []
    own = plan.explained

    def counting(portion: Any, model: nn.Module, start: int, *more: Any) -> Any:
        starts.append(start)
        return own(portion, model, start, *more)

    monkeypatch.setattr(plan, "explained", counting)  # the first block's is the planner's
    checks: dict[str, Any] = {"checks": ["calibration"], "methods": ["random"]}
    rows = toys.run(tmp_path / "tensor", **checks).rows()
    assert starts == [3, 6]
    starts.clear()
    ids, labels = tuple(map(str, range(7))), torch.zeros(7, dtype=torch.int64)
    blocks = hp.data.as_blocks(hp.data.Dataset(name="some", inputs=toys.images(), targets=labels, ids=ids))
    others = toys.run(tmp_path / "blocks", inputs=blocks, **checks).rows()
    assert starts == [3, 6, 3, 6]  # read again, and looked at again
    assert rows.equals(others)


def test_maps_that_are_all_nan_on_the_trained_network_cost_their_method_alone(tmp_path: Path) -> None:
    class Nothing:
        def __call__(self, model: nn.Module, inputs: Tensor, targets: Tensor) -> Tensor:
            return torch.full_like(inputs, torch.nan)

    methods = {"nothing": Nothing(), "gradient": "gradient", "saliency": "saliency"}
    checks = ["parameter-randomization", "method-agreement"]
    run = toys.run(tmp_path / "with", methods=methods, checks=checks)
    rows = toys.run(tmp_path / "without", methods=["gradient", "saliency"], checks=checks).rows()
    assert run.rows().equals(rows)
    first, *others = run.manifest["failures"]
    assert first["error"] == (
        "InputError: Expected finite attributions, but every map of this block holds NaN or infinity."
    )
    assert (first["method"], first["state"], first["count"]) == ("nothing", "trained", 3)
    assert {one["method"] for one in others} == {"nothing"}  # there is nothing to compare with
    # Those of the random networks are counted, of those that the failed attempt made none.
    assert run.manifest["unusable"] == {"nothing": 7 * run.manifest["costs"]["nothing"]["maps"] // 9}
