"""What outputs are decides what an audit says of them; and a network that knows nothing gets no good word."""

import json
import math
import re
from pathlib import Path
from typing import Any

import audit_toys as toys
import pandas as pd
import pytest
import torch
from torch import Tensor, nn

import heatproof as hp
from heatproof.auditing import Run, from_spec
from heatproof.auditing.knowledge import knowledge
from heatproof.auditing.spec import parse
from heatproof.errors import InputError, UnknownNameError
from heatproof.outputs import Outputs, TwoSided
from heatproof.runs import read_samples
from heatproof.shares import wilson

CHECKS = (
    "parameter-randomization",
    "completeness",
    "bottleneck-ledger",
    hp.checks.Degradation(tile=4, steps=3),
    hp.checks.BlurredPatch(size=4, regions=2, kernel=3),
)


class Single(nn.Module):
    """The first of four outputs, as (N,) or (N, 1)."""

    def __init__(self, *, squeezed: bool) -> None:
        super().__init__()
        self.net, self.squeezed = toys.network(), squeezed

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.net(x)[:, :1]
        return out[:, 0] if self.squeezed else out


def audit(out: Path, **changes: Any) -> Run:
    methods = {"methods": ["gradient-x-input", "random"], "checks": CHECKS, "gallery": 2}
    return toys.run(out, **{**methods, **changes})


def of(rows: pd.DataFrame, metric: str, **where: Any) -> list[float]:
    for name, value in where.items():
        rows = rows[rows[name] == value]
    found: list[float] = rows[rows.metric == metric].sort_values("sample").value.tolist()
    return found


class TestOneOutput:
    @pytest.mark.parametrize("squeezed", [False, True])
    @pytest.mark.parametrize("said", [None, "scalars"])
    def test_of_which_no_label_is_said_is_a_score(self, tmp_path: Path, squeezed: bool, said: str | None) -> None:
        about = hp.auditing.manifest.About(model="net", data="data", classes=["cat", "dog"])
        run = audit(tmp_path, model=Single(squeezed=squeezed).eval(), outputs=said, about=about)
        manifest, rows = run.manifest, run.rows()
        assert manifest["status"] == "complete"
        assert manifest["model"]["meaning"]["kind"] == ("score" if said is None else said)
        assert manifest["data"]["classes"] == ["the output"]
        assert {s["probability"] for s in read_samples(run.path)} == {None}
        assert not any("prob" in metric or "top" in metric for metric in set(rows.metric))
        expected = toys.network()(toys.images())[:, 0].double().tolist()
        original = of(rows, "score", check=repr(CHECKS[3]), setting="original")
        assert original == pytest.approx(expected, abs=1e-6)
        page = run.report().read_text()
        assert not re.search(r"label.s probability|\bcat\b|\bdog\b|taken for the", page)
        data = re.search(r'<script type="application/json" id="data">(.*?)</script>', page, flags=re.DOTALL)
        assert data is not None
        shown = json.loads(data.group(1))["gallery"]["samples"]
        assert [(one["target"], one["predicted"], one["probability"]) for one in shown] == [
            ("the output", None, None)
        ] * 2

    def test_as_a_logit_has_two_labels(self, tmp_path: Path) -> None:
        s = toys.network()(toys.images())[:, 0].double()
        targets = torch.arange(7) % 2
        run = audit(tmp_path, model=Single(squeezed=True).eval(), outputs="logit", targets=targets)
        rows, manifest = run.rows(), run.manifest
        assert manifest["status"] == "complete"
        signed = torch.where(targets == 1, s, -s)
        original = of(rows, "probability", check=repr(CHECKS[3]), setting="original")
        assert original == pytest.approx(signed.sigmoid().tolist(), abs=1e-6)
        assert of(rows, "target-score", check="completeness") == pytest.approx(signed.tolist(), abs=1e-6)
        samples = read_samples(run.path)
        assert [one["predicted"] for one in samples] == (s > 0).long().tolist()
        expected = [1 / (1 + math.exp(-abs(v))) for v in s.tolist()]
        assert [one["probability"] for one in samples] == pytest.approx(expected, abs=1e-6)
        by_hand = hp.methods.GradientXInput()(TwoSided(Single(squeezed=False).eval()), toys.images(), targets)
        sums = of(rows, "attribution-sum", check="completeness", method="gradient-x-input")
        assert sums == pytest.approx(by_hand.flatten(1).sum(1).double().tolist(), abs=1e-5)

    def test_with_targets_of_two_labels_is_told_what_to_say(self, tmp_path: Path) -> None:
        with pytest.raises(InputError, match=r"the model's one output, but got 1; say outputs='logit' where"):
            audit(tmp_path, model=Single(squeezed=True).eval(), targets=torch.arange(7) % 2)

    def test_of_unknown_meaning_has_no_softmax_to_read(self, tmp_path: Path) -> None:
        around = hp.methods.SmoothGrad(hp.methods.MeaningfulPerturbation())
        with pytest.raises(InputError, match=r"one label is right for mask, .*one output of unknown"):
            audit(tmp_path, model=Single(squeezed=True).eval(), methods={"mask": around})


