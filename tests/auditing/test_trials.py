"""A random network that is dead, or still the trained one, is said before anything is computed, and in the verdict."""

import warnings
from pathlib import Path
from typing import Any

import audit_toys as toys
import pytest
import torch
import torch.nn.functional as F
import torchvision
from torch import Tensor, nn

import heatproof as hp
from heatproof.auditing import Run
from heatproof.errors import HeatproofWarning
from heatproof.randomization import Cascading

TRUNCATED = Cascading(initializer="truncated-normal")


def deep() -> nn.Module:
    """Twenty layers without norms, each of which keeps its signal's size."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        layers = [nn.Linear(16, 16) for _ in range(20)]
        for layer in layers:
            nn.init.normal_(layer.weight, std=(2 / 16) ** 0.5)
        body = [part for layer in layers for part in (layer, nn.ReLU())]
        return nn.Sequential(nn.Flatten(), nn.Linear(144, 16), nn.ReLU(), *body, nn.Linear(16, 4)).eval()


def squeezenet() -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = torchvision.models.squeezenet1_1(num_classes=5).eval()
        for module in model.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight)
        return model


def audited(folder: Path, model: nn.Module, check: Any, inputs: Tensor | None = None, **more: Any) -> Run:
    return toys.run(folder, model=model, inputs=inputs, checks=[check], methods=["gradient"], batch=8, **more)


def verdict(run: Run) -> tuple[str, str]:
    found = run.findings()
    (one,) = found[found["question"] == "depends"].to_dict("records")
    return str(one["word"]), str(one["why"])


def last_state(run: Run) -> dict[str, Any]:
    return next(s for s in reversed(run.manifest["states"]) if s["kind"] == "randomized")


CAUSE = r"its outputs are (the same for every sample|all zero)"


def test_a_dead_network_is_said_at_planning_and_in_the_verdict(tmp_path: Path) -> None:
    check = hp.checks.ParameterRandomization(randomization=TRUNCATED)
    expected = f"cascading truncated-normal leaves a dead one: {CAUSE}. Its maps say nothing; set initializer='he'"
    with pytest.warns(HeatproofWarning, match=expected):
        run = audited(tmp_path / "a", deep(), check, toys.images(12))
    state = last_state(run)
    assert (state["dead"], state["remedy"]) == ("its outputs are the same for every sample", "initializer='he'")
    said = "The randomized network is dead: its outputs are the same for every sample; set initializer='he'."
    assert verdict(run) == ("network is dead", said)  # also where gradients of 1e-30 still make a map
    assert run.headline().endswith(said)
    assert said in run.report().read_text()


def test_squeezenet_dies_of_001s_weights_and_gets_a_verdict_by_default(tmp_path: Path) -> None:
    coarse = torch.rand(12, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    images = F.interpolate(coarse, size=(56, 56), mode="bilinear")
    check = hp.checks.ParameterRandomization(
        randomization=Cascading(initializer="truncated-normal", only=("classifier.1", "features.0")),
        similarities=("spearman", "spearman-absolute"),
    )
    with pytest.warns(HeatproofWarning, match="leaves a dead one"):
        run = audited(tmp_path / "a", squeezenet(), check, images)
    word, sentence = verdict(run)
    assert word == "network is dead"
    assert sentence.startswith("The randomized network is dead: ")
    assert sentence.endswith("; set initializer='he'.")
    assert run.headline().endswith(sentence)
    check = hp.checks.ParameterRandomization(
        randomization=Cascading(only=("classifier.1", "features.0")), similarities=("spearman", "spearman-absolute")
    )
    run = audited(tmp_path / "b", squeezenet(), check, images, targets=torch.arange(12) % 4)
    assert verdict(run)[0] != "network is dead"
    assert (last_state(run)["dead"], last_state(run)["complete"]) == ("", True)


class Hidden(nn.Module):
    """All that was learned stands in a buffer that multiplies, as no weight does; a bias is all that can be drawn."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("learned", torch.randn(10, 144, generator=torch.Generator().manual_seed(0)))
        self.bias = nn.Parameter(torch.ones(10))

    def forward(self, x: Tensor) -> Tensor:
        return (x.flatten(1)[:, None] * self.learned).sum(2) + self.bias


def test_outputs_that_still_correlate_are_no_full_randomization(tmp_path: Path) -> None:
    expected = r"outputs correlate by 1\.00.* was not drawn \(known and not drawn: learned\)\. It gets no verdict"
    with pytest.warns(HeatproofWarning, match=expected):
        run = audited(tmp_path, Hidden().eval(), "parameter-randomization")
    state = last_state(run)
    assert (state["complete"], state["fixed"]) == (False, ["learned"])
    assert state["agreement"] == pytest.approx(1.0)
    said = "fully randomized, its outputs still correlate by 1.00 with the trained ones"
    assert verdict(run) == ("not judged", f"Shown: {said}.")
    assert "constants of the architecture: learned." in " ".join(run.manifest["checks"][0]["notes"])
    assert said in run.report().read_text()


def test_a_weight_that_no_module_holds_gets_no_verdict(tmp_path: Path) -> None:
    weight = torch.randn(10, 144, generator=torch.Generator().manual_seed(0))

    class Closed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.bias = nn.Parameter(torch.ones(10))

        def forward(self, x: Tensor) -> Tensor:
            return F.linear(x.flatten(1), weight, self.bias)

    run = audited(tmp_path, Closed().eval(), "parameter-randomization")
    assert not last_state(run)["complete"]
    (note,) = (n for n in run.manifest["checks"][0]["notes"] if n.startswith("Weights that stay trained"))
    assert "a tensor (10, 144) that no module holds, in linear" in note
    assert verdict(run)[0] == "not judged"


def test_each_way_to_draw_a_network_is_tried_once_on_four_samples(tmp_path: Path) -> None:
    model, seen = toys.network(), []
    checks = {
        "a": hp.checks.ParameterRandomization(seeds=(0, 1, 2)),
        "b": hp.checks.ParameterRandomization(randomization=hp.randomization.Independent()),
        "c": hp.checks.EfficientParameterRandomization(initializer="permutation"),
    }
    given = toys.images()
    plan = hp.auditing.planning.make(
        model,
        hp.auditing.samples.Tensors(inputs=given, targets=torch.zeros(7, dtype=torch.int64)),
        {"gradient": hp.methods.Gradient()},
        {name: (name, check) for name, check in checks.items()},
        features=None,
        batch=3,
    )
    model.register_forward_hook(lambda _, inputs, __: seen.append(len(inputs[0])))
    assert plan.conditions
    assert plan.describe()
    assert seen == []  # the layers were found when the plan was made, once for all checks and seeds
    found = hp.auditing.trials.trials(plan)
    assert seen == [4, 4, 4]  # trained, he, permutation
    assert [trial.signs.dead for trial in found] == ["", ""]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        hp.auditing.trials.warn(found)


def test_what_kills_he_is_told_another_way_out(tmp_path: Path) -> None:
    class Squaring(nn.Module):
        """Grows by squares: any weights far above those that it has end in infinity."""

        def __init__(self) -> None:
            super().__init__()
            self.first, self.head = nn.Linear(144, 16), nn.Linear(16, 4)
            nn.init.normal_(self.first.weight, std=1e-3)

        def forward(self, x: Tensor) -> Tensor:
            h = self.first(x.flatten(1))
            for _ in range(12):
                h = h * h
            return self.head(h)

    with pytest.warns(HeatproofWarning, match="its outputs are .*set another seed, batch_norm='re-estimate', or init"):
        audited(tmp_path, Squaring().eval(), "parameter-randomization")
