"""Random weights are drawn in a thread while the model is in use: the same ones, and only where nothing else counts."""

from dataclasses import dataclass
from pathlib import Path
from threading import current_thread, main_thread

import pandas as pd
import pytest
import torch
from randomizable import NETWORKS, changed, snapshot
from torch import Generator, Tensor, nn

import heatproof as hp
from heatproof.auditing import block
from heatproof.checks import ParameterRandomization
from heatproof.errors import InputError
from heatproof.randomization import Cascading, He, Stages, TruncatedNormal
from heatproof.randomization import orders as drawing
from heatproof.randomization.initializers import BY_NAME, Initializer
from heatproof.randomization.layers import Layer, Weight


def network(name: str = "normed") -> tuple[nn.Module, Tensor]:
    build, shape = NETWORKS[name]
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return build().eval(), torch.randn(3, *shape)


def stages(model: nn.Module, inputs: Tensor, initializer: str | Initializer, seed: int = 0) -> Stages:
    return Cascading(initializer=initializer, seed=seed).stages(model, inputs)


@pytest.fixture
def threads(monkeypatch: pytest.MonkeyPatch) -> dict[str, list[bool]]:
    """By layer, of each time that it was drawn, whether that was beside the main thread."""
    found: dict[str, list[bool]] = {}
    own = drawing.draw

    def noting(layer: Layer, initializer: Initializer, seed: int) -> dict[str, Tensor]:
        found.setdefault(layer.name, []).append(current_thread() is not main_thread())
        return own(layer, initializer, seed)

    monkeypatch.setattr(drawing, "draw", noting)
    return found


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("initializer", [one() for one in BY_NAME], ids=lambda one: one.name)
def test_what_is_drawn_ahead_is_what_is_drawn_when_it_is_asked_for(name: str, initializer: Initializer) -> None:
    model, inputs = network(name)
    before, expected = snapshot(model), []
    for stage in stages(model, inputs, initializer):
        with stage:
            expected.append(snapshot(model))
    ahead, other = stages(model, inputs, initializer), stages(model, inputs, "permutation")
    for stage, wanted in zip(ahead, expected, strict=True):
        with other[-1]:  # whatever the model holds meanwhile
            stage.ahead()
        with stage:
            found = snapshot(model)
            assert all(torch.equal(found[key], wanted[key]) for key in wanted)
        assert not changed(model, before)


def test_each_layer_is_drawn_once_and_beside_the_main_thread(threads: dict[str, list[bool]]) -> None:
    model, inputs = network()
    ours = stages(model, inputs, "he")
    ours[0].ahead()
    ours[0].ahead()
    with ours[0]:
        ours[-1].ahead()
    with ours[-1]:
        pass
    ours[-1].ahead()
    assert threads == {layer: [True] for layer in ours[-1].layers}


@dataclass(frozen=True, kw_only=True)
class Halved(He):
    """Half of what is trained: what it draws depends on what the model holds."""

    name = "halved"

    def value(self, weight: Weight, stream: Generator) -> Tensor:
        return weight.tensor.detach().cpu() / 2


@pytest.mark.parametrize("initializer", ["permutation", "default", Halved()], ids=str)
def test_what_depends_on_more_than_names_is_drawn_when_it_is_asked_for(
    initializer: str | Initializer, threads: dict[str, list[bool]]
) -> None:
    model, inputs = network("shuffled")
    with stages(model, inputs, "he", seed=1)[-1]:
        pass
    threads.clear()
    stage = stages(model, inputs, initializer)[-1]
    stage.ahead()
    with stage:
        assert threads == {layer: [False] for layer in stage.layers}


def test_what_cannot_be_drawn_is_an_error_where_the_stage_is_entered(monkeypatch: pytest.MonkeyPatch) -> None:
    model, inputs = network("shuffled")
    before, stage = snapshot(model), stages(model, inputs, TruncatedNormal())[-1]
    own = TruncatedNormal.value

    def refusing(self: TruncatedNormal, weight: Weight, stream: Generator) -> Tensor:
        raise InputError("Expected another weight.")

    monkeypatch.setattr(TruncatedNormal, "value", refusing)
    stage.ahead()
    with pytest.raises(InputError, match="Expected another weight"), stage:
        raise AssertionError
    assert not changed(model, before)
    monkeypatch.setattr(TruncatedNormal, "value", own)
    with stage:
        assert changed(model, before)


def test_an_audit_draws_the_next_network_while_a_device_is_at_work(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, threads: dict[str, list[bool]]
) -> None:
    model, inputs = network()
    check = ParameterRandomization(similarities=("mse",))

    def rows(folder: str) -> pd.DataFrame:
        threads.clear()
        run = hp.audit(
            model, inputs, methods=["gradient"], checks=[check], batch=2, progress=False, out=tmp_path / folder
        )
        assert run.manifest["failures"] == []
        return run.rows()

    plain = rows("plain")
    assert not any(beside for times in threads.values() for beside in times)
    monkeypatch.setattr(block, "_works_alone", lambda device: True)
    pd.testing.assert_frame_equal(rows("ahead"), plain, check_exact=True)
    # Of four networks the first is drawn to be tried out, the others while the audit runs; the second block draws none.
    assert all(times == [False, True, True, True] for times in threads.values())