class TestNumbers:
    def test_have_their_unit_and_no_probability(self, tmp_path: Path) -> None:
        outputs = Outputs("scalars", unit="°C")
        run = audit(tmp_path, outputs=outputs, targets=torch.full((7,), 2))
        manifest = run.manifest
        assert manifest["model"]["meaning"] == {"kind": "scalars", "unit": "°C"}
        assert manifest["data"]["classes"] == ["output 0", "output 1", "output 2", "output 3"]
        units = {m["name"]: m["unit"] for check in manifest["checks"] for m in check["metrics"]}
        assert units["target-score"] == units["score-gap"] == "°C"
        assert "probability" not in units
        assert manifest["knowledge"]["sentence"].startswith("How right the network is was not judged: no numbers")

    def test_of_several_one_must_be_named(self, tmp_path: Path) -> None:
        with pytest.raises(InputError, match=r"Expected targets, the output of each sample .* as none of 4"):
            audit(tmp_path, outputs="scalars")

    def test_are_judged_by_the_variance_that_is_explained(self, tmp_path: Path) -> None:
        found = toys.network()(toys.images())[:, 0].double().detach()
        run = audit(tmp_path, model=Single(squeezed=True).eval(), outputs="scalars", labels=found + 1e-3)
        known = run.manifest["knowledge"]
        spread = float((found - found.mean()).square().sum())
        assert known["measure"] == "R²"
        assert known["value"] == pytest.approx(1 - 7e-6 / spread, abs=1e-6)


def test_labels_that_do_not_exclude_each_other_have_a_sigmoid_each(tmp_path: Path) -> None:
    run = audit(tmp_path, outputs="multi-label", targets=torch.arange(7) % 4)
    expected = toys.network()(toys.images()).double().sigmoid()[range(7), torch.arange(7) % 4]
    original = of(run.rows(), "probability", check=repr(CHECKS[3]), setting="original")
    assert original == pytest.approx(expected.tolist(), abs=1e-6)
    assert run.manifest["knowledge"]["sentence"].endswith("was not judged: several of its labels may be.")


class TestSpec:
    TABLE = {  # noqa: RUF012  # nobody changes it
        "methods": ["gradient", "random"],
        "checks": ["calibration"],
        "model": {"name": "one_logit:net"},
        "data": {"name": "npz", "path": "data.npz"},
    }

    @pytest.fixture
    def folder(self, tmp_path: Path) -> Path:
        import numpy as np

        (tmp_path / "one_logit.py").write_text(
            "import torch\nfrom torch import nn\n"
            "def net():\n    return nn.Sequential(nn.Flatten(), nn.Linear(16, 1), nn.Flatten(0))\n"
        )
        pictures = np.random.default_rng(0).integers(0, 255, (6, 4, 4), dtype=np.uint8)
        np.savez(tmp_path / "data.npz", x=pictures, y=np.array([0, 1, 0, 1, 0, 1]))
        return tmp_path

    @pytest.mark.parametrize("rule", ["predicted", "label"])
    def test_says_what_outputs_are(self, folder: Path, rule: str) -> None:
        spec = parse({**self.TABLE, "outputs": "logit", "targets": rule}, folder)
        run = from_spec.run(spec, folder / "run", threads=1, progress=False)
        manifest, samples = run.manifest, read_samples(run.path)
        assert manifest["model"]["meaning"]["kind"] == "logit"
        assert manifest["knowledge"]["measure"] == "accuracy"
        targets = [one["target"] for one in samples]
        assert targets == [0, 1, 0, 1, 0, 1] if rule == "label" else [s["predicted"] for s in samples]

    def test_names_what_it_does_not_know(self, folder: Path) -> None:
        with pytest.raises(UnknownNameError, match="Expected the name of a kind of outputs, but got 'regression'"):
            parse({**self.TABLE, "outputs": "regression"}, folder)


