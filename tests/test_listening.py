"""Whoever listens is told how far a call or an audit is, once a pass, up to the whole; nobody is not told."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import heatproof as hp
from heatproof.errors import InputError
from heatproof.methods import (
    Competitive,
    ExpectedGradients,
    Gradient,
    IntegratedGradients,
    MeaningfulPerturbation,
    Occlusion,
    OverBaselines,
    SmoothGrad,
    VarGrad,
)
from heatproof.models import rows_at_most
from heatproof.progress import Step, to


def net() -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.Flatten(), nn.Linear(2 * 36, 4)).eval()


X = torch.rand(3, 1, 8, 8, generator=torch.Generator().manual_seed(1))
Y = torch.tensor([2, 0, 1])


def heard_of(method: Any, *, rows: int = 6) -> list[Step]:
    steps: list[Step] = []
    with rows_at_most(rows), to(steps.append):
        method(net(), X, Y)
    return steps


@pytest.mark.parametrize(
    ("method", "passes"),
    [
        (IntegratedGradients(steps=10), 5),  # 6 rows a pass: 2 nodes of 3 samples
        (Occlusion(window=4), 2),
        (SmoothGrad(samples=6), 3),
        (SmoothGrad(IntegratedGradients(steps=10), samples=6), 3),  # the outermost counts
        (VarGrad(IntegratedGradients(steps=10), samples=6), 3),
        (ExpectedGradients(baselines=torch.zeros(2, 1, 8, 8), samples=6), 3),
        (OverBaselines(IntegratedGradients(steps=10), baselines=torch.zeros(4, 1, 8, 8)), 2),
        (Competitive(Gradient(), rank="off"), 4),  # a label each
        (MeaningfulPerturbation(steps=7, scale=2, mask_sigma=1.0), 7),
    ],
    ids=lambda one: type(one).__name__ if not isinstance(one, int) else "",
)
def test_a_call_is_told_pass_by_pass(method: Any, passes: int) -> None:
    assert heard_of(method) == [Step(float(done), float(passes)) for done in range(1, passes + 1)]


def test_blocks_of_samples_count_together() -> None:
    assert heard_of(IntegratedGradients(steps=10), rows=2)[-1] == Step(10 / 2 * 2 + 5, 15)
    assert heard_of(MeaningfulPerturbation(steps=4, scale=2, mask_sigma=1.0), rows=1)[-1] == Step(12, 12)


def test_a_single_pass_says_nothing_and_nobody_changes_a_map() -> None:
    assert heard_of(Gradient()) == []
    method = IntegratedGradients(steps=10)
    with to(lambda _: None):
        listened = method(net(), X, Y)
    assert torch.equal(listened, method(net(), X, Y))


def test_what_a_listener_raises_ends_the_call() -> None:
    def stop(step: Step) -> None:
        if step.done == 2:
            raise KeyboardInterrupt

    steps: list[Step] = []
    with pytest.raises(KeyboardInterrupt), rows_at_most(6), to(stop):
        IntegratedGradients(steps=10)(net(), X, Y)
    with rows_at_most(6), to(steps.append):
        IntegratedGradients(steps=2)(net(), X, Y)
    assert steps == [Step(1, 1)]


def test_one_who_cannot_be_told() -> None:
    with pytest.raises(InputError, match="Expected a function that is told each step, such as print, but got 3"), to(3):  # type: ignore[arg-type]
        pass
    with pytest.raises(InputError, match="Expected progress to be True, False or a function, but got 'no'"):
        hp.audit(net(), X, Y, methods=["gradient"], checks=["completeness"], progress="no")  # type: ignore[arg-type]


def audited(folder: Path, **settings: Any) -> Any:
    return hp.audit(
        net(), X, Y, methods={"ig": IntegratedGradients(steps=4), "gradient": "gradient"},
        checks=["completeness", "method-agreement"], out=folder, batch=2, threads=1, **settings,
    )  # fmt: skip


@pytest.mark.parametrize("way", ["an argument", "around it", "in processes"])
def test_an_audit_tells_what_and_how_far(tmp_path: Path, way: str, capfd: pytest.CaptureFixture[str]) -> None:
    steps: list[Step] = []
    if way == "around it":
        with to(steps.append):
            run = audited(tmp_path, progress=False)
    else:
        run = audited(tmp_path, progress=steps.append, **({"workers": 1} if way == "in processes" else {}))
    assert capfd.readouterr().err == ""
    assert run.manifest["status"] == "complete"
    assert [one.done for one in steps] == sorted(one.done for one in steps)
    assert steps[-1].done == pytest.approx(steps[-1].total)
    assert {one.total for one in steps} == {steps[0].total}
    assert {"ig", "gradient"} <= {one.what for one in steps}
    assert not any(one.what == "" for one in steps)


def test_what_a_listener_raises_stops_the_audit_and_what_is_done_stays(tmp_path: Path) -> None:
    def stop(step: Step) -> None:
        if step.done > step.total / 2:
            raise RuntimeError("enough")

    with pytest.raises(RuntimeError, match="enough"):
        audited(tmp_path, progress=stop)
    again: list[Step] = []
    run = audited(tmp_path, progress=again.append)
    whole: list[Step] = []
    audited(tmp_path / "other", progress=whole.append)
    assert run.manifest["status"] == "complete"
    assert not run.manifest["failures"]
    assert again[-1].total < whole[-1].total