class Leaving(nn.Module):
    """Leaves label 3 out: at minus infinity, or as a network that has no such label."""

    def __init__(self, how: str) -> None:
        super().__init__()
        self.net, self.how = toys.network(), how

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.net(x)
        if self.how == "no such label":
            return out[:, :3]
        allowed = torch.ones_like(out, dtype=torch.bool)
        allowed[:, 3] = False
        if self.how == "by input":
            allowed[:, 2] = x.flatten(1)[:, 0] > 0.5
        return out.masked_fill(~allowed, -torch.inf)


class TestLabelsLeftOut:
    """Scores of minus infinity, as of masked actions."""

    SETTINGS = {  # noqa: RUF012  # nobody changes it
        "methods": ["gradient-x-input", "lrp-epsilon", "cgi", "integrated-gradients", "grad-cam"],
        "checks": [
            *("parameter-randomization", "completeness", "bottleneck-ledger"),
            hp.checks.Degradation(tile=4, steps=3),
            hp.checks.SensitivityN(sets=8, sizes=3),
        ],
        "targets": torch.tensor([0, 1, 0, 1, 0, 1, 0]),
    }

    def test_are_as_if_they_were_not_there(self, tmp_path: Path) -> None:
        rows = {
            how: audit(tmp_path / how, model=Leaving(how).eval(), **self.SETTINGS).rows()
            for how in ("always", "no such label")
        }
        mine, other = (one[~one.metric.isin(["label-gap"])].reset_index(drop=True) for one in rows.values())
        pd.testing.assert_frame_equal(mine, other, rtol=1e-4, atol=1e-5)
        assert not mine[mine.check == "completeness"].value.isna().any()

    def test_may_be_others_in_every_sample(self, tmp_path: Path) -> None:
        run = audit(tmp_path, model=Leaving("by input").eval(), **self.SETTINGS)
        manifest = json.loads((tmp_path / "run.json").read_text(), parse_constant=pytest.fail)
        assert manifest["questions"]
        assert run.manifest["status"] == "complete"
        assert not math.isinf(run.rows().value.abs().max())
        assert all(0 <= one["probability"] <= 1 for one in read_samples(tmp_path))
        assert run.report().exists()

    def test_cannot_be_explained(self, tmp_path: Path) -> None:
        targets = torch.tensor([0, 3, 3, 0, 0, 0, 3])
        with pytest.raises(InputError, match=r"sample 'b' \(label 3\) is minus infinity, as are 1 others of its block"):
            audit(tmp_path, model=Leaving("always").eval(), targets=targets, ids=list("abcdefg"))

    def test_are_no_excuse_for_nan(self, tmp_path: Path) -> None:
        model = nn.Sequential(toys.network(), nn.LogSigmoid(), nn.Softplus(), nn.Threshold(9.0, math.inf)).eval()
        with pytest.raises(InputError, match="Expected finite outputs, but the model gives NaN or infinity"):
            audit(tmp_path, model=model)


LABELS = torch.arange(200) % 10


def scores(predicted: Tensor) -> Tensor:
    return nn.functional.one_hot(predicted, 10).double()


class TestKnowledge:
    def test_wilson(self) -> None:
        # By hand, from (p + z²/2n ± z √(p(1−p)/n + z²/4n²)) / (1 + z²/n) with z = 1.96.
        assert wilson(0.8, 10) == pytest.approx((0.4902, 0.9433), abs=1e-4)
        assert wilson(0.0, 10) == pytest.approx((0.0, 0.2775), abs=1e-4)

    def test_of_one_that_guesses(self) -> None:
        guesses = torch.randint(10, (200,), generator=torch.Generator().manual_seed(0))
        right = float((guesses == LABELS).double().mean())
        known = knowledge(Outputs(), scores(guesses), LABELS, LABELS)
        assert known.near_chance
        assert known.value == right
        assert known.sentence == (
            f"The network is right on {100 * right:.0f} % of 200 samples ({100 * known.low:.0f} % to "  # type: ignore[operator]  # known
            f"{100 * known.high:.0f} %); guessing would be right on 10 %. So it is not known to have learned anything."  # type: ignore[operator]
        )

    def test_of_one_that_is_often_right(self) -> None:
        wrong = torch.arange(200) % 20 == 0
        known = knowledge(Outputs(), scores(torch.where(wrong, 9, LABELS)), LABELS, LABELS)
        assert (known.value, known.near_chance) == (0.95, False)

    def test_of_one_that_always_says_the_most_frequent_label(self) -> None:
        labels = (torch.arange(200) % 10 == 0).long()
        known = knowledge(Outputs(), torch.tensor([[1.0, 0.0]]).repeat(200, 1), labels, labels)
        assert known.value == known.chance == 0.9
        assert known.near_chance

    def test_on_one_label_alone(self) -> None:
        labels = torch.full((20,), 3)
        known = knowledge(Outputs(), scores(labels), labels, labels)
        assert (known.value, known.chance, known.near_chance) == (1.0, 0.1, False)

    def test_of_a_regressor(self) -> None:
        y = torch.linspace(0, 1, 50).double()
        bad = knowledge(Outputs("scalars"), y.flip(0)[:, None], torch.zeros(50, dtype=torch.int64), y)
        good = knowledge(Outputs("scalars"), y[:, None], torch.zeros(50, dtype=torch.int64), y)
        assert (bad.value, bad.near_chance) == (pytest.approx(-3.0), True)
        assert (good.value, good.low, good.near_chance) == (1.0, 1.0, False)

    def test_of_predicted_labels_is_unknown_and_said(self, tmp_path: Path) -> None:
        run = audit(tmp_path, checks=["calibration"])
        said = "How often the network is right is not known: no true labels were given."
        assert run.manifest["knowledge"]["sentence"] == said
        assert said in run.report().read_text()


class TestNoGoodWord:
    """A network that knows nothing shows nothing of a method."""

    @pytest.fixture(scope="class")
    @staticmethod
    def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[bool, Run]:
        inputs = toys.images(12)
        predicted = toys.network()(inputs).argmax(1)
        checks = ["parameter-randomization", "completeness"]
        return {
            knows: audit(
                tmp_path_factory.mktemp("run"), inputs=inputs, labels=predicted if knows else (predicted + 1) % 4,
                checks=checks, methods=["gradient-x-input", "gradient", "random"],
            )
            for knows in (True, False)
        }  # fmt: skip

    def test_is_said(self, runs: dict[bool, Run]) -> None:
        cards = {knows: run.findings() for knows, run in runs.items()}
        assert (cards[True].tone == "good").any()
        assert not (cards[False].tone == "good").any()
        known, ignorant = (
            cards[knows].set_index(["method", "question", "metric", "setting"]) for knows in (True, False)
        )
        good = known.index[known.tone == "good"]
        assert set(ignorant.loc[good].word) == {"withheld"}
        assert ignorant.loc[good].why.str.startswith("Withheld: The network is right on 0 % of 12 samples").all()
        rest = known.index[(known.tone != "good") & (known.reset_index().question != "cost").to_numpy()]
        assert ignorant.loc[rest].word.tolist() == known.loc[rest].word.tolist()

    def test_accuracy_stands_first(self, runs: dict[bool, Run]) -> None:
        said = {knows: run.headline() for knows, run in runs.items()}
        assert said[False].startswith(
            "The network is right on 0 % of 12 samples (0 % to 24 %); guessing would be right"
        )
        assert said[False].endswith("Nothing here says which of its heatmaps to trust.")
        assert said[True].startswith("The network is right on 100 % of 12 samples (76 % to 100 %)")
        page = runs[False].report().read_text()
        assert "Trust none of these heatmaps" in page
        assert 'class="tone-good"' not in page[page.index("<h1") : page.index("</section>", page.index("<dl"))]

    def test_the_terminal_says_it(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        audit(tmp_path, checks=["calibration"], targets=torch.arange(7) % 4, progress=True)
        assert "The network is right on" in " ".join(capsys.readouterr().err.split())
